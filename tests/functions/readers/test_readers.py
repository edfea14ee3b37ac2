"""Zarr and MRC files give the rows of the same pixels as TIFF files; what is damaged is one failed row each."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from mhfd import FocusParams, FocusResult, TileError, extras, score_many
from mhfd.contract import Acquisition, Timing, page_path
from mhfd.readers import opening
from mhfd.readers.protocol import Place
from mhfd.readers.reading import count_tiles, opened, read_tile
from mhfd.worker import score_paths
from needs import need_module
from phantoms import blurred, texture

zarr, mrcfile = need_module("zarr"), need_module("mrcfile")

PARAMS = FocusParams(n_scales=4, max_t=5.0)
ROWS, COLS, CHUNK = 250, 200, 100  # three by two chunks, those of the last row half as high
NM = 4.6

Pixels = NDArray[Any]


@pytest.fixture(scope="module")
def volume() -> Pixels:
    """(time, channel, z, y, x) of textures, each plane blurred otherwise."""
    rng = np.random.default_rng(3)
    planes = [blurred(texture((ROWS, COLS), rng), 0.5 * n) for n in range(8)]
    return (np.stack(planes).reshape(2, 2, 2, ROWS, COLS) * 30 + 128).clip(0, 255).astype(np.uint8)


def chunks_of(plane: Pixels) -> list[Pixels]:
    """The tiles of a plane, row by row."""
    return [
        plane[top : top + CHUNK, left : left + CHUNK]
        for top in range(0, ROWS, CHUNK)
        for left in range(0, COLS, CHUNK)
    ]  # fmt: skip


def rows_as_tiff(tiles: list[Pixels], names: list[str], folder: Path) -> list[FocusResult]:
    """The rows of the same pixels as TIFF files, under other names."""
    folder.mkdir()
    files = [folder / f"{n:04}.tif" for n in range(len(tiles))]
    for file, pixels in zip(files, tiles, strict=True):
        tifffile.imwrite(file, pixels)
    rows = score_many(files, PARAMS, "numpy", pixel_size_nm=NM)
    return [plain(replace(row, path=name)) for row, name in zip(rows, names, strict=True)]


def plain(row: FocusResult) -> FocusResult:
    """A row without what has to differ: times, and what the file is."""
    return replace(row, timing_ms=Timing(read=0, copy=0, kernel=0, total=0), acquisition=Acquisition())


def scored(path: Path) -> list[FocusResult]:
    return [plain(row) for row in score_many([path], PARAMS, "numpy")]


def axes(*names: str) -> list[dict[str, str]]:
    kinds = {"t": "time", "c": "channel"}
    return [
        {"name": name, "type": kinds.get(name, "space")} | ({} if name in kinds else {"unit": "micrometer"})
        for name in names
    ]


def levels(*names: str) -> list[dict[str, Any]]:
    """The multiscales of a pyramid "0", "1" whose first level has pixels of NM."""
    scale = [1.0 if name in "tc" else NM * 1e-3 for name in names]
    return [
        {
            "axes": axes(*names),
            "datasets": [
                {"path": str(n), "coordinateTransformations": [{"type": "scale", "scale": [s * 2**n for s in scale]}]}
                for n in range(2)
            ],
        }
    ]


def write_ome(path: Path, pixels: Pixels, zarr_format: int, names: str) -> None:
    group = zarr.open_group(path, mode="w", zarr_format=zarr_format)
    told = {"multiscales": levels(*names)}
    group.attrs.update({"ome": {"version": "0.5", **told}} if zarr_format == 3 else told)
    chunks = (1,) * (pixels.ndim - 2) + (CHUNK, CHUNK)
    group.create_array("0", data=pixels, chunks=chunks)
    group.create_array("1", data=pixels[..., ::2, ::2], chunks=chunks)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_an_ome_zarr_is_the_tiles_of_its_full_size_level(volume: Pixels, zarr_format: int, tmp_path: Path) -> None:
    file = tmp_path / "run.zarr"
    write_ome(file, volume, zarr_format, "tczyx")
    tiles = [tile for plane in volume.reshape(-1, ROWS, COLS) for tile in chunks_of(plane)]
    names = [page_path(str(file), n) for n in range(len(tiles))]
    assert scored(file) == rows_as_tiff(tiles, names, tmp_path / "as tiff")
    with opened(file) as found:
        assert found is not None
        places = [found.frame(n).place for n in range(len(found))]
    # Numbered with x fastest: time, channel, z, row, column.
    cells = [np.unravel_index(n, (2, 2, 2, 3, 2)) for n in range(len(tiles))]
    assert places == [Place(section=z, grid=2 * t + c, row=row, col=col) for t, c, z, row, col in cells]


def write_array(path: Path, pixels: Pixels, **options: Any) -> None:
    zarr.create_array(path, data=pixels, **options)


STORED: dict[str, dict[str, Any]] = {
    "Zarr 2": {"zarr_format": 2},
    "Zarr 3": {"zarr_format": 3},
    "in shards": {"zarr_format": 3, "shards": (1, 3 * CHUNK, 2 * CHUNK)},
    "uncompressed": {"zarr_format": 3, "compressors": None},
    "Fortran order": {"zarr_format": 2, "order": "F"},
}


@pytest.mark.filterwarnings("ignore:The `order` keyword")  # of zarr, where the test writes
@pytest.mark.parametrize("how", STORED)
@pytest.mark.parametrize("dtype", ["u1", ">u2", "f4"])
def test_a_plain_array_is_its_chunks(volume: Pixels, how: str, dtype: str, tmp_path: Path) -> None:
    planes = volume[0, 0].astype(dtype)
    write_array(tmp_path / "a.zarr", planes, chunks=(1, CHUNK, CHUNK), **STORED[how])
    tiles = [tile for plane in planes for tile in chunks_of(plane)]
    assert count_tiles(tmp_path / "a.zarr") == len(tiles)
    for n, pixels in enumerate(tiles):
        found = read_tile(tmp_path / "a.zarr", n)
        np.testing.assert_array_equal(found.pixels[:], pixels)
        assert found.pixels.dtype == np.dtype(dtype).newbyteorder("=")


def test_rows_and_columns_are_found_by_the_names_of_the_axes(volume: Pixels, tmp_path: Path) -> None:
    plane = volume[0, 0, 0]
    write_array(tmp_path / "a.zarr", plane.T[:, None], chunks=(CHUNK, 1, CHUNK), dimension_names=["x", "z", "y"])
    assert [read_tile(tmp_path / "a.zarr", n).pixels[:].tolist() for n in range(6)] == [
        each.tolist() for each in chunks_of(plane)
    ]


def test_several_images_of_a_group_come_in_natural_order_without_its_labels(volume: Pixels, tmp_path: Path) -> None:
    zarr.open_group(tmp_path / "plate.zarr", mode="w")
    for n, well in enumerate(["10", "2"]):
        write_ome(tmp_path / "plate.zarr" / well, volume[0, 0, n], 3, "yx")
    write_array(tmp_path / "plate.zarr" / "labels", volume[0, 0, 0])
    assert count_tiles(tmp_path / "plate.zarr") == 12
    np.testing.assert_array_equal(read_tile(tmp_path / "plate.zarr", 0).pixels, volume[0, 0, 1, :CHUNK, :CHUNK])
    with opened(tmp_path / "plate.zarr") as found:
        assert found is not None
        assert [found.frame(n).place for n in (0, 11)] == [Place(grid=0, row=0, col=0), Place(grid=1, row=2, col=1)]


def test_a_written_array_is_seen_when_it_grows(volume: Pixels, tmp_path: Path) -> None:
    write_array(tmp_path / "a.zarr", volume[0, 0], chunks=(1, CHUNK, CHUNK))
    assert count_tiles(tmp_path / "a.zarr") == 12
    array = zarr.open_array(tmp_path / "a.zarr", mode="r+")
    array.resize((3, ROWS, COLS))
    array[2] = volume[1, 1, 0]
    assert count_tiles(tmp_path / "a.zarr") == 18
    np.testing.assert_array_equal(read_tile(tmp_path / "a.zarr", 12).pixels, volume[1, 1, 0, :CHUNK, :CHUNK])


def test_a_tile_of_a_large_array_is_read_alone(tmp_path: Path) -> None:
    """10^12 pixels are declared, one tile's are held; of a damaged shard only the chunk that is asked for counts."""
    side = 1024
    array = zarr.create_array(
        tmp_path / "a.zarr", shape=(1000, 2**15, 2**15), chunks=(1, side, side), shards=(1, 4 * side, 4 * side),
        dtype="u1", compressors=None,
    )  # fmt: skip
    tile = np.random.default_rng(1).integers(0, 256, (side, side), dtype=np.uint8)
    array[500, side : 2 * side, :side] = tile
    array[500, side : 2 * side, side : 2 * side] = tile[::-1]
    index = 500 * 32 * 32 + 32
    (shard,) = (path for path in (tmp_path / "a.zarr" / "c").rglob("*") if path.is_file())
    content = bytearray(shard.read_bytes())
    at = content.index(tile[::-1].tobytes())
    content[at : at + 8] = bytes(8)  # the neighbour's first pixels
    shard.write_bytes(content)
    read_tile(tmp_path / "a.zarr", 0)
    tracemalloc.start()
    try:
        found = read_tile(tmp_path / "a.zarr", index)
        assert tracemalloc.get_traced_memory()[1] < 5 * side * side
    finally:
        tracemalloc.stop()
    np.testing.assert_array_equal(found.pixels, tile)
    assert count_tiles(tmp_path / "a.zarr") == 1000 * 32 * 32


def test_a_damaged_chunk_is_one_failed_row(volume: Pixels, tmp_path: Path) -> None:
    write_array(tmp_path / "a.zarr", volume[0, 0], chunks=(1, CHUNK, CHUNK))
    (tmp_path / "a.zarr" / "c" / "1" / "0" / "1").write_bytes(b"\xff" * 99)
    rows = score_many([tmp_path / "a.zarr"], PARAMS, "numpy")
    assert [n for n, row in enumerate(rows) if row.error] == [7]
    assert rows[7].error is not None
    assert rows[7].error.code == "corrupt"


def in_chunks(shape: tuple[int, ...], chunk: tuple[int, ...]) -> dict[str, Any]:
    return {"shape": shape, "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunk}}}


CODES = {"no pixels": "zero_size", "more tiles than anything": "unsupported", "a tile of half the memory": "too_large"}
BROKEN: dict[str, Callable[[dict[str, Any]], Any]] = {
    "no object": lambda told: [1],
    "no shape": lambda told: {key: told[key] for key in told if key != "shape"},
    "a shape of text": lambda told: told | {"shape": "big"},
    "a tile of half the memory": lambda told: told | in_chunks((1, 2**20, 2**20), (1, 2**20, 2**20)),
    "more tiles than anything": lambda told: told | in_chunks((2**40, 2**40, 2**40), (1, 1, 1)),
    "no pixels": lambda told: told | {"shape": [0, 0, 0]},
    "an unknown codec": lambda told: told | {"codecs": [{"name": "of the future"}]},
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_damaged_header_is_one_failed_row(what: str, volume: Pixels, tmp_path: Path) -> None:
    write_array(tmp_path / "a.zarr", volume[0, 0], chunks=(1, CHUNK, CHUNK), zarr_format=3)
    head = tmp_path / "a.zarr" / "zarr.json"
    head.write_text(json.dumps(BROKEN[what](json.loads(head.read_text()))))
    answer = score_paths([str(tmp_path / "a.zarr")], {"n_scales": 2, "max_t": 4.0})
    assert [row["error"]["code"] for row in answer["rows"]] == [CODES.get(what, "corrupt")]


def test_a_tile_in_chunks_of_many_times_its_size_is_refused(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "a.zarr", shape=(2**16, 64, 64), chunks=(2**16, 64, 64), dtype="u1")
    with pytest.raises(TileError) as caught:
        read_tile(tmp_path / "a.zarr", max_pixels=2**20)
    assert caught.value.code == "corrupt"
    assert "pieces of" in caught.value.message


@pytest.mark.parametrize(
    ("attributes", "code"),
    [
        ({"multiscales": 7}, "corrupt"),
        ({"multiscales": [{"datasets": [{"path": "../../other.zarr"}]}]}, "corrupt"),
        ({"multiscales": [{"datasets": [{"path": "gone"}]}]}, "corrupt"),
        ({}, "not_an_image"),
    ],
)
def test_a_group_that_makes_no_sense_is_one_failed_row(attributes: dict[str, Any], code: str, tmp_path: Path) -> None:
    zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2).attrs.update(attributes)
    (row,) = score_many([tmp_path / "a.zarr"], PARAMS, "numpy")
    assert row.error is not None
    assert row.error.code == code
    assert row.error.message.startswith(str(tmp_path / "a.zarr"))


def test_a_folder_that_is_no_zarr_is_named_as_such(tmp_path: Path) -> None:
    (tmp_path / "a.zarr").mkdir()
    with pytest.raises(TileError) as caught:
        count_tiles(tmp_path / "a.zarr")
    assert caught.value.code == "not_an_image"


# --- MRC ----------------------------------------------------------------------------------------------------------


def write_mrc(path: Path, pixels: Pixels, *, stack: bool = False) -> None:
    with mrcfile.new(path) as file:
        file.set_data(pixels)
        if stack:
            file.set_image_stack()
        file.voxel_size = 10 * NM


@pytest.mark.parametrize("suffix", [".mrc", ".mrcs", ".st", ".rec"])
@pytest.mark.parametrize(("mode", "dtype"), [(0, "i1"), (1, "i2"), (2, "f4"), (6, "u2"), (12, "f2")])
def test_a_stack_is_the_rows_of_its_sections(
    volume: Pixels, suffix: str, mode: int, dtype: str, tmp_path: Path
) -> None:
    planes = (volume[0, 0] >> 1).astype(dtype)
    file = tmp_path / f"a{suffix}"
    write_mrc(file, planes, stack=suffix == ".mrcs")
    found = scored(file)
    assert [row.pixel_size_nm for row in found] == [pytest.approx(NM)] * 2
    wanted = [each.astype("f4") if dtype == "f2" else each for each in planes]
    names = [page_path(str(file), n) for n in range(2)]
    assert [replace(row, pixel_size_nm=NM) for row in found] == rows_as_tiff(wanted, names, tmp_path / "as tiff")
    assert read_tile(file, 1).acquisition.format == "mrc"


def test_one_image_is_one_tile_named_as_its_file(volume: Pixels, tmp_path: Path) -> None:
    write_mrc(tmp_path / "a.mrc", volume[0, 0, 0].astype("i2"))
    (row,) = scored(tmp_path / "a.mrc")
    assert (row.path, row.status) == (str(tmp_path / "a.mrc"), "scored")


def test_a_stack_that_was_cut_gives_its_whole_sections_and_one_failed_row(volume: Pixels, tmp_path: Path) -> None:
    write_mrc(tmp_path / "a.mrc", np.repeat(volume[0, 0].astype("i2"), 50, axis=0))
    content = (tmp_path / "a.mrc").read_bytes()
    (tmp_path / "a.mrc").write_bytes(content[: 1024 + 5 * ROWS * COLS])  # two and a half of a hundred
    rows = score_many([tmp_path / "a.mrc"], PARAMS, "numpy")
    assert [row.error.code if row.error else None for row in rows] == [None, None, "truncated"]


def test_bytes_that_imod_wrote_without_a_sign_are_read_so(volume: Pixels, tmp_path: Path) -> None:
    write_mrc(tmp_path / "a.mrc", volume[0, 0, 0].view("i1"))
    content = bytearray((tmp_path / "a.mrc").read_bytes())
    content[152:160] = np.array([1146047817, 0], "<i4").tobytes()
    (tmp_path / "a.mrc").write_bytes(content)
    np.testing.assert_array_equal(read_tile(tmp_path / "a.mrc").pixels, volume[0, 0, 0])


def test_other_modes_are_told(tmp_path: Path) -> None:
    write_mrc(tmp_path / "a.mrc", np.ones((8, 8), "c8"))
    with pytest.raises(TileError) as caught:
        read_tile(tmp_path / "a.mrc")
    assert caught.value.code == "unsupported"


# --- Which reader -------------------------------------------------------------------------------------------------


def test_a_file_without_a_telling_name_is_known_by_what_is_in_it(volume: Pixels, tmp_path: Path) -> None:
    write_mrc(tmp_path / "a.mrc", volume[0, 0].astype("i2"))
    (tmp_path / "a.mrc").rename(tmp_path / "stack.dat")
    write_array(tmp_path / "data", volume[0, 0], chunks=(1, CHUNK, CHUNK))
    assert [count_tiles(tmp_path / name) for name in ("stack.dat", "data")] == [2, 12]
    assert opening.is_one_input(str(tmp_path / "data"))
    assert not opening.is_one_input(str(tmp_path))


def test_a_separator_at_the_end_does_not_hide_the_suffix(volume: Pixels, tmp_path: Path) -> None:
    write_array(tmp_path / "a.zarr", volume[0, 0], chunks=(1, CHUNK, CHUNK))
    assert count_tiles(f"{tmp_path / 'a.zarr'}/") == 12


def test_an_image_suffix_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "known", lambda: pytest.fail("the packages were looked through"))
    assert opening.reader_of("run/tile.TIF") is None
    assert opening.has_image_suffix("tile.tif")


@pytest.mark.parametrize(("name", "module", "extra"), [("a.zarr", "zarr", "zarr"), ("a.mrc", "mrcfile", "mrc")])
def test_a_missing_extra_is_named(
    name: str, module: str, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(wanted: str) -> Any:
        raise ModuleNotFoundError(f"No module named '{wanted}'", name=wanted)

    (tmp_path / "a.zarr").mkdir()
    (tmp_path / "a.mrc").write_bytes(b"")
    monkeypatch.setattr(extras, "import_module", absent)
    (row,) = score_many([tmp_path / name], PARAMS, "numpy")
    assert row.error is not None
    assert row.error.code == "missing_codec"
    assert module in row.error.message
    assert f"[{extra}]" in row.error.message
