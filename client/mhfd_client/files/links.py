"""Links to folders: which are followed, so that each folder is looked into once and a ring ends."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable


class Folders:
    """The folders below a root that a walk looks into: each once, under its own name rather than a link's.

    Parameters
    ----------
    root : where the walk begins
    is_walked : True for the relative path ("a/b") of a folder that the walk comes to by itself: not hidden nor excluded
    """

    def __init__(self, root: str, is_walked: Callable[[str], bool]) -> None:
        self.root = os.path.realpath(root)
        self._is_walked = is_walked
        self._entered = {self.root: ""}

    def enter(self, entry: os.DirEntry[str], path: str, parent: str) -> tuple[str | None, str]:
        """The real path of a folder to look into, and ""; or None, and why it is left out.

        Parameters
        ----------
        path : of the folder, relative to the root, with "/"
        parent : real path of the folder that it lies in
        """
        if not is_link(entry):
            real = os.path.join(parent, entry.name)  # noqa: PTH118  (a `Path` for each folder of a scan is slow)
        else:
            real = os.path.realpath(entry.path)
            if _is_in(self.root, real):
                return None, f"{path} is a link that leads back to a folder it lies in"
            inside = os.path.relpath(real, self.root).replace(os.sep, "/") if _is_in(real, self.root) else None
            if inside is not None and self._is_walked(inside):
                return None, f"{path} is a link to {inside}, where its files are taken"
        if real in self._entered:
            return None, f"{path} is the same folder as {self._entered[real] or 'the first'}, where its files are taken"
        self._entered[real] = path
        return real, ""


def is_link(entry: os.DirEntry[str]) -> bool:
    """True for a symbolic link, and on Windows for a junction."""
    if entry.is_symlink():
        return True
    # Python before 3.12 does not know Windows' junctions, but like links they carry a tag.
    return sys.platform == "win32" and bool(entry.stat(follow_symlinks=False).st_reparse_tag)


def _is_in(path: str, folder: str) -> bool:
    """True if a real path is a folder's, or below it."""
    return path == folder or path.startswith(folder if folder.endswith(os.sep) else folder + os.sep)
