"""Reading microscopes' lists goes on where the last call ended."""

from __future__ import annotations

from pathlib import Path

import pytest

from mhfd_client.naming import open_layout
from mhfd_client.naming.lists import MAX_LINE, GrowingFiles, inside

NAME = "tiles\\g0000\\t0065\\stack_g0000_t0065_s{:05d}.tif"
PATH = "tiles/g0000/t0065/stack_g0000_t0065_s{:05d}.tif"
LINE = NAME + ";-398553;-147855;7850;{}\n"
BEAM = "000007\\181_000007_{:03d}_2021-05-25T2146499297643.bmp\t-372876.505\t-123997.579\t0\n"
BEAM_PATH = "181_S182R1/000007/181_000007_{:03d}_2021-05-25T2146499297643.bmp"


@pytest.fixture
def images(tmp_path: Path) -> Path:
    logs = tmp_path / "meta" / "logs"
    logs.mkdir(parents=True)
    (logs / "imagelist_ov_2021010321030012.txt").write_text("overviews\\ov000\\stack_ov000_s00001.tif;0;0;0;1\n")
    return logs / "imagelist_2021010321030012.txt"


@pytest.fixture
def section(tmp_path: Path) -> Path:
    folder = tmp_path / "181_S182R1"
    (folder / "000007").mkdir(parents=True)
    return folder


def listed(layout: str, root: Path) -> list[str]:
    return list(open_layout(layout).listed(root) or ())


def test_sbemimages_list_names_the_tiles(images: Path, tmp_path: Path) -> None:
    images.write_text(LINE.format(1, 1) + LINE.format(2, 2))
    assert listed("sbemimage", tmp_path) == [PATH.format(1), PATH.format(2)]


def test_auto_finds_the_list_once_it_has_seen_a_tile(images: Path, tmp_path: Path) -> None:
    layout = open_layout("auto", root=tmp_path)
    images.write_text(LINE.format(1, 1))
    assert layout.listed(tmp_path) is None
    layout.position(PATH.format(1))
    assert list(layout.listed(tmp_path) or ()) == [PATH.format(1)]


def test_each_start_of_the_acquisition_has_a_list(images: Path, tmp_path: Path) -> None:
    images.write_text(LINE.format(1, 1))
    images.with_name("imagelist_2021010421030012.txt").write_text(LINE.format(2, 2))
    assert listed("sbemimage", tmp_path) == [PATH.format(1), PATH.format(2)]


def test_a_second_look_tells_what_is_new(images: Path, tmp_path: Path) -> None:
    layout = open_layout("sbemimage")
    images.write_text(LINE.format(1, 1))
    assert list(layout.listed(tmp_path) or ()) == [PATH.format(1)]
    with images.open("a") as file:
        file.write(LINE.format(2, 2))
    assert list(layout.listed(tmp_path) or ()) == [PATH.format(2)]


def test_a_line_that_is_being_written_waits(images: Path, tmp_path: Path) -> None:
    layout = open_layout("sbemimage")
    line = LINE.format(1, 1)
    images.write_text(line[:30])
    assert list(layout.listed(tmp_path) or ()) == []
    images.write_text(line)
    assert list(layout.listed(tmp_path) or ()) == [PATH.format(1)]


def test_a_list_that_is_written_anew_is_read_anew(tmp_path: Path) -> None:
    files, file = GrowingFiles(), tmp_path / "list.txt"
    file.write_text("one\ntwo\n")
    assert list(files.new_lines(file)) == ["one", "two"]
    file.write_text("new\n")
    assert list(files.new_lines(file)) == ["new"]


def test_lines_of_windows_end_like_others(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes(b"one\r\n")
    assert list(GrowingFiles().new_lines(tmp_path / "list.txt")) == ["one"]


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252"])
def test_the_stack_may_have_an_umlaut(images: Path, tmp_path: Path, encoding: str) -> None:
    images.write_bytes(LINE.format(1, 1).replace("stack", "Mäuse").encode(encoding))
    assert listed("sbemimage", tmp_path) == [PATH.format(1).replace("stack", "Mäuse")]


def test_a_file_without_lines_is_no_list(images: Path, tmp_path: Path) -> None:
    images.write_bytes(bytes(2 * MAX_LINE))
    assert listed("sbemimage", tmp_path) == []


def test_a_list_that_is_not_there_has_no_lines(tmp_path: Path) -> None:
    assert list(GrowingFiles().new_lines(tmp_path / "gone.txt")) == []


@pytest.mark.parametrize("layout", ["auto", "plain", "sbemimage", "atlas", "multisem"])
def test_a_folder_without_lists_has_none(layout: str, tmp_path: Path) -> None:
    assert open_layout(layout).listed(tmp_path) is None


@pytest.mark.parametrize("name", ["..\\x.tif", "/x.tif", "C:\\x.tif", "tiles/../../x.tif", "", "  "])
def test_a_name_that_leads_out_of_the_folder_is_passed_over(name: str) -> None:
    assert inside(name) is None


def test_the_list_of_a_section_names_its_tiles(section: Path, tmp_path: Path) -> None:
    (section / "full_image_coordinates.txt").write_text(BEAM.format(1) + BEAM.format(2))
    assert listed("multisem", tmp_path) == [BEAM_PATH.format(1), BEAM_PATH.format(2)]


def test_until_a_section_has_a_list_those_of_its_mfovs_count(section: Path, tmp_path: Path) -> None:
    (section / "000007" / "image_coordinates.txt").write_text(BEAM.format(1).partition("\\")[2])
    assert listed("multisem", tmp_path) == [BEAM_PATH.format(1)]


def test_a_section_that_is_watched_itself_has_its_list(section: Path) -> None:
    (section / "full_image_coordinates.txt").write_text(BEAM.format(1))
    assert listed("multisem", section) == [BEAM_PATH.format(1).partition("/")[2]]


def test_thumbnails_in_a_list_are_passed_over(section: Path, tmp_path: Path) -> None:
    (section / "full_image_coordinates.txt").write_text(BEAM.format(1).replace("\\", "\\thumbnail_"))
    assert listed("multisem", tmp_path) == []
