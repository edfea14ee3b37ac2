"""`mhfd prune` removes what mhfd wrote and is old, and never a tile, wherever one lies and whatever it is called."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mhfd.contract import FocusParams, FocusResult, Provenance
from mhfd_client.cli import main
from mhfd_client.ledger import Decision, Delivery, Said, SeenFile, open_ledger
from mhfd_client.upkeep.prune import DAY_S, old_files

TILE = b"II*\0 the pixels of a tile"
LOG_LINE = json.dumps({"time": "2026-01-01", "level": "INFO", "logger": "mhfd", "message": "x"}) + "\n"
SPOOL_LINE = json.dumps({"spool": 1, "time": "2026-01-01", "task": None, "row": {}}) + "\n"
ROW_LINE = json.dumps({"path": "a.tif", "status": "scored", "provenance": {}}) + "\n"
OURS = {
    "mhfd-2026-01-01.jsonl": LOG_LINE,
    "mhfd-2026-01-01-77.jsonl": LOG_LINE,
    "mhfd-spool-20260101-node1.example.org-77.jsonl": SPOOL_LINE,
    "mhfd-rows-20260101T010203-0123abcd.jsonl": ROW_LINE,
    "mhfd-rows-20260101T010203-0123abce.jsonl.part": ROW_LINE,
}


def put(path: Path, content: bytes, days_old: float = 400.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    at = time.time() - days_old * DAY_S
    os.utime(path, (at, at))
    return path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One folder for logs, spool and results, as far as mhfd knows; with old files of each kind."""
    folder = tmp_path / "kept"
    for name, line in OURS.items():
        put(folder / name, line.encode())
    config = tmp_path / "config.toml"
    config.write_text("")
    monkeypatch.setenv("MHFD_CONFIG", str(config))
    monkeypatch.setenv("MHFD_LEDGER", str(tmp_path / "ledger.db"))
    for variable in ("MHFD_LOG_DIR", "MHFD_SPOOL_DIR", "MHFD_RESULT_DIR"):
        monkeypatch.setenv(variable, str(folder))
    return folder


def prune(*arguments: str) -> Result:
    done = CliRunner().invoke(main, ["prune", *arguments])
    assert done.exit_code == 0, done.output
    return done


def names(folder: Path) -> set[str]:
    return {each.name for each in folder.iterdir()}


def test_old_files_of_ours_go_and_a_second_time_there_is_nothing(folder: Path) -> None:
    size = sum(len(line) for line in OURS.values())
    said = prune("--dry-run").stdout
    assert f"{size:,} bytes would be freed" in said and all(name in said for name in OURS)
    assert names(folder) == set(OURS)
    assert f"{size:,} bytes are free" in prune().stdout
    assert names(folder) == set()
    assert "no old files" in prune().stdout


def test_a_tile_stays_wherever_it_lies_and_whatever_it_is_called(folder: Path, tmp_path: Path) -> None:
    """Under each name of ours, beside it, below, behind links of both kinds, and as a folder that is named."""
    tiles = [
        put(folder / "s0001_r0_c1.tif", TILE),
        put(folder / "mhfd-2026-01-02.jsonl", TILE),
        put(folder / "mhfd-spool-20260102-a-1.jsonl", TILE),
        put(folder / "mhfd-rows-20260102T000000-00000000.jsonl", b'{"path": 1}' + TILE),
        put(folder / "mhfd-rows-20260102T000000-00000001.jsonl.part", b""),
        put(folder / "mhfd-2026-01-04.jsonl.tif", LOG_LINE.encode()),
        put(folder / "below" / "mhfd-2026-01-03.jsonl", LOG_LINE.encode()),
        put(tmp_path / "run" / "s0001_r0_c0.tif", TILE),
        put(tmp_path / "run" / "linked.jsonl", LOG_LINE.encode()),
    ]
    before = {tile: tile.read_bytes() for tile in tiles}
    (folder / "mhfd-2026-01-05.jsonl").symlink_to(tiles[-1])
    (folder / "mhfd-2026-01-06.jsonl").hardlink_to(tiles[-1])
    (folder / "mhfd-2026-01-07.jsonl").mkdir()
    (folder / "mhfd-spool-20260103-a-1.jsonl").symlink_to(tmp_path / "run")
    linked = tmp_path / "as a folder"
    linked.symlink_to(tmp_path / "run", target_is_directory=True)
    stays = names(folder) - set(OURS)
    prune("--older-than", "1d", "--keep", "0", "--runs", "--ledger", str(ledger_of(tmp_path)), "--logs", str(linked))
    prune("--older-than", "1d", "--keep", "0")
    assert {tile: tile.read_bytes() for tile in tiles} == before
    assert names(folder) == stays


def ledger_of(tmp_path: Path) -> Path:
    """A ledger whose only run, of the folder `run`, is old."""
    with open_ledger(tmp_path / "ledger.db") as ledger:
        ledger.open_run(str(tmp_path / "run"), FocusParams(), layout="auto", endpoint="local", now=1.0)
    return tmp_path / "ledger.db"


def test_what_is_new_stays_and_nothing_of_the_last_day_ever_goes(folder: Path) -> None:
    put(folder / "mhfd-2026-06-01.jsonl", LOG_LINE.encode(), days_old=50)
    put(folder / "mhfd-2026-06-02.jsonl", LOG_LINE.encode(), days_old=0.5)
    prune()
    assert names(folder) == {"mhfd-2026-06-01.jsonl", "mhfd-2026-06-02.jsonl"}
    prune("--keep", "0")
    assert names(folder) == {"mhfd-2026-06-02.jsonl"}
    assert CliRunner().invoke(main, ["prune", "--older-than", "0.5d"]).exit_code == 2


def test_of_too_many_bytes_the_oldest_go(tmp_path: Path) -> None:
    for day in range(1, 6):
        put(tmp_path / f"mhfd-2026-01-{day:02}.jsonl", LOG_LINE.encode(), days_old=30 - day)
    old = old_files("log", [tmp_path, tmp_path], before=0.0, keep_bytes=2 * len(LOG_LINE))
    assert [each.path.name for each in old] == [f"mhfd-2026-01-{day:02}.jsonl" for day in (1, 2, 3)]


def scored_run(where: str, root: str, at: float, tiles: int = 3) -> int:
    """A run with results, an attempt, an event and its message, a decision and a note, all of one time."""
    about = Provenance(mhfd="0", params_sha256=FocusParams().sha256, backend="numpy", device="cpu", tile_sha256="p")
    result = FocusResult(path="a", status="scored", provenance=about, shape=(4, 4), features=1, focus_score=1.0)
    with open_ledger(where) as ledger:
        run = ledger.open_run(root, FocusParams(), layout="auto", endpoint="local", now=at)
        ledger.see(run.run_id, [(SeenFile(f"{k}.tif", 10, 1), None) for k in range(tiles)], at)
        tile_ids = [row.tile_id for row in ledger.rows(run.run_id)]
        with ledger.transaction():
            for tile_id in tile_ids[:2]:
                ledger.finish(tile_id, [("p", (4, 4))], at)
            ledger.stage([(tile_id, None) for tile_id in tile_ids[:2]], at)
            ledger.submit(tile_ids[:2], "local", at)
            ledger.store([(tile_id, result) for tile_id in tile_ids[:2]], at)
        event, _ = ledger.begin_event(run.run_id, "many", "", {"text": "x"}, at)
        ledger.save_delivery(Delivery(event.event_id, "began", "ops", at, 1, at, None))
        ledger.say(run.run_id, [Said(tile_ids[0], "out_of_focus", at, "p", {})])
        ledger.decide(run.run_id, Decision(tile_ids[0], "accept", "ana", at))
        ledger.heartbeat(run.run_id, {"pid": 1}, at)
        return run.run_id


def test_an_old_run_goes_with_all_that_is_known_of_it_and_others_stay(where: str, folder: Path) -> None:
    old = scored_run(where, "/data/old", time.time() - 100 * DAY_S, tiles=2500)
    new = scored_run(where, "/data/new", time.time())
    said = prune("--runs", "--ledger", where, "--dry-run").stdout
    assert "/data/old" in said and "would be free in the ledger" in said and "/data/new" not in said
    with open_ledger(where) as ledger:
        assert {run.run_id for run in ledger.runs()} == {old, new}
    prune("--runs", "--ledger", where)
    with open_ledger(where) as ledger:
        assert [run.run_id for run in ledger.runs()] == [new]
        assert ledger.summary(new).counts["scored"] == 2
        assert len(ledger.events(new)) == 1 and ledger.events(old) == []
    assert "no old runs" in prune("--runs", "--ledger", where).stdout


def test_an_old_run_that_is_watched_stays(where: str, folder: Path) -> None:
    run_id = scored_run(where, "/data/old", 1.0)
    with open_ledger(where) as watch, watch.lease(run_id):
        assert "stays: process" in prune("--runs", "--ledger", where).stdout
        assert watch.summary(run_id).counts["scored"] == 2


def test_a_run_with_copies_at_the_endpoint_stays_since_the_ledger_alone_knows_them(where: str, folder: Path) -> None:
    with open_ledger(where) as ledger:
        run = ledger.open_run("/data/old", FocusParams(), layout="auto", endpoint="local", now=1.0)
        ledger.see(run.run_id, [(SeenFile("a.tif", 10, 1), None)], 1.0)
        (row,) = ledger.rows(run.run_id)
        ledger.finish(row.tile_id, [("p", (4, 4))], 1.0)
        ledger.stage([(row.tile_id, {"path": "/copies/a.tif"})], 1.0)
    assert "copies of its tiles are at the endpoint" in prune("--runs", "--ledger", where).stdout
    with open_ledger(where) as ledger:
        assert len(ledger.runs()) == 1
