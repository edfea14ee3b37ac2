"""The array path as CuPy would run it, without a GPU, by the stand-in of tests/array_device.py."""

from __future__ import annotations

import inspect
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import scipy.fft
from numpy.typing import NDArray

from array_device import FFT, FFT_STANDIN, METHODS, STRIDES, XP, XP_STANDIN, OnDevice, counted, fuse
from mhfd.contract import FocusParams
from mhfd.kernel import fourier
from mhfd.kernel.fourier import NUMPY, WHOLE_PLANES, Arrays
from mhfd.kernel.fourier.transforms import Mirror
from mhfd.kernel.measures import FeatureList, Measures
from phantoms import as_uint8, texture

DEVICE = Arrays(XP_STANDIN, FFT_STANDIN, fuse=fuse)


# --- The stand-in is as strict as CuPy ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "call", [np.abs, np.asarray, np.stack, np.flatnonzero, lambda a: a + np.ones(3), lambda a: np.ones(3) * a]
)
def test_numpy_refuses_arrays_on_the_device(call: Any) -> None:
    with pytest.raises(TypeError):
        call(OnDevice(np.ones(3)))


def test_functions_on_the_device_refuse_numpy_arrays() -> None:
    with pytest.raises(TypeError, match="upload"):
        XP_STANDIN.maximum(OnDevice(np.ones(3)), np.ones(3))


def test_arguments_that_cupy_lacks_are_refused() -> None:
    ones = OnDevice(np.ones(3))
    with pytest.raises(TypeError, match="where"):
        ones.sum(where=ones > 0)


def test_cupy_has_what_is_listed() -> None:
    cupy = pytest.importorskip("cupy")
    cupyx_fft = pytest.importorskip("cupyx.scipy.fft")
    strides = cupy.lib.stride_tricks
    for owner, listed in ((cupy, XP), (strides, STRIDES), (cupyx_fft, FFT), (cupy.ndarray, METHODS)):
        for name, parameters in listed.items():
            function = getattr(owner, name)
            if name in ("einsum", "reshape"):  # these take any number of arguments
                continue
            if inspect.isfunction(function):
                known = list(inspect.signature(function).parameters)
            else:  # compiled: its text begins with its parameters
                known = re.findall(r"\w+", function.__doc__.splitlines()[0])
            assert [word for word in known if word in parameters.split()] == parameters.split(), name


# --- The same numbers -----------------------------------------------------------------------------------------------


def tissue(shape: tuple[int, int], seed: int = 1) -> NDArray[np.float64]:
    """Texture and noise, of grey levels about 0.5."""
    rng = np.random.default_rng(seed)
    return 0.5 + 0.12 * texture(shape, rng) + rng.normal(0, 0.02, shape)


TILES: dict[str, NDArray[Any]] = {
    "uint8": as_uint8(tissue((150, 97))),
    "int16": (tissue((64, 81)) * 20000 - 15000).astype(np.int16),
    "float32": tissue((60, 64)).astype(np.float32),
    "float64, columns first": np.asfortranarray(tissue((40, 50))),
    "flat, integer": np.full((40, 50), 7, np.uint8),
    "flat, real": np.full((40, 50), 0.7),
    "one pixel differs": np.eye(1, 2000, 777).reshape(40, 50),
    "one row": tissue((1, 90)),
    "one column": tissue((90, 1)),
    "one pixel": np.ones((1, 1), np.uint8),
}
SMALL = FocusParams(n_scales=4, max_t=6)


def assert_equal(one: tuple[Measures, FeatureList], other: tuple[Measures, FeatureList]) -> None:
    assert one[0] == other[0]
    for name in ("rows", "cols", "scale_index", "scales_px", "strengths"):
        np.testing.assert_array_equal(getattr(one[1], name), getattr(other[1], name))


@pytest.mark.parametrize("mode", ["robust", "paper"])
@pytest.mark.parametrize("polarity", ["dark", "bright", "both"])
def test_the_device_gives_the_numbers_of_numpy(mode: Any, polarity: Any) -> None:
    params = FocusParams(mode=mode, polarity=polarity)
    on_numpy = fourier.measure(TILES["uint8"], params, WHOLE_PLANES)
    assert on_numpy[0].features > 0
    assert_equal(fourier.measure(TILES["uint8"], params, DEVICE), on_numpy)


@pytest.mark.parametrize("name", TILES)
@pytest.mark.parametrize("mode", ["robust", "paper"])
def test_the_device_takes_any_tile(name: str, mode: Any) -> None:
    params = replace(SMALL, mode=mode)
    assert_equal(fourier.measure(TILES[name], params, DEVICE), fourier.measure(TILES[name], params, WHOLE_PLANES))


def test_a_tile_may_be_on_the_device_already() -> None:
    tile = TILES["uint8"]
    assert_equal(fourier.measure(OnDevice(tile), SMALL, DEVICE), fourier.measure(tile, SMALL, WHOLE_PLANES))


def test_without_saturation_the_limits_are_the_extremes() -> None:
    params = replace(SMALL, saturate=0.0)
    assert_equal(
        fourier.measure(TILES["float32"], params, DEVICE), fourier.measure(TILES["float32"], params, WHOLE_PLANES)
    )


def test_the_height_of_the_strips_changes_nothing() -> None:
    tile = TILES["uint8"]
    assert_equal(fourier.measure(tile, SMALL, replace(NUMPY, strip_rows=7)), fourier.measure(tile, SMALL))


class RowsOnly:
    """A tile that is read by rows."""

    def __init__(self, tile: NDArray[Any]) -> None:
        self._tile = tile
        self.shape, self.dtype, self.size = tile.shape, tile.dtype, tile.size

    def __getitem__(self, rows: slice) -> NDArray[Any]:
        assert isinstance(rows, slice)
        return self._tile[rows]


def test_a_tile_that_is_read_by_rows_gives_the_numbers_of_the_array() -> None:
    tile = TILES["uint8"]
    assert_equal(fourier.measure(RowsOnly(tile), SMALL), fourier.measure(tile, SMALL))


# --- Batches --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arrays", [NUMPY, DEVICE, WHOLE_PLANES], ids=["NumPy", "device", "whole planes"])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("mode", ["robust", "paper"])
def test_a_batch_gives_the_numbers_of_its_tiles(arrays: Arrays, dtype: Any, mode: Any) -> None:
    params = replace(SMALL, mode=mode, polarity="both")
    tiles = np.stack([as_uint8(tissue((140, 70), seed)) for seed in range(3)]).astype(dtype)
    for together, tile in zip(fourier.measure_batch(tiles, params, arrays), tiles, strict=True):
        assert_equal(together, fourier.measure(tile, params, NUMPY if arrays is NUMPY else WHOLE_PLANES))


def test_a_batch_is_transformed_as_one() -> None:
    tile = TILES["float32"]
    one, five = (
        counted(lambda n=n: fourier.maximum_over_scale(OnDevice(np.stack([tile] * n)), SMALL, DEVICE)) for n in (1, 5)
    )
    assert one.launches == five.launches


# --- Transforms -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (2, 3), (8, 8), (9, 14), (31, 30)])
@pytest.mark.parametrize("n", [0, 3])
def test_the_way_back_from_the_cosines_gives_the_image(shape: tuple[int, int], n: int) -> None:
    images = np.random.default_rng(1).random((*((n,) if n else ()), *shape), np.float32)
    mirror = Mirror(shape, WHOLE_PLANES)
    np.testing.assert_allclose(mirror.in_order(mirror.back(mirror.forward(images))), images, atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (9, 14), (16, 16)])
def test_the_cosines_are_those_of_scipy(shape: tuple[int, int]) -> None:
    image = np.random.default_rng(1).random(shape, np.float32)
    cosines = Mirror(shape, WHOLE_PLANES).forward(image)
    expected = scipy.fft.dctn(image.astype(np.float64), norm="forward")
    np.testing.assert_allclose(cosines[:-1, :-1], expected, atol=1e-6)
    assert not cosines[-1].any() and not cosines[:, -1].any()  # C_N = 0


@pytest.mark.parametrize("bytes_at_a_time", [1, 5 * 60 * 64 * 4])
@pytest.mark.parametrize("mode", ["robust", "paper"])
def test_scales_transformed_together_give_what_each_gives_alone(
    bytes_at_a_time: int, mode: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    tile, params = TILES["float32"], FocusParams(mode=mode, n_scales=12)
    together = fourier.measure(tile, params, WHOLE_PLANES)
    monkeypatch.setattr("mhfd.kernel.fourier.arrays.BYTES_AT_A_TIME", bytes_at_a_time)
    assert_equal(fourier.measure(tile, params, replace(WHOLE_PLANES)), together)


def test_each_scale_is_one_transform_of_the_tiles_own_size() -> None:
    image = OnDevice(TILES["float32"])

    def transformed(n_scales: int) -> int:
        params = FocusParams(n_scales=n_scales)
        return counted(lambda: fourier.maximum_over_scale(image, params, DEVICE)).transformed

    assert transformed(9) - transformed(4) == 5 * image.size
    assert transformed(1) == 5 * image.size  # of the mirrored tile, and one back


def test_more_scales_are_no_more_launches() -> None:
    image = OnDevice(TILES["float32"])

    def launches(n_scales: int) -> int:
        return counted(lambda: fourier.maximum_over_scale(image, FocusParams(n_scales=n_scales), DEVICE)).launches

    assert launches(16) == launches(4)


def test_tables_are_copied_to_the_device_once() -> None:
    arrays = replace(DEVICE)
    first, second = (counted(lambda: fourier.measure(TILES["uint8"], SMALL, arrays)) for _ in range(2))
    assert first.uploads > second.uploads == 5  # the tile, its table of greys, three for the spectrum
