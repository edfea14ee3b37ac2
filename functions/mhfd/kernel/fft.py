"""Fourier transforms of NumPy's arrays: SciPy's where it is installed, else NumPy's under the same names, more slowly.

A plain installation, as beside a microscope whose tiles are scored elsewhere, does without SciPy, which is half of one.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray


def library() -> Any:
    """`scipy.fft`, or what is used of it."""
    try:
        return import_module("scipy.fft")
    except ModuleNotFoundError:
        return ByNumpy


class ByNumpy:
    """The real transforms of `scipy.fft`, with the bits of their input; it has no cosine transforms."""

    @staticmethod
    def rfft2(images: NDArray[Any], axes: tuple[int, int] = (-2, -1), norm: str | None = None) -> NDArray[Any]:
        transform = np.fft.rfft2(images, axes=axes, norm=norm)  # type: ignore[arg-type]
        return transform.astype(np.complex64, copy=False) if images.dtype == np.float32 else transform

    @staticmethod
    def irfft2(
        spectra: NDArray[Any], s: tuple[int, int], norm: str | None = None, overwrite_x: bool = False
    ) -> NDArray[Any]:
        planes = np.fft.irfft2(spectra, s=s, norm=norm)  # type: ignore[arg-type]
        return planes.astype(np.float32, copy=False) if spectra.dtype == np.complex64 else planes


LIBRARY = library()
