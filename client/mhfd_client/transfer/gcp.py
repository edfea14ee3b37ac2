r"""How Globus Connect Personal names the files of this machine.

On Windows a drive is a folder: ``C:\x y\ä`` is ``/c/x y/ä``. Elsewhere paths are unchanged.
"""

from __future__ import annotations

from pathlib import PurePath, PureWindowsPath

from mhfd_client.transfer.protocol import TransferRefusedError

LONG, LONG_UNC = "\\\\?\\", "\\\\?\\UNC\\"


def gcp_path(path: PurePath) -> str:
    """The absolute path as Globus Connect Personal names it.

    Raises
    ------
    TransferRefusedError
        It is on a network share without a drive letter, which Globus Connect Personal does not reach.
    """
    if not isinstance(path, PureWindowsPath):
        return path.as_posix()
    text = str(path)
    if text.startswith(LONG) and not text.upper().startswith(LONG_UNC):
        path = PureWindowsPath(text[len(LONG) :])
    letter, colon, rest = path.drive.partition(":")
    if not colon or rest or len(letter) != 1 or not path.root:
        raise TransferRefusedError(
            f"Globus Connect Personal does not reach {path}: give the network share a drive letter (net use Z: "
            f"{path.drive or 'SHARE'} /persistent:yes) and watch the run there, or name a collection that has the "
            "folder, with source_collection, source_root and local_root"
        )
    return "/".join(["", letter.lower(), *path.parts[1:]])
