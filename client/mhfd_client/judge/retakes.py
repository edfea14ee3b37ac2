"""The list for the microscope: tiles to take again, what people decided about them, and what became of them.

A decision is about pixels. A tile that was taken again is another: it is sharp, and closes the entry, or it is on the
list itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

from mhfd.contract import FocusResult, Verdict, read_acquisition
from mhfd.text import counted
from mhfd_client.judge.standing import Standing, as_told, judged_now
from mhfd_client.judge.words import TO_LOOK_AT, blur_in_words
from mhfd_client.ledger import Decision, Ledger, Said, TileRow
from mhfd_client.naming.position import Position

Status = Literal["open", "retake", "accept", "ignore", "closed"]

TO_DO: tuple[Status, ...] = ("open", "retake")

SEVERAL_SHARE = 0.5
"""Where more of a run's places have several tiles, these are not retakes: two detectors write two files each."""


@dataclass(frozen=True)
class Retake:
    """One place of the list, by the tile that stands for it.

    Attributes
    ----------
    result : of the tile, judged
    decision : the stored one that counts; None where nobody decided
    takes : earlier takes of this place, with other pixels
    newer, newer_verdict : of a tile that was taken again: the newest take, and what is said of it, None as long as it
        is under way
    """

    row: TileRow
    result: FocusResult
    decision: Decision | None = None
    takes: int = 0
    newer: TileRow | None = None
    newer_verdict: Verdict | None = None

    @property
    def status(self) -> Status:
        """The decision, "open" without one; "closed" when the tile was taken again and is sharp."""
        if self.newer_verdict == "in_focus":
            return "closed"
        return self.decision.decision if self.decision else "open"

    @property
    def came_at(self) -> float:
        """When the last result of this place came (Unix seconds)."""
        return max(each.scored_at or 0.0 for each in (self.row, self.newer) if each is not None)

    @property
    def stage_um(self) -> tuple[float, ...] | None:
        """Where the stage was, from the tile's header."""
        return read_acquisition((self.row.result or {}).get("acquisition")).stage_um

    @property
    def reason(self) -> str:
        """Why it is on the list, in words."""
        told = []
        if self.newer is not None:
            what = (self.newer_verdict or "no result yet").replace("_", " ")
            told.append(f"taken again as {self.newer.name}: {what}" if self._renamed else f"taken again: {what}")
        elif self.takes:
            told.append(f"taken again {counted(self.takes, 'time')}")
        return ", ".join([reason_of(self.result), *told])

    @property
    def _renamed(self) -> bool:
        return self.newer is not None and self.newer.name != self.row.name


def reason_of(result: FocusResult) -> str:
    """Why a tile is to be taken again, in words: "out of focus, blur 2.9 px (13 nm) at the right"."""
    told = [result.error.message] if result.error else []
    told += [blur] if (blur := blur_in_words(result)) else []
    told += [remark.message for remark in result.remarks]
    return ", ".join([(result.verdict or "not flagged").replace("_", " "), *told])


def retake_list(ledger: Ledger, run_id: int, found: Standing, *, history: bool = True) -> list[Retake]:
    """The list of a run, section by section: a tile for each place that is to be looked at, was, or was decided about.

    Parameters
    ----------
    found : how the run stands; where that does not tell the verdict of a tile that was taken again, the run is judged
    history : also look for places that were taken again; takes the longer, the larger the run
    """
    known = decisions_that_count(ledger, run_id)
    told = {each.tile_id: each for each in ledger.said(run_id, generations=True)} if history else {}
    rows = {each.row.tile_id: each.row for each in found.flagged.values()}
    decided = ledger.get({each.tile_id for each in ledger.decisions(run_id)})
    rows |= {row.tile_id: row for row in decided if row.superseded_by is None}
    places = _places_of(ledger, run_id, rows) if history else [[row] for row in rows.values()]
    entries = [entry for place in places if (entry := _entry(_that_count(place), found, told, known)) is not None]
    if found.source == "watch" and any(_waits_for_verdict(each) for each in entries):
        return retake_list(ledger, run_id, judged_now(ledger, run_id))
    return sorted(entries, key=_in_order)


def _waits_for_verdict(entry: Retake) -> bool:
    return entry.newer is not None and entry.newer.state == "scored" and entry.newer_verdict is None


def decisions_that_count(ledger: Ledger, run_id: int) -> Callable[[TileRow], Decision | None]:
    """Tile -> the newest decision about its pixels, also where the file was touched since."""
    decisions = ledger.decisions(run_id)
    rows = {row.tile_id: row for row in ledger.get({each.tile_id for each in decisions})}
    newest = {_pixels(rows[each.tile_id]): each for each in decisions}
    return lambda row: newest.get(_pixels(row))


def _pixels(row: TileRow) -> tuple[object, ...]:
    return (row.tile_id,) if row.tile_sha256 is None else (row.path, row.page, row.tile_sha256)


def _places_of(ledger: Ledger, run_id: int, rows: Mapping[int, TileRow]) -> list[list[TileRow]]:
    """The takes of the places of tiles, and of other places that were taken again, each place's in order.

    Parameters
    ----------
    rows : newest generations, by number
    """
    earlier = _generations(ledger, run_id)
    newest = {**rows, **{tile_id: row for tile_id, (row, _) in earlier.items()}}
    count, several = ledger.places(run_id)
    if len(several) > SEVERAL_SHARE * count:
        several = []
    concerned = [place for place in several if not newest.keys().isdisjoint(place)]
    newest |= {row.tile_id: row for row in ledger.get({i for place in concerned for i in place} - newest.keys())}
    takes = {i: [*earlier[i][1], row] if i in earlier else [row] for i, row in newest.items()}
    together = [[row for tile_id in place for row in takes.pop(tile_id)] for place in concerned]
    return [*together, *takes.values()]


def _generations(ledger: Ledger, run_id: int) -> dict[int, tuple[TileRow, list[TileRow]]]:
    """Of each tile that was taken again: its newest generation and the earlier ones, by the number of the newest."""
    superseded = ledger.superseded(run_id) if ledger.summary(run_id).superseded else []
    rows = {row.tile_id: row for row in superseded}
    rows |= {row.tile_id: row for row in ledger.get({row.superseded_by for row in superseded if row.superseded_by})}
    by_page = {(row.path, row.generation, row.page): row for row in rows.values()}

    def newest(row: TileRow) -> TileRow:
        while row.superseded_by is not None and (first := rows.get(row.superseded_by)) is not None:
            key = (first.path, first.generation, row.page)
            if row.page and key not in by_page:
                by_page.update(
                    {(each.path, each.generation, each.page): each for each in ledger.pages(run_id, first.path)}
                )
            row = by_page.get(key, first)
        return row

    found: dict[int, tuple[TileRow, list[TileRow]]] = {}
    for row in superseded:
        last = newest(row)
        found.setdefault(last.tile_id, (last, []))[1].append(row)
    return found


def _that_count(place: Sequence[TileRow]) -> list[TileRow]:
    """Without takes that came to nothing: superseded, or gone, before they had a result."""
    return [
        row for row in place if row.state in ("scored", "failed") or (row.superseded_by is None and row.gone_at is None)
    ]


def _entry(
    place: Sequence[TileRow], found: Standing, told: Mapping[int, Said], known: Callable[[TileRow], Decision | None]
) -> Retake | None:
    """What the list says of a place; None where there is nothing to do, and was nothing."""
    if not place:
        return None
    *earlier, last = place
    decision = known(last)
    wanted = decision is not None and decision.decision != "open" and last.result is not None
    if last.tile_id in found.flagged or wanted:
        return Retake(last, _judged(last, found, told), decision, _other_pixels(place))

    for k in range(len(earlier) - 1, -1, -1):
        row, choice = earlier[k], known(earlier[k])
        judged = _judged(row, found, told)
        was_bad = judged.verdict in TO_LOOK_AT or (choice is not None and choice.decision == "retake")
        touched = last.result is not None and row.tile_sha256 is not None and row.tile_sha256 == last.tile_sha256
        if was_bad and not touched:
            verdict = found.verdicts.get(last.tile_id)
            return Retake(row, judged, choice, _other_pixels(place[: k + 1]), last, verdict)
    return None


def _judged(row: TileRow, found: Standing, told: Mapping[int, Said]) -> FocusResult:
    """What is known of a tile; without a verdict where the watch did not speak of it."""
    if row.tile_id in found.flagged:
        return found.flagged[row.tile_id].result
    if row.superseded_by is not None and row.state == "scored" and row.tile_id in told:
        return as_told(row, told[row.tile_id])
    result = FocusResult.from_dict({**(row.result or {}), "path": row.name})
    return result if row.state == "failed" else replace(result, verdict=found.verdicts.get(row.tile_id))


def _other_pixels(place: Sequence[TileRow]) -> int:
    """How often a place was taken before, not counting files that were only touched."""
    pixels = [row.tile_sha256 or row.tile_id for row in place]
    return sum(before != after for before, after in pairwise(pixels))


def _in_order(entry: Retake) -> tuple[object, ...]:
    """By place, those without one last."""
    where = entry.row.position or Position()
    return (*((each is None, each or 0) for each in (where.section, *where.cell)), entry.row.name)
