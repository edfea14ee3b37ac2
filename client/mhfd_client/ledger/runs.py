"""Runs: opening and finding them, their leases, and a pipeline's notes for the next one."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress

from mhfd.contract import FocusParams
from mhfd_client.files.near import nearest_folder
from mhfd_client.ledger.core import POSITION, Core, dumps, numbers_of, position_of
from mhfd_client.ledger.database import Record
from mhfd_client.ledger.model import Json, LedgerBusyError, LedgerError, Missing, Run

_RUNS = "SELECT run_id, root, params, params_sha256, layout, endpoint, created_at, opened_at FROM run"


class Runs(Core):
    """The part of `Ledger` about runs as a whole."""

    def open_run(self, root: str, params: FocusParams, *, layout: str, endpoint: str, now: float | None = None) -> Run:
        """The run of this folder and these parameters, a new one if need be; layout and endpoint may change."""
        now = time.time() if now is None else now
        with self.transaction():
            known = next((r for r in self.runs() if _same(r.root, root) and r.params_sha256 == params.sha256), None)
            changed = (layout, endpoint, dumps(params.to_dict()), now)
            if known is None:
                ((run_id,),) = self._ask(
                    "INSERT INTO run (layout, endpoint, params, opened_at, root, params_sha256, created_at) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING run_id",
                    *changed, _root(root), params.sha256, now,
                )  # fmt: skip
                return self.find_run(run_id)
            self._do(
                "UPDATE run SET layout = ?, endpoint = ?, params = ?, opened_at = ? WHERE run_id = ?",
                *changed, known.run_id,
            )  # fmt: skip
            return self.find_run(known.run_id)

    def runs(self) -> list[Run]:
        """All runs, the last opened first."""
        return [_run(record) for record in self._ask(f"{_RUNS} ORDER BY opened_at DESC, run_id DESC")]

    def find_run(self, which: str | int | None = None) -> Run:
        """The run of a folder (of several, the last opened), or of a number; for None the last opened.

        Raises
        ------
        LedgerError
            There is none.
        """
        runs = self.runs()
        for run in runs:
            if which is None or which == run.run_id or (isinstance(which, str) and _same(run.root, which)):
                return run
        if not runs:
            raise LedgerError(f"{self.name} has no runs yet: `mhfd watch DIR` begins one; --ledger names another")
        near = nearest_folder(which, (run.root for run in runs)) if isinstance(which, str) else None
        folders = ", ".join(dict.fromkeys(run.root for run in runs[:5]))
        hint = f"did you mean {near}?" if near else f"it has runs of {folders}"
        raise LedgerError(f"{self.name} has no run of {which}; {hint}")

    @contextmanager
    def lease(self, run_id: int) -> Generator[None, None, None]:
        """The exclusive right to run a pipeline on a run; it ends with the block, or with the process.

        Raises
        ------
        LedgerBusyError
            Another process has it; the message says which.
        """
        lease = self._database.lease(run_id)
        if lease is None:
            raise self._busy(run_id)
        self._leases[run_id] = lease
        try:
            self._note(run_id, "lease", {"host": platform.node(), "pid": os.getpid()}, time.time())
            yield
        finally:
            del self._leases[run_id]
            with suppress(LedgerError):  # the note only informs
                self._note(run_id, "lease", None, time.time())
            lease.release()

    def _busy(self, run_id: int) -> LedgerBusyError:
        holder, since = self._noted(run_id, "lease") or ({}, time.time())
        return LedgerBusyError(
            f"process {holder.get('pid', '?')} on {holder.get('host', '?')} has worked on this run since "
            f"{time.strftime('%Y-%m-%d %H:%M', time.localtime(since))}; end it first, or watch another folder"
        )

    def heartbeat(self, run_id: int, status: Json, now: float) -> None:
        """Store a pipeline's sign of life; `mhfd status` shows the keys that views/status.py reads.

        Raises
        ------
        LedgerGoneError
            The ledger's file is not the one that was opened.
        LedgerBusyError
            The lease was lost while the database was away, and another process has it now.
        """
        self._database.check()
        lease = self._leases.get(run_id)
        if lease is not None and not lease.renew():
            raise self._busy(run_id)
        self._note(run_id, "heartbeat", status, now)

    def save_resume(self, run_id: int, state: Json | None) -> None:
        """Store a client's state, with which another takes up its tasks, and each attempt's task."""
        with self.transaction():
            self._note(run_id, "resume", state, time.time())
            tasks = (state or {}).get("tasks", [])
            known = [(task["task_id"], tile.get("tag")) for task in tasks for tile in task["tiles"] if task["task_id"]]
            self._many(
                "UPDATE attempt SET task_id = ? WHERE tile_id = ? AND ended_at IS NULL "
                "AND (task_id IS NULL OR task_id <> ?)",
                [(task_id, int(tag), task_id) for task_id, tag in known if tag],
            )

    def resume(self, run_id: int) -> Json | None:
        """The state last given to `save_resume`."""
        found = self._noted(run_id, "resume")
        return found[0] if found else None

    def set_missing(self, run_id: int, missing: Sequence[Missing], now: float) -> None:
        """Replace the list of missing tiles; those that were missing before keep the time of their first note."""
        wanted = {_item(each): each for each in missing}
        with self.transaction():
            known = {_item(each): each for each in self.missing(run_id)}
            ended = [item for item, each in known.items() if item not in wanted or wanted[item].why != each.why]
            begun = [item for item, each in wanted.items() if item not in known or known[item].why != each.why]
            self._many("DELETE FROM missing WHERE run_id = ? AND item = ?", [(run_id, item) for item in ended])
            self._many(
                f"INSERT INTO missing (run_id, item, name, why, noted_at, {', '.join(POSITION)}) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (run_id, item, each.name, each.why, since.since if since else now, *numbers_of(each.position))
                    for item in begun
                    for each, since in [(wanted[item], known.get(item))]
                ],
            )

    def missing(self, run_id: int, limit: int | None = None) -> list[Missing]:
        """The missing tiles, the first noted first."""
        found = self._ask(
            f"SELECT name, why, noted_at, {', '.join(POSITION)} FROM missing WHERE run_id = ? "
            f"ORDER BY noted_at, {', '.join(POSITION)}, item LIMIT ?",
            run_id, 2**62 if limit is None else limit,
        )  # fmt: skip
        return [Missing(name, position_of(*numbers), why, noted_at) for name, why, noted_at, *numbers in found]


def _item(missing: Missing) -> str:
    """The key of a missing tile."""
    return missing.name or str(numbers_of(missing.position))


def _run(record: Record) -> Run:
    run_id, root, params, *rest = record
    return Run(run_id, root, FocusParams.from_dict(json.loads(params)), *rest)


def _root(root: str) -> str:
    return os.path.abspath(root)  # noqa: PTH100  (Path.absolute leaves "..")


def _same(known: str, root: str) -> bool:
    """True for the same folder, by any link; without regard to case where the system has none."""
    return os.path.normcase(known) in (os.path.normcase(_root(root)), os.path.normcase(os.path.realpath(root)))
