"""The list of tiles to take again: as lines, CSV, JSON, or SBEMimage's own ids."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from itertools import groupby
from typing import IO, Literal, TextIO

from mhfd.contract import FocusResult
from mhfd.text import cell, counted, json_text, visible
from mhfd_client.files.whole import as_text
from mhfd_client.judge.retakes import TO_DO, Retake, reason_of
from mhfd_client.ledger import Json, Run
from mhfd_client.naming.position import Position
from mhfd_client.naming.sbemimage import tile_id, tile_key
from mhfd_client.views.status import local, place_name, utc

Format = Literal["table", "csv", "json", "sbemimage"]

SCHEMA = 1
COLUMNS = (
    "tile", "section", "grid", "row", "col", "number", "stage_x_um", "stage_y_um", "stage_z_um", "verdict", "reason",
    "remarks", "blur_px", "blur_nm", "state", "decision", "decided_by", "decided_at", "note", "taken_again",
    "newer_tile", "newer_verdict", "newer_at", "scored_at", "sbemimage_id", "sbemimage_tile",
)  # fmt: skip


def write_retakes(entries: Sequence[Retake], run: Run, now: float, form: Format, out: IO[bytes]) -> None:
    """Write the list in one of the formats; names in it may come from anywhere."""
    if form == "csv":
        _write_csv(entries, out)
        return
    with as_text(out) as file:
        if form == "json":
            file.write(json_text(to_json(entries, run, now)) + "\n")
        else:
            file.writelines(f"{visible(line)}\n" for line in lines(entries, form))


def lines(entries: Sequence[Retake], form: Literal["table", "sbemimage"]) -> Iterator[str]:
    """The list as lines of text."""
    return table(entries) if form == "table" else sbemimage_ids(entries)


def to_json(entries: Sequence[Retake], run: Run, now: float) -> Json:
    """As plain JSON types; docs/retakes.md lists the keys. Times are ISO 8601, UTC."""
    return {
        "schema": SCHEMA,
        "time": utc(now),
        "run": {"run_id": run.run_id, "folder": run.root},
        "counts": dict(Counter(each.status for each in entries)),
        "tiles": [listed(each) for each in entries],
    }


def table(entries: Sequence[Retake]) -> Iterator[str]:
    """Lines for people, by section."""
    for section, group in groupby(entries, key=_section):
        tiles = list(group)
        yield f"section {'unknown' if section is None else section}: {counted(len(tiles), 'tile')}"
        width = max(len(visible(each.row.name)) for each in tiles)
        for each in tiles:
            where = [place_name({**asdict(each.row.position or Position()), "section": None})]
            where += [f"stage {', '.join(f'{um:.1f}' for um in each.stage_um)} um"] if each.stage_um else []
            place = ", ".join(part for part in where if part != "a tile")
            yield f"  {visible(each.row.name):{width}}  {place + ': ' if place else ''}{each.reason} ({decided(each)})"
    to_do = sum(each.status in TO_DO for each in entries)
    yield f"{counted(to_do, 'tile')} to take again or to decide about"


def sbemimage_ids(entries: Iterable[Retake]) -> Iterator[str]:
    """The ids of those tiles that SBEMimage gave one."""
    return (found for each in entries if (found := tile_id(each.row.path)) is not None)


def _write_csv(entries: Iterable[Retake], out: IO[bytes]) -> None:
    with as_text(out) as file:
        write_table(map(listed, entries), file)


def write_table(tiles: Iterable[Json], out: TextIO) -> None:
    """Write tiles as `listed` gives them as CSV."""
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    for one in tiles:
        where, stage = one["position"] or {}, one["stage_um"] or (None, None, None)
        values = {
            **one,
            **{key: where.get(key) for key in ("section", "grid", "row", "col")},
            "number": where.get("tile"),
            **dict(zip(("stage_x_um", "stage_y_um", "stage_z_um"), stage, strict=True)),
            "remarks": " ".join(remark["code"] for remark in one["remarks"]),
        }
        writer.writerow(cell(values[column]) for column in COLUMNS)


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
