"""Whether a file would lie on a network share, where SQLite is not safe."""

from __future__ import annotations

import re
import sys
from pathlib import Path

SHARES = ("nfs", "cifs", "smb", "afs", "ncpfs", "sshfs", "davfs", "glusterfs", "ceph", "lustre", "beegfs", "gpfs")
_DRIVE_REMOTE = 4


def share_below(path: Path) -> str | None:
    """What kind of share holds the file, None for a disk of this machine. Not known on macOS."""
    path = path.absolute()
    if sys.platform == "win32":
        return _windows_share(path)
    mounts = Path("/proc/self/mounts")
    return share_of(path.resolve().as_posix(), mounts.read_text("utf-8", "replace")) if mounts.exists() else None


def share_of(path: str, mounts: str) -> str | None:
    """The same for an absolute path, given the text of /proc/self/mounts."""
    best, found = "", None
    for line in mounts.splitlines():
        _, folder, kind, *_ = line.split(" ")
        folder = re.sub(r"\\(\d{3})", lambda code: chr(int(code[1], 8)), folder)  # "\040" is a space
        inside = path == folder or path.startswith(folder.rstrip("/") + "/")
        if inside and len(folder) >= len(best):  # later mounts hide earlier ones
            best, found = folder, kind
    kind = (found or "").removeprefix("fuse.")
    return kind if kind.startswith(SHARES) else None


def _windows_share(path: Path) -> str | None:
    if sys.platform != "win32":  # for mypy, which reads on only where ctypes has windll
        return None
    import ctypes

    if path.drive.startswith("\\\\") and not path.drive.startswith("\\\\?\\"):
        return "network share"
    remote = ctypes.windll.kernel32.GetDriveTypeW(f"{path.drive}\\") == _DRIVE_REMOTE
    return "network drive" if remote else None
