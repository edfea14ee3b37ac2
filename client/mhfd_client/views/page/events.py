"""The data of the page's events that are not of single tiles: threshold, alarms, health."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable
from pathlib import PurePath

from mhfd.judge import VerdictRule
from mhfd.text import visible
from mhfd_client.judge.standing import watcher_lives
from mhfd_client.ledger import Decision, Event, Json, Ledger, Run, Summary
from mhfd_client.notify.words import BUNDLES, in_words
from mhfd_client.views.page.columns import VERDICTS
from mhfd_client.views.page.places import Places, label
from mhfd_client.views.status import utc

ALARMS_TOLD, LOOKED_AT = 20, 100
"""Alarms that a new viewer is told; the last events among which they are looked for."""

KINDS = {"worsening": "drift", "sign_in": "signin"}
"""Events of the ledger that the page calls by another name."""


def planned(places: Places, sections: tuple[int, int] | None) -> Json:
    """What the event `hello` says of the run's extent.

    Parameters
    ----------
    sections : the lowest and the highest
    """
    first, last = sections or (None, None)
    return {
        "first": first,
        "sections": None if first is None or last is None else last - first + 1,
        "positions": len(places.cells) or None,
        "columns": places.columns,
        "labels": [label(cell) for cell in places.cells],
    }


def hello(run: Run, seq: int, extent: Json, **more: object) -> Json:
    """The event `hello`."""
    return {
        "schema": 1,
        "seq": seq,
        "run": PurePath(run.root).name or run.root,
        "folder": run.root,
        "planned": extent,
        "verdicts": VERDICTS,
        "time": utc(time.time()),
        **more,
    }


def decided(decision: Decision, seq: int) -> Json:
    """The event `decision`."""
    return {
        "n": decision.tile_id,
        "what": decision.decision,
        "by": decision.who,
        "at": utc(decision.decided_at),
        "seq_of": seq,
    }


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


def alarms(events: Iterable[Event], newest_at: Callable[[float], int | None]) -> list[Json]:
    """The events `alarm`. Bundles of single tiles are none: a bad tile raises the number to take again.

    Parameters
    ----------
    newest_at : time -> the tile that was scored last by then, which is where a chart marks the event
    """
    return [alarm(each, newest_at) for each in events if each.kind not in BUNDLES]


def alarm(event: Event, newest_at: Callable[[float], int | None]) -> Json:
    """The event `alarm`; "n" and "n_end" are the tiles where it began and ended."""
    end = event.details.get("end")
    return {
        "id": event.event_id,
        "kind": KINDS.get(event.kind, event.kind),
        "n": event.details.get("tile_id") or newest_at(event.began_at),
        "n_end": None if event.ended_at is None else newest_at(event.ended_at),
        "text": visible(in_words(event)),
        "end": visible(str(end)) if end else None,
        "began": utc(event.began_at),
        "seen_by": event.acknowledged_by or ("somebody" if event.acknowledged_at is not None else None),
        "ended": utc(event.ended_at),
    }


def health(ledger: Ledger, run: Run, summary: Summary, standing: Iterable[Event], now: float) -> Json:
    """The event `health`: endpoint, queue, disk, watch; None where it is not known.

    `workers_awaited` of the queue is since when tiles wait for the endpoint's workers.

    Parameters
    ----------
    standing : the events that have not ended
    """
    beat = summary.heartbeat or {}
    watched = watcher_lives(summary.heartbeat, summary.heartbeat_at, now)
    by_kind = {each.kind: each for each in standing}
    away = by_kind.get("endpoint")
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
            "workers_awaited": utc(beat.get("queued_since")) if watched else None,
        },
        "last_tile": utc(summary.last_scored_at),
        "rate_per_min": rate,
        "disk": _disk(run, rate, _tile_bytes(ledger, run)),
        "signin_until": utc(_signed_in_until(beat, by_kind.get("sign_in"))),
        "notices": [visible(str(each["text"])) for each in beat.get("notices", [])] if watched else [],
    }


def _signed_in_until(beat: Json, asked: Event | None) -> float | None:
    """As the watch knows it, else as the event says that asks somebody to sign in."""
    known = beat.get("signed_in_until")
    return known if known is not None or asked is None else asked.details.get("until")


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
