"""Headers written here in the vendors' own form, and the vendors' example files."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

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
        ("\\u00C5", 0.025, 4),
        ("Mm", 0.25, None),
        ("inch", 72, None),
        ("cm", 118, None),
        ("inch", 6.35e6, 4),
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


# --- A key that is there and cannot be read gives no value, never that of another key -----------------------------

NM_4: dict[str, Any] = {
    "resolution": (2.5e6, 2.5e6),
    "resolutionunit": "centimeter",
}  # what the resolution tags would say: 4 nm


def zeiss(path: Path, *lines: str, shape: tuple[int, int] = (384, 512), code_page: str = "latin-1") -> Tile:
    data = "\r\n".join(["0", *lines, ""]).encode(code_page)
    extratags = [(34118, 2, len(data), data, True)]
    return read(path, pixels=np.zeros(shape, np.uint8), metadata=None, extratags=extratags, **NM_4)


SCREEN = ("AP_PIXEL_SIZE", "Pixel Size = 6.000 nm")  # of a screen 1024 pixels wide
WIDTH, HEIGHT = ("AP_WIDTH", "Width = 6.144 \u00b5m"), ("AP_HEIGHT", "Height = 4.608 \u00b5m")
STORE = ("DP_IMAGE_STORE", "Store resolution = 512 * 384")
IMAGE = ("AP_IMAGE_PIXEL_SIZE", "Image Pixel Size = 12.00 nm")


@pytest.mark.parametrize("code_page", ["latin-1", "utf-8"])
@pytest.mark.parametrize(
    ("lines", "shape", "nm"),
    [
        (SCREEN, (384, 512), None),
        ((*SCREEN, *IMAGE), (384, 512), 12),
        ((*SCREEN, *WIDTH), (384, 512), 12),
        ((*SCREEN, *HEIGHT), (384, 512), 12),
        ((*SCREEN, *WIDTH, *HEIGHT), (384, 512), 12),
        ((*SCREEN, *WIDTH, *HEIGHT), (24, 512), None),  # cut: by rows, by columns or by both
        ((*SCREEN, *WIDTH, *HEIGHT, *STORE), (24, 512), 12),  # only by rows
        ((*IMAGE, *STORE), (192, 256), None),  # a smaller copy
        ((*IMAGE, *STORE), (384, 256), 12),
        ((*SCREEN, "AP_WIDTH", "Width = 6,144 \u00b5m", *HEIGHT), (384, 512), None),
        ((*SCREEN, "AP_WIDTH", "Width = 6.144 furlong", *HEIGHT), (384, 512), None),
        ((*SCREEN, *WIDTH, "AP_IMAGE_PIXEL_SIZE", "Image Pixel Size = 12,00 nm"), (384, 512), None),
        ((*SCREEN, *WIDTH, "AP_IMAGE_PIXEL_SIZE", "Image Pixel Size 12.00 nm"), (384, 512), None),
        ((*SCREEN, *WIDTH, "AP_IMAGE_PIXEL_SIZE"), (384, 512), None),
        ((*SCREEN, *WIDTH, "AP_IMAGE_PIXEL_SIZE", "Image Pixel Size = 12.00"), (384, 512), None),
        ((*SCREEN, *WIDTH, "AP_IMAGE_PIXEL_SIZE", "Image Pixel Size = 12.00 Nm"), (384, 512), None),
    ],
)
def test_zeiss_pixel_size_is_that_of_the_image(
    tmp_path: Path, lines: tuple[str, ...], shape: tuple[int, int], nm: float | None, code_page: str
) -> None:
    tile = zeiss(tmp_path / "a.tif", "AP_WD", "WD = 4.0 mm", *lines, shape=shape, code_page=code_page)
    assert tile.pixel_size_nm == (None if nm is None else pytest.approx(nm))
    assert tile.acquisition.working_distance_mm == pytest.approx(4)


@pytest.mark.parametrize("code_page", ["utf-16-le", "cp437", "cp1251", "cp932"])
def test_zeiss_header_in_another_code_page_gives_no_pixel_size(tmp_path: Path, code_page: str) -> None:
    lines = (
        "AP_IMAGE_PIXEL_SIZE",
        {"cp1251": "= 12.00 \u043d\u043c", "cp932": "= 12.00 \u03bcm"}.get(code_page, "= 2 \u00b5m"),
    )
    tile = zeiss(tmp_path / "a.tif", *SCREEN, *lines, code_page=code_page)
    assert tile.pixel_size_nm is None
    assert tile.acquisition.vendor == "zeiss"


def test_bytes_that_no_code_page_has_hide_no_zeiss_header(tmp_path: Path) -> None:
    data = "\r\n".join(["AP_TEMP", "Temp = 20 ", *IMAGE, ""]).encode().replace(b"20 ", b"20 \x81\x8e")
    tile = read(
        tmp_path / "a.tif",
        pixels=np.zeros((384, 512), np.uint8),
        metadata=None,
        extratags=[(34118, 2, len(data), data, True)],
    )
    assert tile.pixel_size_nm == pytest.approx(12)


def test_stage_with_an_unreadable_part_is_no_stage(tmp_path: Path) -> None:
    tile = read(tmp_path / "a.tif", **vendor_tag(34118, ZEISS.replace("Z = 10.000", "Z = 10,000")))
    assert tile.acquisition.stage_um is None


EBEAM = "[Beam]\r\nBeam=EBeam\r\nScan=EScan\r\n"
FEI_PIXELS = "PixelWidth={0}\r\nPixelHeight={0}\r\n"


@pytest.mark.parametrize(
    ("text", "nm"),
    [
        (EBEAM + "[EScan]\r\n" + FEI_PIXELS.format("8e-9"), 8),
        ("[Scan]\r\n" + FEI_PIXELS.format("8e-9"), 8),
        ("[IScan]\r\n" + FEI_PIXELS.format("8e-9"), 8),
        (EBEAM + "[EScan]\r\n" + FEI_PIXELS.format("8,0e-9") + "[Scan]\r\n" + FEI_PIXELS.format("8e-9"), None),
        (EBEAM + "[EScan]\r\n" + FEI_PIXELS.format("8e-9") + "[Scan]\r\n" + FEI_PIXELS.format("?"), None),
        (EBEAM + "[EScan]\r\n" + FEI_PIXELS.format("8e-9") + "[Scan]\r\n" + FEI_PIXELS.format("4e-9"), None),
        (EBEAM + "[EScan]\r\nPixelWidth=8e-9\r\nPixelHeight=eight\r\n", None),
        (EBEAM + "[EScan]\r\nPixelWidth=\r\nPixelHeight=8e-9\r\n", None),
        ("[EScan]\r\n" + FEI_PIXELS.format("8e-9") + "[IScan]\r\n" + FEI_PIXELS.format("4e-9"), None),
        (EBEAM + "[EScan]\r\nHorFieldsize=6.4e-8\r\n", None),
        ("", None),
    ],
)
def test_fei_pixel_size_is_that_of_the_scan_that_made_the_image(tmp_path: Path, text: str, nm: float | None) -> None:
    tile = read(tmp_path / "a.tif", **vendor_tag(34682, text + "\r\n[User]\r\n"), **NM_4)
    assert tile.pixel_size_nm == (None if nm is None else pytest.approx(nm))
    assert tile.acquisition.vendor == "fei"


@pytest.mark.parametrize(
    ("frame", "field", "shape", "nm"),
    [
        ((64, 48), 64, (48, 64), 8),
        ((64, 48), 64, (56, 64), 8),  # with a data bar
        ((64, 48), 40, (30, 40), 8),  # a part of the frame was scanned
        ((64, 48), 64, (24, 32), None),  # a smaller copy
        ((64, 48), 64, (40, 20), 8),  # cut
    ],
)
def test_fei_pixel_size_of_a_smaller_copy_is_unknown(
    tmp_path: Path, frame: tuple[int, int], field: int, shape: tuple[int, int], nm: float | None
) -> None:
    text = (
        f"[Scan]\r\n{FEI_PIXELS.format('8e-9')}HorFieldsize={field * 8e-9}\r\nVerFieldsize={field * 6e-9}\r\n"
        f"[Image]\r\nResolutionX={frame[0]}\r\nResolutionY={frame[1]}\r\n"
    )
    tile = read(tmp_path / "a.tif", pixels=np.zeros(shape, np.uint8), **vendor_tag(34682, text))
    assert tile.pixel_size_nm == (None if nm is None else pytest.approx(nm))


def test_fei_working_distance_that_cannot_be_read_is_not_taken_elsewhere(tmp_path: Path) -> None:
    text = EBEAM + "[EBeam]\r\nWD=0,005\r\nStageX=1\r\nStageY=1\r\n[Stage]\r\nWorkingDistance=0.006\r\nStageX=?\r\n"
    acquisition = read(tmp_path / "a.tif", **vendor_tag(34682, text)).acquisition
    assert (acquisition.working_distance_mm, acquisition.stage_um) == (None, None)


@pytest.mark.parametrize(
    "text",
    [
        TESCAN.replace("PixelSizeX=2.5e-9", "PixelSizeX=2,5e-9"),
        TESCAN.replace("PixelSizeX=2.5e-9", "PixelSizeX = ?"),
        TESCAN.replace("PixelSizeX=2.5e-9", "PixelSizeX=2.5e-9\r\nPixelSizeX=7e-9"),
        TESCAN.replace("PixelSize", "Size"),
    ],
)
def test_tescan_pixel_size_that_cannot_be_read_is_none(tmp_path: Path, text: str) -> None:
    assert read(tmp_path / "a.tif", **vendor_tag(50431, text), **NM_4).pixel_size_nm is None


@pytest.mark.parametrize(
    ("pixel_size", "beam"),
    [({"x": 5e-9, "y": "5,0e-9"}, "ION"), ({"x": 5e-9}, "ION"), ({"x": 5e-9, "y": 5e-9}, "LIGHT")],
)
def test_openfibsem_header_that_cannot_be_read_gives_no_pixel_size(
    tmp_path: Path, pixel_size: dict[str, Any], beam: str
) -> None:
    header = OPENFIBSEM | {"pixel_size": pixel_size, "image": {"beam_type": beam}}
    assert read(tmp_path / "a.tif", description=json.dumps(header), metadata=None, **NM_4).pixel_size_nm is None


def test_openfibsem_pixel_size_of_a_smaller_copy_is_unknown(tmp_path: Path) -> None:
    header = OPENFIBSEM | {"image": {"beam_type": "ION", "resolution": [16, 16]}}
    assert read(tmp_path / "a.tif", description=json.dumps(header), metadata=None).pixel_size_nm is None


@pytest.mark.parametrize(
    "metadata",
    [
        {"PhysicalSizeX": 4, "PhysicalSizeXUnit": "pixel"},
        {"PhysicalSizeX": 4, "PhysicalSizeXUnit": "Mm", "PhysicalSizeY": 4, "PhysicalSizeYUnit": "Mm"},
        {"PhysicalSizeX": "0,004", "PhysicalSizeY": 0.004},
    ],
)
def test_ome_pixel_size_that_cannot_be_read_is_none(tmp_path: Path, metadata: dict[str, Any]) -> None:
    assert read(tmp_path / "a.ome.tif", metadata=metadata, **NM_4).pixel_size_nm is None


def test_ome_without_a_pixel_size_leaves_it_to_the_resolution_tags(tmp_path: Path) -> None:
    assert read(tmp_path / "a.ome.tif", **NM_4).pixel_size_nm == pytest.approx(4)


@pytest.mark.parametrize(
    "description", ["<OME><Image></OME>", "<?xml version='1.0'?><OME xmlns='x'><Image", '{"microscope_state"']
)
def test_header_cut_short_is_not_replaced_by_the_resolution_tags(tmp_path: Path, description: str) -> None:
    assert read(tmp_path / "a.tif", description=description, metadata=None, **NM_4).pixel_size_nm is None


def test_imagej_unit_that_is_no_length_is_not_replaced_by_the_resolution_tags(tmp_path: Path) -> None:
    description = "ImageJ=1.53t\nunit=ell\n"
    assert read(tmp_path / "a.tif", description=description, metadata=None, **NM_4).pixel_size_nm is None


def test_imagej_units_of_both_axes(tmp_path: Path) -> None:
    description = "ImageJ=1.53t\nunit=nm\nyunit=micron\n"
    tile = read(
        tmp_path / "a.tif", description=description, metadata=None, resolution=(0.25, 250), resolutionunit="none"
    )
    assert tile.pixel_size_nm == pytest.approx(4)


def test_header_of_the_first_page_is_not_that_of_a_page_of_another_size(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as tif:
        tif.write(GREY, **vendor_tag(34682, FEI))
        tif.write(GREY, metadata=None)
        tif.write(GREY[::2, ::2], metadata=None)
    sizes = [read_tile(tmp_path / "a.tif", page).pixel_size_nm for page in range(3)]
    assert sizes == [pytest.approx(8), pytest.approx(8), None]


# --- Which image of an OME file a page is --------------------------------------------------------------------------


def ome_image(number: int, um: float, *data: tuple[str | None, int], columns: int = 8) -> str:
    planes = "".join(
        f'<TiffData IFD="{ifd}" PlaneCount="1">'
        + ("" if name is None else f'<UUID FileName="{name}">urn:uuid:{number}</UUID>')
        + "</TiffData>"
        for name, ifd in data
    )
    size = f'SizeX="{columns}" SizeY="{columns}" PhysicalSizeX="{um}" PhysicalSizeY="{um}"'
    return f'<Image ID="Image:{number}"><Pixels DimensionOrder="XYZCT" Type="uint8" {size}>{planes}</Pixels></Image>'


@pytest.mark.parametrize(
    ("images", "sizes_nm"),
    [
        ([(0.1, ("before.ome.tif", 0)), (0.005, ("before.ome.tif", 1))], [100, 5]),  # renamed since
        ([(0.1, ("here.ome.tif", 0)), (0.005, ("there.ome.tif", 0))], [100, None]),
        ([(0.1, ("there.ome.tif", 0)), (0.005, ("here.ome.tif", 0))], [5, None]),
        ([(0.1, ("there.ome.tif", 0)), (0.005, ("HERE.OME.TIF", 0))], [5, None]),
        ([(0.1, ("sub\\here.ome.tif", 1)), (0.005, ("sub/here.ome.tif", 0))], [5, 100]),
        ([(0.1, ("one.ome.tif", 0)), (0.005, ("two.ome.tif", 0))], [None, None]),  # either could be this file
        ([(0.1, ("one.ome.tif", 0)), (0.005, (None, 0))], [5, None]),  # without a name it is this file
        ([(0.1, (None, 0)), (0.005, (None, 0))], [None, None]),  # both claim the page
        ([(0.1, (None, 1))], [None, 100]),
    ],
)
def test_ome_page_has_the_pixel_size_of_its_own_image(
    tmp_path: Path, images: list[tuple[float, tuple[str | None, int]]], sizes_nm: list[float | None]
) -> None:
    body = "".join(ome_image(i, um, data) for i, (um, data) in enumerate(images))
    path = tmp_path / "here.ome.tif"
    with tifffile.TiffWriter(path) as tif:
        tif.write(GREY, metadata=None, description=f"<OME>{body}</OME>", **NM_4)
        tif.write(GREY, metadata=None, **NM_4)
    found = [read_tile(path, page).pixel_size_nm for page in range(2)]
    assert found == [None if nm is None else pytest.approx(nm) for nm in sizes_nm]


def test_ome_pixel_size_of_a_smaller_copy_is_unknown(tmp_path: Path) -> None:
    description = f"<OME>{ome_image(0, 0.005, (None, 0), columns=16)}</OME>"
    assert read(tmp_path / "a.ome.tif", metadata=None, description=description).pixel_size_nm is None


def test_the_only_ome_image_needs_no_tiff_data(tmp_path: Path) -> None:
    description = f"<!-- a comment --><OME>{ome_image(0, 0.005)}</OME>"
    assert read(tmp_path / "a.ome.tif", metadata=None, description=description).pixel_size_nm == pytest.approx(5)


# --- More vendors --------------------------------------------------------------------------------------------------


def fibics(scan: str, *, columns: int = 8, stage: str = "") -> str:
    return (
        f'<?xml version="1.0" encoding="iso-8859-1"?><Fibics version="1.0"><Image><Width>{columns}</Width>'
        f"<Height>{columns}</Height></Image><Scan>{scan}</Scan><Stage>{stage}</Stage></Fibics>"
    )


STEPS = "<Ux>{0}</Ux><Uy>{1}</Uy><Vx>{2}</Vx><Vy>{3}</Vy>"
FOV = '<FOV_X units="um">0.04</FOV_X><FOV_Y units="um">0.04</FOV_Y>'


def test_atlas_header(tmp_path: Path) -> None:
    scan = '<Dwell units="ns">1600</Dwell>' + FOV + STEPS.format("0.005", "0", "0", "-0.005")
    stage = '<X units="um">-100.5</X><Y units="um">200.25</Y><Z units="um">10</Z>'
    tile = read(tmp_path / "a.tif", **vendor_tag(51023, fibics(scan, stage=stage)))
    assert tile.pixel_size_nm == pytest.approx(5)
    assert tile.acquisition.vendor == "fibics"
    assert tile.acquisition.dwell_us == pytest.approx(1.6)
    assert tile.acquisition.stage_um == pytest.approx((-100.5, 200.25, 10))


@pytest.mark.parametrize(
    ("scan", "columns", "nm"),
    [
        (STEPS.format("0.003", "0.004", "0.004", "-0.003"), 8, 5),  # rotated
        (STEPS.format("0.005", "0", "0", "-0.005"), 16, None),  # of a smaller copy
        (FOV, 8, 5),
        (FOV + STEPS.format("0,005", "0", "0", "-0,005"), 8, None),
        (FOV + STEPS.format("0", "0", "0", "0"), 8, None),
        (FOV + "<Ux>0.005</Ux>", 8, None),
        (FOV.replace("um", "ell"), 8, None),
        ("", 8, None),
        ("<Ux>", 8, None),
    ],
)
def test_atlas_pixel_size_is_the_length_of_the_steps(tmp_path: Path, scan: str, columns: int, nm: float | None) -> None:
    tile = read(tmp_path / "a.tif", **vendor_tag(51023, fibics(scan, columns=columns)), **NM_4)
    assert tile.pixel_size_nm == (None if nm is None else pytest.approx(nm))


def test_atlas_leads_smartsem_whose_scan_it_replaces(tmp_path: Path) -> None:
    xml = fibics(STEPS.format("0.005", "0", "0", "-0.005"))
    tags = [(51023, 2, 0, xml, True), (34118, 1, len(ZEISS), ZEISS.encode(), True)]
    assert read(tmp_path / "a.tif", metadata=None, extratags=tags).pixel_size_nm == pytest.approx(5)


FEI_XML = (
    '<?xml version="1.0"?><Metadata xmlns:nil="http://schemas.fei.com/Metadata/v1/2013/07"><Optics><WorkingDistance>0.004'
    "</WorkingDistance></Optics><StageSettings><StagePosition><X>0.001</X><Y>-0.002</Y><Z>0.003</Z></StagePosition>"
    "</StageSettings><ScanSettings><DwellTime>3E-07</DwellTime></ScanSettings><BinaryResult><ImageSize><X>8</X><Y>8</Y>"
    '</ImageSize><PixelSize><X unit="m" unitPrefixPower="1">5E-09</X><Y unit="m" unitPrefixPower="1">5E-09</Y>'
    "</PixelSize></BinaryResult></Metadata>"
)


def test_fei_xml_header(tmp_path: Path) -> None:
    tile = read(tmp_path / "a.tif", **vendor_tag(34683, FEI_XML))
    assert tile.pixel_size_nm == pytest.approx(5)
    assert tile.acquisition.vendor == "fei"
    assert tile.acquisition.working_distance_mm == pytest.approx(4)
    assert tile.acquisition.dwell_us == pytest.approx(0.3)
    assert tile.acquisition.stage_um == pytest.approx((1000, -2000, 3000))


@pytest.mark.parametrize(
    ("ini", "xml", "nm"),
    [
        ("", FEI_XML, 5),
        ("[User]\r\nUser=a\r\n", FEI_XML, 5),
        ("[Scan]\r\n" + FEI_PIXELS.format("5e-9"), "", 5),
        ("[Scan]\r\n" + FEI_PIXELS.format("5e-9"), FEI_XML, 5),
        ("[Scan]\r\n" + FEI_PIXELS.format("8e-9"), FEI_XML, None),
        ("[Scan]\r\n" + FEI_PIXELS.format("5,0e-9"), FEI_XML, None),
        ("", FEI_XML.replace('unit="m"', 'unit="1/m"'), None),
        ("", FEI_XML.replace("5E-09", "5,0E-09"), None),
        ("", FEI_XML.replace("<X>8</X><Y>8</Y>", "<X>16</X><Y>16</Y>"), None),
        ("", FEI_XML[:-20], None),
    ],
)
def test_fei_headers_in_two_forms_agree_or_are_not_believed(
    tmp_path: Path, ini: str, xml: str, nm: float | None
) -> None:
    tags = [(34682, 2, 0, ini + "\r\n\r\n", True), (34683, 2, 0, xml + "\r\n\r\n", True)]
    tile = read(tmp_path / "a.tif", metadata=None, extratags=tags, **NM_4)
    assert tile.pixel_size_nm == (None if nm is None else pytest.approx(nm))


def test_fei_stage_that_cannot_be_read_is_not_taken_from_the_xml(tmp_path: Path) -> None:
    ini = "[Stage]\r\nStageX=0,001\r\nStageY=0,002\r\n"
    tags = [(34682, 2, 0, ini, True), (34683, 2, 0, FEI_XML, True)]
    assert read(tmp_path / "a.tif", metadata=None, extratags=tags).acquisition.stage_um is None


def test_tescan_header_behind_a_large_preview(tmp_path: Path) -> None:
    tile = read(tmp_path / "a.tif", **vendor_tag(50431, "\xff" * 3_000_000 + "\r\n" + TESCAN))
    assert tile.pixel_size_nm == pytest.approx(2.5)


def sis(path: Path, exponent: int, x: float, y: float) -> Tile:
    """A file with tag 33560, a structure whose parts are found by their place in the file."""
    block = b"SIS0" + bytes(6) + struct.pack("<5h", 30, 12, 1, 0, 120) + bytes(6) + b"tile".ljust(32, b"\0") + b"\1\0"
    calibration = bytes(10) + struct.pack("<hdd", exponent, x, y) + bytes(8) + struct.pack("<d", 5000.0) + bytes(70)
    data = block + struct.pack("<hhI", 1, 1, 0) + calibration
    tifffile.imwrite(path, GREY, metadata=None, extratags=[(33560, 1, len(data), data, True)], byteorder="<", **NM_4)
    stored = bytearray(path.read_bytes())
    start = stored.index(b"SIS0")
    struct.pack_into("<I", stored, start + len(block) + 4, start + len(block) + 8)
    path.write_bytes(stored)
    return read_tile(path)


@pytest.mark.parametrize(
    ("exponent", "x", "y", "nm"),
    [(-9, 5, 5, 5), (-6, 0.005, 0.005, 5), (-9, 0, 0, None), (-9, 5, 50, None), (99, 5, 5, None)],
)
def test_olympus_header(tmp_path: Path, exponent: int, x: float, y: float, nm: float | None) -> None:
    tile = sis(tmp_path / "a.tif", exponent, x, y)
    assert tile.pixel_size_nm == (None if nm is None else pytest.approx(nm))
    assert tile.acquisition.vendor == "olympus"


@pytest.mark.parametrize(
    ("unit", "side", "nm"),
    [("nm", 5.0, 5), ("\u00b5m", 0.005, 5), ("1/nm", 5.0, None), ("", 5.0, None), ("nm", -5.0, None)],
)
def test_gatan_tags(tmp_path: Path, unit: str, side: float, nm: float | None) -> None:
    text = unit.encode("latin-1") + b"\0"
    units = [(code, 2, len(text), text, True) for code in (65003, 65004)]
    sides = [(code, 12, 1, side, True) for code in (65009, 65010)]
    tile = read(tmp_path / "a.tif", metadata=None, extratags=[*units, *sides], **NM_4)
    assert tile.pixel_size_nm == (None if nm is None else pytest.approx(nm))
    assert tile.acquisition.vendor == "gatan"


def test_tags_of_another_program_are_not_gatans(tmp_path: Path) -> None:
    tags = [(code, 12, 1, 5.0, True) for code in (65009, 65010)]
    assert read(tmp_path / "a.tif", metadata=None, extratags=tags).acquisition.vendor is None


JEOL = (
    "$CM_FORMAT JEOL/SEM\r\n$CM_MAG 25000\r\n$CM_FULL_SIZE 8 8\r\n$CM_STAGE_POS 1.5 -2.5 10.0 0 0 0\r\n"
    "$$SM_WD 8.0\r\n$$SM_MICRON_BAR 200\r\n$$SM_MICRON_MARKER 1um\r\n"
)
HITACHI = "[SemImageFile]\r\nDataSize=8x8\r\nPixelSize=5.0\r\nWorkingDistance=8100 um\r\n"


@pytest.mark.parametrize("suffix", [".tif", ".png", ".bmp", ".jpg"])
def test_jeol_text_beside_the_tile(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "tile.txt").write_bytes(JEOL.encode())
    Image.fromarray(GREY).save(tmp_path / f"tile{suffix}")
    tile = read_tile(tmp_path / f"tile{suffix}")
    assert tile.pixel_size_nm == pytest.approx(5)
    assert tile.acquisition.vendor == "jeol"
    assert tile.acquisition.working_distance_mm == pytest.approx(8)
    assert tile.acquisition.stage_um == pytest.approx((1500, -2500, 10000))


@pytest.mark.parametrize("code_page", ["utf-8", "utf-16"])
def test_hitachi_text_beside_the_tile(tmp_path: Path, code_page: str) -> None:
    (tmp_path / "tile.txt").write_bytes(HITACHI.encode(code_page))
    tile = read(tmp_path / "tile.tif")
    assert tile.pixel_size_nm == pytest.approx(5)
    assert tile.acquisition.vendor == "hitachi"
    assert tile.acquisition.working_distance_mm == pytest.approx(8.1)


@pytest.mark.parametrize(
    ("text", "nm"),
    [
        (JEOL.replace("1um", "1\u00b5m"), 5),
        (JEOL.replace("1um", "1000nm"), 5),
        (JEOL.replace("1um", "1.0 um"), 5),
        (JEOL.replace("1um", "1,0um"), None),
        (JEOL.replace("1um", "1ell"), None),
        (JEOL.replace("BAR 200", "BAR 0"), None),
        (JEOL.replace("$$SM_MICRON_BAR 200\r\n", ""), None),
        (JEOL.replace("8 8", "16 16"), None),
        (JEOL[: JEOL.index("$$SM_MICRON")] + "$$EM_PIXELSPERMETER_X 2e8\r\n$$EM_PIXELSPERMETER_Y 2e8\r\n", 5),
        (HITACHI.replace("5.0", "5,0"), None),
        ("$CM_" * 10_000 + "\r\n" + JEOL, 5),
        (JEOL + "\r\n" * 40_000, None),  # far larger than such a text is
    ],
)
def test_pixel_size_from_the_text_beside(tmp_path: Path, text: str, nm: float | None) -> None:
    (tmp_path / "tile.txt").write_bytes(text.encode("latin-1"))
    tile = read(tmp_path / "tile.tif")
    assert tile.pixel_size_nm == (None if nm is None else pytest.approx(nm))


def test_unreadable_text_beside_is_not_replaced_by_the_resolution_tags(tmp_path: Path) -> None:
    (tmp_path / "tile.txt").write_text(JEOL.replace("1um", "1,0um"))
    assert read(tmp_path / "tile.tif", metadata=None, **NM_4).pixel_size_nm is None


def test_text_beside_counts_only_without_a_header(tmp_path: Path) -> None:
    (tmp_path / "tile.txt").write_text(JEOL)
    assert read(tmp_path / "tile.tif", **vendor_tag(34682, FEI)).pixel_size_nm == pytest.approx(8)


def test_notes_beside_the_tile_are_no_header(tmp_path: Path) -> None:
    (tmp_path / "tile.txt").write_text("a fine tile\nPixelSize=5\n")
    tile = read(tmp_path / "tile.tif", metadata=None, **NM_4)
    assert tile.pixel_size_nm == pytest.approx(4)
    assert tile.acquisition.vendor is None


@pytest.mark.parametrize("kind", ["folder", "link", "pipe"])
def test_only_a_plain_file_beside_the_tile_is_read(tmp_path: Path, kind: str) -> None:
    beside = tmp_path / "tile.txt"
    if kind == "folder":
        beside.mkdir()
    elif kind == "link":
        (tmp_path / "elsewhere").write_text(JEOL)
        beside.symlink_to("elsewhere")
    elif hasattr(os, "mkfifo"):
        os.mkfifo(beside)
    assert read(tmp_path / "tile.tif").pixel_size_nm is None


@pytest.mark.parametrize("number", ["7e300", "1e4"])
def test_settings_outside_sense_are_none(tmp_path: Path, number: str) -> None:
    text = EBEAM + f"[EBeam]\r\nWD={number}\r\n[EScan]\r\nDwell={number}\r\n[Stage]\r\nStageX={number}\r\nStageY=0\r\n"
    acquisition = read(tmp_path / "a.tif", **vendor_tag(34682, text)).acquisition
    assert (acquisition.working_distance_mm, acquisition.dwell_us, acquisition.stage_um) == (None, None, None)


@pytest.mark.parametrize("code", [33560, 34118, 34680, 34682, 34683, 50431, 51023, 65003, 65009])
@pytest.mark.parametrize(
    "data",
    [
        b"\0" * 8,
        b"\xff" * 64,
        b"<" * 5000,
        b"=" * 5000,
        b"[" * 5000,
        b"<!DOCTYPE a []><Fibics/>",
        b"AP_" * 99,
        b" =\n" * 5000,
    ],
)
def test_an_odd_tag_costs_no_tile(tmp_path: Path, code: int, data: bytes) -> None:
    for kind in (1, 2, 7):
        tile = read(tmp_path / "a.tif", metadata=None, extratags=[(code, kind, len(data), data, True)])
        assert tile.pixel_size_nm is None
        np.testing.assert_array_equal(tile.pixels, GREY)


# --- Files from the vendors ----------------------------------------------------------------------------------------


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
