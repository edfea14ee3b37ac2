"""One bad folder, link or line is one remark of a run's answer; the rest is scored."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mhfd.worker import score_run
from mhfd.worker.remarks import SHOWN_REMARKS, Remarks

from .conftest import QUICK, write_run

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
    assert score_run({"folder": str(tmp_path)}, QUICK)["remarks"] == []


@pytest.mark.parametrize("pattern", ["**/*.tif", "*/*.tif"])
def test_a_folder_that_may_not_be_entered_is_one_remark(
    tmp_path: Path, closed: Callable[[Path], None], pattern: str
) -> None:
    for name in ("a", "b", "c"):
        write_run(tmp_path / name, 1)
    closed(tmp_path / "b")
    answer = score_run({"folder": str(tmp_path), "pattern": pattern}, QUICK)
    assert (answer["scored"], remark_codes(answer)) == (2, ["permission_denied"])
    assert answer["remarks"][0]["message"].startswith("b: ")


def test_the_folder_itself_may_be_closed(tmp_path: Path, closed: Callable[[Path], None]) -> None:
    write_run(tmp_path, 1)
    closed(tmp_path)
    answer = score_run({"folder": str(tmp_path)}, QUICK)
    assert (answer["count"], remark_codes(answer)) == (0, ["permission_denied"])


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may enter every folder")
def test_closed_folders_of_a_real_file_system(tmp_path: Path) -> None:
    write_run(tmp_path / "open", 1)
    write_run(tmp_path / "closed", 1)
    write_run(tmp_path / "listed", 1)
    (tmp_path / "closed").chmod(0)
    (tmp_path / "listed").chmod(0o444)
    try:
        answer = score_run({"folder": str(tmp_path), "pattern": "**/*.tif"}, QUICK)
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
    answer = score_run({"folder": str(tmp_path), "pattern": "**/*.tif"}, QUICK)
    assert (answer["scored"], answer["failed"]) == (1, 1)
    assert score_run({"folder": str(tmp_path), "pattern": "/".join("*" * 30)}, QUICK)["count"] == 0


def test_a_linked_folder_is_left_out_by_two_stars_and_told_of(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    write_run(tmp_path / "run" / "a", 1)
    write_run(tmp_path / "elsewhere", 1)
    try:
        (tmp_path / "run" / "b").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    except OSError:
        pytest.skip("no symbolic links")
    answer = score_run({"folder": str(tmp_path / "run"), "pattern": "**/*.tif"}, QUICK)
    assert (answer["scored"], remark_codes(answer)) == (1, ["linked_folder"])
    answer = score_run({"folder": str(tmp_path / "run"), "pattern": "*/*.tif"}, QUICK)
    assert (answer["scored"], answer["skipped"], remark_codes(answer)) == (1, 1, [])


BAD_LINES: dict[str, Callable[[dict[str, Any]], str]] = {
    "deep": lambda line: "[" * 100_000 + "]" * 100_000,
    "a deep value": lambda line: '{"schema": 1, "file": ' + "[" * 100_000 + "]" * 100_000 + "}",
    "no object": lambda line: "7",
    "no result": lambda line: '{"x": 1}',
    "a name that is a list": lambda line: json.dumps(line | {"file": line["file"] | {"name": ["a"]}}),
    "a page that is a list": lambda line: json.dumps(line | {"file": line["file"] | {"page": [0]}}),
    "a page that is text": lambda line: json.dumps(line | {"file": line["file"] | {"page": "0"}}),
    "pages that are text": lambda line: json.dumps(line | {"file": line["file"] | {"pages": "1"}}),
    "no page at all": lambda line: json.dumps(line | {"file": line["file"] | {"pages": 0}}),
    "a file that is a list": lambda line: json.dumps(line | {"file": [1]}),
    "a row that is text": lambda line: json.dumps(line | {"row": "x"}),
    "an error that is text": lambda line: json.dumps(line | {"row": line["row"] | {"error": "x"}}),
    "a code that is a list": lambda line: json.dumps(line | {"row": line["row"] | {"error": {"code": [1]}}}),
    "not UTF-8": lambda line: "\udcff",
    "torn": lambda line: json.dumps(line)[:40],
}


@pytest.mark.parametrize("wrong", BAD_LINES)
def test_a_wrong_line_of_the_results_is_one_remark(tmp_path: Path, wrong: str) -> None:
    write_run(tmp_path, 2)
    path = Path(score_run({"folder": str(tmp_path)}, QUICK)["rows_file"])
    first, second = path.read_text().splitlines()
    line = BAD_LINES[wrong](json.loads(first))
    path.write_bytes(f"{line}\n{second}\n".encode(errors="surrogateescape"))
    answer = score_run({"folder": str(tmp_path)}, QUICK)
    assert (answer["scored"], answer["skipped"], answer["remaining"]) == (1, 1, 0)  # only the lost one again
    assert remark_codes(answer) == ["bad_line"]
    assert "line 1" in answer["remarks"][0]["message"]


def test_remarks_are_bounded(tmp_path: Path) -> None:
    write_run(tmp_path, 1)
    path = Path(score_run({"folder": str(tmp_path)}, QUICK)["rows_file"])
    path.write_text("x\n" * 1000)
    answer = score_run({"folder": str(tmp_path)}, QUICK)
    assert remark_codes(answer) == ["bad_line"] * SHOWN_REMARKS + ["more"]
    assert answer["remarks"][-1]["message"].startswith(f"{1000 - SHOWN_REMARKS} ")
    remarks = Remarks()
    remarks.add("bad_line", "\ud800\0" + "x" * 10_000)
    assert len(json.dumps(remarks.to_list())) < 1000


@pytest.mark.parametrize(
    "pattern", ["**.tif", "a**", ".", "./", "..", "../*", "a/../*.tif", "/etc/*", "\\x", "*" * 2000, "[" * 5000]
)
def test_a_bad_pattern_is_refused(tmp_path: Path, pattern: str) -> None:
    answer = score_run({"folder": str(tmp_path), "pattern": pattern}, QUICK)
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
    answer = score_run({"folder": str(tmp_path), "pattern": pattern, "out": str(out)}, QUICK)
    assert sorted(each["path"] for each in answer["failed_first"]) == sorted(found)
    if pattern != "**":  # which finds folders alone before Python 3.13
        assert sorted(found) == sorted(
            path.relative_to(tmp_path).as_posix() for path in set(tmp_path.glob(pattern)) if path.is_file()
        )


@pytest.mark.parametrize("manifest", [{"folder": ""}, {"folder": "run", "out": ""}, {"paths": ["a.tif"], "out": ""}])
def test_an_empty_name_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, manifest: dict[str, Any]) -> None:
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path / "run", 1)
    assert "is empty" in score_run(manifest, QUICK)["error"]["message"]
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_no_folder_is_made_for_mistyped_paths(tmp_path: Path) -> None:
    answer = score_run({"paths": [str(tmp_path / "rnu" / "x" / "t00.tif")]}, QUICK)
    assert answer["error"]["code"] == "bad_params"
    assert list(tmp_path.iterdir()) == []


def test_only_a_full_disk_asks_for_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_run(tmp_path, 1)
    (tmp_path / "file").touch()
    answer = score_run({"folder": str(tmp_path), "out": str(tmp_path / "file" / "x.jsonl")}, QUICK)
    assert "make room" not in answer["error"]["message"]

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mhfd.worker.archive.append", full)
    answer = score_run({"folder": str(tmp_path)}, QUICK)
    assert (answer["error"]["code"], "make room" in answer["error"]["message"]) == ("cannot_write", True)
