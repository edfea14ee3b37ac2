"""A tile by what a person calls it: its name in a run, or where its file is."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path, PurePath

from mhfd.contract import split_page
from mhfd.text import near_name
from mhfd_client.files.names import to_relative
from mhfd_client.ledger import Ledger, LedgerError, Run, TileRow

COMPARED = 200
"""Names that are compared letter by letter, at most: a run may have 10^5."""


def find_tile(ledger: Ledger, tile: str, run: Run | None = None) -> tuple[Run, TileRow] | None:
    """The run, of several the last opened, and the newest generation of a tile; None where no run has it.

    Parameters
    ----------
    tile : as `mhfd status` tells it, or the path of its file; "#page=k" behind it for one of several
    run : only this one

    Raises
    ------
    LedgerError
        The file holds several tiles, and the name does not say which.
    """
    for each in [run] if run else ledger.runs():
        for name in _names(tile, each.root):
            if (row := _page(ledger, each, name)) is not None:
                return each, row
    return None


def nearest_tile(ledger: Ledger, tile: str, run: Run | None = None) -> str | None:
    """The name in a run, by default the last opened, that was probably meant."""
    run = run or next(iter(ledger.runs()), None)
    if run is None:
        return None
    wanted = tile.replace("\\", "/")
    last = PurePath(wanted).name
    names = sorted(ledger.names(run.run_id), key=lambda name: _likeness(name, wanted), reverse=True)[:COMPARED]
    same = [name for name in names if PurePath(name).name == last]
    return same[0] if same else near_name(wanted, names)


def _names(tile: str, root: str) -> Iterator[str]:
    """What the ledger may call it."""
    yield tile
    if os.sep == "\\":
        yield tile.replace("\\", "/")
    for resolve in (os.path.abspath, os.path.realpath):
        relative = to_relative(Path(resolve(root)), Path(resolve(tile)))
        if relative is not None:
            yield relative


def _page(ledger: Ledger, run: Run, name: str) -> TileRow | None:
    if len(pages := ledger.pages(run.run_id, name)) == 1:
        return pages[0]
    if pages:
        raise LedgerError(f"{name} holds {len(pages)} tiles: say which, like {pages[-1].name}")
    path, page = split_page(name)
    return next((row for row in ledger.pages(run.run_id, path) if row.page == page), None) if path != name else None


def _likeness(name: str, wanted: str) -> tuple[bool, int]:
    """Quick: the same last part, then the letters that begin and end alike."""
    ends = _alike(name, wanted) + _alike(name[::-1], wanted[::-1])
    return name.rpartition("/")[2] == wanted.rpartition("/")[2], ends


def _alike(one: str, other: str) -> int:
    """How many letters both begin with."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))
