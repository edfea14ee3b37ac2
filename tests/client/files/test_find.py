"""The files that a name on the command line means."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from mhfd.contract import TileError
from mhfd.images import count_tiles
from mhfd_client.files.find import Search, find_tiles
from mhfd_client.watch import Folder, Scanner


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


@pytest.mark.skipif(os.name == "nt", reason="links need a right there")
def test_links_to_folders_are_followed_and_each_folder_once(run: Path) -> None:
    (run.parent / "elsewhere").mkdir(exist_ok=True)
    (run.parent / "elsewhere" / "u.tif").touch()
    for link, target in (
        ("a", "sub"),
        ("b", "../elsewhere"),
        ("c", "../elsewhere"),
        ("sub/up", ".."),
        ("round", "round"),
    ):
        (run / link).symlink_to(target)
    search = Search([str(run)])
    found = [Path(path).relative_to(run).as_posix() for path in search.tiles]
    assert found == ["t2.tif", "t10.tif", "b/u.tif", "sub/a.PNG", "sub/deep/b.tiff"]
    assert [line.partition(" is left out: ")[2] for line in search.left_out] == [
        "a is a link to sub, where its files are taken",
        "c is the same folder as b, where its files are taken",
        "sub/up is a link that leads back to a folder it lies in",
    ]


@pytest.mark.skipif(os.name == "nt", reason="links need a right there")
def test_score_and_watch_take_the_same_files(run: Path) -> None:
    (run.parent / "other").mkdir(exist_ok=True)
    (run.parent / "other" / "u.tif").touch()
    for link, target in (("a", "../other"), ("z", "sub"), ("sub/deep/again", "../../../other"), ("h", ".cache")):
        (run / link).symlink_to(target)
    seen = [
        file.path
        for folder in Scanner(run, is_tile=lambda path: True).scan()
        if isinstance(folder, Folder)
        for file in folder.files
    ]
    assert (
        sorted(seen)
        == sorted(names(run, str(run)))
        == ["a/u.tif", "h/c.tif", "sub/a.PNG", "sub/deep/b.tiff", "t10.tif", "t2.tif"]
    )


def test_a_zarr_folder_is_one_input_and_stacks_are_files(tmp_path: Path) -> None:
    for name in ("a.zarr/zarr.json", "a.zarr/c/0/0", "sub/b.ZARR/.zarray", "data/zarr.json", "t.mrc", "x.tif/u.tif"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert names(tmp_path, str(tmp_path)) == ["a.zarr", "t.mrc", "sub/b.ZARR", "x.tif/u.tif"]
    assert names(tmp_path, f"{tmp_path / 'a.zarr'}{os.sep}", str(tmp_path / "data")) == ["a.zarr", "data"]
    assert names(tmp_path, str(tmp_path / "*")) == ["a.zarr", "sub/b.ZARR", "t.mrc", "x.tif/u.tif"]


def test_files_of_other_formats_are_told(tmp_path: Path) -> None:
    for name in ("a.dm4", "b.DM4", "sub/c.eer", "t.tif", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    told = ["3 files of formats that mhfd does not read (.dm4, .eer): export them as TIFF"]
    assert Search([str(tmp_path)]).left_out == told
    assert Search([str(tmp_path / "*")]).left_out == told
