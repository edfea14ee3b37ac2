"""The array path as CuPy would run it, without a GPU.

A stand-in offers CuPy's functions that are used here, with CuPy's arguments, and computes with NumPy.
"""

from __future__ import annotations

import inspect
import re
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import scipy.fft
from numpy.typing import NDArray

from mhfd.contract import FocusParams
from mhfd.kernel import fourier
from mhfd.kernel.fourier import NUMPY, Arrays
from mhfd.kernel.measures import FeatureList, Measures
from phantoms import as_uint8, texture

# --- Functions used here, with the parameters of CuPy 13 and 14 in their order ------------------------------------

XP = {
    "abs": "x out",
    "asarray": "a dtype order",
    "bincount": "x weights minlength",
    "clip": "a a_min a_max out",
    "count_nonzero": "a axis",
    "einsum": "subscripts a b",
    "empty_like": "prototype dtype order subok shape",
    "flatnonzero": "a",
    "full": "shape fill_value dtype order",
    "maximum": "x1 x2 out",
    "multiply": "x1 x2 out",
    "negative": "x out",
    "pad": "array pad_width mode",
    "partition": "a kth axis",
    "stack": "tup axis out",
    "take": "a indices axis out",
    "where": "condition x y",
    "zeros": "shape dtype order",
}
STRIDES = {"as_strided": "x shape strides"}
FFT = {
    "dctn": "x type s axes norm overwrite_x",
    "idct": "x type n axis norm overwrite_x",
    "rfft2": "x s axes norm overwrite_x",
    "irfft2": "x s axes norm overwrite_x",
}
METHODS = {
    "astype": "dtype order casting subok copy",
    "flatten": "order",
    "max": "axis out keepdims",
    "mean": "axis dtype out keepdims",
    "min": "axis out keepdims",
    "partition": "kth axis",
    "ravel": "order",
    "reshape": "a b c d",
    "sum": "axis dtype out keepdims",
}
UNARY = ("neg", "invert")
BINARY = ("add", "sub", "mul", "truediv", "matmul", "and", "or")
COMPARISONS = ("lt", "le", "gt", "ge", "eq", "ne")
OPERATORS = (*UNARY, *COMPARISONS, *(f"{how}{name}" for how in ("", "r", "i") for name in BINARY))


class OnDevice:
    """An array that, like CuPy's, never converts to NumPy's implicitly, nor mixes with one."""

    __array_ufunc__ = None

    def __init__(self, hidden: Any) -> None:
        self._hidden = np.asarray(hidden)
        self.shape, self.dtype, self.size = self._hidden.shape, self._hidden.dtype, self._hidden.size
        self.strides = self._hidden.strides

    @property
    def real(self) -> OnDevice:
        return OnDevice(self._hidden.real)

    @property
    def imag(self) -> OnDevice:
        return OnDevice(self._hidden.imag)

    def __array__(self, *_: Any, **__: Any) -> NDArray[Any]:
        raise TypeError("an array on the device is not converted to NumPy's: call get()")

    def get(self) -> NDArray[Any]:
        return self._hidden.copy()

    def __float__(self) -> float:
        return float(self._hidden)

    def __int__(self) -> int:
        return int(self._hidden)

    def __bool__(self) -> bool:
        raise TypeError("CuPy would wait for the device here, hidden: use int() or float()")

    def __getitem__(self, index: Any) -> OnDevice:
        return OnDevice(self._hidden[bare(index)])

    def __setitem__(self, index: Any, value: Any) -> None:
        self._hidden[bare(index)] = bare(value)

    def __getattr__(self, name: str) -> Any:
        if name not in METHODS:
            raise AttributeError(f"CuPy's arrays have no {name}, or it is not listed here")
        return as_cupy(getattr(self._hidden, name), METHODS[name])


def operator(name: str) -> Any:
    def operate(self: OnDevice, *other: Any) -> OnDevice:
        return OnDevice(getattr(self._hidden, f"__{name}__")(*bare(other)))

    return operate


for name in OPERATORS:
    setattr(OnDevice, f"__{name}__", operator(name))


def bare(given: Any) -> Any:
    """An argument with its arrays unwrapped, none of which may be NumPy's."""
    if isinstance(given, OnDevice):
        return given._hidden
    if isinstance(given, np.ndarray):
        raise TypeError("CuPy's functions take no NumPy arrays: upload it by asarray()")
    return type(given)(map(bare, given)) if isinstance(given, tuple | list) else given


def as_cupy(function: Any, parameters: str, accepts: Any = bare) -> Any:
    """`function` of NumPy or SciPy, called only in ways that CuPy understands too."""
    names = parameters.split()

    def call(*args: Any, **kwargs: Any) -> OnDevice | None:
        unknown = kwargs.keys() - set(names[len(args) :])
        if len(args) > len(names) or unknown:
            raise TypeError(f"CuPy's {function.__name__} takes {parameters}, not {len(args)} arguments and {unknown}")
        result = function(*map(accepts, args), **{name: accepts(value) for name, value in kwargs.items()})
        return None if result is None else OnDevice(result)

    return call


def upload(given: Any) -> Any:
    return given if isinstance(given, np.ndarray) else bare(given)


XP_STANDIN = SimpleNamespace(**{name: as_cupy(getattr(np, name), parameters) for name, parameters in XP.items()})
XP_STANDIN.asarray = as_cupy(np.asarray, XP["asarray"], upload)
XP_STANDIN.lib = SimpleNamespace(
    stride_tricks=SimpleNamespace(as_strided=as_cupy(np.lib.stride_tricks.as_strided, STRIDES["as_strided"]))
)
FFT_STANDIN = SimpleNamespace(**{name: as_cupy(getattr(scipy.fft, name), FFT[name]) for name in FFT})
DEVICE = Arrays(XP_STANDIN, FFT_STANDIN)
WHOLE_PLANES = replace(NUMPY, strip_rows=None)


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
    on_numpy = fourier.measure(TILES["uint8"], params)
    assert on_numpy[0].features > 0
    assert_equal(fourier.measure(TILES["uint8"], params, DEVICE), on_numpy)


@pytest.mark.parametrize("name", TILES)
@pytest.mark.parametrize("mode", ["robust", "paper"])
def test_the_device_takes_any_tile(name: str, mode: Any) -> None:
    params = replace(SMALL, mode=mode)
    assert_equal(fourier.measure(TILES[name], params, DEVICE), fourier.measure(TILES[name], params))


def test_a_tile_may_be_on_the_device_already() -> None:
    tile = TILES["uint8"]
    assert_equal(fourier.measure(OnDevice(tile), SMALL, DEVICE), fourier.measure(tile, SMALL))


def test_without_saturation_the_limits_are_the_extremes() -> None:
    params = replace(SMALL, saturate=0.0)
    assert_equal(fourier.measure(TILES["float32"], params, DEVICE), fourier.measure(TILES["float32"], params))


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
        assert_equal(together, fourier.measure(tile, params))


def test_a_batch_is_transformed_as_one() -> None:
    transformed = []

    def dctn(x: OnDevice, **options: Any) -> OnDevice:
        transformed.append(x.shape)
        return FFT_STANDIN.dctn(x, **options)

    tiles = np.stack([TILES["float32"]] * 5)
    fourier.measure_batch(tiles, SMALL, replace(DEVICE, fft=SimpleNamespace(**{**vars(FFT_STANDIN), "dctn": dctn})))
    assert transformed == [tiles.shape]
