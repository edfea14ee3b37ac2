"""Tiles and their positions, from names of real runs."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mhfd_client.naming import Position, open_layout

NAMES = ("plain", "sbemimage", "atlas", "multisem", "auto")
SBEM = "tiles/g0000/t0065/stack_g0000_t0065_s00314.ome.tif"
ATLAS = "S_000_1752450056/Tile_r1-c1_S_000_1752450056.tif"
MULTISEM = "181_S182R1/000007/181_000007_055_2021-05-25T2146499297643.bmp"
SIMULATED = "s0001_r0_c1.tif"
SAMPLES = {
    SBEM: Position(section=314, grid=0, tile=65),
    ATLAS: Position(section=0, row=1, col=1),
    MULTISEM: Position(section=182, grid=7, tile=55),
    SIMULATED: Position(section=1, row=0, col=1),
}


def at(layout: str, path: str) -> Position | None:
    return open_layout(layout).position(path)


@pytest.mark.parametrize("path", SAMPLES)
def test_auto_tells_each_name_by_itself(path: str) -> None:
    assert at("auto", path) == SAMPLES[path]


@pytest.mark.parametrize("path", [SBEM, ATLAS, MULTISEM])
def test_upper_case_makes_no_difference(path: str) -> None:
    assert at("auto", path.upper()) == SAMPLES[path]


@pytest.mark.parametrize("path", ["overview.tif", "workspace/x.png", "Tile_r1-c1", "stitched_S_000_1752450056.tif"])
@pytest.mark.parametrize("layout", ["sbemimage", "atlas", "multisem"])
def test_a_name_that_the_microscope_does_not_give_is_no_tile(layout: str, path: str) -> None:
    assert at(layout, path) is None


@pytest.mark.parametrize(
    "path",
    [
        "overviews/ov000/stack_ov000_s00314.ome.tif",
        "overviews/stub/anything.png",
        "overviews/debris/stack_ov000_s00314_1.tif",
        "workspace/ov000.ome.tif",
        "workspace/g0000_t0065.ome.tif",
        "workspace/a0003_r0001_t0002.ome.tif",
        "workspace/reslices/r_g0000_t0065.png",
        "workspace/reslices/r_a0003_r0001_t0002.ome.tif",
        "workspace/viewport/stack_viewport_s00314.png",
        "tiles/rejected/stack_g0000_t0065_s00314_0.ome.tif",
        "tiles/rejected/stack_a0003_r0001_t0002_1.ome.tif",
    ],
)
@pytest.mark.parametrize("layout", ["sbemimage", "auto"])
def test_what_else_sbemimage_writes_is_no_tile(layout: str, path: str) -> None:
    assert at(layout, path) is None


@pytest.mark.parametrize(
    "path", ["g0001_t0002.tif", "a0001_t0002.tif", "overviews/a.tif", "workspace/a.tif", "ov1.tif"]
)
def test_what_anyone_may_call_a_tile_is_one_in_a_folder_that_tells_no_layout(path: str) -> None:
    assert at("auto", path) is not None


def test_the_name_of_the_stack_may_look_like_a_tile() -> None:
    path = "tiles/g0001/t0002/old_g0007_t0007_s00007_g0001_t0002_s00003.tif"
    assert at("sbemimage", path) == Position(section=3, grid=1, tile=2)


def test_a_tile_of_a_whole_section_array_has_the_section_of_the_array() -> None:
    path = "tiles/a0012/t0002/wafer_a0012_t0002.ome.tif"
    assert at("sbemimage", path) == Position(section=12, tile=2)


def test_a_tile_of_atlas_without_a_section_takes_its_folders() -> None:
    assert at("atlas", "S_007_1752450056/Tile_r2-c3.tif") == Position(section=7, row=2, col=3)


def test_a_tile_of_atlas_without_any_section_is_a_tile_all_the_same() -> None:
    assert at("atlas", "Tile_r2-c3_mosaic.tif") == Position(row=2, col=3)


def test_a_later_stamp_of_atlas_is_the_later_tile() -> None:
    layout = open_layout("atlas")
    assert layout.taken("Tile_r1-c1_S_000_999999999.tif") < layout.taken("Tile_r1-c1_S_000_1752450056.tif")


def test_a_later_image_of_a_beam_is_the_later_tile() -> None:
    layout = open_layout("auto")
    assert layout.taken(MULTISEM) < layout.taken(MULTISEM.replace("T21", "T22"))


def test_sections_of_a_multisem_may_be_in_a_folder_of_their_plate() -> None:
    assert at("multisem", f"Plate_13_20210525_21-38-12/{MULTISEM}") == SAMPLES[MULTISEM]


def test_a_section_of_a_multisem_that_is_watched_itself_has_the_number_as_acquired() -> None:
    assert at("multisem", MULTISEM.partition("/")[2]) == Position(section=181, grid=7, tile=55)


def test_the_same_mfov_of_another_region_is_another_grid() -> None:
    other = at("multisem", MULTISEM.replace("R1", "R2"))
    assert other == Position(section=182, grid=1_000_007, tile=55)


@pytest.mark.parametrize("digits", ["9" * 10, "9" * 5000])
def test_a_huge_number_is_no_section(digits: str) -> None:
    assert at("plain", f"s{digits}_r0_c0.tif") == Position()


@pytest.mark.parametrize("layout", NAMES)
@settings(deadline=None)
@given(path=st.text(max_size=80))
def test_any_name_is_read_without_a_fault(layout: str, path: str) -> None:
    position = open_layout(layout).position(path)
    numbers = () if position is None else (position.section, *position.cell)
    assert all(number is None or 0 <= number < 2**63 for number in numbers)  # the ledger can hold it


@settings(deadline=None)
@given(section=st.integers(0, 999_999_999), row=st.integers(0, 999), col=st.integers(0, 999))
def test_the_names_of_a_simulated_run_tell_their_position(section: int, row: int, col: int) -> None:
    assert at("plain", f"s{section:04d}_r{row}_c{col}.tif") == Position(section=section, row=row, col=col)


@settings(deadline=None)
@given(st.text(max_size=40))
def test_every_image_of_a_plain_folder_is_a_tile(name: str) -> None:
    assert at("plain", f"{name}.tif") is not None


@pytest.mark.parametrize("layout", NAMES)
def test_ten_thousand_names_take_well_below_a_second(layout: str) -> None:
    read = open_layout(layout).position
    paths = [*SAMPLES, "a folder/of a long name/and a picture_of-something else.tif"] * 2000
    start = time.process_time()
    for path in paths:
        read(path)
    assert time.process_time() - start < 0.4  # measured: 0.006 to 0.05 s


@pytest.mark.parametrize("layout", NAMES)
def test_a_name_made_to_be_slow_is_not(layout: str) -> None:
    read = open_layout(layout).position
    start = time.process_time()
    for part in ("_g0000_t0000", "_s1", "S_1_", "r1-c1_", "_", "0", "-s0"):
        read(f"Tile_r1-c1_{part * (4000 // len(part))}.tif")
    assert time.process_time() - start < 2
