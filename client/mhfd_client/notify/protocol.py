"""What a channel can do."""

from __future__ import annotations

from typing import Protocol

from mhfd.contract import ExitCode, MhfdError
from mhfd_client.notify.message import Message


class NotSentError(MhfdError):
    """A message has not arrived; the text says why, and holds no secret."""

    exit_code = ExitCode.TEMPORARY


class Channel(Protocol):
    """A way to people."""

    @property
    def name(self) -> str:
        """Its name in the configuration."""
        ...

    def send(self, message: Message) -> None:
        """Send a message, and wait until it is taken.

        Raises
        ------
        NotSentError
            It was not, or not for certain: it may be sent again.
        """
        ...
