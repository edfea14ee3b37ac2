"""What the page says of a run beyond its columns. Whatever other views say too is fetched here and nowhere else."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Literal

from mhfd.contract import FocusResult, read_acquisition
from mhfd.judge import VerdictRule
from mhfd.text import visible
from mhfd_client.judge.standing import watcher_lives
from mhfd_client.judge.words import blur_in_words
from mhfd_client.ledger import Decision, Event, Json, Ledger, Run, Summary, TileRow
from mhfd_client.views.page.columns import Cell, Columns, Row
from mhfd_client.views.status import utc

KINDS = {"worsening": "drift", "sign_in": "signin"}
"""Events of the ledger that the page calls by another name."""

USUAL_SECTIONS = 50
NEIGHBOURS = 8
FEATURES_AT_MOST = 2000

Status = Literal["open", "retake", "accept", "ignore", "closed"]


def label(cell: Cell) -> str:
    """A place within a section, for people: "r0 c1", "g2 t17"."""
    return " ".join(f"{letter}{value}" for letter, value in zip("grct", cell, strict=True) if value is not None)


def limit(rule: Json, standard: VerdictRule, flagged: int) -> Json:
    """The event `limit`.

    Parameters
    ----------
    rule : as it is stored, with who chose it
    flagged : tiles out of focus at it
    """
    chosen = rule.get("chosen") or {}
    return {
        "max_blur_px": standard.max_blur_px,
        "by": chosen.get("by"),
        "at": utc(chosen.get("at")),
        "flagged": flagged,
    }


def alarm(event: Event, number_of: Callable[[str], int | None]) -> Json:
    """The event `alarm`.

    Parameters
    ----------
    number_of : a tile's name -> its number
    """
    details = event.details
    n = details.get("tile_id") or (number_of(event.subject) if event.subject else None)
    text = next((str(details[key]) for key in ("text", "sentence", "message") if details.get(key)), event.kind)
    return {
        "id": event.event_id,
        "kind": KINDS.get(event.kind, event.kind),
        "n": n,
        "text": visible(text),
        "began": utc(event.began_at),
        "seen_by": event.acknowledged_by or ("somebody" if event.acknowledged_at is not None else None),
        "ended": utc(event.ended_at),
    }


def health(ledger: Ledger, run: Run, summary: Summary, events: Iterable[Event], now: float) -> Json:
    """The event `health`: endpoint, queue, disk, watch; None where it is not known."""
    beat = summary.heartbeat or {}
    watched = watcher_lives(summary.heartbeat, summary.heartbeat_at, now)
    away = next((each for each in events if each.kind == "endpoint" and each.ended_at is None), None)
    rate = round(summary.recent / summary.window_s * 60, 1)
    return {
        "watched": watched,
        "endpoint": {
            "name": run.endpoint,
            "ok": False if away else True if watched else None,
            "since": utc(away.began_at) if away else None,
        },
        "queue": {
            "tiles": summary.to_do,
            "s": None if summary.waiting_since is None else max(0, round(now - summary.waiting_since)),
        },
        "last_tile": utc(summary.last_scored_at),
        "rate_per_min": rate,
        "disk": _disk(run, rate, _tile_bytes(ledger, run)),
        "signin_until": None,
        "notices": [visible(str(each["text"])) for each in beat.get("notices", [])] if watched else [],
    }


def _tile_bytes(ledger: Ledger, run: Run) -> int:
    last = ledger.marks(run.run_id).last_tile
    rows = ledger.get([last])
    return rows[0].size if rows else 0


def _disk(run: Run, rate_per_min: float, tile_bytes: int) -> Json | None:
    """Room where the run lies, and for how many hours that does at this rate."""
    try:
        free = shutil.disk_usage(run.root).free
    except OSError:
        return None
    hourly = rate_per_min * 60 * tile_bytes
    return {"free_gb": round(free / 1e9, 1), "hours": round(free / hourly, 1) if hourly else None}


# --- one tile


@dataclass(frozen=True)
class Known:
    """What is known of a tile: its row in the ledger, in the columns, and its judged result."""

    row: TileRow
    brief: Row
    result: FocusResult | None


def tile_facts(known: Known, columns: Columns, decisions: Sequence[Decision], reference: str | None = None) -> Json:
    """All that the page shows of one tile; at most 12 kB."""
    row, result = known.row, known.result
    stored = row.result or {}
    here = columns.at(known.brief.position)
    usual = usual_here(here, known.brief)
    return {
        "n": row.tile_id,
        "name": row.name,
        "path": row.path,
        "page": row.page,
        "section": known.brief.section,
        "position": known.brief.position,
        "place": asdict(row.position) if row.position else None,
        "state": row.state,
        "generation": row.generation,
        "verdict": known.brief.verdict,
        "explanation": explanation(known, usual),
        "remarks": [each.message for each in result.remarks] if result else [],
        "blur_px": result.blur_px if result else None,
        "blur_error_px": result.blur_error_px if result else None,
        "blur_nm": result.blur_nm if result else None,
        "blur_by_direction_px": result.blur_by_direction_px if result else None,
        "blur_map_px": result.blur_map_px if result else None,
        "worst_block": result.worst_block if result else None,
        "flag_px": result.flag_px if result else None,
        "shape": row.shape,
        "pixel_nm": stored.get("pixel_size_nm"),
        "focus_score": stored.get("focus_score"),
        "features": stored.get("features"),
        "content": stored.get("content"),
        "noise": stored.get("noise"),
        "confidence": result.confidence if result else None,
        "reference": result.reference if result else None,
        "defocus_um": result.defocus_um if result else None,
        "stage_mm": stage_mm(row),
        "time_s": row.scored_at,
        "device": (stored.get("provenance") or {}).get("device"),
        "usual": {"blur_px": usual},
        "neighbours": neighbours(here, columns, known.brief),
        "decisions": [
            {"what": each.decision, "by": each.who, "at": utc(each.decided_at), "note": each.note} for each in decisions
        ],
    }


def explanation(known: Known, usual: float | None) -> str:
    """One sentence: the verdict, and why."""
    row, result = known.row, known.result
    word = known.brief.verdict.replace("_", " ").capitalize()
    if row.state == "failed":
        return f"Could not be read: {visible(row.error_message or 'no reason was given')}"
    if result is None:
        return f"To do: {visible(row.reason)}" if row.reason else "To do: no score yet."
    told = [each for each in (blur_in_words(result),) if each]
    if usual is not None and told:
        told.append(f"usual here {usual:.2f} px")
    if known.brief.verdict == "no_content" and result.content is not None:
        told = [f"structure on {result.content:.0%} of the tile, so there is nothing to judge"]
    sentence = f"{word}: {'; '.join(told)}." if told else f"{word}."
    return f"{sentence} Compared with {result.reference}." if result.reference else sentence


def usual_here(here: Sequence[Row], tile: Row) -> float | None:
    """The median blur of the sharp tiles at this place in the sections before."""
    blurs = [
        row.blur_px
        for row in here
        if row.section < tile.section and row.verdict == "in_focus" and row.blur_px is not None
    ]
    return round(median(blurs[-USUAL_SECTIONS:]), 3) if blurs else None


def neighbours(here: Sequence[Row], columns: Columns, tile: Row) -> Json:
    """Tiles to look at beside this one."""
    before = [row.n for row in here if row.section < tile.section and row.verdict == "in_focus"]
    after = [row.n for row in here if row.section > tile.section and row.verdict == "in_focus"]
    around = [
        row.n
        for row in columns.of_section(tile.section)
        if row.n != tile.n and row.verdict != "missing" and abs(row.position - tile.position) <= NEIGHBOURS
    ]
    return {
        "good_before": before[-1] if before else None,
        "good_after": after[0] if after else None,
        "around": sorted(around)[:NEIGHBOURS],
    }


def stage_mm(row: TileRow) -> list[float] | None:
    """Where the stage was, as the tile's header says."""
    stage = read_acquisition((row.result or {}).get("acquisition")).stage_um
    return None if stage is None else [round(each / 1000, 4) for each in stage]


# --- the list of tiles to take again


@dataclass(frozen=True)
class Retake:
    """One tile of the list."""

    row: TileRow
    brief: Row
    reason: str
    status: Status
    decision: Decision | None

    def to_dict(self) -> Json:
        return {
            "n": self.row.tile_id,
            "section": self.brief.section,
            "position": self.brief.position,
            "name": self.row.name,
            "place": asdict(self.row.position) if self.row.position else None,
            "verdict": self.brief.verdict,
            "blur_px": self.brief.blur_px,
            "why": self.reason,
            "stage_mm": stage_mm(self.row),
            "time_s": self.brief.time_s,
            "state": self.status,
            "by": self.decision.who if self.decision else None,
            "at": utc(self.decision.decided_at) if self.decision else None,
        }


def retakes(
    ledger: Ledger,
    columns: Columns,
    decisions: dict[int, Decision],
    result_of: Callable[[int], FocusResult | None],
    since: float | None = None,
) -> list[Retake]:
    """The tiles to take again, those that cannot be told, and those decided about; by section and place.

    Parameters
    ----------
    since : only those whose result came from that time on
    """
    wanted = {*columns.of_verdicts(("out_of_focus", "astigmatic", "failed", "cannot_tell")), *decisions}
    found = []
    for row in ledger.get(wanted):
        brief = columns.row(row.tile_id)
        if brief is None or (since is not None and (row.scored_at or 0.0) < since):
            continue
        decision = decisions.get(row.tile_id)
        if brief.verdict == "later":  # taken again
            newer = columns.row(row.superseded_by or 0)
            if newer is None or newer.verdict != "in_focus":
                continue
            found.append(Retake(row, brief, "taken again, and in focus", "closed", decision))
            continue
        status: Status = decision.decision if decision else "open"
        found.append(Retake(row, brief, _reason(row, result_of(row.tile_id)), status, decision))
    return sorted(found, key=lambda each: (each.brief.section, each.brief.position, each.row.tile_id))


def _reason(row: TileRow, result: FocusResult | None) -> str:
    if row.error_message:
        return visible(row.error_message)
    if result is None:
        return "no score yet"
    told = [blur_in_words(result), *(each.message for each in result.remarks)]
    return visible(", ".join(each for each in told if each) or (result.verdict or "").replace("_", " "))
