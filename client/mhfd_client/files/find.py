"""Names given on the command line -> the image files they mean."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator

from mhfd_client.files.names import is_image_name, natural_order


def find_tiles(names: Iterable[str]) -> list[str]:
    """Files, folders (searched recursively) and glob patterns to image files, each once, in natural order.

    Names stay strings as they were given: 10^5 `Path` objects take seconds, and "./a" should come back as "./a".

    A file named outright is taken whatever its suffix; from folders and patterns with a wildcard only files with
    an image suffix that are not hidden. A name that matches nothing is passed on unchanged: scoring reports it as
    not found.
    """
    found: dict[str, None] = {}  # a set that keeps its order
    for name in names:
        for path in _expand(name):
            found.setdefault(path)
    return list(found)


def _expand(name: str) -> Iterator[str]:
    if os.path.isdir(name):
        yield from _walk(name)
    elif os.path.exists(name) or not glob.has_magic(name):  # a file may well be called "tile[1].tif"
        yield name
    else:
        matches = sorted(glob.glob(name, recursive=True), key=natural_order)
        if not matches:
            yield name
        for match in matches:
            if os.path.isdir(match):
                yield from _walk(match)
            elif is_image_name(os.path.basename(match)):
                yield match


def _walk(folder: str) -> Iterator[str]:
    """The images below a folder, then the folders that could not be listed: scoring reports each."""
    unlisted: list[OSError] = []
    for parent, folders, files in os.walk(folder, onerror=unlisted.append):
        folders[:] = sorted((f for f in folders if not f.startswith(".")), key=natural_order)
        for file in sorted(files, key=natural_order):
            if is_image_name(file):
                yield os.path.join(parent, file)
    yield from (str(error.filename) for error in unlisted)
