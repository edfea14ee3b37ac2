"""An HTTP server in a thread, for programs on this machine and, if asked, for others."""

from __future__ import annotations

from importlib.util import find_spec

from mhfd.contract import ExitCode, MhfdError
from mhfd.extras import install_hint

EXTRA = "page"


class ServingError(MhfdError):
    """The server cannot be started; the message says what to change."""

    exit_code = ExitCode.CONFIG


def require_server(what: str) -> None:
    """See that the libraries of a server are there.

    Raises
    ------
    ServingError
        They are not.
    """
    if find_spec("starlette") is None or find_spec("uvicorn") is None:
        raise ServingError(f"{what} needs an extra: {install_hint(EXTRA)}")
