"""The layout that a folder is found to have."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mhfd_client.naming import LayoutError, Position, detect, open_layout

TREES = {
    "sbemimage": [
        "overviews/ov000/stack_ov000_s00001.ome.tif",
        "tiles/g0000/t0000/stack_g0000_t0000_s00001.ome.tif",
        "workspace/viewport/stack_viewport_s00001.png",
        "meta/logs/imagelist_2021010321030012.txt",
    ],
    "atlas": ["S_000_1752450056/Tile_r1-c1_S_000_1752450056.tif", "S_000_1752450056/mosaic.tif"],
    "multisem": [
        "181_S182R1/000007/181_000007_055_2021-05-25T2146499297643.bmp",
        "181_S182R1/000007/thumbnail_181_000007_055_2021-05-25T2146499297643.bmp",
        "181_S182R1/overview.png",
    ],
    "plain": ["s0001_r0_c0.tif", "s0001_r0_c1.tif", "a/b.png", "Tile_r1-c1_S_000_1752450056.tif"],
}


def make(root: Path, paths: list[str]) -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()
    return root


@pytest.mark.parametrize("name", TREES)
def test_a_folder_is_told_by_its_files(name: str, tmp_path: Path) -> None:
    assert detect(make(tmp_path, TREES[name])) == name


def test_auto_is_the_layout_that_was_found(tmp_path: Path) -> None:
    assert open_layout("auto", root=make(tmp_path, TREES["atlas"])).name == "atlas"


def test_an_image_that_the_layout_does_not_know_is_then_no_tile(tmp_path: Path) -> None:
    assert open_layout("auto", root=make(tmp_path, TREES["atlas"])).position("mosaic.tif") is None


@pytest.mark.parametrize("empty", ["", "not there yet"])
def test_an_empty_folder_is_plain(tmp_path: Path, empty: str) -> None:
    assert detect(tmp_path / empty) == "plain"


def test_a_run_that_begins_in_an_empty_folder_is_understood(tmp_path: Path) -> None:
    layout = open_layout("auto", root=tmp_path)
    assert [layout.position(path) for path in TREES["sbemimage"][:2]] == [None, Position(1, 0, tile=0)]


def test_hidden_files_tell_nothing(tmp_path: Path) -> None:
    assert detect(make(tmp_path, [".trash/Tile_r1-c1_S_000_1.tif"])) == "plain"


def test_a_folder_without_end_is_not_searched_to_the_end(tmp_path: Path) -> None:
    make(tmp_path, [f"{i}.txt" for i in range(6000)])
    assert detect(tmp_path) == "plain"


@pytest.mark.parametrize(("name", "hint"), [("sbem", "did you mean"), ("xyz", "known: auto"), ("Atlas", "'atlas'")])
def test_an_unknown_layout_is_refused_with_the_known_ones(name: str, hint: str) -> None:
    with pytest.raises(LayoutError, match=hint):
        open_layout(name)


@pytest.mark.parametrize("name", ["plain", "sbemimage", "atlas", "multisem"])
def test_a_layout_has_the_name_that_it_was_opened_by(name: str) -> None:
    assert open_layout(name).name == name


def test_importing_layouts_brings_in_no_numpy() -> None:
    code = "import sys, mhfd_client.naming, mhfd_client.watch.hook; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
