"""The base of transfers that move nothing: each file is decided as soon as it is handed over."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Sequence

from mhfd_client.transfer.protocol import Arrived, Json, NotSent, Outgoing

ROOM = 10_000  # files; not a limit of anything, the ledger is the queue


class Immediate:
    """A `Transfer` that moves nothing.

    Parameters
    ----------
    decide : decides whether the endpoint gets the file
    """

    def __init__(self, decide: Callable[[Outgoing], Arrived | NotSent]) -> None:
        self._decide = decide
        self._decided: list[Arrived | NotSent] = []

    def connect(self, *, interactive: bool | None = None) -> None:
        """Nothing to sign in to."""

    def room(self) -> int:
        return ROOM

    def ticket(self) -> str:
        return str(uuid.uuid4())

    def send(self, ticket: str, files: Sequence[Outgoing]) -> None:
        self._decided += map(self._decide, files)

    def poll(self) -> list[Arrived | NotSent]:
        decided, self._decided = self._decided, []
        return decided

    def clean(self, places: Sequence[Json]) -> bool:
        """There are no copies."""
        return True

    def sweep(self, used: Callable[[], Iterable[Json]]) -> None:
        """There are no bundles."""

    def notices(self) -> list[str]:
        return []

    def close(self) -> None:
        """Nothing is held."""
