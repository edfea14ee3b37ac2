"""A run in a ledger, or files just scored -> what a report says of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePath

from mhfd.contract import FocusParams, FocusResult, split_page
from mhfd.judge import VerdictRule
from mhfd_client.judge.explain import LOOKED_AT, Explanation, Past, explain, explain_among, trouble_of
from mhfd_client.judge.retakes import TO_DO, Retake, reason_of, retake_list
from mhfd_client.judge.run import Standard, Tile, judge_run, standard_of, tiles_of
from mhfd_client.judge.sections import positions_of
from mhfd_client.judge.standing import Standing, standing_of
from mhfd_client.judge.words import TO_LOOK_AT, told_px
from mhfd_client.ledger import Event, Ledger, Run, TileRow
from mhfd_client.naming import Layout
from mhfd_client.naming.position import Position
from mhfd_client.views.explain import lines
from mhfd_client.views.marks import mark_of
from mhfd_client.views.page.pictures import NoPictureError, file_of
from mhfd_client.views.report.model import Again, Alarm, Entry, Failed, Report, Source
from mhfd_client.views.retakes import decided, listed, listed_result
from mhfd_client.views.status import local, utc

PICTURES_AT_MOST = 60
"""Tiles to take again that are shown: two crops of 256 x 256 px each take at most 180 kB, so all at most 11 MB."""

REFERENCES = 4
"""Named among the settings, at most."""


def of_run(ledger: Ledger, run: Run, now: float) -> Report:
    """The report of a run in a ledger, judged as a whole.

    Parameters
    ----------
    now : Unix seconds
    """
    standard = standard_of(ledger, run.run_id)
    tiles = judge_run(ledger, run.run_id, standard)
    standing = standing_of(ledger, run.run_id, tiles)
    retakes = retake_list(ledger, run.run_id, standing)
    entries = _entries(ledger, run, tiles, standing, retakes)
    by_number = {entry.number: entry for entry in entries}
    to_do = [each for each in retakes if each.status in TO_DO and each.result.status == "scored"]
    to_do.sort(key=lambda each: _worst_first(each.result))
    return Report(
        title=PurePath(run.root).name or run.root,
        made_at=now,
        entries=entries,
        again=[
            _explained(ledger, run, each, tiles) if k < PICTURES_AT_MOST else _told(each)
            for k, each in enumerate(to_do)
        ],
        others=[_told(each) for each in retakes if each.status not in TO_DO],
        copied=[listed(each) for each in retakes if each.status in TO_DO],
        failed=_failed((each.row.name, each.result) for each in standing.flagged.values()),
        missing=ledger.missing(run.run_id),
        alarms=_alarms(ledger.events(run.run_id)),
        rule=standard.rule,
        params=run.params,
        settings=_settings_of_run(ledger, run, standard, tiles),
        makers=ledger.makers(run.run_id),
        calibrations=standard.calibrations,
        shown=[
            (by_number[row.tile_id], _source(run, row))
            for row in ledger.get([each.tile_id for each in _typical(tiles)])
            if row.tile_id in by_number
        ],
    )


def of_results(
    results: Sequence[FocusResult],
    title: str,
    now: float,
    *,
    root: str | None = None,
    layout: Layout | None = None,
    params: FocusParams | None = None,
    rule: VerdictRule | None = None,
    truth: Mapping[str, str] | None = None,
) -> Report:
    """The report of files that were scored without a ledger: nobody has decided about them.

    Parameters
    ----------
    results : judged
    root : the folder that all are in, if it is one run's
    layout : how to read their names; None: each by itself
    rule : by which they were judged; None: nothing is known of it, or it is the usual one
    truth : kind of each tile ("good", "bad", "blank") by path, where it is known
    """
    tiles = tiles_of(results, root, layout)
    positions = positions_of([row.path for row in results], root, layout)
    again = sorted(
        (tile for tile in tiles if tile.result.verdict in TO_LOOK_AT and tile.result.status == "scored"),
        key=lambda tile: _worst_first(tile.result),
    )
    entries = {tile.tile_id: _entry_of(tile, positions[tile.tile_id], root) for tile in tiles}
    same_place = _SamePlace(tiles, positions)
    rule = rule or VerdictRule()
    return Report(
        title=title,
        made_at=now,
        entries=list(entries.values()),
        again=[
            _explained_among(tile, entries, tiles, rule, same_place, root)
            if k < PICTURES_AT_MOST
            else _told_of(tile, entries[tile.tile_id])
            for k, tile in enumerate(again)
        ],
        copied=[
            {**listed_result(tile.result, positions[tile.tile_id]), "tile": entries[tile.tile_id].name}
            for tile in tiles
            if tile.result.verdict in TO_LOOK_AT
        ],
        failed=_failed(((entries[tile.tile_id].name, tile.result) for tile in tiles), in_run=False),
        rule=rule,
        params=params or FocusParams(),
        settings=[*([("folder", root)] if root else []), *_settings(rule, tiles)],
        makers=_makers(results),
        truth=truth and {entries[tile.tile_id].name: truth[tile.name] for tile in tiles if tile.name in truth},
        shown=[(entries[tile.tile_id], _source_of(tile, root)) for tile in _typical(tiles)],
    )


# --- A run ------------------------------------------------------------------------------------------------------------


def _entries(
    ledger: Ledger, run: Run, tiles: Iterable[Tile], standing: Standing, retakes: Iterable[Retake]
) -> list[Entry]:
    """All tiles of a run, scored or not."""
    judged = {tile.tile_id: tile for tile in tiles}
    states: dict[int, str] = {each.row.tile_id: each.status for each in retakes}
    briefs = sorted(ledger.briefs(run.run_id), key=lambda each: each.taken)
    to_do = ledger.get({each.tile_id for each in briefs} - judged.keys() - standing.flagged.keys())
    names = {row.tile_id: row.name for row in to_do}
    entries = []
    for brief in briefs:
        state = states.get(brief.tile_id, "")
        if (tile := judged.get(brief.tile_id)) is not None:
            verdict = mark_of(tile.result.verdict)
            entries.append(
                Entry(brief.tile_id, tile.name, brief.position, verdict, tile.result, brief.scored_at, state)
            )
        elif brief.state == "failed" and (failed := standing.flagged.get(brief.tile_id)) is not None:
            entries.append(
                Entry(
                    brief.tile_id, failed.row.name, brief.position, "failed", failed.result, brief.scored_at, state
                )
            )  # fmt: skip
        else:
            entries.append(Entry(brief.tile_id, names.get(brief.tile_id, ""), brief.position, "todo"))
    return entries


def _explained(ledger: Ledger, run: Run, retake: Retake, tiles: Sequence[Tile]) -> Again:
    told = explain(ledger, run, retake.row, tiles)
    other = told.beside
    pages = ledger.pages(run.run_id, other.path) if other else []
    sharp = next((row for row in pages if other and row.page == other.page), None)
    return replace(
        _told(retake),
        entry=replace(_entry(retake), result=told.result or retake.result),
        more=_more(told),
        tile=_source(run, retake.row),
        sharp=_source(run, sharp) if sharp else None,
        beside=_beside(other, other.tile if other else "", retake.row.position, sharp.position if sharp else None),
    )


def _told(retake: Retake) -> Again:
    stage = ", ".join(f"{um:.1f}" for um in retake.stage_um or ())
    what = decided(retake)
    return Again(_entry(retake), retake.reason, retake.status, "" if what == "open" else what, stage)


def _entry(retake: Retake) -> Entry:
    row = retake.row
    verdict = mark_of(retake.result.verdict)
    return Entry(row.tile_id, row.name, row.position, verdict, retake.result, row.scored_at, retake.status)


def _source(run: Run, row: TileRow) -> Source:
    return Source(row.name, row.page, partial(file_of, Path(run.root), row))


def _alarms(events: Iterable[Event]) -> list[Alarm]:
    """Without bundles of tiles to be told: these are in the list of tiles to take again."""
    return [
        Alarm(
            event.kind,
            str(event.details["text"]),
            event.began_at,
            event.ended_at,
            str(event.details.get("end", "")),
            event.acknowledged_by or ("somebody" if event.acknowledged_at is not None else ""),
        )
        for event in sorted(events, key=lambda each: each.began_at)
        if "text" in event.details
    ]


def _settings_of_run(ledger: Ledger, run: Run, standard: Standard, tiles: Sequence[Tile]) -> list[tuple[str, str]]:
    chosen = ledger.rule(run.run_id).get("chosen") or {}
    last = ledger.summary(run.run_id).last_scored_at
    found = [
        ("folder", run.root),
        ("begun", local(utc(run.created_at))),
        ("last result", local(utc(last))),
        ("scored on", run.endpoint),
        ("layout", run.layout),
        ("instrument", standard.instrument),
        *_settings(standard.rule, tiles),
    ]
    if chosen.get("by"):
        found.append(("threshold chosen by", f"{chosen['by']}, {local(utc(chosen.get('at')))}"))
    return found


# --- Results without a ledger -----------------------------------------------------------------------------------------


class _SamePlace:
    """The tiles at one place in earlier sections."""

    def __init__(self, tiles: Iterable[Tile], positions: Sequence[Position | None]) -> None:
        self._positions = positions
        self._at: dict[object, list[Tile]] = {}
        for tile in tiles:
            if (place := positions[tile.tile_id]) is not None and place.section is not None:
                self._at.setdefault(place.cell, []).append(tile)

    def of(self, tile: Tile) -> list[Tile]:
        """The nearest section first."""
        place = self._positions[tile.tile_id]
        if place is None or place.section is None:
            return []
        before = [
            each
            for each in self._at[place.cell]
            if each.section is not None and each.section < place.section and each.result.status == "scored"
        ]
        return before[: -LOOKED_AT - 1 : -1]


def _entry_of(tile: Tile, position: Position | None, root: str | None) -> Entry:
    result = tile.result
    state = "open" if result.verdict in TO_LOOK_AT else ""
    return Entry(tile.tile_id, _name(tile.name, root), position, mark_of(result.verdict), result, None, state)


def _name(path: str, root: str | None) -> str:
    """A tile by its name below the run's folder."""
    named = PurePath(path)
    return named.relative_to(root).as_posix() if root is not None and named.is_relative_to(root) else path


def _explained_among(
    tile: Tile,
    entries: Mapping[int, Entry],
    tiles: Sequence[Tile],
    rule: VerdictRule,
    same_place: _SamePlace,
    root: str | None,
) -> Again:
    told, here = explain_among(tile, tiles, rule, same_place.of(tile)), entries[tile.tile_id]
    other = next((each for each in tiles if told.beside and each.name == told.beside.tile), None)
    there = entries[other.tile_id] if other else here
    return replace(
        _told_of(tile, here),
        more=_more(told),
        tile=_source_of(tile, root),
        sharp=_source_of(other, root) if other else None,
        beside=_beside(told.beside, there.name, here.position, there.position),
    )


def _told_of(tile: Tile, entry: Entry) -> Again:
    stage = ", ".join(f"{um:.1f}" for um in tile.result.acquisition.stage_um or ())
    return Again(entry, reason_of(tile.result), "open", "", stage)


def _source_of(tile: Tile, root: str | None) -> Source:
    path, page = split_page(tile.name)
    return Source(_name(tile.name, root), page, partial(_file_below, path, root), tile.tile_sha256)


def _file_below(path: str, root: str | None) -> Path:
    """The file that was scored; of a run's folder only what lies below it, also by links."""
    file = Path(path)
    try:
        if root is not None and not file.resolve().is_relative_to(Path(root).resolve()):
            raise NoPictureError(f"{path} lies outside {root}, and is not shown")
    except (OSError, ValueError) as error:
        raise NoPictureError(f"{path} cannot be found: {error}") from error
    return file


def _makers(results: Iterable[FocusResult]) -> list[tuple[str, str, int]]:
    about = [row.provenance for row in results]
    found = Counter((each.mhfd, f"{each.device} ({each.backend})" if each.device else each.backend) for each in about)
    return [(mhfd, device, n) for (mhfd, device), n in found.most_common()]


# --- Both -------------------------------------------------------------------------------------------------------------


def _worst_first(result: FocusResult) -> tuple[float, float]:
    """By blur; tiles of which only the score is known come after."""
    return -(told_px(result) or 0.0), result.focus_score or 0.0


def _more(told: Explanation) -> tuple[str, ...]:
    return tuple(lines(told)[1:])


def _beside(other: Past | None, name: str, here: Position | None, there: Position | None) -> str:
    """What stands under the sharp tile.

    Parameters
    ----------
    other : the sharp tile, and its name
    here, there : the places of the tile and of the sharp one
    """
    if other is None:
        return "there is no sharp tile to show beside it"
    same = here is not None and there is not None and here.section != there.section and here.cell == there.cell
    where = f"same place in section {other.section}" if same else "same part of the nearest sharp tile"
    return f"{where}{'' if other.blur_px is None else f', blur {other.blur_px:.1f} px'}: {name}"


def _typical(tiles: Sequence[Tile]) -> list[Tile]:
    """A sharp tile of middling score, and the worst one."""
    sharp = [tile for tile in tiles if tile.result.verdict == "in_focus"]
    sharp.sort(key=lambda tile: tile.result.focus_score or 0.0)
    bad = [tile for tile in tiles if tile.result.verdict in TO_LOOK_AT and tile.result.status == "scored"]
    bad.sort(key=lambda tile: _worst_first(tile.result))
    return [*sharp[len(sharp) // 2 :][:1], *bad[:1]]


def _failed(tiles: Iterable[tuple[str, FocusResult]], *, in_run: bool = True) -> list[Failed]:
    """The tiles that could not be scored, by reason."""
    by_code: dict[str, list[tuple[str, str]]] = {}
    for name, result in tiles:
        if result.error is not None:
            by_code.setdefault(result.error.code, []).append((name, result.error.message))
    return [
        Failed(code, trouble_of(code, None, in_run=in_run).remedy, tuple(named))
        for code, named in sorted(by_code.items(), key=lambda item: -len(item[1]))
    ]


def _settings(rule: VerdictRule, tiles: Iterable[Tile]) -> list[tuple[str, str]]:
    references = Counter(tile.result.reference for tile in tiles if tile.result.reference)
    told = [f"{name} ({n:,} tiles)" for name, n in references.most_common(REFERENCES)]
    more = len(references) - len(told)
    return [
        ("out of focus above", f"{rule.max_blur_px:g} px"),
        ("no content below", f"{rule.min_content:.0%} of the tile"),
        ("compared with", "; ".join(told) + (f"; and {more} more" if more else "") if told else "nothing"),
    ]
