"""Tiles of one file have the section, row and column that the file tells; its name tells the rest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from mhfd.contract import page_path
from mhfd_client import Client
from mhfd_client.judge.sections import positions_of, sections_of
from mhfd_client.naming import Position
from needs import need_module


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A volume of two sections of two tiles, a mosaic of one section, and a stack of pages that tell nothing."""
    zarr = need_module("zarr")
    pixels = np.random.default_rng(1).integers(0, 256, (2, 64, 128), dtype=np.uint8)
    zarr.create_array(tmp_path / "volume.zarr", data=pixels, chunks=(1, 64, 64))
    zarr.create_array(tmp_path / "s0012.zarr", data=pixels[0], chunks=(64, 64))
    tifffile.imwrite(tmp_path / "s0007.tif", pixels, photometric="minisblack")
    return tmp_path


def test_the_file_tells_the_place_and_the_name_the_rest(run: Path) -> None:
    counts = {"volume.zarr": 4, "s0012.zarr": 2, "s0007.tif": 2}
    paths = [page_path(str(run / name), page) for name, count in counts.items() for page in range(count)]
    assert positions_of(paths, str(run)) == [
        *(Position(section=section, row=0, col=col) for section in range(2) for col in range(2)),
        *(Position(section=12, row=0, col=col) for col in range(2)),
        *[Position(section=7)] * 2,
    ]


@pytest.mark.parametrize(
    ("path", "root", "section"),
    [
        ("s0003.zarr", None, 3), ("d/s0003.zarr/", "d", 3), ("d/s0003.zarr/.", "d", 3), ("d//s0003.zarr", "./d/", 3),
        ("s0012.zarr", "s0012.zarr", None), ("d/s0012.zarr/", "d/s0012.zarr", None),
        ("s12/a.tif", "s12", None), ("s12/a.tif", ".", 12), ("s12/s13/a.tif", "s12/", 13), ("s12/a.tif", "s1", 12),
    ],
)  # fmt: skip
def test_what_the_run_itself_is_called_tells_no_section(path: str, root: str | None, section: int | None) -> None:
    assert sections_of([path], root) == [section]


def test_what_cannot_be_asked_keeps_the_place_that_its_name_tells(run: Path) -> None:
    gone = [page_path(str(run / "s0003.zarr"), 1), page_path(str(run / "volume.zarr"), 99), "", "s0004.tif"]
    assert sections_of(gone, str(run)) == [3, None, None, 4]


def test_a_client_scores_every_tile_of_an_array(run: Path) -> None:
    with Client("local") as client:
        rows = client.score([run / "volume.zarr"])
    assert [row.path for row in rows] == [page_path(str(run / "volume.zarr"), page) for page in range(4)]
    assert {row.status for row in rows} == {"scored"}
