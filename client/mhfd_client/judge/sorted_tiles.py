"""The tiles of a run that a person sorted: by lists of names, folders of copies, patterns."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePath

from mhfd.contract import ParamsError
from mhfd.text import counted, visible
from mhfd_client.files.find import find_tiles
from mhfd_client.files.names import is_image_name
from mhfd_client.judge.find import find_tile
from mhfd_client.judge.run import Tile
from mhfd_client.ledger import Ledger, Run

NAMED = 3


def sorted_tiles(
    ledger: Ledger, run: Run, tiles: Sequence[Tile], good: Iterable[str], bad: Iterable[str]
) -> tuple[list[Tile], list[Tile]]:
    """The good and the bad tiles.

    Parameters
    ----------
    tiles : of the run, judged
    good, bad : of each a text file with a name a line, a folder, a pattern, or an image

    Raises
    ------
    ParamsError
        A list cannot be read, the run has no such tile, or a tile is in both.
    """
    known = {tile.tile_id: tile for tile in tiles}
    by_name: dict[str, list[int]] = defaultdict(list)
    for tile in tiles:
        by_name[PurePath(tile.name).name].append(tile.tile_id)

    def found(lists: Iterable[str]) -> dict[int, Tile]:
        chosen: dict[int, Tile] = {}
        lacking = []
        for name in _names(lists):
            hit = find_tile(ledger, name, run)
            here = [hit[1].tile_id] if hit else by_name.get(PurePath(name.replace("\\", "/")).name, [])
            if len(here) == 1 and here[0] in known:
                chosen[here[0]] = known[here[0]]
            else:
                lacking.append(name)
        if lacking:
            some = ", ".join(visible(each) for each in lacking[:NAMED])
            raise ParamsError(f"the run has no scored tile, or several, for {counted(len(lacking), 'name')}: {some}")
        return chosen

    one, other = found(good), found(bad)
    if both := one.keys() & other.keys():
        raise ParamsError(f"{visible(known[min(both)].name)} is among the good and the bad tiles: sort it once")
    return list(one.values()), list(other.values())


def _names(lists: Iterable[str]) -> list[str]:
    found: list[str] = []
    for each in lists:
        if os.path.isfile(each) and not is_image_name(Path(each).name):  # noqa: PTH113 - a string as it was given
            found += _lines(Path(each))
        else:
            found += find_tiles([each])
    return found


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ParamsError(f"{path}: {getattr(error, 'strerror', None) or 'is no text in UTF-8'}") from error
    return [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
