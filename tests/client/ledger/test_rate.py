"""The rate of a run is that of its work: pauses do not count, and a backlog has an end in sight."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner

from mhfd.contract import FocusResult
from mhfd_client.cli import main
from mhfd_client.ledger import Ledger, Run
from mhfd_client.ledger.rate import WINDOW_S, working_s
from mhfd_client.views.status import duration, rate_in_words

pytestmark = pytest.mark.usefixtures("no_configuration")

Walk = Callable[..., int]
Make = Callable[..., FocusResult]

STEADY = [1000.0 + 2.0 * k for k in range(20)]  # every two seconds, for 38 s


def test_steady_results_take_the_time_since_the_first() -> None:
    assert working_s(STEADY, 1040.0, busy=False) == pytest.approx(40.0)
    assert working_s(STEADY, 1070.0, busy=False) == pytest.approx(40.0)  # and does not become more


def test_a_pause_between_two_bursts_does_not_count() -> None:
    later = [at + 200.0 for at in STEADY]
    assert working_s([*STEADY, *later], 1240.0, busy=False) == pytest.approx(38.0 + 2.0 + 38.0 + 2.0)


def test_idle_time_since_the_last_result_does_not_count_unless_there_is_work() -> None:
    assert working_s(STEADY, 1038.0 + 150.0, busy=False) == pytest.approx(38.0 + 2.0)
    assert working_s(STEADY, 1038.0 + 150.0, busy=True) == pytest.approx(38.0 + 150.0)


def test_a_task_that_brings_several_results_is_one_interval() -> None:
    batches = [at for at in (0.0, 16.0, 32.0) for _ in range(50)]
    assert working_s(batches, 100.0, busy=False) == pytest.approx(32.0 + 16.0)


def test_a_microscope_that_takes_a_tile_in_two_minutes_does_not_pause() -> None:
    assert working_s([0.0, 120.0, 240.0], 250.0, busy=False) == pytest.approx(250.0)


def test_results_that_came_together_tell_no_rate() -> None:
    assert working_s([5.0] * 9, 5.0, busy=False) == WINDOW_S
    assert working_s([5.0, 5.01], 5.02, busy=False) == 10.0


def test_the_status_says_rate_window_and_when_the_backlog_is_done(
    ledger: Ledger, run: Run, walk: Walk, make_scored: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    for k in range(20):
        ledger.store([(walk(f"{k}.tif", "submitted", now=1000.0), make_scored("", "p"))], STEADY[k])
    for k in range(60):
        walk(f"late{k}.tif", "ready", now=1000.0)
    monkeypatch.setattr("mhfd_client.cli.tiles.time.time", lambda: 1040.0)
    found = json.loads(CliRunner().invoke(main, ["status", "--json"]).stdout)
    assert (found["per_minute"], found["rate_results"], found["rate_s"], found["eta_s"]) == (30.0, 20, 40.0, 120)
    text = CliRunner().invoke(main, ["status"]).stdout
    assert "30 tiles a minute (the last 20 results, in 40 s of work)" in text
    assert "60 to be done; about 2 min left at this rate; the oldest was seen " in text
    monkeypatch.setattr("mhfd_client.cli.tiles.time.time", lambda: 9000.0)
    hours_later = CliRunner().invoke(main, ["status"]).stdout
    assert "a minute" not in hours_later and "at this rate" not in hours_later


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.4, "0.4 s"),
        (9.96, "10 s"),
        (80, "80 s"),
        (95, "1.6 min"),
        (3600, "60 min"),
        (9000, "2.5 h"),
        (864000, "10 d"),
    ],
)
def test_a_duration_has_two_digits(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_one_is_singular() -> None:
    assert rate_in_words(1.0, 1, 60.0) == "1 tile a minute (the last result, in 60 s of work)"


def test_the_heartbeat_of_a_watch_has_the_pace(tmp_path: Path, ledger: Ledger, where: str) -> None:
    folder = tmp_path / "watched"
    folder.mkdir()
    tifffile.imwrite(folder / "t.tif", np.random.default_rng(1).integers(0, 255, (64, 64), np.uint8))
    done = CliRunner().invoke(main, ["watch", str(folder), "--once"], env={"MHFD_SETTLE_S": "0.1"})
    assert done.exit_code == 0, done.output
    beat = ledger.summary(ledger.find_run(str(folder)).run_id).heartbeat
    assert beat is not None
    assert (beat["ended"], beat["to_do"], beat["eta_s"]) == (True, 0, None)
    assert beat["per_minute"] > 0
