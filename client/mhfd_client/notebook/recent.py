"""The last tiles of a run in the order in which they were taken, judged as the live page judges them."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from types import TracebackType

from mhfd_client.judge.run import Tile
from mhfd_client.ledger import NO_TIME, Ledger
from mhfd_client.views.page.judging import Judge

MOST = 120


class Recent:
    """Looks at a run again and again, between entering and leaving."""

    def __init__(self, ledger: Ledger, run_id: int, most: int = MOST) -> None:
        self._ledger, self._run_id, self._most = ledger, run_id, most
        self._wake = threading.Event()
        self._judge = Judge(ledger, run_id, self._wake)
        self._last = NO_TIME
        self._tiles: dict[int, Tile] = {}

    def __enter__(self) -> Recent:
        self._judge.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._judge.close()

    def look(self) -> list[Tile]:
        """The last scored tiles, with verdicts: new ones at once, beside those before them; all when the run is judged
        as a whole, which is done meanwhile."""
        fresh = self._ledger.briefs_scored_since(self._run_id, self._last)
        if fresh:
            self._last = (fresh[-1].scored_at or 0.0, fresh[-1].tile_id)
        scored = sorted((each for each in fresh if each.state == "scored"), key=lambda each: each.taken)
        self._keep(self._judge.near(each.tile_id for each in scored[-self._most :]))
        if (whole := self._judge.judged()) is not None:
            newest = max((tile.scored_at for tile in whole.tiles), default=0.0)
            later = [tile for tile in self._tiles.values() if tile.scored_at > newest]
            self._tiles = {}
            self._keep([*whole.tiles[-self._most :], *later])
        self._judge.ask_if_due()
        return list(self._tiles.values())

    def wait(self, timeout_s: float) -> None:
        """Until the run was judged as a whole, or for so long."""
        self._wake.wait(timeout_s)
        self._wake.clear()

    def settle(self, timeout_s: float) -> None:
        """If the run is being judged as a whole, until it is, but only for so long."""
        if self._judge.is_busy:
            self.wait(timeout_s)

    def _keep(self, tiles: Iterable[Tile]) -> None:
        known = {**self._tiles, **{tile.tile_id: tile for tile in tiles}}
        last = sorted(known.values(), key=lambda tile: tile.taken)[-self._most :]
        self._tiles = {tile.tile_id: tile for tile in last}
