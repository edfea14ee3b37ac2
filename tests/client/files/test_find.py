"""The files that a name on the command line means."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from mhfd.contract import TileError
from mhfd.images import count_tiles
from mhfd_client.files.find import find_tiles


@pytest.fixture
def run(tmp_path: Path) -> Path:
    for name in ("t10.tif", "t2.tif", "notes.txt", ".hidden.tif", "sub/a.PNG", "sub/deep/b.tiff", ".cache/c.tif"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path


def names(run: Path, *asked: str) -> list[str]:
    return [Path(path).relative_to(run).as_posix() for path in find_tiles(asked)]


def test_a_folder_is_searched_recursively_in_natural_order(run: Path) -> None:
    assert names(run, str(run)) == ["t2.tif", "t10.tif", "sub/a.PNG", "sub/deep/b.tiff"]


def test_a_pattern_takes_images_only(run: Path) -> None:
    assert names(run, str(run / "*")) == ["sub/a.PNG", "sub/deep/b.tiff", "t2.tif", "t10.tif"]


def test_a_recursive_pattern_reaches_down(run: Path) -> None:
    assert names(run, str(run / "**" / "*.tiff")) == ["sub/deep/b.tiff"]


def test_a_file_named_outright_is_taken_whatever_its_suffix(run: Path) -> None:
    assert names(run, str(run / "notes.txt")) == ["notes.txt"]


def test_a_file_named_twice_comes_once(run: Path) -> None:
    assert names(run, str(run / "t2.tif"), str(run)) == ["t2.tif", "t10.tif", "sub/a.PNG", "sub/deep/b.tiff"]


def test_brackets_in_a_file_name_are_no_pattern(run: Path) -> None:
    (run / "t[1].tif").touch()
    assert names(run, str(run / "t[1].tif")) == ["t[1].tif"]


def test_a_name_that_matches_nothing_is_passed_on(run: Path) -> None:
    assert names(run, str(run / "gone.tif"), str(run / "gone*.tif")) == ["gone.tif", "gone*.tif"]


def test_an_empty_folder_has_no_tiles(tmp_path: Path) -> None:
    assert find_tiles([str(tmp_path)]) == []


def test_a_folder_that_may_not_be_listed_is_passed_on(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may list everything, so the test makes the refusal; scoring then reports the folder as a failed row."""
    real = os.scandir

    def refuse(path: str) -> object:
        if str(path).endswith("sub"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert names(run, str(run)) == ["t2.tif", "t10.tif", "sub"]
    with pytest.raises(TileError, match="may not be read") as caught:
        count_tiles(run / "sub")
    assert caught.value.code == "permission_denied"


def test_a_name_that_no_file_can_have_is_passed_on() -> None:
    assert find_tiles(["a" * 5000, "a\0b"]) == ["a" * 5000, "a\0b"]
