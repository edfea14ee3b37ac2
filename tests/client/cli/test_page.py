"""The commands that serve the page, as processes of their own."""

from __future__ import annotations

import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import tifffile
from click.testing import CliRunner, Result

from mhfd.contract import ExitCode
from mhfd_client.cli import main
from page_client import WAIT_S, Asker, until
from page_run import Filling, Wafer, open_filling, tissue

BAD = (3, 1, 1)
WAFER = Wafer(sections=4, rows=2, cols=3, odd={BAD: 2.6}, pictures=False)
END_S = 60.0

posix = pytest.mark.skipif(sys.platform == "win32", reason="SIGINT cannot be sent to one process on Windows")


@dataclass
class Running:
    """A command that runs."""

    process: subprocess.Popen[str]
    said: list[str] = field(default_factory=list)
    _pages: queue.SimpleQueue[str | None] = field(default_factory=queue.SimpleQueue)

    def listen(self) -> None:
        """Read what it says, until it ends."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said.append(line)
            if line.startswith("page: "):
                self._pages.put(line.removeprefix("page: ").strip())
        self._pages.put(None)

    def page(self) -> Asker:
        """Its page, as soon as it says where that is."""
        url = self._pages.get(timeout=WAIT_S)
        assert url is not None, "".join(self.said)
        return Asker(url.partition("#")[0])

    def interrupt(self) -> int:
        """Ctrl-C; the exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(END_S)


@contextmanager
def running(*words: str | Path, folder: Path) -> Iterator[Running]:
    """`mhfd` in a process of its own."""
    command = [sys.executable, "-m", "mhfd_client", *map(str, words)]
    environment = {**os.environ, "MHFD_CONFIG": os.devnull}
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=folder, env=environment
    ) as process:
        found = Running(process)
        reader = threading.Thread(target=found.listen, daemon=True)
        reader.start()
        try:
            yield found
        finally:
            process.kill()
            process.wait(END_S)
            reader.join(END_S)


@pytest.fixture
def filling(tmp_path: Path) -> Iterator[Filling]:
    found = open_filling(tmp_path, WAFER)
    with found.ledger:
        found.add(WAFER.spots())
        yield found


def ledger_of(filling: Filling) -> Path:
    return filling.root.parent / "ledger.db"


def dashboard(filling: Filling) -> list[str | Path]:
    return ["dashboard", filling.root, "--ledger", ledger_of(filling), "--port", "0"]


def invoke(*words: str | Path) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


@posix
def test_the_dashboard_serves_until_ctrl_c_and_what_was_decided_is_kept(filling: Filling, tmp_path: Path) -> None:
    name = WAFER.name(BAD)
    (n,) = [row.tile_id for row in filling.ledger.rows(filling.run.run_id) if row.path == name]
    with running(*dashboard(filling), folder=tmp_path) as first:
        page = first.page()
        assert b"<html" in page.get("/").body
        answer = page.post("/api/decision", {"n": n, "what": "retake", "by": "Ana", "was": "open"})
        assert answer.status == 200, answer.body
        assert first.interrupt() == ExitCode.OK
    assert "Traceback" not in "".join(first.said)
    listed = json.loads(invoke("retakes", filling.root, "--ledger", ledger_of(filling), "--json").stdout)["tiles"]
    assert [(each["tile"], each["state"], each["decided_by"]) for each in listed] == [(name, "retake", "Ana")]
    with running(*dashboard(filling), folder=tmp_path) as second, second.page().events() as events:
        assert events.next("decision").data["what"] == "retake"


@posix
def test_the_page_of_a_decision_made_elsewhere_shows_it(filling: Filling, tmp_path: Path) -> None:
    with running(*dashboard(filling), folder=tmp_path) as shown, shown.page().events() as events:
        events.next("hello")
        name = WAFER.name(BAD)
        done = invoke("retakes", filling.root, "--ledger", ledger_of(filling), "--ignore", name, "--by", "Cy")
        assert done.exit_code == 0, done.output
        assert events.next("decision").data["by"] == "Cy"


def test_a_port_that_is_taken_is_told(filling: Filling) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = invoke("dashboard", filling.root, "--ledger", ledger_of(filling), "--port", str(port))
    assert done.exit_code == ExitCode.CONFIG
    assert f"cannot listen at 127.0.0.1:{port}" in done.stderr and "choose another port" in done.stderr


def test_without_a_ledger_or_a_run_there_is_no_page(filling: Filling, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    none = invoke("dashboard", "--ledger", tmp_path / "none.db", "--port", "0")
    assert none.exit_code == ExitCode.CONFIG and "none.db" in none.stderr
    other = invoke("dashboard", tmp_path / "other", "--ledger", ledger_of(filling), "--port", "0")
    assert other.exit_code == ExitCode.CONFIG and str(filling.root) in other.stderr
    assert not (tmp_path / "none.db").exists()


@posix
def test_a_watch_has_a_page_on_which_tiles_appear_and_are_decided_about(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (tmp_path / "config.toml").write_text("[profiles.p]\npoll_s = 0.5\nsettle_s = 0.2\n")
    words = ["watch", folder, "--ledger", tmp_path / "ledger.db", "--page", "127.0.0.1:0", "--profile", "p"]
    with running(*words, "--config", tmp_path / "config.toml", folder=tmp_path) as watch:
        page = watch.page()
        with page.events() as events:
            assert events.next("counts").data["in_focus"] == 0
            for spot in [*list(WAFER.spots())[:8], BAD]:
                tifffile.imwrite(folder / WAFER.name(spot), tissue(spot, WAFER))
            events.next("counts", lambda counts: (counts["in_focus"], counts["out_of_focus"]) == (8, 1))
        until(lambda: bool(page.get("/api/retakes").json["tiles"]))
        ((n, name),) = [(each["n"], each["name"]) for each in page.get("/api/retakes").json["tiles"]]
        assert name == WAFER.name(BAD)
        assert page.post("/api/decision", {"n": n, "what": "accept", "was": "open"}).status == 200
        assert watch.interrupt() == ExitCode.INTERRUPTED
    assert "Traceback" not in "".join(watch.said)


@posix
def test_the_live_demo_goes_on_until_ctrl_c(tmp_path: Path) -> None:
    words = ["demo", "--live", "--no-open", "--out", tmp_path / "demo", "--tile-px", "128", "--sections", "2"]
    with running(*words, folder=tmp_path) as demo:
        with demo.page().events() as events:
            events.next("tiles")
        assert demo.interrupt() == ExitCode.INTERRUPTED
    assert "Traceback" not in "".join(demo.said)
    assert any((tmp_path / "demo" / "live").rglob("*.tif"))
