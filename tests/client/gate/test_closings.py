"""Files that are closed by their writers, whole or not, and writers that go on with them. The clock is the test's."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

from mhfd_client.gate import Finished, Gate, GateRules, NotYet, Unreadable
from mhfd_client.gate.closings import DISTRUST_S
from mhfd_client.gate.writers import has_holes
from mhfd_client.ledger.model import SeenFile

SETTLE_S = 2.0
SIDE_PX = 512  # so large that a file may have holes


class Watch:
    """A gate that hears of files being closed."""

    def __init__(self, marker: str | None = None) -> None:
        self.now = 0.0
        self.gate = Gate(GateRules(settle_s=SETTLE_S, marker=marker), lambda: self.now)

    def close(self, file: Path) -> None:
        self.gate.closed(file, scanned(file))

    def look(self, file: Path) -> Finished | NotYet | Unreadable:
        return self.gate.examine(file, scanned(file))

    def reason(self, file: Path) -> str:
        answer = self.look(file)
        assert isinstance(answer, NotYet), answer
        return answer.reason


def scanned(file: Path) -> SeenFile:
    state = file.stat()
    return SeenFile(file.name, state.st_size, state.st_mtime_ns, state.st_ctime_ns)


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tile(tmp_path / "t.tif")


def tile(file: Path) -> Path:
    tifffile.imwrite(file, np.random.default_rng(1).integers(1, 256, (SIDE_PX, SIDE_PX), np.uint8))
    return file


def write_again(file: Path, data: bytes) -> None:
    """Another file in its place, which even a clock of low resolution tells from the first."""
    file.write_bytes(data)
    before = file.stat().st_mtime_ns
    os.utime(file, ns=(before, before + 10**9))


def test_a_closed_file_need_not_settle(watch: Watch, file: Path) -> None:
    assert watch.reason(file) == "settling"
    watch.close(file)
    assert isinstance(watch.look(file), Finished)


def test_a_closed_file_must_be_whole(watch: Watch, file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1000])
    watch.close(file)
    assert watch.reason(file) == "truncated"


def test_a_closed_file_must_be_filled_to_its_end(watch: Watch, file: Path) -> None:
    data = file.read_bytes()
    file.write_bytes(data[: -SIDE_PX * SIDE_PX // 2] + bytes(SIDE_PX * SIDE_PX // 2))
    watch.close(file)
    assert watch.reason(file) == "zero_tail"


def test_a_closed_file_must_have_no_part_that_was_never_written(watch: Watch, file: Path) -> None:
    """Its end was written before its middle, as a server does that takes parts in any order."""
    data = file.read_bytes()
    with file.open("wb") as out:
        out.write(data[: len(data) // 4])
        out.seek(3 * len(data) // 4)
        out.write(data[3 * len(data) // 4 :])
    if not has_holes(file):
        pytest.skip("this file system keeps no account of what was written")
    watch.close(file)
    assert watch.reason(file) == "settling"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not tell")
def test_a_file_without_holes_has_none(file: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty.tif"
    empty.touch()
    assert not has_holes(file)
    assert not has_holes(empty)


def test_a_file_that_changes_after_it_was_closed_settles(watch: Watch, file: Path) -> None:
    watch.close(file)
    write_again(file, file.read_bytes())
    assert watch.reason(file) == "settling"
    assert not watch.gate.is_due(file)


def test_a_closing_is_good_for_one_look(watch: Watch, file: Path) -> None:
    whole = file.read_bytes()
    file.write_bytes(whole[:-1000])
    watch.close(file)
    assert watch.gate.is_due(file)
    watch.look(file)
    assert not watch.gate.is_due(file)


def test_a_look_that_knows_of_an_earlier_scan_only_leaves_the_closing_to_the_next(watch: Watch, file: Path) -> None:
    before = scanned(file)
    write_again(file, file.read_bytes())
    watch.close(file)
    answer = watch.gate.examine(file, before)
    assert isinstance(answer, NotYet) and answer.reason == "growing"
    assert watch.gate.is_due(file)
    assert isinstance(watch.look(file), Finished)


def close_in_two_parts(watch: Watch, file: Path, apart_s: float = SETTLE_S / 2) -> None:
    whole = tile(file).read_bytes()
    file.write_bytes(whole[:-1000])
    watch.close(file)
    watch.now += apart_s
    write_again(file, whole)
    watch.close(file)


def test_where_files_are_closed_and_written_again_they_settle(watch: Watch, file: Path, tmp_path: Path) -> None:
    close_in_two_parts(watch, tmp_path / "parts.tif")
    watch.close(file)
    assert not watch.gate.is_due(file)
    assert watch.reason(file) == "settling"
    watch.now += SETTLE_S
    assert isinstance(watch.look(file), Finished)


def test_such_a_writer_is_forgotten_in_time(watch: Watch, file: Path, tmp_path: Path) -> None:
    close_in_two_parts(watch, tmp_path / "parts.tif")
    watch.now += DISTRUST_S
    watch.close(file)
    assert isinstance(watch.look(file), Finished)


def test_a_tile_that_is_taken_again_later_is_no_file_in_parts(watch: Watch, file: Path, tmp_path: Path) -> None:
    close_in_two_parts(watch, tmp_path / "again.tif", apart_s=SETTLE_S)
    watch.close(file)
    assert isinstance(watch.look(file), Finished)


def test_a_file_that_is_closed_twice_and_the_same_is_trusted(watch: Watch, file: Path) -> None:
    watch.close(file)
    watch.close(file)
    assert isinstance(watch.look(file), Finished)


def test_with_a_marker_closings_do_not_count(file: Path) -> None:
    watch = Watch(marker="{name}.done")
    watch.close(file)
    assert watch.reason(file) == "marker"
