"""A replayed run arrives unchanged, in every style of writing; the manifest records it."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mhfd_client.cli import main
from mhfd_client.replay import (
    Manifest,
    ReplayError,
    ReplayPlan,
    ReplayStoppedError,
    Step,
    plan_replay,
    replay,
    run_replay,
)
from mhfd_client.replay.plan import Style
from mhfd_client.replay.writing import _Desk, hash_file

MICROSCOPE = "tiles/g0000/t{:04d}/x_g0000_t{:04d}_s00001.tif"


def tile(number: int) -> str:
    return MICROSCOPE.format(number, number)


def write(file: Path, content: bytes, at_s: float = 1e9) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    os.utime(file, (at_s, at_s))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Twelve tiles, ten seconds apart, the ninth before the second; a list of them; settings, older than the tiles."""
    times = [0, 15, *range(20, 80, 10), 10, 90, 100, 110]
    for number, at_s in enumerate(times):
        write(tmp_path / "run" / tile(number), bytes([number + 1]) * (100 + number), 1e9 + at_s)
    lines = [f"tiles\\g0000\\t{i:04d}\\x_g0000_t{i:04d}_s00001.tif;{i * 10};0;0;1\r\n" for i in range(12)]
    write(tmp_path / "run/meta/logs/imagelist_1.txt", "".join(["# list\r\n", *lines]).encode(), 1e9 + 200)
    write(tmp_path / "run/meta/settings.cfg", b"[sem]\n", 1e9 - 5)
    write(tmp_path / "run/.hidden/x.tif", b"x")
    return tmp_path / "run"


class Clock:
    """A clock that advances only during sleeps."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now_s += seconds


def steps(plan: ReplayPlan, into: Path) -> Generator[Step, None, None]:
    clock = Clock()
    return replay(plan, into, clock=clock, sleep=clock.sleep)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file() and ".hidden" not in file.parts
    }


def order(plan: ReplayPlan) -> list[str]:
    return [act.path for act in plan.acts if act.is_tile]


def one(run: Path, style: Style) -> ReplayPlan:
    """The plan of a single tile that is written in this style."""
    act = next(act for act in plan_replay(run).acts if act.path == tile(5))
    return replace(plan_replay(run), acts=(replace(act, style=style),), lists=())


# --- When -------------------------------------------------------------------------------------------------------------


def test_tiles_come_in_the_order_of_their_times(run: Path) -> None:
    assert order(plan_replay(run))[:4] == [tile(0), tile(8), tile(1), tile(2)]


def test_tiles_of_the_same_time_come_in_natural_order(tmp_path: Path) -> None:
    for name in ("t10.tif", "t9.tif", "a/t2.tif"):
        write(tmp_path / name, b"x")
    assert order(plan_replay(tmp_path)) == ["a/t2.tif", "t9.tif", "t10.tif"]


def test_intervals_are_those_of_the_run_divided_by_the_speed(run: Path) -> None:
    plan = plan_replay(run, speed=2.0, max_gap_s=100.0)
    starts = {act.path: act.start_s for act in plan.acts}
    assert starts[tile(0)] == 2.5 and starts[tile(8)] == 7.5 and starts[tile(11)] == 57.5


def test_no_interval_is_longer_than_the_longest_allowed(run: Path) -> None:
    starts = [act.start_s for act in plan_replay(run, speed=1.0, max_gap_s=3.0).acts]
    assert max(b - a for a, b in pairwise(starts)) == 3.0


def test_a_rate_makes_all_intervals_the_same(run: Path) -> None:
    starts = [act.start_s for act in plan_replay(run, rate=4.0).acts if act.is_tile]
    assert starts == [number / 4 for number in range(12)]


def test_what_is_older_than_the_tiles_comes_before_them(run: Path) -> None:
    assert plan_replay(run).acts[0].path == "meta/settings.cfg"


def test_it_sleeps_until_a_file_is_due(run: Path, tmp_path: Path) -> None:
    clock = Clock()
    for step in replay(plan_replay(run, rate=0.5), tmp_path / "into", clock=clock, sleep=clock.sleep):
        assert step.at_s == pytest.approx(clock.now_s - 1000)
    assert clock.now_s == pytest.approx(1000 + 11 / 0.5)


def test_as_fast_as_possible_never_sleeps(run: Path, tmp_path: Path) -> None:
    def sleep(_: float) -> None:
        raise AssertionError

    list(replay(plan_replay(run, speed=math.inf, half_written=True), tmp_path / "into", sleep=sleep))
    assert contents(tmp_path / "into") == contents(run)


# --- What -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("half_written", [False, True])
def test_in_the_end_all_files_are_as_in_the_run(half_written: bool, run: Path, tmp_path: Path) -> None:
    before = contents(run)
    list(steps(plan_replay(run, half_written=half_written), tmp_path / "into"))
    assert contents(tmp_path / "into") == before == contents(run)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sizes=st.lists(st.integers(0, 3000), min_size=1, max_size=8),
    seed=st.integers(0, 1000),
    rate=st.sampled_from([0.2, 5.0, 1000.0]),
)
def test_so_they_are_whatever_their_sizes_seed_and_rate(
    sizes: list[int], seed: int, rate: float, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("any")
    for number, size in enumerate(sizes):
        write(folder / "run" / f"{number}.png", bytes([number]) * size)
    list(steps(plan_replay(folder / "run", rate=rate, half_written=True, seed=seed), folder / "into"))
    assert contents(folder / "into") == contents(folder / "run")
    shutil.rmtree(folder)


def test_without_half_written_a_file_is_whole_from_its_first_step(run: Path, tmp_path: Path) -> None:
    assert {step.what for step in steps(plan_replay(run), tmp_path / "into") if step.is_tile} == {"finished"}


@pytest.mark.parametrize(
    ("style", "half"),
    [
        ("chunks", lambda whole: whole[: len(whole) // 5]),
        ("preallocated", lambda whole: bytes(len(whole))),
        ("paused", lambda whole: whole[: len(whole) // 2]),
        ("renamed", lambda whole: None),
    ],
)
def test_a_style_looks_as_its_name_says(style: Style, half: Any, run: Path, tmp_path: Path) -> None:
    going = steps(one(run, style), tmp_path / "into")
    next(going)
    file = tmp_path / "into" / tile(5)
    assert (file.read_bytes() if file.exists() else None) == half((run / tile(5)).read_bytes())


def test_a_paused_file_rests_in_the_middle(run: Path, tmp_path: Path) -> None:
    began, finished = steps(one(run, "paused"), tmp_path / "into")
    assert finished.at_s - began.at_s == pytest.approx(3.0)


def test_a_tile_taken_again_holds_another_tile_first(run: Path, tmp_path: Path) -> None:
    plan = plan_replay(run, half_written=True)
    (act,) = (act for act in plan.acts if act.first)
    held = [
        (tmp_path / "into" / act.path).read_bytes()
        for step in steps(plan, tmp_path / "into")
        if step.path == act.path and step.what == "finished"
    ]
    assert act.first is not None and held == [(run / act.first).read_bytes(), (run / act.path).read_bytes()]


def test_only_with_faults_a_tile_is_left_unfinished(run: Path, tmp_path: Path) -> None:
    assert not any(act.unfinished for act in plan_replay(run, half_written=True).acts)
    (act,) = (act for act in plan_replay(run, faults=True).acts if act.unfinished)
    list(steps(plan_replay(run, faults=True), tmp_path / "into"))
    wrong = [path for path, content in contents(tmp_path / "into").items() if content != (run / path).read_bytes()]
    assert wrong == [act.path]


def test_the_same_seed_gives_the_same_plan(run: Path) -> None:
    assert plan_replay(run, half_written=True, seed=5) == plan_replay(run, half_written=True, seed=5)
    assert plan_replay(run, half_written=True, seed=5) != plan_replay(run, half_written=True, seed=6)


def test_repeats_go_into_folders_of_their_own(run: Path, tmp_path: Path) -> None:
    list(steps(plan_replay(run, rate=100.0, repeat=2), tmp_path / "into"))
    once = contents(run)
    assert contents(tmp_path / "into") == once | {f"again-0002/{path}": content for path, content in once.items()}


# --- The microscope's lists -------------------------------------------------------------------------------------------


def test_a_list_never_names_a_tile_that_is_not_written_yet(run: Path, tmp_path: Path) -> None:
    into, whole = tmp_path / "into", set()
    for step in steps(plan_replay(run, rate=100.0, half_written=True), into):
        if step.what == "finished":
            whole.add(step.path)
        for line in (into / "meta/logs/imagelist_1.txt").read_text().splitlines()[1:]:
            assert line.partition(";")[0].replace("\\", "/") in whole


def test_a_list_grows_with_the_tiles(run: Path, tmp_path: Path) -> None:
    sizes = [
        (tmp_path / "into/meta/logs/imagelist_1.txt").stat().st_size for _ in steps(plan_replay(run), tmp_path / "into")
    ]
    assert sizes == sorted(sizes) and len(set(sizes)) > 6


def test_tiles_of_the_same_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    for section in ("001", "002"):
        for name in ("a.bmp", "b.bmp"):
            write(tmp_path / "run" / section / name, section.encode() + name.encode())
        write(tmp_path / "run" / section / "image_coordinates.txt", b"a.bmp\t0\t0\nb.bmp\t1\t0\n")
    write(tmp_path / "run/full.txt", b"002\\a.bmp\t0\n001\\b.bmp\t1\n")
    blocks = {each.path: each.blocks for each in plan_replay(tmp_path / "run").lists}
    assert [tile for tile, _ in blocks["002/image_coordinates.txt"]] == ["", "002/a.bmp", "002/b.bmp"]
    assert [tile for tile, _ in blocks["full.txt"]] == ["", "002/a.bmp", "001/b.bmp"]


def test_a_text_that_names_no_tile_is_copied_as_it_is(tmp_path: Path) -> None:
    write(tmp_path / "run/a.tif", b"a")
    write(tmp_path / "run/notes.txt", b"nothing.tif was taken\n" * 3)
    assert plan_replay(tmp_path / "run").lists == ()


# --- The manifest -----------------------------------------------------------------------------------------------------


def test_the_manifest_gives_every_file_as_it_is_in_the_end(run: Path, tmp_path: Path) -> None:
    plan = plan_replay(run, rate=1000.0, half_written=True, faults=True, write_s=0.01, pause_s=0.01, retake_s=0.01)
    told = run_replay(plan, tmp_path / "into")
    assert json.loads((tmp_path / "into.replay.json").read_text()) == told
    files = {entry["path"]: (entry["size"], entry["sha256"]) for entry in told["files"]}
    into = tmp_path / "into"
    assert files == {path: (len(content), hash_file(into / path)) for path, content in contents(into).items()}


def test_the_manifest_names_what_was_retaken_and_what_was_left(run: Path, tmp_path: Path) -> None:
    plan = plan_replay(run, half_written=True, faults=True)
    account = Manifest(plan, tmp_path / "into")
    for step in steps(plan, tmp_path / "into"):
        account.note(step)
    told = {entry["path"]: entry for entry in account.to_dict()["files"]}
    assert {p for p, e in told.items() if e["reacquired"]} == {act.path for act in plan.acts if act.first}
    assert {p for p, e in told.items() if e["state"] != "whole"} == {act.path for act in plan.acts if act.unfinished}


# --- Refusals, interruptions ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("into", ["run", "run/inside", "."])
def test_the_run_itself_is_never_written_to(into: str, run: Path, tmp_path: Path) -> None:
    before = contents(tmp_path)
    with pytest.raises(ReplayError, match="overlap"):
        list(steps(plan_replay(run), tmp_path / into))
    assert contents(tmp_path) == before


def test_nothing_is_overwritten(run: Path, tmp_path: Path) -> None:
    write(tmp_path / "into" / tile(3), b"mine")
    with pytest.raises(ReplayError, match="is there already"):
        run_replay(plan_replay(run), tmp_path / "into")
    assert contents(tmp_path / "into") == {tile(3): b"mine"}
    assert not (tmp_path / "into.replay.json").exists()


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ReplayError, match="holds no images"):
        plan_replay(tmp_path)


@pytest.mark.parametrize("stop_after", [1, 5, 9, 14, 23, 40])
def test_interrupted_it_leaves_only_whole_files(stop_after: int, run: Path, tmp_path: Path) -> None:
    plan = plan_replay(run, rate=100.0, half_written=True)
    account, source = Manifest(plan, tmp_path / "into"), contents(run)
    going = steps(plan, tmp_path / "into")
    for _ in range(stop_after):
        account.note(next(going))
    going.close()
    first = {act.path: source[act.first] for act in plan.acts if act.first}
    left = contents(tmp_path / "into")
    listed = left.pop("meta/logs/imagelist_1.txt")
    assert source["meta/logs/imagelist_1.txt"].startswith(listed)
    assert all(content in (source[path], first.get(path)) for path, content in left.items())
    told = {e["path"]: e["sha256"] for e in account.to_dict()["files"] if e["state"] != "removed"}
    assert told == {path: hash_file(tmp_path / "into" / path) for path in contents(tmp_path / "into")}


def test_a_source_that_vanishes_ends_it_with_a_sentence(run: Path, tmp_path: Path) -> None:
    plan = plan_replay(run)
    (run / tile(5)).unlink()
    with pytest.raises(ReplayStoppedError, match=r"x_g0000_t0005_s00001\.tif: No such file.* The replay stops here"):
        list(steps(plan, tmp_path / "into"))


def test_a_folder_that_cannot_be_written_ends_it_with_a_manifest(run: Path, tmp_path: Path) -> None:
    write(tmp_path / "into/tiles", b"a file where a folder should be")
    with pytest.raises(ReplayStoppedError, match="The replay stops here"):
        run_replay(plan_replay(run, speed=math.inf), tmp_path / "into")
    told = json.loads((tmp_path / "into.replay.json").read_text(encoding="utf-8"))
    assert told["interrupted"] is True and "meta/settings.cfg" in {entry["path"] for entry in told["files"]}


def test_a_file_that_somebody_else_has_open_is_tried_again(run: Path, tmp_path: Path) -> None:
    waits: list[float] = []

    def locked() -> None:
        if len(waits) < 3:
            raise PermissionError

    _Desk(plan_replay(run), tmp_path, waits.append)._insist(locked)
    assert len(waits) == 3


# --- The command ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("options", "seconds"), [("--speed 1000x", 0.11), ("--speed max", 0.0), ("--rate 50", 0.22)])
def test_the_command_feeds_the_folder(options: str, seconds: float, run: Path, tmp_path: Path) -> None:
    start_s = time.monotonic()
    result = CliRunner().invoke(main, ["replay", str(run), "--into", str(tmp_path / "into"), *options.split()])
    assert result.exit_code == 0, result.output
    assert contents(tmp_path / "into") == contents(run)
    assert time.monotonic() - start_s >= seconds
    assert "12 of 12" in result.output and "into.replay.json" in result.output


@pytest.mark.parametrize("options", ["--speed 0x", "--speed fast", "--rate 0", "--speed 2x --rate 1", "--repeat 0"])
def test_a_senseless_option_is_a_usage_error(options: str, run: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["replay", str(run), "--into", str(tmp_path / "into"), *options.split()])
    assert result.exit_code == 2 and not (tmp_path / "into").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="a signal to a child")
def test_ctrl_c_leaves_no_temporary_file_and_a_manifest(run: Path, tmp_path: Path) -> None:
    into = tmp_path / "into"
    command = [sys.executable, "-m", "mhfd_client", "replay", run, "--into", into, "--half-written", "--rate", "20"]
    command += ["--repeat", "100"]  # it does not end before the signal comes, however slow the machine
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        end_s = time.monotonic() + 20
        while not (into.is_dir() and any(into.rglob("*.tmp"))):
            assert time.monotonic() < end_s, "no temporary file was seen"
            time.sleep(0.005)
        child.send_signal(signal.SIGINT)
        child.communicate(timeout=20)
    assert child.returncode == 130
    assert not list(into.rglob("*.tmp"))
    assert json.loads((tmp_path / "into.replay.json").read_text())["interrupted"] is True
