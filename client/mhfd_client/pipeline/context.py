"""The context that all steps of a pipeline share: the run, its ledger, its options, and a bell for each step."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

from mhfd.contract import FocusResult
from mhfd_client.files.order import Order
from mhfd_client.ledger import Ledger, Queue, Run, TileRow
from mhfd_client.pipeline.notices import Board

Result: TypeAlias = "tuple[TileRow, FocusResult]"
Results: TypeAlias = "Sequence[Result]"
Stage = Literal["watch", "gate", "transfer", "dispatch"]


@dataclass(frozen=True, kw_only=True)
class Options:
    """How one run is watched; the keys of a profile (docs/configuration.md).

    Attributes
    ----------
    once : end when everything in the folder is scored, failed or stalled
    threads : number of threads that read files
    drain_s : how long a stop waits for tiles at the endpoint
    patience_s : with `once`, end after so long without progress; the next start does the rest
    """

    poll_s: float = 5.0
    settle_s: float = 2.0
    stall_s: float = 600.0
    marker: str | None = None
    exclude: tuple[str, ...] = ()
    order: Order = "fresh"
    fresh_s: float = 120.0
    once: bool = False
    threads: int = 2
    drain_s: float = 30.0
    patience_s: float = 3600.0


class Bells(Protocol):
    """Wakes a step: `Bell`, or `mhfd_client.watch.Waker`, which rings when a folder changes."""

    def wait(self, timeout_s: float) -> bool: ...

    def ring(self) -> None: ...


class Bell:
    """Wakes a step; any thread may ring."""

    def __init__(self) -> None:
        self._rung = threading.Event()

    def wait(self, timeout_s: float) -> bool:
        """Wait for the bell, at most `timeout_s`; True if it rang since the last call."""
        rang = self._rung.wait(timeout_s)
        self._rung.clear()
        return rang

    def ring(self) -> None:
        self._rung.set()


@dataclass(frozen=True)
class Context:
    """Passed to every step."""

    run: Run
    ledger: Ledger
    options: Options
    board: Board
    bells: Mapping[Stage, Bells]

    @property
    def root(self) -> Path:
        """The watched folder."""
        return Path(self.run.root)

    def take(self, queue: Queue, limit: int, *, exclude: Collection[int] = ()) -> list[TileRow]:
        """The next tiles of a queue, in the order that the options ask for."""
        return self.ledger.take(
            self.run.run_id,
            queue,
            limit,
            order=self.options.order,
            fresh_s=self.options.fresh_s,
            now=time.time(),
            exclude=exclude,
        )

    def wake(self, stage: Stage) -> None:
        """Wake a step that has something to do."""
        self.bells[stage].ring()
