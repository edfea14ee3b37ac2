"""A watch of a folder on this machine, from the first scan to the ledger."""

from __future__ import annotations

import json
import os
import queue
import shutil
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

import mhfd
from mhfd_client.config import Config, load_config, parse_config, resolve
from mhfd_client.ledger import LedgerBusyError, TileRow, open_ledger
from mhfd_client.pipeline import Pipeline
from mhfd_client.pipeline.assembly import open_watch
from phantoms import as_uint8, texture

SIDE_PX = 64
END_S = 60.0
PROFILE = {"poll_s": 0.5, "settle_s": 0.2, "stall_s": 600.0, "params": {"n_scales": 4, "max_t": 5.0}}


def tile(number: int) -> NDArray[np.uint8]:
    return as_uint8(texture((SIDE_PX, SIDE_PX), np.random.default_rng(number)))


def write(folder: Path, name: str, pixels: NDArray[Any]) -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(file, pixels)
    return file


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Four tiles in two sections."""
    for k in range(4):
        write(tmp_path / "run", f"s{k // 2:04d}/s{k // 2:04d}_r0_c{k % 2}.tif", tile(k))
    return tmp_path / "run"


@pytest.fixture
def config() -> Config:
    return parse_config({"profile": "p", "profiles": {"p": PROFILE}, "endpoints": {"local": {"workers": 1}}})


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


Watch = Callable[..., list[str]]


def watch_once(folder: Path, config: Config, ledger: Path, **flags: Any) -> list[str]:
    """`mhfd watch --once` without its process; its notices."""
    told: list[str] = []
    settings = resolve(config, None, {"ledger": str(ledger), **flags}, environ={})
    with open_watch(folder, config, settings, once=True, tell=told.append) as pipeline:
        pipeline.run()
    return told


@contextmanager
def watching(
    folder: Path, config: Config, ledger: Path, *, tell: Callable[[str], None] = lambda _: None, **flags: Any
) -> Iterator[Pipeline]:
    """A watch that goes on while the block does its work."""
    settings = resolve(config, None, {"ledger": str(ledger), **flags}, environ={})
    with open_watch(folder, config, settings, once=False, tell=tell) as pipeline:
        thread = threading.Thread(target=pipeline.run)
        thread.start()
        try:
            yield pipeline
        finally:
            pipeline.stop()
            thread.join(END_S)


def rows(ledger: Path, *, live: bool = True) -> dict[str, TileRow]:
    with open_ledger(ledger, readonly=True) as opened:
        found = opened.rows(opened.find_run().run_id)
        return {row.name: row for row in found if not live or row.superseded_by is None}


def wait_until(true: Callable[[], bool]) -> None:
    end_s = time.monotonic() + END_S
    while not true():
        assert time.monotonic() < end_s, "it never came true"
        time.sleep(0.05)


def states(ledger: Path) -> dict[str, str]:
    return {name: row.state for name, row in rows(ledger).items()}


# ------------------------------------------------------------------------------------------------------- the whole line


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it is not told that files are closed")
def test_a_file_is_scored_when_its_writer_has_closed_it(config: Config, ledger: Path, tmp_path: Path) -> None:
    """Neither the next scan nor the end of settling is waited for: both are hours away."""
    folder = tmp_path / "run"
    folder.mkdir()
    profile = config.profiles["p"].model_copy(update={"settle_s": 3600.0, "poll_s": 3600.0})
    with watching(folder, config.model_copy(update={"profiles": {"p": profile}}), ledger) as pipeline:
        wait_until(lambda: pipeline.watch.scans > 0)
        write(folder, "s1_r0_c0.tif", tile(1))
        write(folder, "t.tmp", tile(2)).rename(folder / "s1_r0_c1.tif")
        wait_until(lambda: states(ledger) == {"s1_r0_c0.tif": "scored", "s1_r0_c1.tif": "scored"})


def test_every_tile_has_the_numbers_of_scoring_it_here(run: Path, config: Config, ledger: Path) -> None:
    watch_once(run, config, ledger)
    found = {name: (row.result or {})["features"] for name, row in rows(ledger).items()}
    params = mhfd.FocusParams(**PROFILE["params"])  # type: ignore[arg-type]
    assert found == {
        f"s{k // 2:04d}/s{k // 2:04d}_r0_c{k % 2}.tif": mhfd.score(tile(k), params).features for k in range(4)
    }


def test_pages_of_a_file_are_tiles_of_their_own(tmp_path: Path, config: Config, ledger: Path) -> None:
    write(tmp_path / "run", "stack.tif", np.stack([tile(0), tile(1)]))
    watch_once(tmp_path / "run", config, ledger)
    assert states(ledger) == {"stack.tif#page=0": "scored", "stack.tif#page=1": "scored"}


def test_bad_tile_is_a_failed_row_and_stops_nothing(run: Path, config: Config, ledger: Path) -> None:
    write(run, "s0000/s0000_r0_c2.tif", np.stack([tile(0), tile(1), tile(2)], axis=-1))
    watch_once(run, config, ledger)
    assert sorted(states(ledger).values()) == ["failed"] + ["scored"] * 4
    assert rows(ledger)["s0000/s0000_r0_c2.tif"].error_code == "colour"


def test_a_bad_page_is_a_failed_row_and_the_others_are_scored(tmp_path: Path, config: Config, ledger: Path) -> None:
    colour = np.stack([tile(0), tile(1), tile(2)], axis=-1).astype(np.float32)  # as deep as the others
    nan = tile(3).astype(np.float32)
    nan[5, 5] = np.nan
    dark = tile(4)
    dark[SIDE_PX // 2 :] = 0
    file = tmp_path / "run" / "stack.tif"
    file.parent.mkdir()
    with tifffile.TiffWriter(file) as writer:
        for image in (colour, tile(5), nan, dark, tile(6)):
            kind = "rgb" if image.ndim == 3 else "minisblack"
            writer.write(image, photometric=kind, contiguous=False, metadata=None)
    watch_once(tmp_path / "run", config, ledger)
    found = rows(ledger)
    assert [(found[f"stack.tif#page={k}"].state, found[f"stack.tif#page={k}"].error_code) for k in range(5)] == [
        ("failed", "colour"), ("scored", None), ("failed", "not_finite"), ("failed", "truncated"), ("scored", None)
    ]  # fmt: skip


def test_a_dark_last_page_holds_the_others_back_only_for_a_while(tmp_path: Path, config: Config, ledger: Path) -> None:
    write(tmp_path / "run", "stack.tif", np.stack([tile(0), np.zeros_like(tile(1))]))
    watch_once(tmp_path / "run", config, ledger)
    assert states(ledger) == {"stack.tif#page=0": "scored", "stack.tif#page=1": "failed"}
    with open_ledger(ledger) as opened:
        opened.retry(opened.find_run().run_id, failed=True)
    watch_once(tmp_path / "run", config, ledger)  # a person says that it is so
    assert states(ledger) == {"stack.tif#page=0": "scored", "stack.tif#page=1": "scored"}


def test_a_preview_in_front_does_not_fail_the_tile(tmp_path: Path, config: Config, ledger: Path) -> None:
    preview = np.stack([tile(0)[::2, ::2], tile(1)[::2, ::2], tile(2)[::2, ::2]], axis=-1)
    file = tmp_path / "run" / "s0001_r0_c0.tif"
    file.parent.mkdir()
    with tifffile.TiffWriter(file) as writer:
        writer.write(preview, photometric="rgb", contiguous=False, metadata=None)
        writer.write(tile(3).astype(np.uint16) * 200, photometric="minisblack", contiguous=False, metadata=None)
    watch_once(tmp_path / "run", config, ledger)
    assert states(ledger) == {"s0001_r0_c0.tif": "scored"}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps no change time")
def test_a_tile_taken_again_with_the_same_size_and_time_is_noticed(
    tmp_path: Path, config: Config, ledger: Path
) -> None:
    found = []
    for k in (1, 2):
        new = write(tmp_path / "run", "new.part", tile(k))
        os.utime(new, (1.7e9, 1.7e9))
        new.replace(tmp_path / "run" / "s0001_r0_c0.tif")
        watch_once(tmp_path / "run", config, ledger)
        (row,) = rows(ledger).values()
        found.append((row.generation, row.size, (row.result or {})["vollath_f4"]))
    (first, size, score), (second, same_size, other_score) = found
    assert (first, second, same_size) == (1, 2, size)
    assert other_score != score


@pytest.mark.skipif(sys.platform == "win32", reason="links need a right there")
def test_a_link_that_is_not_followed_is_told(run: Path, config: Config, ledger: Path) -> None:
    (run / "also").symlink_to("s0001")
    (run / "elsewhere").symlink_to("../more")
    write(run.parent / "more", "s0009_r0_c0.tif", tile(9))
    told = watch_once(run, config, ledger)
    assert [each for each in told if "left out" in each] == [
        "left out: also is a link to s0001, where its files are taken"
    ]
    assert len(states(ledger)) == 5
    assert states(ledger)["elsewhere/s0009_r0_c0.tif"] == "scored"


@pytest.mark.parametrize(("tiles", "code"), [(0, 3), (1, 0)])
def test_files_of_other_formats_are_told_and_alone_they_are_no_success(tmp_path: Path, tiles: int, code: int) -> None:
    from click.testing import CliRunner

    from mhfd_client.cli import main

    (tmp_path / "run").mkdir()
    for name in ("a.dm4", "b.dm4", "c.ser"):
        (tmp_path / "run" / name).write_bytes(b"pixels")
    for k in range(tiles):
        write(tmp_path / "run", f"s0001_r0_c{k}.tif", tile(k))
    environment = {"MHFD_SETTLE_S": "0.1", "MHFD_LEDGER": str(tmp_path / "l.db")}
    watched = CliRunner(env=environment).invoke(main, ["watch", str(tmp_path / "run"), "--once"])
    assert watched.exit_code == code, watched.output
    assert "3 files of formats that mhfd does not read (.dm4, .ser): export them as TIFF" in watched.stderr
    scored = CliRunner().invoke(main, ["score", str(tmp_path / "run")])
    assert scored.exit_code == (0 if tiles else 2)
    assert "3 files of formats that mhfd does not read (.dm4, .ser): export them as TIFF" in scored.stderr


def test_second_watch_finds_nothing_to_do(run: Path, config: Config, ledger: Path) -> None:
    watch_once(run, config, ledger)
    before = rows(ledger)
    watch_once(run, config, ledger)
    assert rows(ledger) == before


def test_touched_file_is_not_scored_again(run: Path, config: Config, ledger: Path) -> None:
    watch_once(run, config, ledger)
    os.utime(run / "s0000/s0000_r0_c0.tif")
    watch_once(run, config, ledger)
    again = rows(ledger)["s0000/s0000_r0_c0.tif"]
    assert (again.generation, again.state, again.attempts) == (2, "scored", 0)


def test_tile_taken_again_supersedes_the_old_one(run: Path, config: Config, ledger: Path) -> None:
    watch_once(run, config, ledger)
    write(run, "s0000/s0000_r0_c0.tif", tile(9))
    watch_once(run, config, ledger)
    row = rows(ledger)["s0000/s0000_r0_c0.tif"]
    assert row.generation == 2
    params = mhfd.FocusParams(**PROFILE["params"])  # type: ignore[arg-type]
    assert (row.result or {})["features"] == mhfd.score(tile(9), params).features


def test_tile_taken_again_under_a_later_name_supersedes_the_old_one(
    tmp_path: Path, config: Config, ledger: Path
) -> None:
    run = tmp_path / "run"
    for col in (1, 2):
        write(run, f"Tile_r1-c{col}_S_000_1752450056.tif", tile(col))
    watch_once(run, config, ledger)
    write(run, "Tile_r1-c1_S_000_1752459999.tif", tile(7))
    watch_once(run, config, ledger)
    watch_once(run, config, ledger)  # which must not take the old one for new
    assert states(ledger) == {
        "Tile_r1-c2_S_000_1752450056.tif": "scored",
        "Tile_r1-c1_S_000_1752459999.tif": "scored",
    }


def test_tile_that_is_cut_is_stalled_not_scored(run: Path, config: Config, ledger: Path) -> None:
    file = write(run, "s0001/s0001_r0_c2.tif", tile(7))
    file.write_bytes(file.read_bytes()[:-100])
    watch_once(run, config, ledger)
    row = rows(ledger)["s0001/s0001_r0_c2.tif"]
    assert (row.state, row.reason) == ("seen", "truncated")
    assert row.stalled_at is not None


def test_missing_tile_of_the_grid_is_listed(run: Path, config: Config, ledger: Path) -> None:
    (run / "s0000/s0000_r0_c1.tif").unlink()
    for section in (2, 3):
        for col in range(2):
            write(run, f"s{section:04d}/s{section:04d}_r0_c{col}.tif", tile(10 * section + col))
    watch_once(run, config, ledger)
    with open_ledger(ledger, readonly=True) as opened:
        (missing,) = opened.missing(opened.find_run().run_id)
    assert missing.position is not None
    assert (missing.position.section, missing.position.row, missing.position.col) == (0, 0, 1)


# ------------------------------------------------------------------------------------------------------- while it runs


def test_tile_is_scored_when_its_last_byte_is_written(run: Path, config: Config, ledger: Path) -> None:
    whole = write(run.parent, "whole.tif", tile(5)).read_bytes()
    target = run / "s0002/s0002_r0_c0.tif"
    target.parent.mkdir()
    with watching(run, config, ledger):
        target.write_bytes(whole[:1000])
        wait_until(lambda: len(states(ledger)) == 5)
        assert states(ledger)["s0002/s0002_r0_c0.tif"] == "seen"
        with target.open("ab") as file:
            file.write(whole[1000:])
        wait_until(lambda: states(ledger)["s0002/s0002_r0_c0.tif"] == "scored")


def test_folder_that_vanishes_and_returns_loses_nothing(run: Path, config: Config, ledger: Path) -> None:
    told: list[str] = []
    with watching(run, config, ledger, tell=told.append):
        wait_until(lambda: list(states(ledger).values()) == ["scored"] * 4)
        run.rename(run.with_name("away"))
        wait_until(lambda: any("check the folder" in each for each in told))  # a scan has missed it
        run.with_name("away").rename(run)
        write(run, "s0003/s0003_r0_c0.tif", tile(8))
        wait_until(lambda: list(states(ledger).values()) == ["scored"] * 5)
    assert all(row.gone_at is None and row.generation == 1 for row in rows(ledger).values())


def test_only_one_watch_works_on_a_run(run: Path, config: Config, ledger: Path) -> None:
    with watching(run, config, ledger), pytest.raises(LedgerBusyError, match=str(os.getpid())):
        watch_once(run, config, ledger)


def test_stop_stores_what_is_under_way(run: Path, config: Config, ledger: Path) -> None:
    with watching(run, config, ledger):
        wait_until(lambda: "submitted" in states(ledger).values() or "scored" in states(ledger).values())
    assert "submitted" not in states(ledger).values()


def test_stop_tells_that_nobody_watches_any_more(run: Path, config: Config, ledger: Path) -> None:
    watch_once(run, config, ledger)
    with open_ledger(ledger, readonly=True) as opened:
        heartbeat = opened.summary(opened.find_run().run_id).heartbeat
    assert heartbeat is not None
    assert heartbeat["ended"] is True


# ------------------------------------------------------------------------------------------- killed, at any line at all

KILLED = """
import os, sys
from mhfd_client.cli import main
from mhfd_client.ledger import sqlite

left = int(sys.argv.pop(1))
def counted(commit):
    def run(self, *arguments):
        global left
        left -= 1
        if left == 0:
            os._exit(9)  # before the transaction is complete
        commit(self, *arguments)
        if left == 1 and {after}:
            os._exit(9)
    return run

sqlite.SQLiteDatabase.commit = counted(sqlite.SQLiteDatabase.commit)
main()
"""


@pytest.mark.parametrize("commits", [3, 6, 8, 10, 12, 14])
def test_killed_at_any_transaction_and_begun_again_ends_the_same(run: Path, ledger: Path, commits: int) -> None:
    config = run.parent / "config.toml"
    config.write_text(
        "profile = 'p'\n[endpoints.local]\nworkers = 1\n"
        "[profiles.p]\npoll_s = 0.5\nsettle_s = 0.2\nparams = {n_scales = 4, max_t = 5.0}\n"
    )
    script = run.parent / "killed.py"
    script.write_text(KILLED.replace("{after}", str(commits % 4 == 0)))
    arguments = ["watch", str(run), "--once", "--ledger", str(ledger), "--config", str(config)]
    command = [sys.executable, str(script), str(commits), *arguments]
    log = run.parent / "killed.log"
    with log.open("wb") as told:
        killed = subprocess.run(command, stdout=told, stderr=told, timeout=END_S, check=False)
    assert killed.returncode == 9, log.read_text()
    watch_once(run, load_config(config), ledger)
    assert {(row.state, row.generation) for row in rows(ledger, live=False).values()} == {("scored", 1)}
    assert len(rows(ledger)) == 4


def test_ledger_of_another_folder_is_a_run_of_its_own(run: Path, config: Config, ledger: Path) -> None:
    other = run.parent / "other"
    shutil.copytree(run, other)
    watch_once(run, config, ledger)
    watch_once(other, config, ledger)
    with open_ledger(ledger, readonly=True) as opened:
        assert [Path(each.root).name for each in opened.runs()] == ["other", "run"]


def test_status_as_json_of_a_watched_run(run: Path, config: Config, ledger: Path) -> None:
    from click.testing import CliRunner

    from mhfd_client.cli import main

    watch_once(run, config, ledger)
    result = CliRunner().invoke(main, ["status", str(run), "--ledger", str(ledger), "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["counts"]["scored"] == 4


def test_microscope_can_tell_of_a_finished_tile(run: Path, config: Config, ledger: Path) -> None:
    told: list[str] = []
    settings = resolve(config, None, {"ledger": str(ledger), "listen": "127.0.0.1:0"}, environ={})
    with open_watch(run, config, settings, once=True, tell=told.append) as pipeline:
        told_of: queue.Queue[str | None] = queue.Queue()
        pipeline.look = told_of.put  # type: ignore[method-assign]
        (address,) = [each.split()[2] for each in told if each.startswith("listening at ")]
        request = urllib.request.Request(f"{address}/project/p/stack/s/tile/completed", data=b'{"filename": "t.tif"}')
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert answer.status == 200
        assert told_of.get(timeout=END_S) == "t.tif"
