"""Names given on the command line -> the image files they mean."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Iterable, Iterator

from mhfd.readers.opening import is_container, is_one_input
from mhfd_client.files import foreign
from mhfd_client.files.links import Folders
from mhfd_client.files.names import is_image_name, natural_order


def find_tiles(names: Iterable[str]) -> list[str]:
    """Files, folders (searched recursively) and glob patterns to image files, each once, in natural order.

    Names stay strings as they were given: 10^5 `Path` objects take seconds, and "./a" should come back as "./a".

    A file named outright is taken whatever its suffix; from folders and patterns with a wildcard only files with
    an image suffix that are not hidden. A folder that is one input, like a Zarr array, is taken as a file is. Links to
    folders are followed; each folder is looked into once. A name that matches nothing is passed on unchanged: scoring
    reports it as not found.
    """
    return Search(names).tiles


class Search:
    """The tiles that names mean, and what is left out beside them.

    Attributes
    ----------
    tiles : as `find_tiles` returns them
    left_out : sentences about links that are not followed, and files of formats that mhfd does not read
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._foreign: Counter[str] = Counter()
        self._links: list[str] = []
        found: dict[str, None] = {}  # a set that keeps its order
        for name in names:
            for path in self._expand(name):
                found.setdefault(path)
        self.tiles = list(found)

    @property
    def left_out(self) -> list[str]:
        return self._links + ([foreign.in_words(self._foreign)] if self._foreign else [])

    def _expand(self, name: str) -> Iterator[str]:
        if os.path.isdir(name):
            yield from [os.path.normpath(name)] if is_one_input(name) else self._walk(name)
        elif os.path.exists(name) or not glob.has_magic(name):  # a file may well be called "tile[1].tif"
            yield name
        else:
            matches = sorted(glob.glob(name, recursive=True), key=natural_order)
            if not matches:
                yield name
            for match in matches:
                if os.path.isdir(match):
                    yield from [match] if is_container(match) else self._walk(match)
                elif self._is_image(os.path.basename(match)):
                    yield match

    def _walk(self, top: str) -> Iterator[str]:
        """The images below a folder, then the folders that could not be listed: scoring reports each."""
        unlisted: list[str] = []
        folders = Folders(top, lambda path: not any(part.startswith(".") for part in path.split("/")))
        waiting = [(top, "", folders.root)]
        while waiting:
            at, path, real = waiting.pop()
            try:
                with os.scandir(at) as listing:
                    entries = sorted(listing, key=lambda entry: natural_order(entry.name))
            except OSError:
                unlisted.append(at)
                continue
            below: list[tuple[str, str, str]] = []
            for entry in entries:
                if not _is_folder(entry):
                    if self._is_image(entry.name):
                        yield os.path.join(at, entry.name)
                elif is_container(entry.name) and not entry.name.startswith("."):
                    yield os.path.join(at, entry.name)
                elif not entry.name.startswith("."):
                    inner = f"{path}/{entry.name}" if path else entry.name
                    entered, why_not = folders.enter(entry, inner, real)
                    if entered is None:
                        self._links.append(f"{os.path.join(at, entry.name)} is left out: {why_not}")
                    else:
                        below.append((os.path.join(at, entry.name), inner, entered))
            waiting += reversed(below)
        yield from unlisted

    def _is_image(self, name: str) -> bool:
        if suffix := foreign.foreign_suffix(name):
            self._foreign[suffix] += 1
        return is_image_name(name)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False
