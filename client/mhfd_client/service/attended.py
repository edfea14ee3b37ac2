"""Is a user there to sign in? And the error for when nobody may be asked."""

from __future__ import annotations

import sys

from mhfd.contract import ExitCode, MhfdError


class SignInNeededError(MhfdError):
    """Somebody has to sign in; nobody is asked from the background."""

    exit_code = ExitCode.SIGN_IN


def somebody_is_there() -> bool:
    """True in a terminal and in a notebook."""
    return "ipykernel" in sys.modules or (sys.stdin is not None and sys.stdin.isatty())
