"""Where each tile is in its run, as its name and its file tell it, for tiles that no ledger has."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import PurePath

from mhfd.contract import TileError, split_page
from mhfd.readers.protocol import Place
from mhfd_client.naming import Layout, Position, open_layout


def sections_of(paths: Sequence[str], root: str | None = None, layout: Layout | None = None) -> list[int | None]:
    """Of each path its section; None where neither the name nor the file tells one.

    Parameters
    ----------
    root : the folder of the run that all paths are in: what it is itself called tells nothing
    layout : how to read the names; None: each by itself
    """
    return [position.section if position else None for position in positions_of(paths, root, layout)]


def positions_of(paths: Sequence[str], root: str | None = None, layout: Layout | None = None) -> list[Position | None]:
    """Of each path its place; None where the name is that of no tile. See `sections_of`.

    A file of several tiles that knows where each lies, like a Zarr array, adds what the name does not tell.
    """
    layout = layout or open_layout("auto")
    below = _Below(root)
    found: list[Position | None] = []
    for file, pages in groupby(map(split_page, paths), key=lambda each: each[0]):
        position = layout.position(below(file))
        numbers = [page for _, page in pages]
        found += [_with(position, place) for place in _places(file, numbers)]
    return found


def _with(position: Position | None, place: Place | None) -> Position | None:
    if position is None or place is None:
        return position
    return Position(
        section=position.section if place.section is None else place.section,
        grid=position.grid if place.grid is None else place.grid,
        row=position.row if place.row is None else place.row,
        col=position.col if place.col is None else place.col,
        tile=position.tile,
    )


def _places(file: str, pages: Sequence[int]) -> Iterator[Place | None]:
    """Where the pages lie, as their file tells it; None for each where it does not, or is not here."""
    if (len(pages) == 1 and pages[0] == 0) or not file:
        return iter([None] * len(pages))
    from mhfd.readers.reading import opened  # NumPy

    try:
        with opened(file) as found:
            if found is not None:
                return iter([found.frame(page).place for page in pages])
    except TileError:
        pass
    return iter([None] * len(pages))


class _Below:
    """Tells a path without the run's own folder, with slashes.

    Each folder is taken apart once: pathlib takes longer than all else that is done with a name.
    """

    def __init__(self, root: str | None) -> None:
        self._run = None if root is None else PurePath(root)
        # A name that may be no name of a file in its folder: the run itself, as of a Zarr array, is one.
        self._odd = {"", ".", "..", os.path.normcase(self._run.name if self._run else "")}
        self._before: dict[str, str] = {}

    def __call__(self, path: str) -> str:
        folder, name = os.path.split(path)
        if os.path.normcase(name) in self._odd:
            return self._relative(PurePath(path)).as_posix()
        if (before := self._before.get(folder)) is None:
            # With its last slash; empty for the run's own folder.
            before = self._before[folder] = self._relative(PurePath(folder) / "_").as_posix()[:-1]
        return before + name

    def _relative(self, path: PurePath) -> PurePath:
        return path.relative_to(self._run) if self._run and path.is_relative_to(self._run) else path
