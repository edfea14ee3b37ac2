"""Headers written here in the vendors' own form, and the vendors' example files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from mhfd.images import Tile, read_tile
from mhfd.images.metadata import pixel_size_from_dpi
from phantoms import EmTile

GREY = np.arange(64, dtype=np.uint8).reshape(8, 8)

ZEISS = "\r\n".join(
    [
        *["0", "AP_WD", "WD =  5.2 mm", "AP_IMAGE_PIXEL_SIZE", "Image Pixel Size = 4.000 nm"],
        *["DP_DWELL_TIME", "Dwell Time = 800 ns", "AP_STAGE_AT_X", "Stage at X = 48.509 mm"],
        *["AP_STAGE_AT_Y", "Stage at Y = -1.5 mm", "AP_STAGE_AT_Z", "Stage at Z = 10.000 mm", ""],
    ]
)
FEI = (
    "[Beam]\r\nBeam=EBeam\r\nScan=EScan\r\n[EBeam]\r\nWD=0.0068\r\n[IBeam]\r\nWD=0.0165\r\n"
    "[EScan]\r\nDwell=3e-06\r\nPixelWidth=8e-09\r\nPixelHeight=8e-09\r\n"
    "[Stage]\r\nStageX=0.001\r\nStageY=-0.002\r\nStageZ=0\r\n"
)
TESCAN = (
    "PREVIEW\r\nPixelSizeX=2.5e-9\r\nPixelSizeY=2.5e-9\r\nDwellTime=3.2e-6\r\nWD=13.25e-3\r\n"
    "StageX=5e-3\r\nStageY=6e-3\r\n"
)
OPENFIBSEM = {
    "image": {"beam_type": "ION"},
    "pixel_size": {"x": 5e-9, "y": 5e-9},
    "microscope_state": {
        "stage_position": {"x": 1e-3, "y": 2e-3, "z": 3e-3},
        "electron_beam": {"working_distance": 0.004, "dwell_time": 1e-6},
        "ion_beam": {"working_distance": 0.0165, "dwell_time": 2e-6},
    },
}


def read(path: Path, index: int = 0, **options: Any) -> Tile:
    tifffile.imwrite(path, options.pop("pixels", GREY), **options)
    return read_tile(path, index)


def vendor_tag(code: int, text: str) -> dict[str, Any]:
    return {"metadata": None, "extratags": [(code, 1, len(text), text.encode("latin-1"), True)]}


def test_zeiss_header(tmp_path: Path) -> None:
    tile = read(tmp_path / "a.tif", **vendor_tag(34118, ZEISS))
    assert tile.pixel_size_nm == pytest.approx(4)
    assert tile.acquisition.vendor == "zeiss"
    assert tile.acquisition.working_distance_mm == pytest.approx(5.2)
    assert tile.acquisition.dwell_us == pytest.approx(0.8)
    assert tile.acquisition.stage_um == pytest.approx((48509, -1500, 10000))


def test_fei_header(tmp_path: Path) -> None:
    tile = read(tmp_path / "a.tif", **vendor_tag(34682, FEI))
    assert tile.pixel_size_nm == pytest.approx(8)
    assert tile.acquisition.vendor == "fei"
    assert tile.acquisition.working_distance_mm == pytest.approx(6.8)
    assert tile.acquisition.dwell_us == pytest.approx(3)
    assert tile.acquisition.stage_um == pytest.approx((1000, -2000, 0))


def test_fei_working_distance_is_that_of_the_beam_that_made_the_image(tmp_path: Path) -> None:
    tile = read(tmp_path / "a.tif", **vendor_tag(34682, FEI.replace("Beam=EBeam", "Beam=IBeam")))
    assert tile.acquisition.working_distance_mm == pytest.approx(16.5)


def test_tescan_header(tmp_path: Path) -> None:
    tile = read(tmp_path / "a.tif", **vendor_tag(50431, TESCAN))
    assert tile.pixel_size_nm == pytest.approx(2.5)
    assert tile.acquisition.vendor == "tescan"
    assert tile.acquisition.working_distance_mm == pytest.approx(13.25)
    assert tile.acquisition.dwell_us == pytest.approx(3.2)


def test_openfibsem_header_of_the_beam_that_made_the_image(tmp_path: Path) -> None:
    tile = read(tmp_path / "a.tif", description=json.dumps(OPENFIBSEM), metadata=None)
    assert tile.pixel_size_nm == pytest.approx(5)
    assert tile.acquisition.vendor == "openfibsem"
    assert tile.acquisition.working_distance_mm == pytest.approx(16.5)
    assert tile.acquisition.stage_um == pytest.approx((1000, 2000, 3000))


@pytest.mark.parametrize(("unit", "nm"), [("nm", 1), ("\u00b5m", 1000), ("pm", 0.001), ("\u00c5", 0.1), (None, 1000)])
def test_ome_units(tmp_path: Path, unit: str | None, nm: float) -> None:
    units = {} if unit is None else {"PhysicalSizeXUnit": unit, "PhysicalSizeYUnit": unit}
    metadata = {"PhysicalSizeX": 4, "PhysicalSizeY": 4, **units}
    tile = read(tmp_path / "a.ome.tif", metadata=metadata)
    assert tile.pixel_size_nm == pytest.approx(4 * nm)
    assert tile.acquisition.vendor == "ome"


def test_ome_unit_that_is_no_length_gives_no_pixel_size(tmp_path: Path) -> None:
    metadata = {"PhysicalSizeX": 4, "PhysicalSizeXUnit": "pixel", "PhysicalSizeY": 4, "PhysicalSizeYUnit": "pixel"}
    assert read(tmp_path / "a.ome.tif", metadata=metadata).pixel_size_nm is None


def test_ome_plane_positions_are_those_of_the_page(tmp_path: Path) -> None:
    plane = {"PositionX": [1.0, 2.0, 3.0], "PositionY": [5.0, 6.0, 7.0]}
    units = {"PositionXUnit": ["mm"] * 3, "PositionYUnit": ["mm"] * 3}
    tile = read(
        tmp_path / "a.ome.tif", 2, pixels=np.stack([GREY] * 3), metadata={"axes": "ZYX", "Plane": {**plane, **units}}
    )
    assert tile.acquisition.stage_um == pytest.approx((3000, 7000, 0))


def test_second_image_of_an_ome_file_has_its_own_pixel_size(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.ome.tif") as tif:
        for size in (4, 7):
            tif.write(GREY, metadata={"PhysicalSizeX": size, "PhysicalSizeXUnit": "nm"})
    assert read_tile(tmp_path / "a.ome.tif", 1).pixel_size_nm == pytest.approx(7)


@pytest.mark.parametrize(
    ("unit", "pixels_per_unit", "nm"),
    [
        ("nm", 0.25, 4),
        ("micron", 250, 4),
        ("\\u00B5m", 250, 4),
        ("pixel", 1, None),
        ("", 250, None),
        ("inch", 72, 352778),
    ],
)
def test_imagej_units(tmp_path: Path, unit: str, pixels_per_unit: float, nm: float | None) -> None:
    per_unit = (pixels_per_unit, pixels_per_unit)
    tile = read(tmp_path / "a.tif", imagej=True, resolution=per_unit, metadata={"unit": unit})
    assert tile.pixel_size_nm == (None if nm is None else pytest.approx(nm, rel=1e-5))
    assert tile.acquisition.vendor == "imagej"


@pytest.mark.parametrize("dpi", [0, 1, 72, 96, 192, 300, 2400, 4800, 12000])
def test_resolution_of_screens_printers_and_scanners_is_no_pixel_size(tmp_path: Path, dpi: int) -> None:
    tile = read(tmp_path / "a.tif", metadata=None, resolution=(dpi, dpi), resolutionunit="inch")
    assert tile.pixel_size_nm is None


def test_resolution_of_a_microscope_is_a_pixel_size(tmp_path: Path) -> None:
    tile = read(tmp_path / "a.tif", metadata=None, resolution=(2.5e6, 2.5e6), resolutionunit="centimeter")
    assert tile.pixel_size_nm == pytest.approx(4)


def test_resolution_without_unit_is_no_pixel_size(tmp_path: Path) -> None:
    assert (
        read(tmp_path / "a.tif", metadata=None, resolution=(2.5e6, 2.5e6), resolutionunit="none").pixel_size_nm is None
    )


@pytest.mark.parametrize(
    ("x_nm", "y_nm", "size_nm"), [(4, 9 / 4 * 4 / 2, 18**0.5), (4, 9, None), (4, None, 4), (1e-5, 1e-5, None)]
)
def test_oblong_pixels_keep_their_area(x_nm: float | None, y_nm: float | None, size_nm: float | None) -> None:
    found = pixel_size_from_dpi(*(None if nm is None else 2.54e7 / nm for nm in (x_nm, y_nm)))
    assert found == (None if size_nm is None else pytest.approx(size_nm))


NONSENSE = ["", "0", "-1", "nan", "inf", "1e999", "five", "\u00e9" * 3]


@pytest.mark.parametrize("value", NONSENSE)
@pytest.mark.parametrize(("code", "header"), [(34118, ZEISS), (34682, FEI), (50431, TESCAN)])
def test_nonsense_in_a_header_is_none(tmp_path: Path, code: int, header: str, value: str) -> None:
    for number in ("5.2", "4.000", "800", "0.0068", "0.001", "3e-06", "8e-09", "2.5e-9", "3.2e-6", "13.25e-3"):
        header = header.replace(number, value)
    tile = read(tmp_path / "a.tif", **vendor_tag(code, header))
    assert tile.pixel_size_nm is None
    assert tile.acquisition.working_distance_mm is None
    assert tile.acquisition.dwell_us is None


@pytest.mark.parametrize(
    "description",
    [
        "<OME><Image></OME>",
        "<OME></OME>",
        "<OME><Image><Pixels SizeX='many'><TiffData IFD='one'/></Pixels></Image></OME>",
        "<OME><Image><Pixels DimensionOrder='XYZCT' SizeZ='0'><TiffData/></Pixels></Image></OME>",
        "<OME>" * 3000 + "</OME>" * 3000,
        '<!DOCTYPE OME [<!ENTITY a "aaaa">]><OME>&a;</OME>',
        '{"microscope_state": ' + "[" * 100_000,
        '{"microscope_state": 5}',
        '{"microscope_state": {"electron_beam": null}, "image": {"beam_type": 7}, "pixel_size": []}',
        "ImageJ=",
        "ImageJ=1.5\nunit=ell\nimages=many",
        "ImageJ=1.5\nimages=99999999999999999999",
    ],
)
def test_an_odd_description_costs_no_tile(tmp_path: Path, description: str) -> None:
    tile = read(tmp_path / "a.tif", description=description, metadata=None)
    assert tile.pixel_size_nm is None
    np.testing.assert_array_equal(tile.pixels, GREY)


def test_zeiss_example(em_tile: EmTile) -> None:
    tile = read_tile(em_tile("vendor-sem/zeiss_example_sem.tif"))
    assert tile.pixel_size_nm == pytest.approx(593.3)
    assert tile.acquisition.vendor == "zeiss"
    assert tile.acquisition.working_distance_mm == pytest.approx(5.2)
    assert tile.acquisition.dwell_us == pytest.approx(0.05)
    assert tile.acquisition.stage_um == pytest.approx((48509, 48671.5, 10000))


def test_thermo_example(em_tile: EmTile) -> None:
    tile = read_tile(em_tile("vendor-sem/tfs_example.tif"))
    assert tile.pixel_size_nm == pytest.approx(269.792)
    assert tile.acquisition.vendor == "fei"
    assert tile.acquisition.working_distance_mm == pytest.approx(6.8, abs=0.05)
    assert tile.acquisition.dwell_us == pytest.approx(1)
    assert tile.acquisition.stage_um == pytest.approx((133.417, -717.625, 0))


def test_tescan_example(em_tile: EmTile) -> None:
    tile = read_tile(em_tile("vendor-sem/tescan_example_sem1.tif"))
    assert tile.pixel_size_nm == pytest.approx(2501.2)
    assert tile.acquisition.vendor == "tescan"
    assert tile.acquisition.working_distance_mm == pytest.approx(13.25)


def test_openfibsem_example(em_tile: EmTile) -> None:
    tile = read_tile(em_tile("vendor-sem/fibsemos_example_sem.tif"))
    assert tile.pixel_size_nm == pytest.approx(97.65625)
    assert tile.acquisition.working_distance_mm == pytest.approx(4)


def test_jeol_example_does_not_say(em_tile: EmTile) -> None:
    tile = read_tile(em_tile("vendor-sem/jeol_example_sem.tif"))
    assert tile.pixel_size_nm is None
    assert tile.acquisition.vendor is None
