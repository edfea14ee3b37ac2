"""Rows reach the disk: those too many for an answer, and all of them with a spool."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from mhfd.contract import FocusResult, Provenance
from mhfd.images.inline import encode_tile
from mhfd.lines import append, read_lines
from mhfd.worker import read_rows, read_spool, rows, score_inline, score_paths

from .conftest import QUICK, codes, tissue, write_run


def test_rows_over_the_limit_go_to_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "MAX_RESULT_BYTES", 5000)
    monkeypatch.setenv("MHFD_RESULT_DIR", str(tmp_path / "results"))
    names = [f"{number}" for number in range(12)]
    answer = score_inline([encode_tile(tissue(), name=name) for name in names], QUICK)
    assert (answer["rows"], answer["count"]) == (None, 12)
    assert [row["path"] for row in read_rows(answer["rows_file"])] == names
    assert list((tmp_path / "results").iterdir()) == [Path(answer["rows_file"])]
    assert all(FocusResult.from_dict(row).status == "scored" for row in read_rows(answer["rows_file"]))


def test_without_a_result_folder_the_rows_lie_beside_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "MAX_RESULT_BYTES", 10)
    (name,) = write_run(tmp_path, 1)
    answer = score_paths([{"path": str(tmp_path / name)}], QUICK)
    assert Path(answer["rows_file"]).parent == tmp_path


def test_a_result_folder_that_cannot_be_written_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(rows, "MAX_RESULT_BYTES", 10)
    monkeypatch.setenv("MHFD_RESULT_DIR", str(tmp_path / "file"))
    monkeypatch.setattr("mhfd.worker.rows.tempfile.gettempdir", lambda: str(tmp_path))
    assert Path(score_inline([encode_tile(tissue())], QUICK)["rows_file"]).parent == tmp_path


def test_with_no_place_for_rows_the_error_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(rows, "MAX_RESULT_BYTES", 10)
    monkeypatch.setattr("mhfd.worker.rows.tempfile.gettempdir", lambda: str(tmp_path / "file"))
    assert score_inline([encode_tile(tissue())], QUICK)["error"]["code"] == "cannot_write"


class _Disk:
    """A file system that is full after so many bytes in some folder, as `Path.open` shows it."""

    def __init__(self, folder: Path, takes: int) -> None:
        self.folder, self.takes, self.open = folder, takes, Path.open

    def opened(self, path: Path, mode: str = "r", *given: Any, **named: Any) -> Any:
        file = self.open(path, mode, *given, **named)
        return _FullFile(file, self.takes) if path.parent == self.folder and "x" in mode else file


class _FullFile:
    def __init__(self, file: Any, left: int) -> None:
        self.file, self.left = file, left

    def write(self, data: bytes) -> int:
        self.file.write(data[: self.left])
        self.left -= len(data)
        if self.left < 0:
            raise OSError(28, "No space left on device")
        return len(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


@pytest.mark.parametrize("takes", [0, 100, 6000, 12_000])
def test_a_disk_that_fills_up_meanwhile_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, takes: int
) -> None:
    (tmp_path / "other").mkdir()
    disk = _Disk(tmp_path / "full", takes)
    monkeypatch.setattr(Path, "open", lambda *given, **named: disk.opened(*given, **named))
    monkeypatch.setattr(rows, "MAX_RESULT_BYTES", 5000)
    monkeypatch.setenv("MHFD_RESULT_DIR", str(disk.folder))
    monkeypatch.setattr("mhfd.worker.rows.tempfile.gettempdir", lambda: str(tmp_path / "other"))
    names = [f"{number}" for number in range(12)]
    answer = score_inline([encode_tile(tissue(), name=name) for name in names], QUICK)
    assert Path(answer["rows_file"]).parent == tmp_path / "other"
    assert [row["path"] for row in read_rows(answer["rows_file"])] == names
    assert list(disk.folder.iterdir()) == []


def test_a_disk_that_is_found_full_at_the_end_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synchronise, failures = os.fsync, iter([OSError(122, "Disk quota exceeded")])

    def fsync(handle: int) -> None:
        for error in failures:
            raise error
        synchronise(handle)

    monkeypatch.setattr("mhfd.worker.rows.os.fsync", fsync)
    monkeypatch.setattr(rows, "MAX_RESULT_BYTES", 10)
    monkeypatch.setenv("MHFD_RESULT_DIR", str(tmp_path / "full"))
    monkeypatch.setattr("mhfd.worker.rows.tempfile.gettempdir", lambda: str(tmp_path / "other"))
    answer = score_inline([encode_tile(tissue(), name="a")], QUICK)
    assert Path(answer["rows_file"]).parent == tmp_path / "other"
    assert [row["path"] for row in read_rows(answer["rows_file"])] == ["a"]
    assert list((tmp_path / "full").iterdir()) == []


def test_when_every_disk_is_full_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = _Disk(tmp_path, 100)
    monkeypatch.setattr(Path, "open", lambda *given, **named: disk.opened(*given, **named))
    monkeypatch.setattr(rows, "MAX_RESULT_BYTES", 10)
    monkeypatch.setattr("mhfd.worker.rows.tempfile.gettempdir", lambda: str(tmp_path))
    error = score_inline([encode_tile(tissue())], QUICK)["error"]
    assert (error["code"], "make room" in error["message"]) == ("cannot_write", True)
    assert list(tmp_path.iterdir()) == []


def test_every_row_is_in_the_spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MHFD_SPOOL_DIR", str(tmp_path / "spool"))
    monkeypatch.setenv("GC_TASK_UUID", "task-1")
    monkeypatch.setattr(rows, "SPOOL_BATCH", 3)
    first = score_inline([encode_tile(tissue(), name=f"{n}") for n in range(7)] + [None], QUICK)
    second = score_inline([encode_tile(tissue(), name="last")], QUICK)
    kept = list(read_spool(tmp_path / "spool"))
    assert [line["row"] for line in kept] == first["rows"] + second["rows"]
    assert {line["task"] for line in kept} == {"task-1"}


def test_a_torn_line_costs_only_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MHFD_SPOOL_DIR", str(tmp_path))
    score_inline([encode_tile(tissue(), name="a")], QUICK)
    (file,) = tmp_path.iterdir()
    with file.open("ab") as torn:
        torn.write(b'{"spool": 1, "row": {"pa\xff')
    assert [line["row"]["path"] for line in read_spool(tmp_path)] == ["a"]
    score_inline([encode_tile(tissue(), name="b")], QUICK)
    assert [line["row"]["path"] for line in read_spool(tmp_path)] == ["a", "b"]


def test_writers_at_once_do_not_mix_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: append(path, [{"n": n, "pad": "x" * 5000}] * 3), range(20)))
    assert sorted(line["n"] for line in read_lines(path)) == sorted([*range(20)] * 3)


def test_a_spool_that_cannot_be_written_does_not_cost_the_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("MHFD_SPOOL_DIR", str(tmp_path / "file"))
    answer = score_inline([encode_tile(tissue())], QUICK)
    assert codes(answer) == [None]
    assert "MHFD_SPOOL_DIR" in answer["worker"]["spool_error"]


def test_rows_kept_by_the_thread_and_after_it_are_all_there_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MHFD_SPOOL_DIR", str(tmp_path))
    names = [f"{number}" for number in range(2 * rows.KEPT_TOGETHER + 1)]
    with rows.Keeper() as keeper:
        for name in names:
            keeper.add(failed_result(name))
    assert keeper.rows.rows is not None
    assert [row["path"] for row in keeper.rows.rows] == names
    assert [line["row"] for line in read_spool(tmp_path)] == keeper.rows.rows


def test_rows_that_the_thread_cannot_write_end_the_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(rows, "MAX_RESULT_BYTES", 10)
    monkeypatch.setattr("mhfd.worker.rows.tempfile.gettempdir", lambda: str(tmp_path / "file"))
    with pytest.raises(OSError), rows.Keeper() as keeper:
        for number in range(rows.KEPT_TOGETHER):
            keeper.add(failed_result(f"{number}"))


def test_a_task_that_fails_leaves_no_file_of_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "MAX_RESULT_BYTES", 10)
    with pytest.raises(KeyError), rows.Keeper([tmp_path]) as keeper:
        for number in range(rows.KEPT_TOGETHER):
            keeper.add(failed_result(f"{number}"))
        raise KeyError
    assert list(tmp_path.iterdir()) == []


def failed_result(name: str) -> FocusResult:
    about = Provenance(mhfd="0", params_sha256="0", backend="none", device="none")
    return FocusResult.failed(name, "not_found", "no such file", about)
