"""A cell that follows a run: it is updated in place, in every front end that shows HTML."""

from __future__ import annotations

import time
from typing import Any

from mhfd.contract import MhfdError
from mhfd.extras import needed
from mhfd_client.judge.run import standard_of
from mhfd_client.judge.standing import Standings
from mhfd_client.ledger import Ledger, LedgerError, Run
from mhfd_client.notebook.cell import run_html, trouble_html
from mhfd_client.notebook.opening import Where, opened
from mhfd_client.notebook.recent import Recent
from mhfd_client.views.status import read_status

TILES_SHOWN = 8
SETTLE_S = 20.0
"""At the end the run is judged as a whole once more."""


def follow(run: Where = None, ledger: Where = None, *, seconds: float | None = None, every_s: float = 2.0) -> None:
    """Show how a run stands, again and again: numbers, the last tiles to look at, blur tile by tile.

    It says what `mhfd status` says, and ends when the run's watch has ended, after `seconds`, or when the cell is
    interrupted. The ledger is only read. Needs IPython, which every notebook has.

    Parameters
    ----------
    run : its folder; None: the run opened last
    ledger : a file or postgresql:// URL; None: the configuration's
    every_s : between two looks

    Raises
    ------
    LedgerError
        There is no such run or ledger. Once the cell is there, a ledger that is away is only told of.
    MhfdError
        This is no notebook.
    """
    display = needed("IPython.display", "notebook", "a live cell")
    if needed("IPython", "notebook", "a live cell").get_ipython() is None:
        raise MhfdError("follow shows a cell of a notebook, and this is none; in a terminal: mhfd status --follow")
    with opened(run, ledger) as (found, which), Recent(found, which.run_id) as recent:
        look = _Look(found, which, recent)
        end_s = None if seconds is None else time.monotonic() + seconds
        handle = display.display(display.HTML(look()), display_id=True)
        try:
            while not (look.has_ended() or (end_s is not None and time.monotonic() >= end_s)):
                recent.wait(every_s if end_s is None else max(0.0, min(every_s, end_s - time.monotonic())))
                handle.update(display.HTML(look()))
            recent.settle(SETTLE_S)
            handle.update(display.HTML(look()))
        except KeyboardInterrupt:  # the cell is done, not broken
            handle.update(display.HTML(look()))


class _Look:
    """One look at a run, as HTML."""

    def __init__(self, ledger: Ledger, run: Run, recent: Recent) -> None:
        self._ledger, self._run, self._recent = ledger, run, recent
        self._standings = Standings(ledger, run.run_id)

    def __call__(self) -> str:
        try:
            status: dict[str, Any] = read_status(
                self._ledger, self._run, time.time(), TILES_SHOWN, standings=self._standings
            )
            limit_px = standard_of(self._ledger, self._run.run_id).rule.max_blur_px
            return run_html(status, self._recent.look(), limit_px)
        except LedgerError as error:
            return trouble_html(str(error))

    def has_ended(self) -> bool:
        """True if the run's watch has said goodbye."""
        try:
            beat = self._ledger.summary(self._run.run_id).heartbeat
        except LedgerError:
            return False
        return beat is not None and bool(beat.get("ended"))
