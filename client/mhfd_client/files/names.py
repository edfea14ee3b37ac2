"""Names of files: as this machine has them, and as the ledger keeps them.

The ledger's are relative to the run's folder, with "/" between the parts on every platform. All functions take pure
paths, so that the rules of Windows can be tested anywhere.
"""

from __future__ import annotations

import errno
import re
from pathlib import PurePath, PureWindowsPath
from typing import TypeVar

from mhfd.contract import ExitCode, MhfdError
from mhfd.readers.opening import has_image_suffix

P = TypeVar("P", bound=PurePath)

# Windows takes 260 characters, 248 for a folder, unless the path starts with \\?\ or an administrator allowed more.
LONG = 240

_EXTENDED_UNC, _EXTENDED_DRIVE = re.compile(r"\\\\\?\\UNC\\", re.IGNORECASE), re.compile(r"\\\\\?\\(?=[a-z]:)", re.I)
_NOT_ON_WINDOWS = re.compile(r'[<>:"\\|?*\x00-\x1f]')

_AWAY = {
    getattr(errno, name, None)
    for name in (
        "ESTALE", "EIO", "ENODEV", "ENXIO", "EREMOTEIO", "ENOTCONN", "ESHUTDOWN", "ETIMEDOUT",
        "EHOSTDOWN", "EHOSTUNREACH", "ENETDOWN", "ENETUNREACH", "ECONNRESET", "ECONNABORTED", "ECONNREFUSED",
    )
} - {None}  # fmt: skip
# Drive not ready, bad network path, network busy, device gone, network fault, connection deleted, no such share,
# time-out, not connected, no logon server, unreachable (network, host), connection refused or aborted.
_AWAY_ON_WINDOWS = {21, 51, 53, 54, 55, 58, 59, 64, 67, 121, 1167, 1225, 1231, 1232, 1236, 1311}


class PathError(MhfdError):
    """A name that no file below the run's folder can have."""

    exit_code = ExitCode.CONFIG


def to_relative(root: PurePath, file: PurePath) -> str | None:
    """The ledger's name of a file; None when it does not lie below `root`.

    On Windows the part that is `root` is compared without regard to case.
    """
    try:
        relative = _plain(file).relative_to(_plain(root))
    except ValueError:
        return None
    return None if not relative.parts or ".." in relative.parts else relative.as_posix()


def to_local(root: P, relative: str) -> P:
    """The file that the ledger calls `relative`, as this machine names it.

    Raises
    ------
    PathError
        It would not lie below `root`, or is not a valid name on this system.
    """
    parts = relative.split("/")
    if not all(parts) or {".", ".."} & set(parts) or "\0" in relative:
        raise PathError(f"{relative!r} is not the name of a file below {root}: this ledger was not written by mhfd")
    if isinstance(root, PureWindowsPath) and any(_NOT_ON_WINDOWS.search(part) for part in parts):
        raise PathError(f"{relative!r} cannot be the name of a file on Windows: use this ledger where it was written")
    return root.joinpath(*parts)


def for_system(path: PurePath) -> str:
    r"""The path for the operating system: on Windows, with \\?\ before a name it would cut or refuse."""
    text = str(path)
    if not isinstance(path, PureWindowsPath) or text.startswith("\\\\?\\") or ".." in path.parts:
        return text
    odd = any(part.endswith((" ", ".")) for part in path.parts[1:])  # as servers that are not Windows allow
    if not path.is_absolute() or not (odd or len(text) >= LONG):
        return text
    return f"\\\\?\\UNC\\{text[2:]}" if text.startswith("\\\\") else f"\\\\?\\{text}"


def is_away(error: OSError) -> bool:
    """True if an error means that a share or a drive is out of reach for now, not that the file is bad."""
    return error.errno in _AWAY or getattr(error, "winerror", None) in _AWAY_ON_WINDOWS


def is_image_name(name: str) -> bool:
    """True if a file of this name may be a tile: "t.TIF", not ".t.tif", nor "t.tif.part", which is still copied."""
    return not name.startswith(".") and has_image_suffix(name)


def natural_order(name: str) -> list[tuple[bool, int, str]]:
    """Sort key that puts tile 2 before tile 10, whatever the script of the digits."""
    return [(part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in re.split(r"(\d+)", name)]


def _plain(path: PurePath) -> PurePath:
    r"""The path without \\?\, which pathlib parses differently in Python 3.10 and 3.12."""
    if not isinstance(path, PureWindowsPath):
        return path
    return PureWindowsPath(_EXTENDED_DRIVE.sub("", _EXTENDED_UNC.sub(r"\\\\", str(path), count=1), count=1))
