"""The state of a run: for `mhfd status`, and for other programs as plain JSON types."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, get_args

from mhfd.contract import DEFAULT_BLUR_PX
from mhfd.text import counted, visible
from mhfd_client.judge.retakes import TO_DO, Retake, retake_list
from mhfd_client.judge.standing import JUDGED_AT_MOST, Standing, Standings, watcher_lives
from mhfd_client.judge.words import blur_in_words
from mhfd_client.ledger import Event, Json, Ledger, Missing, Run, State, TileRow
from mhfd_client.naming.position import Position
from mhfd_client.views.width import shortened

if TYPE_CHECKING:
    from rich.text import Text

SCHEMA = 1
BESIDE = 3
"""Columns beside a tile's name in a list: two blanks before it, a colon behind it."""


def read_status(
    ledger: Ledger, run: Run, now: float, limit: int | None = 20, *, standings: Standings | None = None
) -> Json:
    """The status of a run; its keys are listed in docs/ledger.md. Times are ISO 8601, UTC.

    Parameters
    ----------
    limit : of the tiles listed for each kind of trouble; None lists all
    standings : of who asks again and again
    """
    found = ledger.summary(run.run_id, now)
    standing = (standings or Standings(ledger, run.run_id)).at(now)
    to_look_at = _to_look_at(ledger, run, standing, found.counts.get("scored", 0))
    most = 2**62 if limit is None else limit
    stalled = ledger.take(run.run_id, "stalled", most, order="newest", now=now)
    failed = ledger.take(run.run_id, "failed", most, order="newest", now=now)
    return {
        "schema": SCHEMA,
        "time": utc(now),
        "run": {
            "run_id": run.run_id,
            "folder": run.root,
            "layout": run.layout,
            "endpoint": run.endpoint,
            "params_sha256": run.params_sha256,
            "created_at": utc(run.created_at),
        },
        "watcher": _watcher(found.heartbeat, found.heartbeat_at, now),
        "counts": {state: found.counts.get(state, 0) for state in get_args(State)},
        "to_do": found.to_do,
        "sending": found.sending,
        "stalled": found.stalled,
        "gone": found.gone,
        "superseded": found.superseded,
        "missing": found.missing,
        "identical_frames": found.identical,
        "threshold": _threshold(ledger.rule(run.run_id)),
        "verdicts": None if standing is None else dict(standing.counts),
        "verdicts_by": None if standing is None else standing.source,
        "to_look_at": None if standing is None else len(to_look_at),
        "per_minute": round(found.per_minute, 2),
        "rate_results": found.recent,
        "rate_s": round(found.window_s, 1) if found.recent else None,
        "eta_s": None if found.eta_s is None else round(found.eta_s),
        "waiting_since": utc(found.waiting_since),
        "last_scored_at": utc(found.last_scored_at),
        "tiles_to_look_at": [_looked_at(each) for each in to_look_at[:limit]],
        "events": [_event(each) for each in ledger.events(run.run_id, open_only=True) if "text" in each.details],
        "stalled_tiles": [_stalled(row) for row in stalled],
        "failed_tiles": [_failed(row) for row in failed],
        "missing_tiles": [_missing(each) for each in ledger.missing(run.run_id, limit)],
    }


def _threshold(rule: Json) -> Json:
    chosen = rule.get("chosen") or {}
    return {
        "max_blur_px": rule.get("max_blur_px", DEFAULT_BLUR_PX),
        "chosen_by": chosen.get("by"),
        "chosen_at": utc(chosen.get("at")),
    }


def _watcher(beat: Json | None, at: float | None, now: float) -> Json | None:
    if beat is None or at is None:
        return None
    scan_s_ago = beat.get("last_scan_s_ago")
    return {
        "alive": watcher_lives(beat, at, now),
        "ended": bool(beat.get("ended")),
        "pid": beat.get("pid"),
        "host": beat.get("host"),
        "since": utc(beat.get("started_at")),
        "last_sign_at": utc(at),
        "last_scan_at": None if scan_s_ago is None else utc(at - scan_s_ago),
        "transfer": beat.get("transfer"),
        "queued_since": utc(beat.get("queued_since")),
        "notices": [{"text": each["text"], "since": utc(each["since"])} for each in beat.get("notices", [])],
    }


def _to_look_at(ledger: Ledger, run: Run, standing: Standing | None, scored: int) -> list[Retake]:
    """Scored tiles that somebody should look at or take again, the newest first.

    In a run of many tiles those that were taken again under another name are not looked for.
    """
    if standing is None:
        return []
    listed = retake_list(ledger, run.run_id, standing, history=scored <= JUDGED_AT_MOST)
    tiles = [each for each in listed if each.status in TO_DO and each.row.state == "scored"]
    return sorted(tiles, key=lambda each: (each.came_at, each.row.tile_id), reverse=True)


def _looked_at(each: Retake) -> Json:
    return {
        "tile": each.row.name,
        "position": asdict(each.row.position) if each.row.position else None,
        "verdict": each.result.verdict,
        "blur": blur_in_words(each.result),
        "blur_px": each.result.blur_px,
        "blur_nm": each.result.blur_nm,
        "reason": each.reason,
        "decision": each.status,
        "decided_by": each.decision and each.decision.who,
        "scored_at": utc(each.row.scored_at),
    }


def _event(event: Event) -> Json:
    return {
        "event_id": event.event_id,
        "kind": event.kind,
        "subject": event.subject,
        "text": str(event.details["text"]),  # a bundle of tiles to be told has none: they are listed
        "since": utc(event.began_at),
        "acknowledged_by": event.acknowledged_by,
        "acknowledged_at": utc(event.acknowledged_at),
    }


def _stalled(row: TileRow) -> Json:
    return {"tile": row.name, "reason": row.reason, "changed_at": utc(row.changed_at)}


def _failed(row: TileRow) -> Json:
    return {"tile": row.name, "code": row.error_code, "message": row.error_message, "at": utc(row.scored_at)}


def _missing(each: Missing) -> Json:
    where = asdict(each.position) if each.position else None
    return {"tile": each.name, "position": where, "why": each.why, "since": utc(each.since)}


def lines(status: Json, columns: int | None = None) -> Iterator[Text]:
    """The status for people, in local time.

    Parameters
    ----------
    columns : of a picture that is drawn again and again: longer names are cut in the middle. None: they are whole
    """
    if columns is not None:
        status = _with_short_names(status, columns)
    run, counts = status["run"], status["counts"]
    yield _text(f"{run['folder']}, scored on {run['endpoint']}", "bold")
    yield from _watcher_lines(status["watcher"], status["time"])
    for event in status["events"]:
        yield _text(f"! {event['text']} ({_since(event)})", "bold yellow")
    for state, n in counts.items():
        if n or state == "scored":
            yield _text(f"  {state:10}{n:>10}{_remark(state, status)}", "yellow" if state == "failed" else "")
    for name, what in (("gone", "vanished before they were scored"), ("superseded", "taken again since")):
        if status[name]:
            yield _text(f"  {name:10}{status[name]:>10}  ({what})", "dim")
    if status["identical_frames"]:
        tiles = counted(status["identical_frames"], "tile has", "tiles have")
        yield _text(f"{tiles} exactly the pixels of an earlier one; `mhfd export` says which", "yellow")
    if status["rate_results"]:
        yield _text(rate_in_words(status["per_minute"], status["rate_results"], status["rate_s"]))
    if status["to_do"]:
        eta = "" if status["eta_s"] is None else f"; about {duration(status['eta_s'])} left at this rate"
        yield _text(f"{status['to_do']} to be done{eta}; the oldest was seen {local(status['waiting_since'])}")
    elif status["last_scored_at"]:
        yield _text(f"nothing to be done; the last result came {local(status['last_scored_at'])}")
    yield from _verdict_lines(status)
    yield from _list("stalled", status, lambda each: f"{each['reason']}, unchanged since {local(each['changed_at'])}")
    yield from _list("missing", status, lambda each: f"{each['why']}, since {local(each['since'])}")
    yield from _list("failed", status, lambda each: f"{each['message']} ({each['code']})")


def rate_in_words(per_minute: float, results: int, seconds: float) -> str:
    """The rate and what it is of: "191 tiles a minute (the last 80 results, in 25 s of work)"."""
    rate = _two_digits(per_minute)
    of = "the last result" if results == 1 else f"the last {results} results"
    return f"{rate} {'tile' if rate == '1' else 'tiles'} a minute ({of}, in {duration(seconds)} of work)"


def duration(seconds: float) -> str:
    """A time in one unit, to two digits: "25 s", "4 min", "1.5 h", "12 d"."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 1.5 * size:
            return f"{_two_digits(seconds / size)} {unit}"
    return f"{_two_digits(seconds)} s"


def _two_digits(value: float) -> str:
    return f"{value:.0f}" if value >= 9.95 else f"{value:.1f}".removesuffix(".0")


def _with_short_names(status: Json, columns: int) -> Json:
    """With names that take at most a line."""

    def short(each: Json) -> Json:
        return {**each, "tile": each["tile"] and shortened(visible(each["tile"]), columns - BESIDE)}

    lists = ("tiles_to_look_at", "stalled_tiles", "failed_tiles", "missing_tiles")
    run = {**status["run"], "folder": shortened(visible(status["run"]["folder"]), columns)}
    return {**status, "run": run, **{name: [short(each) for each in status[name]] for name in lists}}


def _watcher_lines(watcher: Json | None, now: str) -> Iterator[Text]:
    if watcher is None or not watcher["alive"]:
        if watcher is not None and watcher["ended"]:  # as it should
            yield _text(f"no watcher is running; the last one ended {local(watcher['last_sign_at'])}")
            return
        seen = f"; the last sign of one was {local(watcher['last_sign_at'])}" if watcher else ""
        yield _text(f"no watcher is running{seen}", "bold yellow")
        return
    scan = watcher["last_scan_at"]
    ago = f"{max(0.0, (_read(now) - _read(scan)).total_seconds()):.0f} s ago" if scan else "not yet"
    who = f"process {watcher['pid']} on {watcher['host']}"
    yield _text(f"watching since {local(watcher['since'])} ({who}); last scan {ago}", "green")
    for notice in watcher["notices"]:
        yield _text(f"! {notice['text']} (since {local(notice['since'])})", "bold yellow")


def _since(event: Json) -> str:
    since = f"since {local(event['since'])}"
    if event["acknowledged_at"] is None:
        return since
    return f"{since}, acknowledged{' by ' + event['acknowledged_by'] if event['acknowledged_by'] else ''}"


def _verdict_lines(status: Json) -> Iterator[Text]:
    scored = status["counts"]["scored"]
    if status["verdicts"] is None:
        yield _text(f"{counted(scored, 'result')} and no word of a watch: `mhfd export` and `mhfd retakes` judge them")
        return
    told = [
        f"{n} {verdict.replace('_', ' ')}" for verdict, n in status["verdicts"].items() if n and verdict != "failed"
    ]
    if told:
        yield _text(f"verdicts: {', '.join(told)}")
    if (threshold := status["threshold"])["chosen_at"]:
        by = f" by {threshold['chosen_by']}" if threshold["chosen_by"] else ""
        yield _text(f"threshold: {threshold['max_blur_px']:.2f} px, chosen{by} {local(threshold['chosen_at'])}")
    if not status["to_look_at"]:
        return
    yield _text(f"to look at: {status['to_look_at']}", "bold red")
    for each in status["tiles_to_look_at"]:
        place = f"{place_name(each['position'])}: " if each["position"] else ""
        by = f" by {each['decided_by']}" if each["decided_by"] else ""
        yield _text(f"  {each['tile']}: {place}{each['reason']} ({each['decision']}{by})")
    more = status["to_look_at"] - len(status["tiles_to_look_at"])
    yield _text(f"  and {more} more: --all lists them" if more else "`mhfd retakes` has them for the microscope", "dim")


def _text(line: str, style: str = "") -> Text:
    from rich.text import Text

    return Text(visible(line), style)


def _remark(state: str, status: Json) -> str:
    if state == "seen" and status["stalled"]:
        return f"  ({status['stalled']} of them stalled)"
    return f"  ({status['sending']} of them on their way)" if state == "ready" and status["sending"] else ""


def _list(kind: str, status: Json, tell: Any) -> Iterator[Text]:
    listed = status[f"{kind}_tiles"]
    total = status["counts"]["failed"] if kind == "failed" else status[kind]
    if not total:
        return
    yield _text(f"{kind}: {total}", "bold yellow")
    for each in listed:
        yield _text(f"  {each['tile'] or place_name(each['position'])}: {tell(each)}")
    if total > len(listed):
        yield _text(f"  and {total - len(listed)} more: --all lists them", "dim")


def place_name(position: Json | Position | None) -> str:
    """The position of a tile without a name: "section 3, row 0, col 2"."""
    given = asdict(position) if isinstance(position, Position) else position or {}
    return ", ".join(f"{key} {value}" for key, value in given.items() if value is not None) or "a tile"


def utc(at: float | None) -> str | None:
    """Unix seconds as ISO 8601."""
    return None if at is None else datetime.fromtimestamp(at, timezone.utc).isoformat(timespec="milliseconds")


def local(at: str | None) -> str:
    """The time that `utc` wrote, as local time."""
    return "never" if at is None else f"{_read(at).astimezone():%Y-%m-%d %H:%M:%S}"


def _read(at: str) -> datetime:
    return datetime.fromisoformat(at)
