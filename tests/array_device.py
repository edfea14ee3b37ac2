"""A stand-in for CuPy and cuFFT, on the processor: as strict as they are, and it counts what a GPU would do.

It offers the functions that the array code calls, with CuPy's arguments, and computes with NumPy. Launches are those of
CuPy 14, read in its source. A function of several is counted as reading its arguments and writing its result so often.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray

# --- Functions used here, with the parameters of CuPy 13 and 14 in their order ------------------------------------

XP = {
    "abs": "x out",
    "asarray": "a dtype order",
    "bincount": "x weights minlength",
    "clip": "a a_min a_max out",
    "count_nonzero": "a axis",
    "cumsum": "a axis",
    "einsum": "subscripts a b",
    "empty": "shape dtype order",
    "empty_like": "prototype dtype order subok shape",
    "flatnonzero": "a",
    "full": "shape fill_value dtype order",
    "maximum": "x1 x2 out",
    "multiply": "x1 x2 out",
    "negative": "x out",
    "pad": "array pad_width mode",
    "partition": "a kth axis",
    "searchsorted": "a v side",
    "sum": "a axis dtype out keepdims",
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
    "argmax": "axis",
    "astype": "dtype order casting subok copy",
    "flatten": "order",
    "max": "axis out keepdims",
    "mean": "axis dtype out keepdims",
    "min": "axis out keepdims",
    "partition": "kth axis",
    "ravel": "order",
    "reshape": "a b c d",
    "sum": "axis dtype out keepdims",
    "view": "dtype",
}
UNARY = ("neg", "invert")
BINARY = ("add", "sub", "mul", "truediv", "matmul", "and", "or")
COMPARISONS = ("lt", "le", "gt", "ge", "eq", "ne")
OPERATORS = (*UNARY, *COMPARISONS, *(f"{how}{name}" for how in ("", "r", "i") for name in BINARY))

LAUNCHES = {
    "asarray": 0, "as_strided": 0, "empty": 0, "empty_like": 0, "ravel": 0, "reshape": 0, "view": 0,
    "bincount": 6, "einsum": 4, "flatnonzero": 4, "pad": 6, "partition": 4, "searchsorted": 1, "cumsum": 2,
    "rfft2": 3, "irfft2": 3, "dctn": 24, "idct": 11, "maximum_filter": 2,
}  # fmt: skip
"""Of functions that have not just one. A sort is four passes, a real transform of planes three; further launches scale
its result (`norm`), and copy what a transform back may not overwrite."""

WAITS = {"bincount": 2, "flatnonzero": 1}
"""For the device, within functions; copies to the host wait once each."""


@dataclass
class Counts:
    """What a GPU would do.

    Attributes
    ----------
    launches : of kernels
    bytes : that they read and write
    transformed : points of Fourier transforms
    waits : of the host for the device
    uploads : copies from the host
    kernels : functions and types of their arguments, each compiled at first; without those in transforms and sorts
    """

    launches: int = 0
    bytes: int = 0
    transformed: int = 0
    waits: int = 0
    uploads: int = 0
    kernels: set[object] = field(default_factory=set)

    def add(self, name: str, given: tuple[Any, ...], result: Any, options: dict[str, Any]) -> None:
        launches, arrays = LAUNCHES.get(name, 1), _arrays((given, np.asarray(result)))
        if name in ("rfft2", "irfft2", "dctn", "idct"):
            launches += _extra_launches(name, options)
            self.transformed += max(each.size for each in arrays)
        elif name == "stack":
            launches = len(arrays) - 1
        self.launches += launches
        self.bytes += launches * sum(each.nbytes for each in arrays) // (launches if name == "stack" else 1)
        self.waits += WAITS.get(name, 0)
        if launches and name not in (*FFT, "partition"):
            self.kernels.add((name, *((each.dtype.char, each.ndim) for each in arrays)))


def _extra_launches(name: str, options: dict[str, Any]) -> int:
    back = name == "irfft2"
    if name in ("dctn", "idct"):
        return 2 * (options.get("n") is not None)  # its frequencies are filled up with zeros
    return (options.get("norm") is None) == back or (back and not options.get("overwrite_x"))


def _arrays(given: Any) -> list[NDArray[Any]]:
    if isinstance(given, np.ndarray):
        return [given]
    return [array for each in given for array in _arrays(each)] if isinstance(given, tuple | list) else []


COUNTS = Counts()
"""Of all that the stand-in did since `counted` began."""


def counted(work: Callable[[], Any]) -> Counts:
    """What some work would do on a GPU."""
    vars(COUNTS).update(vars(Counts()))
    work()
    found = Counts()
    vars(found).update(vars(COUNTS))
    return found


# --- Arrays, functions --------------------------------------------------------------------------------------------


class OnDevice:
    """An array that, like CuPy's, never converts to NumPy's implicitly, nor mixes with one."""

    __array_ufunc__ = None

    def __init__(self, hidden: Any) -> None:
        self._hidden = np.asarray(hidden)
        self.shape, self.dtype, self.size = self._hidden.shape, self._hidden.dtype, self._hidden.size
        self.strides, self.nbytes, self.ndim = self._hidden.strides, self._hidden.nbytes, self._hidden.ndim

    @property
    def real(self) -> OnDevice:
        return OnDevice(self._hidden.real)

    @property
    def imag(self) -> OnDevice:
        return OnDevice(self._hidden.imag)

    def __array__(self, *_: Any, **__: Any) -> NDArray[Any]:
        raise TypeError("an array on the device is not converted to NumPy's: call get()")

    def get(self) -> NDArray[Any]:
        COUNTS.waits += 1
        return self._hidden.copy()

    def tolist(self) -> Any:
        return self.get().tolist()

    def __len__(self) -> int:
        return len(self._hidden)

    def __float__(self) -> float:
        return float(self.get())

    def __int__(self) -> int:
        return int(self.get())

    def __bool__(self) -> bool:
        raise TypeError("CuPy would wait for the device here, hidden: use int() or float()")

    def __getitem__(self, index: Any) -> OnDevice:
        result = self._hidden[bare(index)]
        if _arrays((bare(index),)):
            COUNTS.add("getitem", (bare(index),), result, {})
        return OnDevice(result)

    def __setitem__(self, index: Any, value: Any) -> None:
        COUNTS.add("setitem", (), self._hidden[bare(index)], {})
        self._hidden[bare(index)] = bare(value)

    def __getattr__(self, name: str) -> Any:
        if name not in METHODS:
            raise AttributeError(f"CuPy's arrays have no {name}, or it is not listed here")
        method = getattr(np.ndarray, name)
        return lambda *args, **kwargs: as_cupy(
            lambda *rest, **more: method(self._hidden, *rest, **more), METHODS[name], name=name, on=self._hidden
        )(*args, **kwargs)


def operator(name: str) -> Any:
    def operate(self: OnDevice, *other: Any) -> OnDevice:
        result = getattr(self._hidden, f"__{name}__")(*bare(other))
        COUNTS.add(name.removeprefix("i") if name != "invert" else name, (self._hidden, *bare(other)), result, {})
        return OnDevice(result)

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


def as_cupy(function: Any, parameters: str, accepts: Any = bare, *, name: str = "", on: Any = ()) -> Any:
    """`function` of NumPy or SciPy, called only in ways that CuPy understands too."""
    names = parameters.split()
    called = name or function.__name__

    def call(*args: Any, **kwargs: Any) -> OnDevice | None:
        unknown = kwargs.keys() - set(names[len(args) :])
        if len(args) > len(names) or unknown:
            raise TypeError(f"CuPy's {called} takes {parameters}, not {len(args)} arguments and {unknown}")
        given = tuple(map(accepts, args))
        result = function(*given, **{name: accepts(value) for name, value in kwargs.items()})
        COUNTS.add(called, (on, *given), on if result is None else result, kwargs)
        return None if result is None else OnDevice(result)

    return call


def upload(given: Any) -> Any:
    COUNTS.uploads += isinstance(given, np.ndarray)
    return given if isinstance(given, np.ndarray) else bare(given)


def fuse(*, kernel_name: str) -> Callable[[Any], Any]:
    """Like `cupy.fuse`: one kernel for a whole formula."""

    def fused(formula: Any) -> Any:
        def call(*args: Any) -> OnDevice | None:
            before = {**vars(COUNTS), "kernels": COUNTS.kernels.copy()}
            result = formula(*args)
            vars(COUNTS).update(before)
            COUNTS.add(kernel_name, bare(args), () if result is None else bare(result), {})
            return result

        return call

    return fused


XP_STANDIN = SimpleNamespace(**{name: as_cupy(getattr(np, name), parameters) for name, parameters in XP.items()})
XP_STANDIN.asarray = as_cupy(np.asarray, XP["asarray"], upload)
XP_STANDIN.float32 = np.float32
XP_STANDIN.lib = SimpleNamespace(
    stride_tricks=SimpleNamespace(as_strided=as_cupy(np.lib.stride_tricks.as_strided, STRIDES["as_strided"]))
)
FFT_STANDIN = SimpleNamespace(**{name: as_cupy(getattr(scipy.fft, name), FFT[name]) for name in FFT})
