"""The list of tiles to take again: as a table, JSON, CSV, or SBEMimage's own ids."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from itertools import groupby
from typing import Literal

from mhfd.contract import FocusResult
from mhfd.text import counted, visible
from mhfd_client.judge.retakes import TO_DO, Retake, reason_of
from mhfd_client.ledger import Json, Run
from mhfd_client.naming.position import Position
from mhfd_client.naming.sbemimage import tile_id, tile_key
from mhfd_client.views.listing import PLACE, Listing, placed
from mhfd_client.views.status import local, place_name, utc
from mhfd_client.views.width import padded, width_of

Format = Literal["table", "json", "jsonl", "csv", "sbemimage"]

SCHEMA = 1
COLUMNS = (
    "path", *PLACE, "stage_x_um", "stage_y_um", "stage_z_um", "verdict", "reason", "remarks", "blur_px", "blur_nm",
    "state", "decision", "decided_by", "decided_at", "note", "taken_again", "newer_tile", "newer_verdict", "newer_at",
    "scored_at", "sbemimage_id", "sbemimage_tile",
)  # fmt: skip


def listing(entries: Sequence[Retake], run: Run, now: float, columns: int | None = None) -> Listing:
    """The list in all its forms; names in it may come from anywhere.

    Parameters
    ----------
    columns : of the terminal; None where there is none
    """
    return Listing(
        rows=map(listed, entries),
        columns=COLUMNS,
        lines=lambda: table(entries, columns),
        whole=lambda tiles: {
            "schema": SCHEMA,
            "time": utc(now),
            "run": {"run_id": run.run_id, "folder": run.root},
            "counts": dict(Counter(each.status for each in entries)),
            "tiles": tiles,
        },
        cells=cells,
    )


def table(entries: Sequence[Retake], columns: int | None = None) -> Iterator[str]:
    """Lines for people, by section. Names stand below each other where a terminal is wide enough for that."""
    for section, group in groupby(entries, key=_section):
        tiles = list(group)
        yield f"section {'unknown' if section is None else section}: {counted(len(tiles), 'tile')}"
        widest = max(width_of(visible(each.row.name)) for each in tiles)
        width = widest if columns is None or widest <= columns // 2 else 0
        for each in tiles:
            where = [place_name({**asdict(each.row.position or Position()), "section": None})]
            where += [f"stage {', '.join(f'{um:.1f}' for um in each.stage_um)} um"] if each.stage_um else []
            place = ", ".join(part for part in where if part != "a tile")
            told = f"{place + ': ' if place else ''}{each.reason} ({decided(each)})"
            yield f"  {padded(visible(each.row.name), width)}  {told}"
    to_do = sum(each.status in TO_DO for each in entries)
    yield f"{counted(to_do, 'tile')} to take again or to decide about"


def sbemimage_ids(entries: Iterable[Retake]) -> Iterator[str]:
    """The ids of those tiles that SBEMimage gave one."""
    return (found for each in entries if (found := tile_id(each.row.path)) is not None)


def cells(one: Json) -> Json:
    """A tile as `listed` gives it, by column; `path` and `tile` as `mhfd export` has them."""
    stage = one["stage_um"] or (None, None, None)
    return {
        **one,
        **placed(one["position"]),
        "path": one["tile"],
        **dict(zip(("stage_x_um", "stage_y_um", "stage_z_um"), stage, strict=True)),
        "remarks": " ".join(remark["code"] for remark in one["remarks"]),
    }


def listed(entry: Retake) -> Json:
    """A tile of the list as plain JSON types."""
    row, decision, newer = entry.row, entry.decision, entry.newer
    return {
        **listed_result(entry.result, row.position),
        "tile": row.name,
        "stage_um": list(entry.stage_um) if entry.stage_um else None,
        "reason": entry.reason,
        "state": entry.status,
        "decision": decision and decision.decision,
        "decided_by": decision and decision.who,
        "decided_at": decision and utc(decision.decided_at),
        "note": decision and decision.note,
        "taken_again": entry.takes,
        "newer_tile": newer and newer.name,
        "newer_verdict": entry.newer_verdict,
        "newer_at": newer and utc(newer.scored_at),
        "scored_at": utc(row.scored_at),
        "sbemimage_id": tile_id(row.path),
        "sbemimage_tile": tile_key(row.path),
    }


def listed_result(result: FocusResult, position: Position | None) -> Json:
    """The same of a tile that no ledger has: nobody has decided about it."""
    stage_um = result.acquisition.stage_um
    return {
        "tile": result.path,
        "position": asdict(position) if position else None,
        "stage_um": list(stage_um) if stage_um else None,
        "verdict": result.verdict,
        "reason": reason_of(result),
        "remarks": [asdict(remark) for remark in result.remarks],
        "blur_px": result.blur_px,
        "blur_nm": result.blur_nm,
        "state": "open",
        "decision": None,
        "decided_by": None,
        "decided_at": None,
        "note": None,
        "taken_again": 0,
        "newer_tile": None,
        "newer_verdict": None,
        "newer_at": None,
        "scored_at": None,
        "sbemimage_id": None,
        "sbemimage_tile": None,
    }


def _section(entry: Retake) -> int | None:
    return entry.row.position.section if entry.row.position else None


def decided(entry: Retake) -> str:
    """What was decided, by whom and when; or how the tile was closed."""
    if entry.status == "closed" and entry.newer is not None:
        return f"closed {local(utc(entry.newer.scored_at))}"
    if entry.decision is None:
        return entry.status
    who = f" by {entry.decision.who}" if entry.decision.who else ""
    note = f": {entry.decision.note}" if entry.decision.note else ""
    return f"{entry.status}{who}, {local(utc(entry.decision.decided_at))}{note}"
