"""A watch tells people: of tiles, and of the run itself; once, also when it is killed and started again."""

from __future__ import annotations

import json
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import tifffile
from click.testing import CliRunner

from mhfd.contract import FocusParams, FocusResult, Provenance
from mhfd_client.cli import main
from mhfd_client.config import AlertSettings
from mhfd_client.judge.alerts import Alerts
from mhfd_client.judge.events import EventBook
from mhfd_client.ledger import Ledger, Missing, Run, SeenFile, TileRow, open_ledger
from mhfd_client.naming.position import Position
from mhfd_client.pipeline.alert import SIGN_IN_EVERY_S, AlertStep
from mhfd_client.pipeline.notices import Board
from mhfd_client.simulate import RunPlan, simulate_run
from receivers import Server, dead_port, http, no_proxy

__all__ = ["dead_port", "http", "no_proxy"]

END_S = 120.0


# --- The run itself -----------------------------------------------------------------------------------------------


@dataclass
class Looking:
    """A run, what looks after it, and a clock."""

    ledger: Ledger
    run: Run
    now: float = 1e9
    rules: AlertSettings = field(default_factory=AlertSettings)
    until: float | None = None

    def __post_init__(self) -> None:
        self.told: list[str] = []
        self.board = Board(lambda _: None)
        self.start()

    def start(self) -> None:
        book = EventBook(self.ledger, self.run.run_id, self.rules, tell=self.told.append, clock=lambda: self.now)
        alerts = Alerts(self.ledger, self.run.run_id, book, clock=lambda: self.now)
        self.step = AlertStep(
            self.ledger, self.run.run_id, alerts, book, self.board, endpoint="dgx", tell=self.told.append,
            signed_in_until=lambda: self.until, clock=lambda: self.now,
        )  # fmt: skip

    def look(self, after_s: float = 0.0) -> list[str]:
        """What is told some time later."""
        self.now += after_s
        del self.told[:]
        self.step.step()
        return list(self.told)

    def kinds(self) -> list[str]:
        return [event.kind for event in self.ledger.events(self.run.run_id, open_only=True)]


@pytest.fixture
def looking(tmp_path: Path) -> Iterator[Looking]:
    with open_ledger(tmp_path / "ledger.db") as ledger:
        yield Looking(ledger, ledger.open_run(str(tmp_path / "run1"), FocusParams(), layout="auto", endpoint="dgx"))


def test_missing_tiles_are_told_once_and_when_they_come(looking: Looking) -> None:
    gaps = [Missing(None, Position(section=3, row=0, col=k), "not in the grid") for k in range(5)]
    assert looking.look() == []
    looking.ledger.set_missing(looking.run.run_id, gaps, looking.now)
    (told,) = looking.look()
    assert told.startswith("5 tiles are missing: section 3, row 0, col 0; ")
    assert told.endswith(" and 2 more")
    looking.ledger.set_missing(looking.run.run_id, gaps[:1], looking.now)
    assert looking.look() == []
    looking.ledger.set_missing(looking.run.run_id, [], looking.now)
    assert looking.look() == ["no tile is missing any more"]


def test_an_endpoint_is_away_only_after_some_time(looking: Looking, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mhfd_client.pipeline.notices.time.time", lambda: looking.now)
    looking.board.put("endpoint", "endpoint 'dgx' is offline")
    assert looking.look(299) == []
    (told,) = looking.look(2)
    assert "endpoint 'dgx' does not answer since" in told
    assert "endpoint 'dgx' is offline" in told
    looking.board.put("endpoint", "endpoint 'dgx' is offline; asking again")
    assert looking.look(5) == []
    looking.board.clear("endpoint")
    assert looking.look(5) == ["endpoint 'dgx' is back"]


def test_a_restart_does_not_end_the_absence_of_an_endpoint_that_nobody_has_heard_yet(looking: Looking) -> None:
    looking.ledger.begin_event(looking.run.run_id, "endpoint", "dgx", {"text": "away"}, looking.now)
    looking.start()
    (told,) = looking.look()
    assert told.startswith("still: away")
    assert looking.look(100) == []
    assert looking.look(300) == ["endpoint 'dgx' is back"]


def test_a_sign_in_that_ends_soon_is_told(looking: Looking) -> None:
    looking.until = looking.now + 2 * 86_400
    assert looking.look() == []
    (told,) = looking.look(86_400 + SIGN_IN_EVERY_S)
    assert told.startswith("the sign-in to Globus ends 20")
    looking.until = looking.now + 10 * 86_400
    assert looking.look(SIGN_IN_EVERY_S) == ["the sign-in to Globus is valid again"]


def test_silence_is_told_only_where_it_is_asked_for(looking: Looking) -> None:
    assert looking.look() + looking.look(1e6) == []
    looking.rules = AlertSettings(silence_s=600)
    looking.start()
    assert looking.look() + looking.look(599) == []
    (told,) = looking.look(2)
    assert told.startswith("no new tile since ")
    looking.ledger.see(looking.run.run_id, [(SeenFile("a.tif", 10, 1), None)], looking.now)
    assert looking.look(5) == ["new tiles come again"]
    assert looking.kinds() == []


# --- Behind -------------------------------------------------------------------------------------------------------


def stored(looking: Looking, name: str, *, failed: bool = False) -> tuple[TileRow, FocusResult]:
    """A tile in the ledger with its result."""
    ledger, run_id = looking.ledger, looking.run.run_id
    about = Provenance(mhfd="0", params_sha256="p", backend="numpy", device="cpu", tile_sha256=name)
    ledger.see(run_id, [(SeenFile(name, 10, 1), None)], looking.now)
    (row,) = ledger.take(run_id, "seen", 1, now=looking.now)
    result = FocusResult(path=name, status="scored", provenance=about, shape=(4, 4), dtype="uint8", content=1.0)
    if failed:
        result = FocusResult.failed(name, "corrupt", "it is damaged", about)
    else:
        ledger.finish(row.tile_id, [(name, (4, 4))], looking.now)
    ledger.store([(row.tile_id, result)], looking.now)
    return row, result


def test_a_judge_who_is_far_behind_judges_the_run_from_the_ledger_and_misses_nothing(
    looking: Looking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mhfd_client.pipeline.alert.WAITING", 3)
    looking.step.put([stored(looking, f"a{k}.tif", failed=k == 0) for k in range(6)])
    assert len(looking.step._news) == 1
    (told,) = looking.look()
    assert "failed: a0.tif" in told
    noted = looking.ledger.verdicts(looking.run.run_id)
    assert noted is not None
    assert noted[0]["counts"] == {"cannot_tell": 5, "failed": 1}


def test_what_comes_while_the_judge_rests_is_judged_at_the_end(
    looking: Looking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mhfd_client.pipeline.alert.REST", 1e9)
    monkeypatch.setattr("mhfd_client.pipeline.alert.MOST_REST_S", 1e9)
    looking.step.put([stored(looking, "a.tif", failed=True)])
    assert len(looking.look()) == 1
    looking.step.put([stored(looking, "b.tif", failed=True)])
    assert looking.look() == []
    looking.step.finish()
    (told,) = looking.told
    assert "failed: b.tif" in told


# --- A process ----------------------------------------------------------------------------------------------------


@dataclass
class Watched:
    """A folder with sharp tiles and two blurred ones, and a configuration with a webhook."""

    folder: Path
    config: Path
    ledger: Path
    logs: Path
    bad: set[str]

    def start(self, *options: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "mhfd_client", "watch", self.folder, "--config", self.config]
        command += ["--ledger", self.ledger, "--log-dir", self.logs, *options]
        self.out = self.config.with_name("out")
        with self.out.open("wb") as out:
            return subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)

    @property
    def lines(self) -> list[str]:
        return self.out.read_text(encoding="utf-8").splitlines()

    def all_noted(self) -> bool:
        """Whether the ledger knows that each message was sent."""
        with closing(sqlite3.connect(f"file:{self.ledger}?mode=ro", uri=True)) as database:
            return database.execute("SELECT count(*) FROM delivery WHERE sent_at IS NULL").fetchone() == (0,)

    def logged(self) -> list[dict[str, Any]]:
        files = sorted(self.logs.glob("*.jsonl"))
        return [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def tiles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixteen sharp tiles."""
    folder = tmp_path_factory.mktemp("sharp")
    plan = RunPlan(sections=4, rows=2, cols=2, tile_px=256, bad_fraction=0, blank_fraction=0, seed=12)
    simulate_run(folder, plan)
    return folder


@pytest.fixture
def watched(tiles: Path, tmp_path: Path, http: Server) -> Watched:
    from scipy import ndimage

    folder = tmp_path / "run"
    folder.mkdir()
    names = sorted(path.name for path in tiles.glob("*.tif"))
    bad = {names[6], names[13]}
    for name in names:
        tile = tifffile.imread(tiles / name)
        pixels = ndimage.gaussian_filter(tile.astype(float), 3.0).astype("uint8") if name in bad else tile
        tifffile.imwrite(folder / name, pixels)
    config = tmp_path / "config.toml"
    config.write_text(
        "profile = 'p'\n[endpoints.local]\nworkers = 1\n[profiles.p]\npoll_s = 0.5\nsettle_s = 0.2\n"
        "params = {n_scales = 4, max_t = 5.0}\n[profiles.p.alerts]\nchannels = ['ops']\ncooldown_s = 1.0\n"
        f"[notify.ops]\nkind = 'webhook'\nurl = '{http.url}'\n"
    )
    return Watched(folder, config, tmp_path / "ledger.db", tmp_path / "logs", bad)


def wait_until(true: Callable[[], bool]) -> None:
    end_s = time.monotonic() + END_S
    while not true():
        assert time.monotonic() < end_s, "it never came true"
        time.sleep(0.05)


def told_tiles(http: Server, word: str) -> list[str]:
    """The tiles that messages name, once for each time."""
    lines = [line for body in http.bodies for line in body["text"].split("\n") if word in line]
    return [line.partition(f"{word}: ")[2].partition(" ")[0] for line in lines]


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_a_watch_that_is_killed_and_started_again_tells_each_tile_once(watched: Watched, http: Server) -> None:
    process = watched.start()
    try:
        # A message that was sent, and not yet noted as sent when the process ends, comes again: better than never.
        wait_until(lambda: set(told_tiles(http, "out of focus")) == watched.bad and watched.all_noted())
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    first = [line.split()[4] for line in watched.lines if re.match(r"..:..:.. out of focus: ", line)]
    assert sorted(first) == sorted(watched.bad)
    done = watched.start("--once").wait(END_S)
    assert (done, sorted(told_tiles(http, "out of focus"))) == (0, sorted(watched.bad))
    again = [line for line in watched.lines if "out of focus: " in line]
    assert [re.match(r"..:..:.. still out of focus: ", line) is not None for line in again] == [True, True]
    standing = [each["tile"] for each in watched.logged() if "tile" in each]
    assert sorted((each["name"], each["standing"]) for each in standing) == sorted(
        (name, standing) for name in watched.bad for standing in (False, True)
    )
    assert all(each["blur_px"] > 2 and each["usual_px"] < 1 for each in standing if not each["standing"])


def test_a_retaken_tile_is_corrected_after_a_restart_where_the_first_word_was_told(
    watched: Watched, http: Server, tiles: Path
) -> None:
    assert watched.start("--once").wait(END_S) == 0
    again = min(watched.bad)
    tifffile.imwrite(watched.folder / again, tifffile.imread(tiles / again))
    assert watched.start("--once").wait(END_S) == 0
    assert told_tiles(http, "now in focus") == [again]
    told = (
        rf"..:..:.. now in focus: {re.escape(again)} \(section \d+, row \d+, col \d+: taken again, was out of focus, "
    )
    assert any(re.match(told, line) for line in watched.lines)


def test_a_dead_channel_neither_delays_nor_ends_a_watch_and_its_messages_come_later(
    watched: Watched, http: Server, dead_port: int
) -> None:
    config = watched.config.read_text()
    watched.config.write_text(config.replace(http.url, f"http://127.0.0.1:{dead_port}"))
    assert watched.start("--once", "--quiet").wait(END_S) == 0
    assert not any("out of focus" in line for line in watched.lines)
    assert {each["tile"]["name"] for each in watched.logged() if "tile" in each} == watched.bad
    watched.config.write_text(config)
    assert watched.start("--once", "--quiet").wait(END_S) == 0
    assert sorted(told_tiles(http, "out of focus")) == sorted(watched.bad)


# --- `mhfd alerts` ------------------------------------------------------------------------------------------------


def alerts(looking: Looking, *options: str) -> Any:
    where = Path(looking.run.root).with_name("ledger.db")
    return CliRunner().invoke(main, ["alerts", "--ledger", str(where), *options])


def test_alerts_are_listed_and_acknowledged(looking: Looking) -> None:
    looking.ledger.set_missing(looking.run.run_id, [Missing("a\x1b.tif", None, "listed")], looking.now)
    looking.look()
    (event,) = looking.ledger.events(looking.run.run_id)
    listed = alerts(looking)
    assert (listed.exit_code, r"1 tile is missing: a\x1b.tif" in listed.stdout, "lasts" in listed.stdout) == (
        0,
        True,
        True,
    )
    seen = alerts(looking, "--ack", str(event.event_id), "--by", "ana")
    assert (seen.exit_code, seen.stdout) == (0, f"event {event.event_id} is acknowledged, seen by ana\n")
    found = json.loads(alerts(looking, "--json").stdout)
    assert found["schema"] == 1
    (shown,) = found["events"]
    assert (shown["kind"], shown["acknowledged_by"], shown["ended_at"]) == ("missing", "ana", None)


def test_an_event_that_is_not_there_and_a_name_alone_are_refused(looking: Looking) -> None:
    assert alerts(looking, "--ack", "99").exit_code == 78
    assert alerts(looking, "--by", "ana").exit_code == 2


def test_channels_are_tried_all_of_them(tmp_path: Path, http: Server, dead_port: int) -> None:
    config = tmp_path / "config.toml"
    config.write_text(
        f"[notify.dead]\nkind = 'webhook'\nurl = 'http://127.0.0.1:{dead_port}'\n"
        f"[notify.ops]\nkind = 'webhook'\nurl = '{http.url}'\n"
    )
    done = CliRunner().invoke(main, ["alerts", "--test", "--config", str(config)])
    assert (done.exit_code, "ops: sent" in done.stdout, "refused" in done.stdout) == (75, True, True)
    assert [body["title"] for body in http.bodies] == ["a test"]
    found = json.loads(CliRunner().invoke(main, ["alerts", "--test", "--json", "--config", str(config)]).stdout)
    assert [each["name"] for each in found["channels"] if each["error"] is None] == ["ops"]


def test_without_a_channel_there_is_nothing_to_test(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("")
    done = CliRunner().invoke(main, ["alerts", "--test", "--config", str(tmp_path / "config.toml")])
    assert (done.exit_code, "add a table [notify.NAME]" in done.output) == (78, True)
