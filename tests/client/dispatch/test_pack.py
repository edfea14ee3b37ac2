"""How a tile travels, and what fits into a task."""

from __future__ import annotations

import json
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from mhfd.contract import FocusParams, FocusResult, TileError
from mhfd.images.inline import decode_tile
from mhfd_client.config import DataMapping, GlobusEndpoint, Limits, LocalEndpoint
from mhfd_client.dispatch.pack import ENVELOPE_BYTES, Packer, Parcel, Tile, encoded_bytes, tile_of, tiles_of

UUID = "4b116d3c-1703-4f8f-9f6f-39921e5864df"
PARAMS = FocusParams()


def packer(*, data: tuple[DataMapping, ...] = (), codec: Any = "auto", **limits: Any) -> Packer:
    entry = GlobusEndpoint(uuid=UUID, data=data, limits=Limits(**limits), codec=codec)  # type: ignore[arg-type]
    return Packer("dgx", entry)


def noise(rng: np.random.Generator, side: int = 64) -> NDArray[np.uint8]:
    return rng.integers(0, 256, (side, side), dtype=np.uint8)


def smooth(side: int = 256) -> NDArray[np.uint8]:
    return np.add.outer(np.arange(side), np.arange(side)).astype(np.uint8)


def array_tile(pixels: NDArray[Any], params: FocusParams = PARAMS) -> Tile:
    return Tile("", pixels, None, params)


def file_tile(path: Path, pixels: NDArray[Any]) -> Tile:
    tifffile.imwrite(path, pixels)
    return tile_of(path, PARAMS)


def parcels(packer: Packer, tiles: list[Tile], at_most: int = 64) -> tuple[list[Parcel], list[FocusResult]]:
    queue, found, failed = deque(tiles), [], []
    while queue:
        parcel = packer.next_parcel(queue, at_most, lambda _tile, row: failed.append(row))
        found += [parcel] if parcel.tiles else []
    return found, failed


def test_what_the_header_calls_picture_travels_with_the_pixels(rng: np.random.Generator, tmp_path: Path) -> None:
    header = "[Image]\r\nResolutionX=64\r\nResolutionY=50\r\n"
    tifffile.imwrite(tmp_path / "a.tif", noise(rng), metadata=None, extratags=[(34682, 2, 0, header, True)])
    assert packer().pack(tile_of(tmp_path / "a.tif", PARAMS)).item["picture"] == [0, 0, 50, 64]
    assert "picture" not in packer().pack(file_tile(tmp_path / "b.tif", noise(rng))).item


def test_array_travels_inside_the_task(rng: np.random.Generator) -> None:
    pixels = noise(rng)
    packed = packer().pack(array_tile(pixels))
    assert packed.kind == "inline"
    assert np.array_equal(np.asarray(decode_tile(packed.item).pixels[0:64]), pixels)


def test_file_that_the_endpoint_cannot_read_travels_inside_the_task(tmp_path: Path, rng: np.random.Generator) -> None:
    packed = packer().pack(file_tile(tmp_path / "t.tif", noise(rng)))
    assert packed.kind == "inline"
    assert packed.item["name"] == str(tmp_path / "t.tif")
    assert packed.item["acquisition"]["format"] == "tiff"


def test_file_that_the_endpoint_can_read_travels_as_its_path(tmp_path: Path, rng: np.random.Generator) -> None:
    mapping = DataMapping(local_root=tmp_path, root="/scratch")
    packed = packer(data=(mapping,)).pack(file_tile(tmp_path / "t.tif", noise(rng, 300)))
    assert packed.kind == "path"
    assert packed.item["path"] == "/scratch/t.tif"


def test_small_file_travels_inside_the_task_all_the_same(tmp_path: Path, rng: np.random.Generator) -> None:
    mapping = DataMapping(local_root=tmp_path, root="/scratch")
    packed = packer(data=(mapping,), inline_below_bytes=10_000).pack(file_tile(tmp_path / "t.tif", noise(rng)))
    assert packed.kind == "inline"


def test_local_files_travel_as_absolute_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    packed = Packer("local", LocalEndpoint()).pack(tile_of("t.tif", PARAMS))
    assert packed.item == {"path": str(tmp_path / "t.tif"), "page": None, "name": "t.tif"}


def test_size_is_that_of_the_encoded_request(tmp_path: Path, rng: np.random.Generator) -> None:
    tile = file_tile(tmp_path / 'a "ä" b.tif', noise(rng))
    packed = packer().pack(tile)
    assert packed.size == encoded_bytes(packed.item) == len(json.dumps(json.dumps(packed.item))) + 2


def test_tasks_stay_below_the_limit_in_bytes(rng: np.random.Generator) -> None:
    few_bytes = packer(max_task_bytes=ENVELOPE_BYTES + 3 * 6000)
    found, failed = parcels(few_bytes, [array_tile(noise(rng)) for _ in range(7)])
    assert [len(parcel.tiles) for parcel in found] == [3, 3, 1]
    assert all(len(json.dumps(json.dumps(parcel.arguments()))) <= few_bytes.limits.max_task_bytes for parcel in found)
    assert failed == []


def test_tasks_stay_below_the_limit_in_tiles(rng: np.random.Generator) -> None:
    found, _ = parcels(packer(max_tiles_per_task=4), [array_tile(noise(rng, 8)) for _ in range(10)])
    assert [len(parcel.tiles) for parcel in found] == [4, 4, 2]


def test_tiles_of_two_kinds_do_not_share_a_task(tmp_path: Path, rng: np.random.Generator) -> None:
    mapping = DataMapping(local_root=tmp_path, root="/scratch")
    tiles = [array_tile(noise(rng)), file_tile(tmp_path / "t.tif", noise(rng, 300)), array_tile(noise(rng))]
    found, _ = parcels(packer(data=(mapping,)), tiles)
    assert [parcel.function for parcel in found] == ["score_inline", "score_paths", "score_inline"]


def test_tiles_with_other_parameters_do_not_share_a_task(rng: np.random.Generator) -> None:
    tiles = [array_tile(noise(rng)), array_tile(noise(rng), FocusParams(n_scales=4))]
    found, _ = parcels(packer(), tiles)
    assert [parcel.arguments()["params"]["n_scales"] for parcel in found] == [16, 4]


def test_tile_too_large_without_a_path_is_a_failed_row(tmp_path: Path, rng: np.random.Generator) -> None:
    tile = file_tile(tmp_path / "large.tif", noise(rng, 200))
    found, failed = parcels(packer(max_task_bytes=40_000), [tile, array_tile(noise(rng))])
    assert [len(parcel.tiles) for parcel in found] == [1]
    assert [row.path for row in failed] == [str(tmp_path / "large.tif")]
    assert failed[0].error is not None
    assert failed[0].error.code == "too_large_to_send"
    assert "[endpoints.dgx.data]" in failed[0].error.message


def test_far_too_large_file_is_not_even_read(tmp_path: Path) -> None:
    (tmp_path / "large.tif").write_bytes(b"II*\0" + bytes(500_000))
    tile = Tile("large", str(tmp_path / "large.tif"), 0, PARAMS)
    with pytest.raises(TileError, match="too_large_to_send"):
        packer(max_task_bytes=40_000).pack(tile)


def test_tile_that_fits_only_packed_is_packed() -> None:
    packed = packer(max_task_bytes=ENVELOPE_BYTES + 60_000).pack(array_tile(smooth()), squeeze=False)
    assert packed.item["codec"] == "delta-zlib"


def test_auto_packs_what_becomes_smaller_and_only_that(rng: np.random.Generator) -> None:
    assert packer().pack(array_tile(smooth())).item["codec"] == "delta-zlib"
    assert packer().pack(array_tile(noise(rng, 256))).item["codec"] == "raw"


def test_auto_does_not_pack_a_tile_that_is_alone() -> None:
    assert packer().pack(array_tile(smooth()), squeeze=False).item["codec"] == "raw"


def test_file_that_is_not_there_is_a_failed_row(tmp_path: Path) -> None:
    _, failed = parcels(packer(), [tile_of(tmp_path / "none.tif", PARAMS)])
    assert failed[0].error is not None
    assert failed[0].error.code == "not_found"


def test_colour_array_is_a_failed_row(rng: np.random.Generator) -> None:
    _, failed = parcels(packer(), [array_tile(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))])
    assert failed[0].error is not None
    assert failed[0].error.code == "colour"


def test_each_page_is_a_tile(tmp_path: Path, rng: np.random.Generator) -> None:
    tifffile.imwrite(tmp_path / "s.tif", noise(rng)[None].repeat(3, 0), photometric="minisblack")
    names = [tile.name for tile in tiles_of(tmp_path / "s.tif", PARAMS)]
    assert names == [f"{tmp_path / 's.tif'}#page={page}" for page in range(3)]
    assert packer().pack(tile_of(names[2], PARAMS)).item["name"] == names[2]


def test_one_tile_of_several_must_be_named(tmp_path: Path, rng: np.random.Generator) -> None:
    tifffile.imwrite(tmp_path / "s.tif", noise(rng)[None].repeat(3, 0), photometric="minisblack")
    with pytest.raises(TileError, match="several_tiles"):
        packer().pack(tile_of(tmp_path / "s.tif", PARAMS))


def test_cancelled_tile_is_not_sent(rng: np.random.Generator) -> None:
    tiles = [array_tile(noise(rng)) for _ in range(2)]
    tiles[0].future.cancel()
    found, _ = parcels(packer(), tiles)
    assert found[0].tiles == [tiles[1]]


def test_halves_hold_every_tile_once(rng: np.random.Generator) -> None:
    tiles = [array_tile(noise(rng)) for _ in range(5)]
    left, right = Parcel(tiles).halves()
    assert [*left.tiles, *right.tiles] == tiles
