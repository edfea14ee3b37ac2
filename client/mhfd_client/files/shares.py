"""Network shares and folders that other machines write to: where SQLite is not safe and events do not come."""

from __future__ import annotations

import re
import sys
from pathlib import Path

# Beginnings of Linux's names of file system types, without "fuse.": "nfs" stands for "nfs4", too.
SHARES = (
    "9p", "afs", "beegfs", "ceph", "cifs", "davfs", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "prl_fs", "rclone",
    "smb", "sshfs", "vboxsf", "virtiofs", "vmhgfs",
)  # fmt: skip

MOUNTS = Path("/proc/self/mountinfo")
_DRIVE_REMOTE = 4


def share_below(path: Path) -> str | None:
    """The kind of network share that holds a file, "nfs4" say; None for a disk of this machine, and on macOS.

    The file itself need not exist.
    """
    if sys.platform == "win32":
        return _windows_share(path.absolute())
    try:
        text = MOUNTS.read_text(encoding="utf-8", errors="surrogateescape")
        return share_of(path.resolve(), text)
    except OSError:
        return None


def share_of(path: Path, mounts: str) -> str | None:
    """`share_below` for an absolute path, given the text of /proc/self/mountinfo."""
    kind, depth = "", -1
    for line in mounts.splitlines():
        # "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw": the fifth is the mount point
        before, _, after = line.partition(" - ")
        point = Path(re.sub(r"\\(\d{3})", lambda code: chr(int(code[1], 8)), before.split(" ")[4]))  # "\040": a space
        if path.is_relative_to(point) and len(point.parts) >= depth:  # a later mount hides an earlier one
            kind, depth = after.split(" ")[0], len(point.parts)
    kind = kind.removeprefix("fuse.")
    return kind if kind.startswith(SHARES) else None


def _windows_share(path: Path) -> str | None:
    if sys.platform != "win32":  # for mypy, which reads on only where ctypes has windll
        return None
    import ctypes

    if path.drive.startswith("\\\\") and not path.drive.startswith("\\\\?\\"):
        return "network share"
    remote = ctypes.windll.kernel32.GetDriveTypeW(f"{path.drive}\\") == _DRIVE_REMOTE
    return "network drive" if remote else None
