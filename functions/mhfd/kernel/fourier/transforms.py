"""The frequencies in which a Gaussian is a product, for either boundary of the tile.

A periodic tile has those of its Fourier transform. A tile that goes on in its mirror images has those of its cosine
transform, C, which SciPy has, cuFFT and NumPy have not. There C comes from the real transform of the mirrored tile,
twice as long along each axis, once a tile. The way back, once a scale, is a real transform of the tile's own size
(Makhoul, A fast cosine transform in one and two dimensions, IEEE Trans. ASSP 28, 1980): along an axis of N pixels,

    v = x_0 x_2 x_4 .. x_5 x_3 x_1    has the Fourier transform    V_k = exp(i pi k / 2 N) (C_k - i C_{N-k}),   C_N = 0.

Maxima over scale do not care about the order of the pixels: they are taken in the order of v, and put in the tile's
at the end.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mhfd.kernel.fourier.arrays import Array, Arrays


class Axis(NamedTuple):
    """The frequencies along an axis: the first `kept` of a circle of `period` pixels."""

    period: int
    kept: int


class Circle:
    """A periodic tile, and its Fourier transform."""

    def __init__(self, shape: tuple[int, int], arrays: Arrays) -> None:
        self._shape, self._fft = shape, arrays.fft
        rows, cols = shape
        self.down, self.along = Axis(rows, rows), Axis(cols, cols // 2 + 1)

    def forward(self, images: Array) -> Array:
        """(.., rows, cols // 2 + 1) complex64 spectra of (.., rows, cols) float32 images."""
        return self._fft.rfft2(images, norm="forward")

    def back(self, spectra: Array) -> Array:
        """(.., rows, cols) float32 planes of such spectra, which are overwritten."""
        return self._fft.irfft2(spectra, s=self._shape, norm="forward", overwrite_x=True)

    def in_order(self, planes: Array) -> Array:
        """(.., rows, cols) with the pixels where they are in the tile."""
        return planes


class Mirror:
    """A tile that goes on in its mirror images, and its cosine transform by real transforms."""

    def __init__(self, shape: tuple[int, int], arrays: Arrays) -> None:
        self._shape, self._arrays = shape, arrays
        rows, cols = shape
        self.down, self.along = Axis(2 * rows, rows + 1), Axis(2 * cols, cols + 1)

    def _taken(self, planes: Array, places: Any) -> Array:
        """Rows and columns of planes, by the function that lists those along an axis of some length."""
        for axis, length in zip((-2, -1), self._shape, strict=True):
            planes = self._arrays.xp.take(planes, self._arrays.table(places, length), axis=axis)
        return planes

    def _turns(self, sign: int) -> tuple[Array, Array]:
        rows, cols = (self._arrays.table(_turn, length, sign) for length in self._shape)
        return rows[:, None], cols

    def forward(self, images: Array) -> Array:
        """(.., rows + 1, cols + 1) float32 C of (.., rows, cols) float32 images."""
        spectra = self._arrays.fft.rfft2(self._taken(images, _there_and_back), norm="forward")
        half = self._shape[0] + 1
        return self._arrays.fused(_turned)(spectra[..., :half, :], *self._turns(-1)).real

    def back(self, cosines: Array) -> Array:
        """(.., rows, cols) float32 planes of such C, their pixels in the order of v."""
        rows, cols = self._shape
        half = cols // 2 + 1
        down, along = self._turns(1)
        spectra = self._arrays.fused(_of_cosines)(
            cosines[..., :-1, :half],
            cosines[..., :0:-1, :half],
            cosines[..., :-1, : cols - half : -1],
            cosines[..., :0:-1, : cols - half : -1],
            down[:rows],
            along[:half],
        )
        return self._arrays.fft.irfft2(spectra, s=self._shape, norm="forward", overwrite_x=True)

    def in_order(self, planes: Array) -> Array:
        """(.., rows, cols) with the pixels where they are in the tile."""
        return self._taken(planes, _places_in_v)


def _turned(xp: Any, spectra: Array, down: Array, along: Array) -> Array:
    return spectra * (down * along)


def _of_cosines(xp: Any, here: Array, below: Array, beside: Array, across: Array, down: Array, along: Array) -> Array:
    """V along both axes: C at (k, l), (rows - k, l), (k, cols - l), (rows - k, cols - l)."""
    return (down * along) * ((here - across) - 1j * (below + beside))


def _turn(length: int, sign: int) -> NDArray[np.complex64]:
    """(length + 1,) exp(+-i pi k / 2 length), and 0 at k = length, where C is 0."""
    turn = np.exp(sign * 0.5j * np.pi / length * np.arange(length + 1))
    turn[length] = 0
    return np.asarray(turn, np.complex64)


def _there_and_back(length: int) -> NDArray[np.int64]:
    """(2 length,) places of a line followed by its mirror image."""
    return np.concatenate([np.arange(length), np.arange(length)[::-1]])


def _places_in_v(length: int) -> NDArray[np.int64]:
    """(length,) place of each pixel of a line in v."""
    return np.argsort(np.concatenate([np.arange(0, length, 2), np.arange(1, length, 2)[::-1]]))
