"""`ready` -> `staged`: files go where the endpoint can read them, and their copies are removed once they are scored."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Iterable
from functools import partial

from mhfd.contract import MhfdError
from mhfd_client.files.names import to_local
from mhfd_client.ledger import State, TileRow
from mhfd_client.pipeline.context import Context
from mhfd_client.pipeline.gate import unreadable
from mhfd_client.transfer.protocol import Arrived, NotSent, Outgoing, Transfer

log = logging.getLogger(__name__)

ROWS_AT_ONCE = 2000
WAIT_S = 0.5  # between two polls while files are on their way
IDLE_S = 5.0
CLEAN_AT_ONCE = 5000
CLEAN_EVERY_S = 30.0


class TransferStep:
    """Runs the transfer in a thread of its own: requests to a service may be slow."""

    name = "transfer"

    def __init__(
        self,
        context: Context,
        transfer: Transfer,
    ) -> None:
        self._context = context
        self._run = context.run
        self._ledger = context.ledger
        self._board = context.board
        self._transfer = transfer
        self._unnoted: list[Arrived | NotSent] = []
        self._resumed = False
        self._not_before_s = 0.0
        self._clean_s = time.monotonic()

    def step(self) -> float:
        self._transfer.connect(interactive=False)
        if not self._resumed:  # the service knows an earlier process's tickets: nothing is moved twice
            for ticket, rows in self._ledger.tickets(self._run.run_id).items():
                self._transfer.send(ticket, self._files(rows))
            self._restage()
            self._resumed = True
            self._clean_s = -CLEAN_EVERY_S  # what an earlier process left goes now
        self._take_outcomes()
        sent = self._send_next()
        if time.monotonic() >= self._clean_s + CLEAN_EVERY_S:
            self.clean()
        self._tell()
        if sent:
            return 0.0
        return WAIT_S if self._ledger.sending_count(self._run.run_id) else IDLE_S

    def _restage(self) -> None:
        """Copy staged tiles that have no copy, since an earlier configuration sent them another way."""
        if self._transfer.name == "globus":
            states: tuple[State, ...] = ("staged",)
            staged = [row.tile_id for row in self._ledger.rows(self._run.run_id, states=states) if row.place is None]
            self._ledger.back(staged, "ready", "it is copied now", time.time())

    def finish(self) -> None:
        """Clean up after the last step; what cannot be removed now is removed after the next start."""
        try:
            self.clean()
        except (MhfdError, OSError) as error:
            log.warning("copies of scored tiles are not removed yet: %s", error)

    def _send_next(self) -> bool:
        now_s = time.monotonic()
        room = self._transfer.room() if now_s >= self._not_before_s else 0
        if room <= 0:
            return False
        rows = self._context.take("ready", min(room, ROWS_AT_ONCE))
        if not rows:
            return False
        ticket = self._transfer.ticket()
        self._ledger.sending([row.tile_id for row in rows], ticket, time.time())
        self._transfer.send(ticket, self._files(rows))
        self._take_outcomes()
        return True

    def _files(self, rows: Iterable[TileRow]) -> list[Outgoing]:
        """The rows by file: pages of a file travel together."""
        files: dict[tuple[str, int], list[TileRow]] = defaultdict(list)
        for row in rows:
            files[row.path, row.generation].append(row)
        root = self._context.root
        return [
            Outgoing(
                tile_ids=tuple(row.tile_id for row in pages),
                file=to_local(root, path),
                path=path,
                size=pages[0].size,
                generation=generation,
                returned=any(row.attempts for row in pages),
            )
            for (path, generation), pages in files.items()
        ]

    def _take_outcomes(self) -> None:
        self._unnoted = outcomes = self._unnoted or self._transfer.poll()  # which returns each only once
        if not outcomes:
            return
        now = time.time()
        arrived = [each for each in outcomes if isinstance(each, Arrived)]
        with self._ledger.transaction():
            self._ledger.stage([(tile_id, each.place) for each in arrived for tile_id in each.outgoing.tile_ids], now)
            for each in outcomes:
                if isinstance(each, NotSent):
                    self._note(each, now)
        self._unnoted = []  # only now: the ledger may have been full
        if arrived:
            self._context.wake("dispatch")

    def _note(self, failed: NotSent, now: float) -> None:
        tile_ids = failed.outgoing.tile_ids
        if failed.again:
            self._ledger.unsent(tile_ids, now)
            self._not_before_s = max(self._not_before_s, time.monotonic() + failed.after_s)
        elif failed.code in (None, "not_found"):  # replaced or removed: the gate reads it again
            self._ledger.back(tile_ids, "seen", failed.message, now)
        else:
            rows = self._ledger.get(tile_ids)
            self._ledger.store(
                [(row.tile_id, unreadable(row, failed.code, failed.message, self._run)) for row in rows], now
            )

    def clean(self) -> None:
        """Remove the copies of scored tiles that the ledger lists: it forgets them only once the service is told."""
        self._clean_s = time.monotonic()
        while copies := self._ledger.to_clean(self._run.run_id, CLEAN_AT_ONCE):
            if not self._transfer.clean([place for _, place in copies]):
                return
            self._ledger.cleaned([tile_id for tile_id, _ in copies])
        self._transfer.sweep(partial(self._ledger.copies, self._run.run_id))

    def _tell(self) -> None:
        notices = self._transfer.notices()
        if notices:
            self._board.put("transfer", "; ".join(notices))
        else:
            self._board.clear("transfer", "transfer: works again")
