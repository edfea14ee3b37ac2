"""Secrets, from the environment alone."""

from __future__ import annotations

import os

from mhfd_client.notify.protocol import NotSentError


def secret(channel: str, variable: str | None) -> str | None:
    """The value of a variable, None where none is named; NotSentError if it is not set."""
    if variable is None:
        return None
    value = os.environ.get(variable)
    if not value:
        raise NotSentError(f"[notify.{channel}]: the environment variable {variable} is not set")
    return value


def address(channel: str, url: str | None, variable: str | None) -> str:
    """A URL from its variable, else as given."""
    return secret(channel, variable) or url or ""
