"""Tiles of the ledger -> rows of the map: many at once when a run is opened, then one by one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from mhfd.contract import FocusResult
from mhfd.judge import VerdictRule
from mhfd_client.judge.run import Tile
from mhfd_client.ledger import Brief, Json, Said
from mhfd_client.views.page.columns import COMPARED, INDEX, TABLE, Row, Table
from mhfd_client.views.page.places import Places


def table_of(briefs: Sequence[Brief], said: Iterable[Said], places: Places, rule: VerdictRule) -> Table:
    """The rows of a run's tiles, with the verdicts that are stored; what else is scored is "todo" until it is judged.

    Parameters
    ----------
    briefs : by number
    places : learns their cells
    """
    table = np.zeros(len(briefs), TABLE)
    if not briefs:
        return table
    numbers, states, sections, *parts, mtimes_ns, scored_at, scores, contents = zip(*briefs, strict=True)
    cells = list(zip(*parts, strict=True))
    places.learn(cells)
    placed = np.array(list(map(places.place, numbers, sections, cells)))
    state, content = np.array(states), np.array(contents, np.float64)
    blank = (state == "scored") & (content < rule.min_content)
    known = (state == "failed", blank)
    table["n"], table["mtime_ns"] = numbers, mtimes_ns
    table["section"], table["position"] = placed.T
    table["verdict"] = np.select(known, (INDEX["failed"], INDEX["no_content"]), INDEX["todo"])
    table["focus_score"] = np.array(scores, np.float64)  # None becomes NaN
    table["time_s"] = np.array(scored_at, np.float64)
    for name in ("blur_px", "flag_px", "defocus_um"):
        table[name] = np.nan
    at = {n: i for i, n in enumerate(numbers)}
    for each in said:
        i = at.get(each.tile_id)
        if i is not None and states[i] == "scored":
            for name, value in _told(each.verdict, each.details).items():
                table[name][i] = np.nan if value is None else value
    return table


def unjudged(brief: Brief, places: Places) -> Row:
    """The row of a tile without a verdict, or of one that failed."""
    section, position = places.place(brief.tile_id, brief.section, brief.cell)
    return Row(
        brief.tile_id, section, position, "failed" if brief.state == "failed" else "todo",
        focus_score=brief.focus_score, time_s=brief.scored_at, mtime_ns=brief.mtime_ns,
    )  # fmt: skip


def judged(row: Row, result: FocusResult) -> Row:
    """The row of a tile, with what is said of it."""
    return replace(
        row,
        verdict=result.verdict or "cannot_tell",
        blur_px=result.blur_px,
        flag_px=result.flag_px if result.verdict in COMPARED else None,
        defocus_um=result.defocus_um,
        remarks=len(result.remarks),
    )


def judged_columns(tiles: Sequence[Tile]) -> dict[str, list[float]]:
    """The columns that a judgement of many tiles fills, one value for each tile."""
    rows = [judged(Row(0, 0, 0, "todo"), tile.result) for tile in tiles]
    return {
        "verdict": [INDEX[row.verdict] for row in rows],
        "remarks": [row.remarks for row in rows],
        **{
            name: [np.nan if (value := getattr(row, name)) is None else value for row in rows]
            for name in ("blur_px", "flag_px", "defocus_um")
        },
    }


def _told(verdict: str, details: Json) -> dict[str, float | None]:
    """What a watch said of a tile, by column."""
    return {
        "verdict": INDEX.get(verdict, INDEX["cannot_tell"]),
        "blur_px": details.get("blur_px"),
        "flag_px": details.get("flag_px") if verdict in COMPARED else None,
        "defocus_um": details.get("defocus_um"),
        "remarks": len(details.get("remarks") or ()),
    }
