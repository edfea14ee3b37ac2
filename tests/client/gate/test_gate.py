"""Files in every state of being written, and the gate's answers. The clock is the test's; nothing here waits."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import mhfd
from mhfd.images import read_tile
from mhfd.scoring.identity import tile_sha256
from mhfd_client.files.markers import MarkerError
from mhfd_client.gate import BadPage, Finished, Gate, GateRules, NotYet, PageFacts, Unreadable, pages
from mhfd_client.ledger.model import SeenFile
from phantoms import EmTile

Pixels = npt.NDArray[Any]
Answer = Finished | NotYet | Unreadable

SETTLE_S = 2.0
ROWS, COLS = 64, 48
GREY = np.random.default_rng(1).integers(1, 256, (ROWS, COLS), dtype=np.uint8)
GREY16 = GREY.astype(np.uint16) * 200 + 1
SMOOTH = np.add.outer(np.arange(ROWS), np.arange(COLS)).astype(np.uint8) + 20


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Watch:
    """A gate, its clock, and a scan before each look."""

    def __init__(self, **rules: Any) -> None:
        self.clock = Clock()
        self.gate = Gate(GateRules(settle_s=SETTLE_S, **rules), self.clock)

    def look(self, file: Path, *, accepted: bool = False) -> Answer:
        return self.gate.examine(file, scanned(file), accepted=accepted)

    def settle(self, file: Path, after_s: float = 3 * SETTLE_S, *, accepted: bool = False) -> Answer:
        """Two looks, by default so far apart that only the bytes can be a reason to wait."""
        self.look(file, accepted=accepted)
        self.clock.now += after_s
        return self.look(file, accepted=accepted)


def scanned(file: Path) -> SeenFile:
    state = file.stat()
    return SeenFile(file.name, state.st_size, state.st_mtime_ns)


def reason(answer: Answer) -> str:
    assert isinstance(answer, NotYet), answer
    return answer.reason


def code(answer: Answer) -> str:
    assert isinstance(answer, Unreadable), answer
    return answer.code


def tiff_bytes(pixels: Pixels, **options: Any) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, pixels, **options)
    return file.getvalue()


def pillow_bytes(pixels: Pixels, format_: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format_)
    return file.getvalue()


def facts(*tiles: Pixels) -> Finished:
    return Finished(tuple(PageFacts(tile_sha256(tile), (tile.shape[0], tile.shape[1])) for tile in tiles))


def write(file: Path, data: bytes) -> Path:
    file.write_bytes(data)
    return file


WHOLE = {
    "plain.tif": tiff_bytes(GREY),
    "big-endian.tif": tiff_bytes(GREY16, byteorder=">"),
    "bigtiff.tif": tiff_bytes(GREY16, bigtiff=True),
    "stripped.tif": tiff_bytes(GREY, rowsperstrip=5),
    "tiled.tif": tiff_bytes(GREY, tile=(16, 16)),
    "deflate.tif": tiff_bytes(GREY, compression="deflate", rowsperstrip=16),
    "lzw.tif": tiff_bytes(GREY, compression="lzw", rowsperstrip=16),
    "header-last.tif": pillow_bytes(GREY, "TIFF"),
    "jpeg.tif": tiff_bytes(SMOOTH, compression="jpeg"),
    "grey.png": pillow_bytes(GREY, "PNG"),
    "grey16.png": pillow_bytes(GREY16, "PNG"),
    "grey.bmp": pillow_bytes(GREY, "BMP"),
    "grey.jpg": pillow_bytes(SMOOTH, "JPEG"),
}
STORED = ["plain.tif", "big-endian.tif", "bigtiff.tif", "stripped.tif", "tiled.tif", "grey.bmp"]  # uncompressed


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Finished]:
    """The expected answer for each file: the scoring's own hash of the reader's pixels."""
    folder = tmp_path_factory.mktemp("whole")
    tiles = {name: read_tile(write(folder / name, data)).pixels for name, data in WHOLE.items()}
    return {name: Finished((PageFacts(tile_sha256(tile), tile.shape),)) for name, tile in tiles.items()}


@pytest.fixture(scope="module")
def scratch() -> Iterator[Path]:
    """One file, written anew by each example: a folder for each would take most of the time."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder) / "tile.tif"


# --- Finished ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_file_is_finished_once_it_has_settled(tmp_path: Path, whole: dict[str, Finished], name: str) -> None:
    assert Watch().settle(write(tmp_path / name, WHOLE[name]), SETTLE_S) == whole[name]


@pytest.mark.parametrize("kind", ["uint8", "int8", "uint16", "int16", "uint32", "float16", "float32", "float64"])
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_the_hash_is_that_of_the_result(tmp_path: Path, kind: str, byteorder: Any) -> None:
    tifffile.imwrite(tmp_path / "t.tif", (GREY // 2 + 1).astype(kind), byteorder=byteorder)
    answer = Watch().settle(tmp_path / "t.tif")
    assert isinstance(answer, Finished)
    provenance = mhfd.score(tmp_path / "t.tif", backend="numpy").provenance
    assert provenance is not None
    assert [page.tile_sha256 for page in answer.pages if isinstance(page, PageFacts)] == [provenance.tile_sha256]


@pytest.mark.parametrize("name", [*STORED[:-1], "deflate.tif"])
def test_a_tile_that_is_read_by_rows_has_the_same_hash(
    tmp_path: Path, whole: dict[str, Finished], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "read_tile", lambda *args, **options: read_tile(*args, **options, max_resident_bytes=0))
    assert Watch().settle(write(tmp_path / name, WHOLE[name])) == whole[name]


def test_each_page_is_a_tile(tmp_path: Path) -> None:
    stack = np.stack([GREY, GREY[::-1], GREY.T[:COLS, :].repeat(2, axis=0)[:ROWS, :COLS]])
    tifffile.imwrite(tmp_path / "t.tif", stack, photometric="minisblack")
    assert Watch().settle(tmp_path / "t.tif") == facts(*stack)


@pytest.mark.parametrize("name", ["vnc-ssTEM", "sbfsem-hela", "vendor-sem", "sem-focus-series"])
def test_real_tiles_are_finished(em_tile: EmTile, name: str) -> None:
    watch = Watch()
    for file in sorted(em_tile(name).iterdir()):
        if file.suffix in {".tif", ".png"}:
            assert isinstance(watch.settle(file), Finished), file


def test_the_scan_may_be_the_first_look(tmp_path: Path, whole: dict[str, Finished]) -> None:
    watch, file = Watch(), write(tmp_path / "t.tif", WHOLE["plain.tif"])
    watch.gate.note(file, scanned(file))
    watch.clock.now += SETTLE_S
    assert watch.look(file) == whole["plain.tif"]


# --- Settling ---------------------------------------------------------------------------------------------------


def test_one_look_is_not_enough(tmp_path: Path) -> None:
    assert reason(Watch().look(write(tmp_path / "t.tif", WHOLE["plain.tif"]))) == "settling"


def test_the_rest_of_the_wait_is_told(tmp_path: Path) -> None:
    answer = Watch().settle(write(tmp_path / "t.tif", WHOLE["plain.tif"]), 0.5)
    assert isinstance(answer, NotYet)
    assert (answer.reason, answer.again_s, answer.unchanged_s) == ("settling", 1.5, 0.5)


def test_many_looks_in_a_moment_are_one(tmp_path: Path) -> None:
    watch, file = Watch(), write(tmp_path / "t.tif", WHOLE["plain.tif"])
    for _ in range(5):
        assert reason(watch.look(file)) == "settling"
        watch.clock.now += 0.3


@pytest.mark.parametrize("year_s", [0, 4e9])
def test_the_time_of_the_file_may_lie_anywhere(tmp_path: Path, whole: dict[str, Finished], year_s: float) -> None:
    file = write(tmp_path / "t.tif", WHOLE["plain.tif"])
    os.utime(file, (year_s, year_s))
    watch = Watch()
    assert reason(watch.look(file)) == "settling"
    watch.clock.now += SETTLE_S
    assert watch.look(file) == whole["plain.tif"]


def test_a_file_that_is_said_to_be_finished_need_not_settle(tmp_path: Path) -> None:
    watch, file = Watch(), tmp_path / "t.tif"
    tifffile.imwrite(file, GREY)
    watch.gate.told(file)
    assert isinstance(watch.look(file), Finished)


def test_a_file_that_is_said_to_be_finished_must_be_whole(tmp_path: Path) -> None:
    watch, file = Watch(), tmp_path / "t.tif"
    tifffile.imwrite(file, GREY)
    file.write_bytes(file.read_bytes()[:-100])
    watch.gate.told(file)
    assert reason(watch.look(file)) == "truncated"


def test_a_file_that_changed_settles_anew(tmp_path: Path) -> None:
    watch, file = Watch(), write(tmp_path / "t.tif", WHOLE["plain.tif"])
    watch.look(file)
    watch.clock.now += SETTLE_S
    write(file, WHOLE["stripped.tif"])
    assert reason(watch.look(file)) == "settling"


def test_a_file_replaced_by_one_of_the_same_size_settles_anew(tmp_path: Path) -> None:
    watch, file = Watch(), write(tmp_path / "t.tif", WHOLE["plain.tif"])
    watch.look(file)
    watch.clock.now += SETTLE_S
    write(tmp_path / "new", tiff_bytes(GREY[::-1])).replace(file)
    touch_later(file)
    assert reason(watch.look(file)) == "settling"
    watch.clock.now += SETTLE_S
    assert watch.look(file) == facts(GREY[::-1])


def touch_later(file: Path) -> None:
    """As a microscope that takes longer than a clock tick; a test may take less."""
    state = file.stat()
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns + 10**7))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps no change time")
def test_a_file_replaced_by_one_of_the_same_size_and_time_settles_anew(tmp_path: Path) -> None:
    watch, file = Watch(), write(tmp_path / "t.tif", WHOLE["plain.tif"])
    before = file.stat()
    watch.look(file)
    watch.clock.now += SETTLE_S
    other = write(tmp_path / "new", tiff_bytes(GREY[::-1]))
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    wait_for_another_change_time(other, before.st_ctime_ns)
    other.replace(file)
    assert reason(watch.look(file)) == "settling"
    watch.clock.now += SETTLE_S
    assert watch.look(file) == facts(GREY[::-1])


def wait_for_another_change_time(file: Path, than_ns: int) -> None:
    """The clock of a file system ticks every few milliseconds."""
    while file.stat().st_ctime_ns == than_ns:
        file.chmod(0o600)


def test_what_the_scan_saw_must_still_be_so(tmp_path: Path) -> None:
    watch, file = Watch(), write(tmp_path / "t.tif", WHOLE["plain.tif"])
    seen = scanned(file)
    touch_later(file)
    watch.look(file)
    watch.clock.now += SETTLE_S
    assert reason(watch.gate.examine(file, seen)) == "growing"


def test_a_file_that_changes_while_it_is_read_is_growing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path / "t.tif", WHOLE["plain.tif"])

    def read(*args: Any, **options: Any) -> Any:
        tile = read_tile(*args, **options)
        touch_later(file)
        return tile

    monkeypatch.setattr(pages, "read_only_tile", read)
    assert reason(Watch().settle(file)) == "growing"


def test_how_long_a_file_has_not_changed_is_told(tmp_path: Path) -> None:
    watch, file = Watch(), write(tmp_path / "t.tif", WHOLE["plain.tif"][:500])
    answer = watch.settle(file, 700.0)
    assert isinstance(answer, NotYet)
    assert answer.unchanged_s == 700.0
    assert SETTLE_S < answer.again_s <= 60


def test_only_so_many_files_are_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mhfd_client.gate import finished

    monkeypatch.setattr(finished, "REMEMBERED", 3)
    watch = Watch()
    files = [write(tmp_path / f"{k}.tif", WHOLE["plain.tif"]) for k in range(5)]
    for file in files:
        watch.look(file)
    watch.clock.now += SETTLE_S
    assert [type(watch.look(file)) for file in reversed(files)] == [Finished] * 3 + [NotYet] * 2


# --- Half-written -----------------------------------------------------------------------------------------------


@given(name=st.sampled_from(list(WHOLE)), share=st.floats(0, 1, exclude_max=True))
@settings(max_examples=150, deadline=None)
def test_a_cut_file_never_passes_as_another_tile(
    whole: dict[str, Finished], scratch: Path, name: str, share: float
) -> None:
    answer = Watch().settle(write(scratch, WHOLE[name][: int(len(WHOLE[name]) * share)]))
    assert answer == whole[name] if isinstance(answer, Finished) else True


@pytest.mark.parametrize("name", WHOLE)
def test_a_file_cut_in_half_waits_for_the_rest(tmp_path: Path, name: str) -> None:
    answer = Watch().settle(write(tmp_path / "t.tif", WHOLE[name][: len(WHOLE[name]) // 2]))
    assert reason(answer) == "truncated"


@given(name=st.sampled_from(STORED), share=st.floats(0, 1))
@settings(max_examples=150, deadline=None)
def test_a_file_that_is_not_filled_passes_only_for_its_last_rows(
    whole: dict[str, Finished], scratch: Path, name: str, share: float
) -> None:
    data = WHOLE[name]
    filled = int(len(data) * share)
    answer = Watch().settle(write(scratch, data[:filled] + bytes(len(data) - filled)))
    rows_missing = (len(data) - filled) / (len(data) / ROWS)
    assert answer == whole[name] if isinstance(answer, Finished) and rows_missing > 17 else True


@pytest.mark.parametrize("name", WHOLE)
def test_a_file_that_is_filled_to_the_half_waits_for_the_rest(tmp_path: Path, name: str) -> None:
    data = WHOLE[name]
    answer = Watch().settle(write(tmp_path / "t.tif", data[: len(data) // 2] + bytes(len(data) - len(data) // 2)))
    assert reason(answer) in ("zero_tail", "truncated")


@pytest.mark.parametrize("kind", ["uint8", "int16", "float32"])
def test_rows_that_are_not_written_are_found_where_white_is_zero(tmp_path: Path, kind: str) -> None:
    stored = (GREY // 2).astype(kind)
    stored[ROWS // 2 :] = 0
    tifffile.imwrite(tmp_path / "t.tif", stored, photometric="miniswhite")
    assert reason(Watch().settle(tmp_path / "t.tif")) == "zero_tail"


def test_a_white_end_is_no_blank_one(tmp_path: Path) -> None:
    tile = GREY.copy()
    tile[-20:] = 255
    assert Watch().settle(write(tmp_path / "t.tif", tiff_bytes(tile))) == facts(tile)


@pytest.mark.parametrize(("zeros", "waits"), [(7, False), (8, True), (ROWS, True)])
def test_eight_rows_of_zeros_are_too_many(tmp_path: Path, zeros: int, waits: bool) -> None:
    tile = GREY.copy()
    tile[ROWS - zeros :] = 0
    assert isinstance(Watch().settle(write(tmp_path / "t.tif", tiff_bytes(tile))), NotYet) == waits


@pytest.mark.parametrize(("zeros", "waits"), [(15, False), (16, True)])
def test_of_a_large_tile_it_is_a_32nd(tmp_path: Path, zeros: int, waits: bool) -> None:
    tile = np.ones((512, 16), np.uint16)
    tile[512 - zeros :] = 0
    assert isinstance(Watch().settle(write(tmp_path / "t.tif", tiff_bytes(tile))), NotYet) == waits


def test_one_blank_page_holds_back_the_file(tmp_path: Path) -> None:
    stack = np.stack([GREY, GREY, np.zeros_like(GREY)])
    tifffile.imwrite(tmp_path / "t.tif", stack, photometric="minisblack")
    assert reason(Watch().settle(tmp_path / "t.tif")) == "zero_tail"


def test_a_dark_page_before_another_holds_nothing_back(tmp_path: Path) -> None:
    dark = GREY.copy()
    dark[ROWS // 2 :] = 0
    tifffile.imwrite(tmp_path / "t.tif", np.stack([GREY, dark, GREY[::-1]]), photometric="minisblack")
    watch = Watch()
    assert reason(watch.settle(tmp_path / "t.tif", SETTLE_S)) == "zero_tail"
    watch.clock.now += 2 * SETTLE_S
    assert codes(watch.look(tmp_path / "t.tif")) == [None, "truncated", None]


def test_a_dark_page_at_the_end_is_given_up_with_the_rest_at_hand(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "t.tif", np.stack([GREY, np.zeros_like(GREY)]), photometric="minisblack")
    answer = Watch().settle(tmp_path / "t.tif", 600.0)
    assert isinstance(answer, NotYet)
    assert codes(Finished(answer.pages)) == [None, "truncated"]


def test_a_file_that_ends_early_has_no_page_at_hand(tmp_path: Path) -> None:
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        for page in (GREY, GREY[::-1]):
            writer.write(page, photometric="minisblack", contiguous=False, metadata=None)
    answer = Watch().settle(write(tmp_path / "t.tif", file.getvalue()[:-200]), 600.0)
    assert isinstance(answer, NotYet)
    assert (answer.reason, answer.pages) == ("truncated", ())


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (np.where(np.eye(ROWS, COLS) > 0, np.nan, 1).astype(np.float32), "not_finite"),
        (np.random.default_rng(9).integers(1, 255, (ROWS, COLS, 3), dtype=np.uint8), "colour"),
        (np.ones((ROWS, COLS), np.complex64), "unsupported"),
    ],
    ids=["nan", "colour", "complex"],
)
@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_bad_page_does_not_fail_the_others(tmp_path: Path, bad: Pixels, code: str, at: int) -> None:
    images = [GREY, GREY[::-1]]
    images.insert(at, bad)
    with tifffile.TiffWriter(tmp_path / "t.tif") as writer:
        for image in images:
            kind = "rgb" if image.ndim == 3 else "minisblack"
            writer.write(image, photometric=kind, contiguous=False, metadata=None)
    expected: list[str | None] = [None, None]
    expected.insert(at, code)
    assert codes(Watch().settle(tmp_path / "t.tif")) == expected


def test_a_page_of_one_value_is_told(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "t.tif", np.stack([GREY, np.full_like(GREY, 7)]), photometric="minisblack")
    answer = Watch().settle(tmp_path / "t.tif")
    assert isinstance(answer, Finished)
    assert [isinstance(page, PageFacts) and page.constant for page in answer.pages] == [False, True]


def codes(answer: Answer) -> list[str | None]:
    assert isinstance(answer, Finished), answer
    return [page.error.code if isinstance(page, BadPage) else None for page in answer.pages]


def test_a_jpeg_may_be_padded(tmp_path: Path, whole: dict[str, Finished]) -> None:
    assert Watch().settle(write(tmp_path / "t.jpg", WHOLE["grey.jpg"] + bytes(3000))) == whole["grey.jpg"]


def test_an_empty_file_waits(tmp_path: Path) -> None:
    assert reason(Watch().settle(write(tmp_path / "t.tif", b""))) == "empty"


def test_a_header_of_zeros_waits(tmp_path: Path) -> None:
    assert reason(Watch().settle(write(tmp_path / "t.tif", bytes(5000)), 1000.0)) == "zero_tail"


WRITER = """
import sys
data = sys.stdin.buffer.read(int(sys.argv[2]))
with open(sys.argv[1], "wb", buffering=0) as file:
    for k in range(3):
        file.write(data[k * len(data) // 3 : (k + 1) * len(data) // 3])
        print(k, flush=True)
        sys.stdin.buffer.readline()
"""


@pytest.mark.parametrize("name", ["plain.tif", "header-last.tif", "deflate.tif", "grey.png", "grey.bmp", "grey.jpg"])
def test_a_file_that_another_program_writes_in_pieces(tmp_path: Path, whole: dict[str, Finished], name: str) -> None:
    """It is finished only when the last piece is there, however long the pauses."""
    file, data, watch = tmp_path / "t.tif", WHOLE[name], Watch()
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(file), str(len(data))], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdin is not None
        assert writer.stdout is not None
        writer.stdin.write(data)
        writer.stdin.flush()
        for piece in range(3):
            assert writer.stdout.readline().strip() == b"%d" % piece
            answer = watch.settle(file, 60.0)
            assert answer == whole[name] if piece == 2 else isinstance(answer, NotYet)
            writer.stdin.write(b"\n")
            writer.stdin.flush()


def test_a_file_that_was_made_at_full_size_and_is_filled_in_place(tmp_path: Path) -> None:
    file, watch = tmp_path / "t.tif", Watch()
    tifffile.imwrite(file, shape=GREY.shape, dtype=GREY.dtype)
    assert reason(watch.settle(file)) == "zero_tail"
    pixels = tifffile.memmap(file)
    pixels[: ROWS // 2] = GREY[: ROWS // 2]
    pixels.flush()
    touch_later(file)
    assert reason(watch.settle(file)) == "zero_tail"
    pixels[:] = GREY
    pixels.flush()
    del pixels
    touch_later(file)
    assert watch.settle(file) == facts(GREY)


def test_a_file_renamed_into_place_is_finished(tmp_path: Path, whole: dict[str, Finished]) -> None:
    file = write(tmp_path / "t.tmp", WHOLE["plain.tif"]).rename(tmp_path / "t.tif")
    assert Watch().settle(file) == whole["plain.tif"]


# --- Markers ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("pattern", "marker"), [("{name}.done", "a.b.tif.done"), ("{stem}.ok", "a.b.ok")])
def test_a_marker_tells_that_a_file_is_finished_at_the_first_look(
    tmp_path: Path, whole: dict[str, Finished], pattern: str, marker: str
) -> None:
    watch, file = Watch(marker=pattern), write(tmp_path / "a.b.tif", WHOLE["plain.tif"])
    assert reason(watch.settle(file, 1000.0)) == "marker"
    (tmp_path / marker).touch()
    assert Watch(marker=pattern).look(file) == whole["plain.tif"]


def test_the_marker_of_an_earlier_acquisition_does_not_count(tmp_path: Path, whole: dict[str, Finished]) -> None:
    watch, file = Watch(marker="{name}.done"), write(tmp_path / "t.tif", WHOLE["plain.tif"])
    (tmp_path / "t.tif.done").touch()
    os.utime(tmp_path / "t.tif.done", (1, 1))
    assert reason(watch.look(file)) == "settling"
    watch.clock.now += SETTLE_S
    assert watch.look(file) == whole["plain.tif"]


def test_a_marked_file_must_decode_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "t.tif.done").touch()
    file = write(tmp_path / "t.tif", WHOLE["plain.tif"][:500])
    touch_later(tmp_path / "t.tif.done")
    assert reason(Watch(marker="{name}.done").look(file)) == "truncated"


@pytest.mark.parametrize("marker", ["done", "", "../{name}.done", "{name}/done", "{nam}.done"])
def test_a_marker_that_can_be_none_is_refused(marker: str) -> None:
    with pytest.raises(MarkerError, match=r"like \{name\}\.done"):
        GateRules(marker=marker)


# --- Never ------------------------------------------------------------------------------------------------------

COLOUR = tiff_bytes(np.stack([GREY, GREY[::-1], GREY], axis=2), photometric="rgb")


def test_what_is_no_image_is_given_up_after_a_while(tmp_path: Path) -> None:
    watch, file = Watch(), write(tmp_path / "t.tif", 50 * b"these are no pixels, and never will be")
    assert reason(watch.settle(file, SETTLE_S)) == "unreadable"
    watch.clock.now += 2 * SETTLE_S
    assert code(watch.look(file)) == "not_an_image"


def test_what_is_too_short_for_any_image_waits(tmp_path: Path) -> None:
    assert reason(Watch().settle(write(tmp_path / "t.tif", b"II*\0\1"), 1000.0)) == "truncated"


def test_a_colour_image_is_no_tile(tmp_path: Path) -> None:
    assert code(Watch().settle(write(tmp_path / "t.tif", COLOUR))) == "colour"


def test_a_tile_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    assert code(Watch(max_pixels=100).settle(write(tmp_path / "t.tif", WHOLE["plain.tif"]))) == "too_large"


@pytest.mark.parametrize("cut", [0, 8, 500])
def test_a_file_accepted_as_it_is_waits_no_more(tmp_path: Path, cut: int) -> None:
    file = write(tmp_path / "t.tif", WHOLE["plain.tif"][:cut])
    assert code(Watch().settle(file, accepted=True)) == ("truncated" if cut else "empty_file")


def test_a_blank_end_accepted_as_it_is_is_a_tile(tmp_path: Path) -> None:
    tile = GREY.copy()
    tile[-20:] = 0
    assert Watch().settle(write(tmp_path / "t.tif", tiff_bytes(tile)), accepted=True) == facts(tile)


def test_a_file_accepted_as_it_is_needs_no_marker(tmp_path: Path, whole: dict[str, Finished]) -> None:
    file = write(tmp_path / "t.tif", WHOLE["plain.tif"])
    assert Watch(marker="{name}.done").settle(file, accepted=True) == whole["plain.tif"]


def test_even_an_accepted_file_must_be_still(tmp_path: Path) -> None:
    assert reason(Watch().look(write(tmp_path / "t.tif", WHOLE["plain.tif"]), accepted=True)) == "settling"


# --- Out of reach -----------------------------------------------------------------------------------------------


def windows_error(number: int, kind: type[OSError] = PermissionError) -> OSError:
    error = kind(errno.EACCES, "told by the system")
    error.winerror = number  # type: ignore[attr-defined,unused-ignore]
    return error


def opened_by(error: OSError) -> Callable[[Path], None]:
    def refuse(file: Path) -> None:
        raise error

    return refuse


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (windows_error(32), "locked"),
        (windows_error(33), "locked"),
        (windows_error(5), "denied"),
        (windows_error(64, OSError), "away"),
        (windows_error(1231, OSError), "away"),
        (OSError(errno.EIO, "told by the system"), "away"),
        (FileNotFoundError(errno.ENOENT, "told by the system"), "gone"),
    ],
)
def test_what_the_system_says_on_opening(tmp_path: Path, error: OSError, expected: str) -> None:
    watch, file = Watch(), write(tmp_path / "t.tif", WHOLE["plain.tif"])
    watch.gate = Gate(GateRules(settle_s=SETTLE_S), watch.clock, refuse_writers=opened_by(error))
    assert reason(watch.settle(file)) == expected


@pytest.mark.skipif(sys.platform != "win32", reason="elsewhere files have no such locks")
def test_a_file_that_is_open_for_writing_is_locked(tmp_path: Path) -> None:
    file = write(tmp_path / "t.tif", WHOLE["plain.tif"])
    with file.open("r+b"):
        assert reason(Watch().settle(file)) == "locked"
    with file.open("rb"):
        assert isinstance(Watch().settle(file), Finished)


def test_a_file_that_is_gone_is_told(tmp_path: Path) -> None:
    watch, file = Watch(), write(tmp_path / "t.tif", WHOLE["plain.tif"])
    seen = scanned(file)
    file.unlink()
    assert reason(watch.gate.examine(file, seen)) == "gone"


def test_time_out_of_reach_is_no_time_without_a_change(tmp_path: Path) -> None:
    watch, file = Watch(), write(tmp_path / "t.tif", WHOLE["plain.tif"])
    seen = scanned(file)
    watch.look(file)
    file.rename(tmp_path / "away")
    watch.clock.now += 1000
    answer = watch.gate.examine(file, seen)
    assert isinstance(answer, NotYet)
    assert answer.unchanged_s == 0
    (tmp_path / "away").rename(file)
    assert reason(watch.look(file)) == "settling"


def test_a_share_that_fails_while_it_is_read_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path / "t.tif", WHOLE["plain.tif"])
    watch = Watch()
    watch.look(file)
    watch.clock.now += SETTLE_S

    def fail(*args: Any, **options: Any) -> Any:
        raise OSError(errno.EIO, "told by the system")

    monkeypatch.setattr("mhfd.images.files._format", fail)
    monkeypatch.setattr("mhfd.images.plain.FileIO", fail)  # where the header is known
    assert reason(watch.look(file)) == "away"
