"""The state of a run: for `mhfd status`, and for other programs as plain JSON types."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, get_args

from mhfd.text import counted, visible
from mhfd_client.ledger import Json, Ledger, Missing, Run, State, TileRow
from mhfd_client.naming.position import Position

if TYPE_CHECKING:
    from rich.text import Text

SCHEMA = 1
SILENT_S = 60.0  # without a heartbeat for so long, a watcher counts as dead


def read_status(ledger: Ledger, run: Run, now: float, limit: int | None = 20) -> Json:
    """The status of a run; its keys are listed in docs/ledger.md. Times are ISO 8601, UTC.

    Parameters
    ----------
    limit : of the tiles listed for each kind of trouble; None lists all
    """
    found = ledger.summary(run.run_id, now)
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
        "per_minute": round(found.recent / found.window_s * 60, 2),
        "waiting_since": utc(found.waiting_since),
        "last_scored_at": utc(found.last_scored_at),
        "stalled_tiles": [_stalled(row) for row in stalled],
        "failed_tiles": [_failed(row) for row in failed],
        "missing_tiles": [_missing(each) for each in ledger.missing(run.run_id, limit)],
    }


def _watcher(beat: Json | None, at: float | None, now: float) -> Json | None:
    if beat is None or at is None:
        return None
    scan_s_ago = beat.get("last_scan_s_ago")
    return {
        "alive": not beat.get("ended") and now - at < SILENT_S,
        "pid": beat.get("pid"),
        "host": beat.get("host"),
        "since": utc(beat.get("started_at")),
        "last_sign_at": utc(at),
        "last_scan_at": None if scan_s_ago is None else utc(at - scan_s_ago),
        "transfer": beat.get("transfer"),
        "notices": [{"text": each["text"], "since": utc(each["since"])} for each in beat.get("notices", [])],
    }


def _stalled(row: TileRow) -> Json:
    return {"tile": row.name, "reason": row.reason, "changed_at": utc(row.changed_at)}


def _failed(row: TileRow) -> Json:
    return {"tile": row.name, "code": row.error_code, "message": row.error_message, "at": utc(row.scored_at)}


def _missing(each: Missing) -> Json:
    where = asdict(each.position) if each.position else None
    return {"tile": each.name, "position": where, "why": each.why, "since": utc(each.since)}


def lines(status: Json) -> Iterator[Text]:
    """The status for people, in local time."""
    run, counts = status["run"], status["counts"]
    yield _text(f"{run['folder']}, scored on {run['endpoint']}", "bold")
    yield from _watcher_lines(status["watcher"], status["time"])
    for state, n in counts.items():
        if n or state == "scored":
            yield _text(f"  {state:10}{n:>10}{_remark(state, status)}", "yellow" if state == "failed" else "")
    for name, what in (("gone", "vanished before they were scored"), ("superseded", "taken again since")):
        if status[name]:
            yield _text(f"  {name:10}{status[name]:>10}  ({what})", "dim")
    if status["identical_frames"]:
        tiles = counted(status["identical_frames"], "tile has", "tiles have")
        yield _text(f"{tiles} exactly the pixels of an earlier one; `mhfd export` says which", "yellow")
    if status["per_minute"]:
        yield _text(
            f"{status['per_minute']:g} {'tile' if status['per_minute'] == 1 else 'tiles'} a minute in the last minutes"
        )
    if status["to_do"]:
        yield _text(f"{status['to_do']} to be done; the oldest was seen {local(status['waiting_since'])}")
    elif status["last_scored_at"]:
        yield _text(f"nothing to be done; the last result came {local(status['last_scored_at'])}")
    yield from _list("stalled", status, lambda each: f"{each['reason']}, unchanged since {local(each['changed_at'])}")
    yield from _list("missing", status, lambda each: f"{each['why']}, since {local(each['since'])}")
    yield from _list("failed", status, lambda each: f"{each['message']} ({each['code']})")


def _watcher_lines(watcher: Json | None, now: str) -> Iterator[Text]:
    if watcher is None or not watcher["alive"]:
        seen = f"; the last sign of one was {local(watcher['last_sign_at'])}" if watcher else ""
        yield _text(f"no watcher is running{seen}", "bold yellow")
        return
    scan = watcher["last_scan_at"]
    ago = f"{max(0.0, (_read(now) - _read(scan)).total_seconds()):.0f} s ago" if scan else "not yet"
    who = f"process {watcher['pid']} on {watcher['host']}"
    yield _text(f"watching since {local(watcher['since'])} ({who}); last scan {ago}", "green")
    for notice in watcher["notices"]:
        yield _text(f"! {notice['text']} (since {local(notice['since'])})", "bold yellow")


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
