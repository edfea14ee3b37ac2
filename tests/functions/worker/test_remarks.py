"""One bad folder, link or line is one remark of a run's answer; the rest is scored."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mhfd.worker.remarks import SHOWN_REMARKS, Remarks

from .conftest import rescored, write_run

Answer = dict[str, Any]


def remark_codes(answer: Answer) -> list[str]:
    return [remark["code"] for remark in answer["remarks"]]


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Let a folder refuse to be listed, also to root, who may enter every folder."""
    scandir = os.scandir

    def close(folder: Path) -> None:
        @contextmanager
        def refusing(path: Any) -> Iterator[Any]:
            if Path(path) == folder:
                raise PermissionError(13, "Permission denied", str(path))
            with scandir(path) as entries:
                yield entries

        monkeypatch.setattr("mhfd.worker.find.os.scandir", refusing)

    return close


def test_a_good_run_has_no_remarks(tmp_path: Path) -> None:
    write_run(tmp_path, 1)
    assert rescored(tmp_path)["remarks"] == []


@pytest.mark.parametrize("pattern", ["**/*.tif", "*/*.tif"])
def test_a_folder_that_may_not_be_entered_is_one_remark(
    tmp_path: Path, closed: Callable[[Path], None], pattern: str
) -> None:
    for name in ("a", "b", "c"):
        write_run(tmp_path / name, 1)
    closed(tmp_path / "b")
    answer = rescored(tmp_path, pattern)
    assert (answer["scored"], remark_codes(answer)) == (2, ["permission_denied"])
    assert answer["remarks"][0]["message"].startswith("b: ")


def test_the_folder_itself_may_be_closed(tmp_path: Path, closed: Callable[[Path], None]) -> None:
    write_run(tmp_path, 1)
    closed(tmp_path)
    answer = rescored(tmp_path)
    assert (answer["rows"], remark_codes(answer)) == (0, ["permission_denied"])


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may enter every folder")
def test_closed_folders_of_a_real_file_system(tmp_path: Path) -> None:
    write_run(tmp_path / "open", 1)
    write_run(tmp_path / "closed", 1)
    write_run(tmp_path / "listed", 1)
    (tmp_path / "closed").chmod(0)
    (tmp_path / "listed").chmod(0o444)
    try:
        answer = rescored(tmp_path, "**/*.tif")
    finally:
        (tmp_path / "closed").chmod(0o755)
        (tmp_path / "listed").chmod(0o755)
    assert (answer["scored"], answer["failures"]) == (1, {"permission_denied": 1})
    assert remark_codes(answer) == ["permission_denied"]


def test_a_link_in_a_circle_ends_nothing(tmp_path: Path) -> None:
    write_run(tmp_path, 1)
    try:
        (tmp_path / "self.tif").symlink_to(tmp_path / "self.tif")
        (tmp_path / "up").symlink_to(tmp_path, target_is_directory=True)
    except OSError:
        pytest.skip("no symbolic links")
    answer = rescored(tmp_path, "**/*.tif")
    assert (answer["scored"], answer["failed"]) == (1, 1)
    assert rescored(tmp_path, "/".join("*" * 30))["rows"] == 0


def test_a_linked_folder_is_left_out_by_two_stars_and_told_of(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    write_run(tmp_path / "run" / "a", 1)
    write_run(tmp_path / "elsewhere", 1)
    try:
        (tmp_path / "run" / "b").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    except OSError:
        pytest.skip("no symbolic links")
    answer = rescored(tmp_path / "run", "**/*.tif")
    assert (answer["scored"], remark_codes(answer)) == (1, ["linked_folder"])
    answer = rescored(tmp_path / "run", "*/*.tif")
    assert (answer["scored"], remark_codes(answer)) == (2, [])


def test_remarks_are_bounded(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run").mkdir()
    try:
        for number in range(100):
            (tmp_path / "run" / f"{number}").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    except OSError:
        pytest.skip("no symbolic links")
    answer = rescored(tmp_path / "run")
    assert remark_codes(answer) == ["linked_folder"] * SHOWN_REMARKS + ["more"]
    assert answer["remarks"][-1]["message"].startswith(f"{100 - SHOWN_REMARKS} ")
    remarks = Remarks()
    remarks.add("bad_line", "\ud800\0" + "x" * 10_000)
    assert len(json.dumps(remarks.to_list())) < 1000


@pytest.mark.parametrize(
    "pattern", ["**.tif", "a**", ".", "./", "..", "../*", "a/../*.tif", "/etc/*", "\\x", "*" * 2000, "[" * 5000]
)
def test_a_bad_pattern_is_refused(tmp_path: Path, pattern: str) -> None:
    answer = rescored(tmp_path, pattern)
    assert answer["error"]["code"] == "bad_params"
    assert "pattern" in answer["error"]["message"]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("a..b*.tif", ["a..b1.tif"]),
        ("*.tif", ["a..b1.tif", "t.tif"]),
        ("**", ["a..b1.tif", "d/t.tif", "d/e/t.tif", "t.tif"]),
        ("**/t.tif", ["d/t.tif", "d/e/t.tif", "t.tif"]),
        ("**/**/t.tif", ["d/t.tif", "d/e/t.tif", "t.tif"]),
        ("d/**/t.tif", ["d/t.tif", "d/e/t.tif"]),
        ("*/*.tif", ["d/t.tif"]),
        ("./d//t.tif", ["d/t.tif"]),
        ("d/e/t.tif", ["d/e/t.tif"]),
        ("[ts].tif", ["t.tif"]),
        ("?.tif", ["t.tif"]),
        ("nosuch/*.tif", []),
        ("[", []),
    ],
)
def test_a_pattern_finds_what_pathlib_finds(tmp_path: Path, pattern: str, found: list[str]) -> None:
    (tmp_path / "d" / "e").mkdir(parents=True)
    (tmp_path / "folder.tif").mkdir()
    for name in ("a..b1.tif", "t.tif", "d/t.tif", "d/e/t.tif"):
        (tmp_path / name).touch()
    out = tmp_path.parent / f"{tmp_path.name}-out"
    answer = rescored(tmp_path, pattern, out=str(out))
    assert [each["path"] for each in answer["results"]] == sorted(found, key=lambda path: path.split("/"))
    if pattern != "**":  # which finds folders alone before Python 3.13
        assert sorted(found) == sorted(
            path.relative_to(tmp_path).as_posix() for path in set(tmp_path.glob(pattern)) if path.is_file()
        )


@pytest.mark.parametrize("request_", [{"folder": ""}, {"folder": "run", "out": ""}, {"folder": "run", "pattern": ""}])
def test_an_empty_name_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request_: dict[str, Any]) -> None:
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path / "run", 1)
    assert "is empty" in rescored(**request_)["error"]["message"]
    assert [path.name for path in tmp_path.rglob("*")] == ["run", "t00.tif"]


def test_only_a_full_disk_asks_for_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_run(tmp_path, 1)
    (tmp_path / "file").touch()
    answer = rescored(tmp_path, out=str(tmp_path / "file" / "x"))
    assert (answer["error"]["code"], "make room" in answer["error"]["message"]) == ("cannot_write", False)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mhfd.worker.archive.files.os.fsync", full)
    answer = rescored(tmp_path)
    assert (answer["error"]["code"], "make room" in answer["error"]["message"]) == ("cannot_write", True)
