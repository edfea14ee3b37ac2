"""A result that the ledger does not take stands alone; the good ones beside it are stored."""

from __future__ import annotations

import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner

from mhfd_client.cli import main
from mhfd_client.config import load_config, resolve
from mhfd_client.ledger import Ledger, LedgerGoneError, open_ledger
from mhfd_client.pipeline.assembly import open_watch

END_S = 60.0
FAST = (
    "[profiles.p]\npoll_s = 0.5\nsettle_s = 0.1\nparams = {n_scales = 4, max_t = 5.0}\n[endpoints.local]\nworkers = 1\n"
)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    for k in range(7):
        tifffile.imwrite(folder / f"t{k}.tif", np.random.default_rng(k).integers(0, 256, (48, 48), dtype=np.uint8))
    (tmp_path / "config.toml").write_text(FAST)
    return folder


def settings_of(run: Path, **flags: Any) -> Any:
    config = load_config(run.parent / "config.toml")
    return config, resolve(config, None, {"ledger": str(run.parent / "ledger.db"), **flags}, environ={})


def test_the_culprit_of_a_transaction_becomes_a_failed_row(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Ledger.store

    def refuses_t3(self: Ledger, results: Any, now: float) -> list[int]:
        if any(result.path == "t3.tif" and result.status == "scored" for _, result in results):
            raise sqlite3.IntegrityError("a value that this database does not take")
        return store(self, results, now)

    monkeypatch.setattr(Ledger, "store", refuses_t3)
    config, settings = settings_of(run)
    with open_watch(run, config, settings, once=True, tell=lambda _: None) as pipeline:
        pipeline.run()
    with open_ledger(run.parent / "ledger.db", readonly=True) as ledger:
        found = {row.name: (row.state, row.error_code) for row in ledger.rows(ledger.find_run().run_id)}
    assert found.pop("t3.tif") == ("failed", "bad_result")
    assert set(found.values()) == {("scored", None)}
    assert len(found) == 6


def deleted_while_watching(run: Path, *, ledger_gone: str) -> tuple[list[str], list[BaseException], Path]:
    """What a watch told and raised after its ledger was deleted, and the ledger's file."""
    config, settings = settings_of(run, ledger_gone=ledger_gone)
    file, told, raised = run.parent / "ledger.db", list[str](), list[BaseException]()
    with open_watch(run, config, settings, once=False, tell=told.append) as pipeline:

        def watch() -> None:
            try:
                pipeline.run()
            except BaseException as error:
                raised.append(error)

        thread = threading.Thread(target=watch)
        thread.start()
        end_s = time.monotonic() + END_S
        while pipeline.dispatch.under_way or not pipeline.watch.scans:
            assert time.monotonic() < end_s, "it never scanned"
            time.sleep(0.05)
        file.unlink()
        thread.join(END_S)
        assert not thread.is_alive(), "the watch goes on without its ledger"
    return told, raised, file


def test_a_watch_whose_ledger_is_deleted_ends_and_says_so(run: Path) -> None:
    _, raised, _ = deleted_while_watching(run, ledger_gone="end")
    (error,) = raised
    assert isinstance(error, LedgerGoneError)
    assert "was deleted, renamed or replaced" in str(error)


@pytest.mark.parametrize("change", ["delete", "replace"])
def test_a_watch_begins_a_new_ledger_where_its_profile_says_so(
    run: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """The command goes on with a new file, in which every tile is scored again."""
    monkeypatch.setenv("MHFD_LEDGER_GONE", "recreate")
    file = run.parent / "ledger.db"
    beat = Ledger.heartbeat
    gone: list[float] = []

    def delete_once(self: Ledger, *arguments: Any) -> None:
        if not gone and self.summary(self.find_run().run_id).counts.get("scored") == 7:
            gone.append(time.monotonic())
            for each in run.parent.glob("ledger.db*"):
                each.unlink()
            if change == "replace":
                open_ledger(file).close()
        beat(self, *arguments)

    monkeypatch.setattr(Ledger, "heartbeat", delete_once)
    monkeypatch.setattr("mhfd_client.pipeline.heart.HEARTBEAT_S", 0.1)
    command = ["watch", str(run), "--once", "--config", str(run.parent / "config.toml"), "--ledger", str(file)]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.output
    assert gone
    assert "A new one is begun" in done.output
    with open_ledger(file, readonly=True) as ledger:
        assert ledger.summary(ledger.find_run().run_id).counts["scored"] == 7
