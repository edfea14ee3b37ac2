"""From a file or an array to a result, with provenance; one bad tile is one failed row."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

import mhfd
from mhfd.backends import Backend, select_backend
from mhfd.contract import BackendError, FocusParams, MhfdError, ParamsError, TileError
from mhfd.scoring import api, stream
from mhfd.scoring.identity import tile_sha256
from phantoms import as_uint8, discs, texture

SHAPE = (64, 96)
QUICK = FocusParams(n_scales=3, max_t=7)


def tissue(seed: int = 1, shape: tuple[int, int] = SHAPE) -> NDArray[np.uint8]:
    rng = np.random.default_rng(seed)
    return as_uint8(0.5 + 0.15 * texture(shape, rng) + rng.normal(0, 0.01, shape))


@pytest.fixture
def tile() -> NDArray[np.uint8]:
    return tissue()


@pytest.fixture
def tile_file(tmp_path: Path, tile: NDArray[np.uint8]) -> Path:
    """`tile` as a TIFF file of 5 nm pixels."""
    path = tmp_path / "tile.tif"
    tifffile.imwrite(path, tile, resolution=(2e6, 2e6), resolutionunit="CENTIMETER")
    return path


@pytest.fixture
def stack_file(tmp_path: Path) -> Path:
    path = tmp_path / "stack.tif"
    with tifffile.TiffWriter(path) as writer:
        for seed in range(3):
            writer.write(tissue(seed), contiguous=False)
    return path


# --- One tile ---------------------------------------------------------------------------------------------------


def test_an_array_is_scored(tile: NDArray[np.uint8]) -> None:
    result = mhfd.score(tile, QUICK)
    assert (result.status, result.path, result.shape, result.dtype) == ("scored", "", SHAPE, "uint8")
    assert result.features is not None
    assert result.features > 10
    assert result.focus_score is not None
    assert result.focus_score > 1


@pytest.mark.parametrize("kind", [str, Path])
def test_a_file_is_scored(tile_file: Path, kind: type) -> None:
    result = mhfd.score(kind(tile_file), QUICK)
    assert (result.status, result.path) == ("scored", str(tile_file))
    assert result.acquisition.format == "tiff"


def test_a_file_and_its_pixels_have_the_same_measures(tile_file: Path, tile: NDArray[np.uint8]) -> None:
    from_file, from_array = mhfd.score(tile_file, QUICK).to_dict(), mhfd.score(tile, QUICK).to_dict()
    differ = {key for key in from_file if from_file[key] != from_array[key]}
    assert differ <= {"path", "pixel_size_nm", "acquisition", "timing_ms"}


def test_counts_add_up(tile: NDArray[np.uint8]) -> None:
    result = mhfd.score(tile, QUICK)
    assert result.features_by_scale is not None
    assert result.features == sum(result.features_by_scale)
    assert result.features_per_mpx == pytest.approx(result.features / tile.size * 1e6)
    assert result.scales_px == (1.0, 3.0, 5.0)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
def test_a_result_holds_built_in_types_only(tile: NDArray[np.uint8], dtype: type[np.generic]) -> None:
    # It is sent to clients that have no NumPy.
    def types(value: Any) -> set[type]:
        if isinstance(value, dict):
            return set().union(*map(types, value.values()))
        return set().union(*map(types, value)) if isinstance(value, list) else {type(value)}

    result = mhfd.score(tile.astype(dtype), QUICK, pixel_size_nm=4)
    assert types(result.to_dict()) <= {str, int, float, bool, type(None)}


@pytest.mark.parametrize("flat", [False, True])
def test_a_result_is_json_without_nan(flat: bool, tile: NDArray[np.uint8]) -> None:
    result = mhfd.score(np.zeros(SHAPE) if flat else tile, QUICK)
    assert mhfd.FocusResult.from_dict(json.loads(json.dumps(result.to_dict(), allow_nan=False))) == result


def test_scoring_twice_gives_the_same_but_for_the_time(tile: NDArray[np.uint8]) -> None:
    first, second = mhfd.score(tile).to_dict(), mhfd.score(tile).to_dict()
    del first["timing_ms"], second["timing_ms"]
    assert first == second


def test_features_found_are_the_features_counted(tile_file: Path) -> None:
    result, features = mhfd.score(tile_file, QUICK), mhfd.find_features(tile_file, QUICK)
    assert len(features) == result.features
    each = (features.rows, features.cols, features.scale_index, features.scales_px, features.strengths)
    assert {len(array) for array in each} == {result.features}


def test_features_found_lie_where_the_discs_are() -> None:
    features = mhfd.find_features(discs((80, 120), [(40, 30), (40, 90)], 5))
    assert list(zip(features.rows.tolist(), features.cols.tolist(), strict=True)) == [(40, 30), (40, 90)]


def test_a_tile_that_cannot_be_scored_raises(tmp_path: Path) -> None:
    with pytest.raises(TileError) as caught:
        mhfd.score(tmp_path / "none.tif")
    assert caught.value.code == "not_found"


@pytest.mark.parametrize(
    ("array", "code"),
    [
        (np.zeros((0, 5)), "zero_size"),
        (np.full((4, 4), np.nan), "not_finite"),
        (np.zeros((4, 4), complex), "unsupported"),
        (np.arange(48, dtype=np.uint8).reshape(4, 4, 3), "colour"),
    ],
)
def test_an_array_passes_the_gates_of_a_file(array: NDArray[Any], code: str) -> None:
    with pytest.raises(TileError) as caught:
        mhfd.score(array)
    assert caught.value.code == code


def test_more_pixels_than_max_pixels_are_refused(tile: NDArray[np.uint8], tile_file: Path) -> None:
    for source in (tile, tile_file):
        with pytest.raises(TileError) as caught:
            mhfd.score(source, max_pixels=tile.size - 1)
        assert caught.value.code == "too_large"
        assert mhfd.score(source, QUICK, max_pixels=tile.size).status == "scored"


def test_a_backend_that_does_not_exist_is_refused_with_those_that_do(tile: NDArray[np.uint8]) -> None:
    with pytest.raises(BackendError, match=r"'abacus'.*\"numpy\""):
        mhfd.score(tile, backend="abacus")


# --- Provenance -------------------------------------------------------------------------------------------------


def test_provenance_says_with_what_the_numbers_were_made(tile: NDArray[np.uint8]) -> None:
    provenance = mhfd.score(tile, QUICK, "numpy").provenance
    assert provenance.mhfd == mhfd.__version__
    assert provenance.params_sha256 == QUICK.sha256
    assert (provenance.backend, provenance.device) == ("numpy", "cpu")


def test_the_same_pixels_in_other_containers_are_the_same_tile(tmp_path: Path, tile: NDArray[np.uint8]) -> None:
    tifffile.imwrite(tmp_path / "plain.tif", tile)
    tifffile.imwrite(tmp_path / "packed.tif", tile, compression="zlib", tile=(32, 32))
    Image.fromarray(tile).save(tmp_path / "tile.png")
    Image.fromarray(tile).save(tmp_path / "tile.bmp")
    hashes = {mhfd.score(path, QUICK).provenance.tile_sha256 for path in sorted(tmp_path.iterdir())}
    assert hashes == {mhfd.score(tile, QUICK).provenance.tile_sha256}


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_byte_order_does_not_matter_to_a_tiles_identity(
    tmp_path: Path, tile: NDArray[np.uint8], dtype: type[np.generic]
) -> None:
    for order in "<>":
        tifffile.imwrite(tmp_path / f"{ord(order)}.tif", tile.astype(dtype), byteorder=order)  # type: ignore[arg-type]
    assert len({mhfd.score(path, QUICK).provenance.tile_sha256 for path in tmp_path.iterdir()}) == 1


def test_memory_order_does_not_matter_to_a_tiles_identity(tile: NDArray[np.uint8]) -> None:
    assert tile_sha256(np.asfortranarray(tile)) == tile_sha256(tile)


@pytest.mark.parametrize(
    "change",
    [
        lambda tile: tile.astype(np.uint16),
        lambda tile: tile.reshape(tile.shape[::-1]),
        lambda tile: tile ^ np.eye(*tile.shape, dtype=np.uint8),
    ],
    ids=["type", "shape", "pixels"],
)
def test_type_shape_and_pixels_make_a_tiles_identity(change: Any, tile: NDArray[np.uint8]) -> None:
    assert tile_sha256(change(tile)) != tile_sha256(tile)


# --- Pixel size -------------------------------------------------------------------------------------------------

IN_NM = FocusParams(n_scales=3, min_t=5, max_t=35, unit="nm")


def test_the_pixel_size_comes_from_the_file(tile_file: Path) -> None:
    assert mhfd.score(tile_file, QUICK).pixel_size_nm == pytest.approx(5)


def test_scales_in_nm_use_the_pixel_size_of_the_file(tile_file: Path) -> None:
    in_nm, in_px = mhfd.score(tile_file, IN_NM), mhfd.score(tile_file, QUICK)
    assert in_nm.scales_px == pytest.approx((1, 3, 5))
    assert in_nm.features_by_scale == in_px.features_by_scale


def test_the_callers_pixel_size_overrides_that_of_the_file(tile_file: Path) -> None:
    result = mhfd.score(tile_file, IN_NM, pixel_size_nm=2.5)
    assert result.pixel_size_nm == 2.5
    assert result.scales_px == pytest.approx((2, 6, 10))


def test_scales_in_nm_of_a_tile_of_unknown_pixel_size_are_refused(tile: NDArray[np.uint8]) -> None:
    with pytest.raises(TileError) as caught:
        mhfd.score(tile, IN_NM)
    assert caught.value.code == "no_pixel_size"


@pytest.mark.parametrize("size", [0.0, -5.0, float("nan"), float("inf")])
def test_a_pixel_size_that_is_no_size_is_refused(tile: NDArray[np.uint8], size: float) -> None:
    with pytest.raises(MhfdError):
        mhfd.score(tile, IN_NM, pixel_size_nm=size)


# --- Several tiles in a file ------------------------------------------------------------------------------------


def test_a_file_of_several_tiles_is_refused_unless_one_is_named(stack_file: Path) -> None:
    with pytest.raises(TileError, match="3 tiles") as caught:
        mhfd.score(stack_file)
    assert caught.value.code == "several_tiles"


@pytest.mark.parametrize("page", [0, 2])
def test_a_named_page_is_scored(stack_file: Path, page: int) -> None:
    result = mhfd.score(stack_file, QUICK, page=page)
    assert result.path == f"{stack_file}#page={page}"
    assert result.provenance.tile_sha256 == tile_sha256(tissue(page))


def test_a_page_that_is_not_there_is_refused(stack_file: Path) -> None:
    with pytest.raises(TileError) as caught:
        mhfd.score(stack_file, page=3)
    assert caught.value.code == "not_found"


def test_many_gives_a_row_for_each_page(stack_file: Path, tile_file: Path) -> None:
    results = mhfd.score_many([stack_file, tile_file], QUICK)
    assert [r.path for r in results] == [*(f"{stack_file}#page={page}" for page in range(3)), str(tile_file)]
    assert [r.provenance.tile_sha256 for r in results[:3]] == [tile_sha256(tissue(page)) for page in range(3)]


# --- Many tiles -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [None, 1, 4])
def test_many_tiles_are_scored_in_order(workers: int | None) -> None:
    tiles = [tissue(seed, (32 + 7 * (seed % 3), 48)) for seed in range(9)]
    results = mhfd.score_many(tiles, QUICK, workers=workers)
    assert [r.provenance.tile_sha256 for r in results] == [tile_sha256(each) for each in tiles]
    assert [r.focus_score for r in results] == [mhfd.score(each, QUICK).focus_score for each in tiles]


def test_many_of_nothing_is_nothing() -> None:
    assert mhfd.score_many([]) == []


def test_a_bad_file_among_many_is_one_failed_row_at_its_place(tile_file: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.tif"
    bad.write_bytes(b"this is no image")
    good, failed, also_good = mhfd.score_many([tile_file, bad, tissue()], QUICK)
    assert (good.status, failed.status, also_good.status) == ("scored", "failed", "scored")
    assert (failed.path, failed.verdict) == (str(bad), "failed")
    assert failed.error is not None
    assert failed.error.code == "not_an_image"
    assert (failed.features, failed.focus_score, failed.provenance.tile_sha256) == (None, None, None)


@pytest.mark.parametrize("bad", ["missing.tif", np.full((5, 5), np.inf), np.zeros((3, 0)), np.zeros(7)])
def test_whatever_cannot_be_scored_is_a_row(bad: Any) -> None:
    results = mhfd.score_many([bad, tissue()], QUICK)
    assert [r.status for r in results] == ["failed", "scored"]


def test_a_truncated_file_is_a_row(tile_file: Path) -> None:
    tile_file.write_bytes(tile_file.read_bytes()[:2000])
    assert [r.status for r in mhfd.score_many([tile_file, tissue()], QUICK)] == ["failed", "scored"]


def test_unknown_pixel_sizes_are_rows(tile_file: Path) -> None:
    results = mhfd.score_many([tissue(), tile_file], IN_NM)
    assert [r.error and r.error.code for r in results] == ["no_pixel_size", None]


def test_a_backend_that_does_not_exist_stops_many_at_once() -> None:
    with pytest.raises(BackendError):
        mhfd.score_many([tissue()], backend="abacus")


@pytest.mark.parametrize(
    ("fault", "code"), [(ZeroDivisionError("by zero"), "internal"), (MemoryError(), "out_of_memory")]
)
def test_a_fault_in_the_kernel_is_one_failed_row(
    fault: Exception, code: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    numpy = select_backend("numpy")

    def fails_on_small(tile: NDArray[Any], params: FocusParams) -> Any:
        if tile.shape == (8, 8):
            raise fault
        return numpy.measure(tile, params)

    monkeypatch.setattr(api, "select_backend", lambda *_, **__: Backend(name="x", device="y", measure=fails_on_small))
    with caplog.at_level(logging.ERROR, logger="mhfd"):
        results = mhfd.score_many([tissue(), tissue(shape=(8, 8)), tissue()], QUICK)
    assert [r.error and r.error.code for r in results] == [None, code, None]
    assert ("Traceback" in caplog.text) == (code == "internal")  # our bugs leave a trace


# --- The stream -------------------------------------------------------------------------------------------------


class Source:
    """Endless tiles; counts how many were drawn."""

    def __init__(self) -> None:
        self.drawn = 0

    def __iter__(self) -> Iterator[NDArray[Any]]:
        while True:
            self.drawn += 1
            yield tissue(self.drawn, (16, 16))


def test_nothing_is_drawn_before_the_first_result_is_asked_for() -> None:
    source = Source()
    mhfd.iter_scores(source, QUICK)
    assert source.drawn == 0


def test_the_stream_draws_only_a_few_tiles_ahead() -> None:
    source = Source()
    results = mhfd.iter_scores(source, QUICK, workers=2)
    ahead = []
    for taken in range(1, 21):
        next(results)
        ahead.append(source.drawn - taken)
    assert max(ahead) <= 2 * stream.TILES_PER_WORKER_AHEAD


def test_closing_the_stream_stops_it() -> None:
    source = Source()
    results = mhfd.iter_scores(source, QUICK, workers=2)
    next(results)
    results.close()  # type: ignore[attr-defined]
    drawn = source.drawn
    assert list(results) == []
    assert source.drawn == drawn


def test_a_fault_in_the_source_reaches_the_caller() -> None:
    def source() -> Iterator[NDArray[Any]]:
        yield tissue()
        raise OSError("the share is gone")

    with pytest.raises(OSError, match="the share is gone"):
        list(mhfd.iter_scores(source(), QUICK))


# --- Importing --------------------------------------------------------------------------------------------------


def test_importing_mhfd_prints_nothing_and_loads_no_numpy() -> None:
    program = "import sys, mhfd; mhfd.FocusParams(); sys.exit('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@pytest.mark.parametrize("name", mhfd.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(mhfd, name) is not None


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'scor'"):
        mhfd.scor  # noqa: B018


# --- Impossible arguments ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0.0, -1.0, float("nan"), float("inf")])
def test_an_impossible_pixel_size_is_refused(size: float) -> None:
    with pytest.raises(ParamsError, match="pixel_size_nm must be a positive number"):
        mhfd.score(np.zeros((8, 8)), pixel_size_nm=size)
    with pytest.raises(ParamsError, match="pixel_size_nm must be a positive number"):
        mhfd.score_many([np.zeros((8, 8))], pixel_size_nm=size)


@pytest.mark.parametrize("sources", ["a.tif", np.zeros((8, 8))])
def test_one_tile_given_for_many_is_refused(sources: Any) -> None:
    with pytest.raises(ParamsError, match="for one tile use score"):
        mhfd.score_many(sources)


def test_no_workers_are_refused() -> None:
    with pytest.raises(ParamsError, match="workers must be at least 1"):
        mhfd.score_many([], workers=0)


def test_what_is_neither_file_nor_array_is_a_failed_row() -> None:
    row = mhfd.score_many([None])[0]  # type: ignore[list-item]
    assert row.error is not None
    assert row.error.code == "unsupported"


def test_pixels_too_far_apart_for_a_float_are_refused() -> None:
    with pytest.raises(TileError, match="too far apart"):
        mhfd.score(np.array([[-1.7e308, 1.7e308]]))


def test_scales_far_below_a_pixel_are_a_failed_tile() -> None:
    params = FocusParams(unit="nm", min_t=1, max_t=50)
    row = mhfd.score_many([np.zeros((8, 8))], params, pixel_size_nm=100)[0]
    assert row.error is not None
    assert row.error.code == "scale_out_of_range"
