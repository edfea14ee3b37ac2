"""The Transfer service's state, in memory and in a journal, so that it survives a kill.

Every change is written to the journal first, then made; a restart makes all changes of the journal. There is one
method for each kind of line; `_apply` finds it by name.
"""

from __future__ import annotations

import json
import threading
import time
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

Json = dict[str, Any]
Kind = Literal["TRANSFER", "DELETE"]
Outcome = Literal["pending", "done", "same", "skipped"]


def iso(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="seconds")


@dataclass
class Item:
    """One file of a task: "same" was there already, "skipped" could not be read."""

    source: str
    destination: str
    outcome: Outcome = "pending"
    size: int = 0
    checksum: str | None = None
    error: str | None = None
    details: str = ""
    expected: tuple[str, str] | None = None  # algorithm and digest, as the client knows it


@dataclass
class Task:
    """A transfer or a deletion; `document` is the submission."""

    id: str
    kind: Kind
    document: Json
    requested_s: float
    items: list[Item]
    status: str = "ACTIVE"
    why: str = "Queued"  # Globus calls it the nice status
    details: str | None = None
    completed_s: float | None = None
    fatal_error: Json | None = None
    cancelled_by_admin: str | None = None
    events: list[Json] = field(default_factory=list)
    spoilt: list[int] = field(default_factory=list)  # items of which one copy was corrupted on purpose

    @property
    def deadline_s(self) -> float:
        given = self.document.get("deadline")
        return datetime.fromisoformat(given).timestamp() if given else self.requested_s + 24 * 3600

    @property
    def source(self) -> str:
        return str(self.document.get("source_endpoint") or self.document["endpoint"])

    @property
    def destination(self) -> str | None:
        return self.document.get("destination_endpoint")

    def of(self, outcome: Outcome) -> list[Item]:
        return [item for item in self.items if item.outcome == outcome]

    def public(self) -> Json:
        """The task document."""
        done, active = self.of("done"), self.status == "ACTIVE"
        moved = sum(item.size for item in done)
        elapsed = max(1e-3, (self.completed_s or time.time()) - self.requested_s)
        return {
            "DATA_TYPE": "task",
            "task_id": self.id,
            "type": self.kind,
            "status": self.status,
            "nice_status": self.why if active else None,
            "nice_status_short_description": self.why if active else None,
            "nice_status_details": self.details if active else None,
            "is_ok": self.why in ("OK", "Queued") if active else None,
            "is_paused": self.why == "PAUSED_BY_ADMIN",
            "label": self.document.get("label"),
            "request_time": iso(self.requested_s),
            "completion_time": iso(self.completed_s),
            "deadline": iso(self.deadline_s),
            "source_endpoint_id": self.source,
            "destination_endpoint_id": self.destination,
            "files": len(self.items),
            "directories": 0,
            "files_skipped": len(self.of("same")),
            "files_transferred": len(done) if self.kind == "TRANSFER" else 0,
            "bytes_transferred": moved,
            "bytes_checksummed": moved if self.document.get("verify_checksum") else 0,
            "effective_bytes_per_second": int(moved / elapsed),
            "subtasks_total": len(self.items),
            "subtasks_pending": len(self.of("pending")),
            "subtasks_succeeded": len(done) + len(self.of("same")),
            "subtasks_skipped_errors": len(self.of("skipped")),
            "faults": sum(event["is_error"] for event in self.events),
            "fatal_error": self.fatal_error,
            "canceled_by_admin": "DESTINATION" if self.cancelled_by_admin else None,
            "canceled_by_admin_message": self.cancelled_by_admin,
            "sync_level": self.document.get("sync_level"),
            "verify_checksum": self.document.get("verify_checksum", True),
            "skip_source_errors": self.document.get("skip_source_errors", False),
            "fail_on_quota_errors": self.document.get("fail_on_quota_errors", False),
            "encrypt_data": self.document.get("encrypt_data", False),
            "history_deleted": False,
        }


class Records:
    """All submissions and tasks; methods may be called from any thread."""

    def __init__(self, folder: Path) -> None:
        self.submissions: dict[str, str | None] = {}  # id -> task, once there is one
        self.tasks: dict[str, Task] = {}
        self._lock = threading.RLock()
        file = folder / "journal"
        if file.exists():
            for line in file.read_text(encoding="utf-8").splitlines():
                try:
                    change = json.loads(line)
                except ValueError:  # killed while writing it
                    break
                self._apply(change)
            file.write_text("".join(f"{json.dumps(each)}\n" for each in self._all()), encoding="utf-8")
        self._journal = file.open("a", encoding="utf-8")

    def change(self, what: str, **values: Any) -> None:
        with self._lock:
            if isinstance(values.get("task"), str) and values["task"] not in self.tasks:  # forgotten meanwhile
                return
            self._journal.write(json.dumps({"what": what, **values}) + "\n")
            self._journal.flush()
            self._apply({"what": what, **values})

    def forget(self) -> None:
        """Lose everything, as when records are lost on the service's side."""
        with self._lock:
            self._journal.truncate(0)
            self.tasks.clear()
            self.submissions.clear()

    def event(self, task: Task, code: str, details: str = "", *, error: bool = False) -> None:
        about = {"description": code.replace("_", " ").lower(), "details": details, "is_error": error}
        self.change(
            "event", task=task.id, event={"DATA_TYPE": "event", "code": code, "time": iso(time.time()), **about}
        )

    def set(self, task: Task, **values: Any) -> None:
        if any(getattr(task, name) != value for name, value in values.items()):
            self.change("set", task=task.id, values=values)

    def end(self, task: Task, status: str, code: str, details: str = "") -> None:
        """Only the first end counts."""
        with self._lock:
            if task.status not in ("ACTIVE", "INACTIVE"):
                return
            self.event(task, code, details, error=status == "FAILED")
            fatal = {"code": code, "description": details or code} if status == "FAILED" else None
            self.set(task, status=status, completed_s=time.time(), fatal_error=fatal)

    def settle(self, task: Task, number: int, **values: Any) -> None:
        self.change("item", task=task.id, number=number, values=values)

    def _apply(self, change: Json) -> None:
        change = dict(change)
        getattr(self, f"_{change.pop('what')}")(**change)

    def _submission(self, submission: str) -> None:
        self.submissions.setdefault(submission, None)

    def _task(self, submission: str, task: Json) -> None:
        items = [Item(**item) for item in task["items"]]
        self.tasks[task["id"]] = Task(**{**task, "items": items})
        self.submissions[submission] = task["id"]

    def _event(self, task: str, event: Json) -> None:
        self.tasks[task].events.append(event)

    def _set(self, task: str, values: Json) -> None:
        for name, value in values.items():
            setattr(self.tasks[task], name, value)

    def _item(self, task: str, number: int, values: Json) -> None:
        for name, value in values.items():
            setattr(self.tasks[task].items[number], name, value)

    def _all(self) -> list[Json]:
        """The changes that make the current state: a shorter journal."""
        by_task = {task: submission for submission, task in self.submissions.items() if task}
        return [
            *({"what": "submission", "submission": each} for each, task in self.submissions.items() if task is None),
            *({"what": "task", "submission": by_task[each.id], "task": asdict(each)} for each in self.tasks.values()),
        ]
