"""A tile much darker than those around it: the beam was off or blocked, or the section is not there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from statistics import median

from mhfd.contract import FocusResult, Remark
from mhfd.judge import setting_of
from mhfd.robust import spread

LEAST_NEIGHBOURS = 3
REACH = 25
"""Tiles before and after in the section that count as neighbours."""

SPREADS = 6.0
LEAST_DROP = 0.25
"""Of the neighbours' grey level: those of a good run are so alike that spreads alone would tell of a per cent."""


def with_darker_tiles(results: Sequence[FocusResult], sections: Sequence[int | None]) -> list[FocusResult]:
    """The judged results, in the order given, with a remark on each tile much darker than the others of its section.

    Bare resin is brighter than tissue, so tiles without content do not count.

    Parameters
    ----------
    sections : of each result its section; where that is not known nothing is said
    """
    around: dict[object, list[int]] = defaultdict(list)
    for i, (row, section) in enumerate(zip(results, sections, strict=True)):
        if section is not None and row.grey is not None and row.verdict != "no_content":
            around[section, row.dtype, setting_of(row)].append(i)
    found = list(results)
    for members in around.values():
        greys = [results[i].grey or 0.0 for i in members]
        for k, i in enumerate(members):
            near = greys[max(0, k - REACH) : k] + greys[k + 1 : k + 1 + REACH]
            if remark := darker_than_neighbours(greys[k], near):
                found[i] = replace(found[i], remarks=(*found[i].remarks, remark))
    return found


def darker_than_neighbours(grey: float, neighbours: Sequence[float]) -> Remark | None:
    """The remark on a tile that is much darker than its neighbours in the section and at its place before.

    Parameters
    ----------
    grey : mean grey level of the tile, in whatever unit, 0 for black
    neighbours : those of tiles with the same type of pixels, polarity and detector; too few tell nothing
    """
    if len(neighbours) < LEAST_NEIGHBOURS:
        return None
    usual = median(neighbours)
    drop = usual - grey
    if usual <= 0 or drop <= LEAST_DROP * usual or drop <= SPREADS * spread(neighbours, usual):
        return None
    message = f"its mean grey level is {grey:.3g}, that of the tiles around it {usual:.3g}: is the beam blocked?"
    return Remark(code="darker_than_neighbours", message=message)
