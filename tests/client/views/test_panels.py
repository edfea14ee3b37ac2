"""The picture of an explanation shows the parts of the tiles that it says it shows."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from mhfd.contract import FocusResult, Provenance
from mhfd_client.judge.explain import Explanation, Past
from mhfd_client.views.drawing import as_svg, shortened, text_width, wrapped
from mhfd_client.views.panels import SHOWN, SIDE, WORST, PictureError, draw, write_picture
from mhfd_client.views.picture import CROP_PX, corner, stretched

ABOUT = Provenance(mhfd="0", params_sha256="0", backend="numpy", device="cpu")
SHAPE = (512, 512)
MAP = ((0.1, 0.2, 0.3, 3.4), *((0.1, 0.2, 0.3, None),) * 3)


def pixels(seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, SHAPE, np.uint8)


@pytest.fixture
def told(tmp_path: Path) -> Explanation:
    """A tile that is most blurred at the top right, and a sharp one of the section before."""
    for n in (1, 2):
        tifffile.imwrite(tmp_path / f"s{n}.tif", pixels(n))
    result = FocusResult(
        path="s2.tif", status="scored", provenance=ABOUT, shape=SHAPE, dtype="uint8", verdict="out_of_focus",
        confidence=0.9, blur_px=0.4, blur_map_px=MAP, worst_block=(0, 3), flag_px=2.0, pixel_size_nm=4.0,
    )  # fmt: skip
    beside = Past("s1.tif", "s1.tif", 0, 1, "in_focus", 0.1)
    position = {"section": 2, "grid": None, "row": 0, "col": 0, "tile": None}
    return Explanation("s2.tif", "s2.tif", folder=str(tmp_path), run_id=1, result=result, history=(beside,),
                       beside=beside, position=position)  # fmt: skip


@pytest.fixture
def picture(told: Explanation, tmp_path: Path) -> NDArray[np.uint8]:
    write_picture(told, tmp_path / "out.png")
    with Image.open(tmp_path / "out.png") as image:
        return np.asarray(image.convert("RGB"))


def enlarged(image: Image.Image) -> NDArray[np.uint8]:
    return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.NEAREST))


def contains(picture: NDArray[np.uint8], part: NDArray[np.uint8]) -> bool:
    """True if the middle row of a grey picture lies somewhere in another."""
    line = part[SIDE // 2]
    for row in picture[:, :, 0]:
        found = np.all(np.lib.stride_tricks.sliding_window_view(row, 40) == line[:40], axis=1)
        if any(np.array_equal(row[x : x + SIDE], line) for x in np.flatnonzero(found)):
            return True
    return False


def test_the_most_blurred_part_is_shown_pixel_by_pixel_beside_the_same_place(picture: NDArray[np.uint8]) -> None:
    for seed in (1, 2):
        there = pixels(seed)[:CROP_PX, SHAPE[1] - CROP_PX :]
        assert contains(picture, enlarged(stretched(there)))
    elsewhere = pixels(2)[CROP_PX:, :CROP_PX]
    assert not contains(picture, enlarged(stretched(elsewhere)))


def colour(text: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(text.removeprefix("#")))


def test_frames_mark_the_worst_part_and_the_part_that_is_shown(picture: NDArray[np.uint8]) -> None:
    """The one is a quarter of the map wide, the other half of the tile."""
    widths = []
    for name in (WORST, SHOWN):
        _, x = np.nonzero((picture == colour(name)).all(axis=2))
        widths.append(int(np.ptp(x)) + 1)
    assert widths == [SIDE // 4, SIDE // 2]


def test_each_part_has_its_number_and_the_length_of_the_bar_is_told(told: Explanation) -> None:
    texts = [item.text for item in draw(told).items if hasattr(item, "text")]
    assert texts.count("0.1") == texts.count("0.2") == texts.count("0.3") == 4
    assert texts.count("[3.4]") == 1
    assert texts.count("-") == 3
    assert texts.count("200 nm") == 2  # 4 nm a pixel
    assert "the blue frame, 3.4 px where most blurred" in texts
    assert "same place in section 1, 0.1 px: s1.tif" in texts


def test_where_the_file_was_replaced_the_picture_says_so(told: Explanation) -> None:
    assert told.result is not None
    other = replace(told.result, provenance=replace(ABOUT, tile_sha256="of other pixels"))
    texts = [item.text for item in draw(replace(told, result=other)).items if hasattr(item, "text")]
    assert any("the file has changed since" in text for text in texts)


def test_without_a_sharp_tile_there_is_a_note(told: Explanation, tmp_path: Path) -> None:
    texts = [item.text for item in draw(replace(told, beside=None)).items if hasattr(item, "text")]
    assert "there is no sharp tile to show beside it" in texts
    (tmp_path / "s1.tif").unlink()
    texts = [item.text for item in draw(told).items if hasattr(item, "text")]
    assert "s1.tif cannot be read any more" in texts


def test_without_its_file_there_is_no_picture(told: Explanation, tmp_path: Path) -> None:
    (tmp_path / "s2.tif").unlink()
    with pytest.raises(PictureError, match="no picture without the file"):
        write_picture(told, tmp_path / "out.png")
    assert not (tmp_path / "out.png").exists()


def test_a_tile_smaller_than_a_crop_is_shown_whole(told: Explanation, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "s2.tif", pixels(2)[:60, :90])
    assert draw(told).width == draw(replace(told, beside=None)).width


class Elements(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.links: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]


def test_svg_and_html_need_nothing_else_and_names_in_them_are_text(told: Explanation, tmp_path: Path) -> None:
    hostile = replace(told, tile="<script>alert(1)</script>\x1b[2J\u202e.tif")
    plain = Elements(str(as_svg(draw(told))))
    for name in ("out.svg", "out.html"):
        write_picture(hostile, tmp_path / name)
        text = (tmp_path / name).read_text(encoding="utf-8")
        page = Elements(text)
        assert page.found.count("image") == 3
        assert page.found.count("svg") == 1
        assert "script" not in page.found
        assert page.found.count("text") == plain.found.count("text")
        assert all(link.startswith("data:image/png;base64,") for link in page.links)
        assert "\x1b" not in text
        assert "\u202e" not in text


def test_the_crop_lies_round_its_part_and_within_the_page(told: Explanation) -> None:
    assert told.result is not None
    assert corner(told.result, (0, 3), 256, SHAPE) == (0, 256)
    assert corner(told.result, (2, 1), 100, SHAPE) == (270, 142)
    assert corner(told.result, None, 256, SHAPE) == (128, 128)
    bar = replace(told.result, picture=(0, 0, 256, 512))  # below it is a data bar
    assert corner(bar, (3, 0), 64, SHAPE) == (192, 32)


@pytest.mark.parametrize("text", ["a b c", "x" * 500, "word " * 80, "", "\n\x1b" * 40])
def test_no_line_is_wider_than_its_room(text: str) -> None:
    assert all(text_width(line, 17) <= 300 for line in wrapped(text, 300, 17))
    assert text_width(shortened(text, 300, 17), 17) <= 300
