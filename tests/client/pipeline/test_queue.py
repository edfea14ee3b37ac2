"""What a watch shows of tiles that wait for an endpoint's workers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mhfd.contract import FocusParams
from mhfd_client.dispatch.queueing import Waiting
from mhfd_client.ledger import Ledger, Run, open_ledger
from mhfd_client.pipeline import Board
from mhfd_client.pipeline.assembly import _show_queue
from mhfd_client.pipeline.pipeline import _Standstill
from mhfd_client.views.page.events import health
from mhfd_client.views.status import lines, read_status, utc

SINCE = 1_760_000_000.0


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with open_ledger(tmp_path / "ledger.db") as ledger:
        yield ledger


@pytest.fixture
def run(ledger: Ledger, tmp_path: Path) -> Run:
    return ledger.open_run(str(tmp_path), FocusParams(), layout="auto", endpoint="dgx")


def test_the_notice_counts_the_tiles_of_the_run_and_ends_with_the_queue(ledger: Ledger, run: Run) -> None:
    told: list[str] = []
    board = Board(told.append)
    _show_queue(ledger, run, board, Waiting("dgx", SINCE, tiles=128))
    notice = board.notice("queue")
    assert notice is not None
    assert notice.since == SINCE
    assert notice.text.endswith("0 tiles wait"), "the ledger has none; 128 are only those that were sent"
    _show_queue(ledger, run, board, None)
    assert board.notice("queue") is None


def test_workers_that_do_not_start_are_the_endpoints_trouble(ledger: Ledger, run: Run) -> None:
    """So that people are told of it as of an endpoint that does not answer."""
    board = Board(lambda _: None)
    _show_queue(ledger, run, board, Waiting("dgx", SINCE, tiles=1))
    _show_queue(ledger, run, board, Waiting("dgx", SINCE, tiles=1, silent=True))
    assert board.notice("queue") is None
    notice = board.notice("endpoint")
    assert notice is not None
    assert "its workers do not start" in notice.text


def test_the_status_and_the_page_say_since_when(ledger: Ledger, run: Run) -> None:
    now = time.time()
    text = "endpoint 'dgx' has no workers yet: queued since 14:03, 812 tiles wait"
    beat = {"pid": 7, "host": "scope", "queued_since": SINCE, "notices": [{"text": text, "since": SINCE}]}
    ledger.heartbeat(run.run_id, beat, now)
    status = read_status(ledger, run, now)
    assert status["watcher"]["queued_since"] == utc(SINCE)
    assert any("queued since 14:03, 812 tiles wait" in str(line) for line in lines(status))
    shown = health(ledger, run, ledger.summary(run.run_id), [], now)
    assert shown["queue"]["workers_awaited"] == utc(SINCE)


def test_time_in_a_queue_is_no_standstill(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("mhfd_client.pipeline.pipeline.time.monotonic", lambda: now)
    standstill = _Standstill()
    now = 7200.0
    assert standstill.lasts_s({}, queued=True) == 0.0
    now = 7260.0
    assert standstill.lasts_s({}) == 60.0
