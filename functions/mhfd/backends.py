"""The backend is a value: chosen once, passed along, recorded in every result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, get_args

from numpy.typing import NDArray

from mhfd.contract import BackendError, BackendName, FocusParams
from mhfd.kernel import fourier
from mhfd.kernel.measures import FeatureList, Measures


@dataclass(frozen=True)
class Backend:
    """One way to run the kernel.

    Attributes
    ----------
    name : as recorded in a result's provenance
    device : "cpu", or the device's own name
    measure : (rows, cols) tile and parameters in pixels to numbers and features
    """

    name: str
    device: str
    measure: Callable[[NDArray[Any], FocusParams], tuple[Measures, FeatureList]]


def select_backend(name: str = "auto") -> Backend:
    """The backend of that name; "auto" takes the fastest that works here.

    Raises
    ------
    BackendError
        no such backend.
    """
    if name not in get_args(BackendName):
        choices = ", ".join(f'"{choice}"' for choice in get_args(BackendName))
        raise BackendError(f"there is no backend {name!r} in this version of mhfd; choose one of {choices}")
    return Backend(name="numpy", device="cpu", measure=fourier.measure)
