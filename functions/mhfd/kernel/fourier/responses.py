"""Differences of Gaussians at every scale, and their maximum (docs/measure.md, steps 2 to 4).

One forward transform serves all scales; each difference of Gaussians is one product and one transform back.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mhfd.contract import FocusParams
from mhfd.kernel.fourier.arrays import NUMPY, Array, Arrays
from mhfd.kernel.fourier.transforms import Axis, Circle, Mirror
from mhfd.kernel.measures import gaussian

NEGLIGIBLE = 1e-9
"""Transfer below this is left out: two orders below what float32 resolves."""


def maximum_over_scale(images: Array, params: FocusParams, arrays: Arrays = NUMPY) -> tuple[Array, Array]:
    """M = max_i D_i (float32) and A = argmax_i D_i (uint16), the first of equals.

    Parameters
    ----------
    images : (rows, cols) or (n, rows, cols) float32, as are M and A
    """
    xp = arrays.xp
    centred = images - images.mean(axis=(-2, -1), dtype=np.float64, keepdims=True).astype(np.float32)
    if params.polarity == "bright":  # dark on the negative
        centred = -centred
    louder = arrays.fused(_louder)
    strength, scale = xp.full(images.shape, -np.inf, np.float32), xp.zeros(images.shape, np.uint16)
    if arrays.has_cosines and params.mode == "robust":
        for i, strip, dog in _dogs_by_strips(centred, params, arrays):
            louder(strength[strip], scale[strip], xp.abs(dog) if params.polarity == "both" else dog, np.uint16(i))
        return strength, scale
    shape = images.shape[-2], images.shape[-1]
    boundary = Circle(shape, arrays) if params.mode == "paper" else Mirror(shape, arrays)
    for first, dogs in _dogs(centred, params, boundary, arrays):
        louder(strength, scale, *_strongest(xp.abs(dogs) if params.polarity == "both" else dogs, first))
    return boundary.in_order(strength), boundary.in_order(scale)


def _strongest(dogs: Array, first: int) -> tuple[Array, Any]:
    """Maximum of neighbouring scales, and the index of its scale; `first` is that of the first of them."""
    if len(dogs) == 1:
        return dogs[0], np.uint16(first)
    return dogs.max(axis=0), dogs.argmax(axis=0).astype(np.uint16) + np.uint16(first)


def _louder(xp: Any, strength: Array, scale: Array, dog: Array, i: Any) -> None:
    """Take D_i into the maximum, in place."""
    # i only grows, so a maximum does the work of a masked copy, which mispredicts at every other pixel.
    xp.maximum(scale, (dog > strength) * i, out=scale)
    xp.maximum(strength, dog, out=strength)


def _dogs(
    centred: Array, params: FocusParams, boundary: Circle | Mirror, arrays: Arrays
) -> Iterator[tuple[int, Array]]:
    """D_i = t_i (L_{i+1} - L_i) for i = 1 .. n, some at a time: index of the first, and all of them.

    Pixels are in the order of the boundary's planes.
    """
    spectra = boundary.forward(centred)
    scales = tuple(params.scales)
    smooth_down, step_down = (arrays.table(make, scales, boundary.down) for make in (_smooth, _step))
    smooth_along, step_along = (arrays.table(make, scales, boundary.along) for make in (_smooth, _step))
    one_each = (slice(None), *[None] * (centred.ndim - 2))  # a scale for all images
    for some in arrays.scales(params.n_scales, centred):
        here, there = slice(some.start, some.stop), slice(some.start + 1, some.stop + 1)
        products = arrays.fused(_product)(
            spectra,
            smooth_down[here][one_each][..., None],
            step_down[here][one_each][..., None],
            smooth_along[there][one_each][..., None, :],
            step_along[here][one_each][..., None, :],
        )
        yield some.start, boundary.back(products)


def _product(
    xp: Any, spectra: Array, smooth_down: Array, step_down: Array, smooth_along: Array, step_along: Array
) -> Array:
    """Of the spectra with t_i (Gaussian(t_{i+1}) - Gaussian(t_i)) over both axes; `smooth_along` is of t_{i+1}."""
    # Arranged so that no two nearly equal float32 are subtracted.
    return spectra * (step_down * smooth_along + smooth_down * step_along)


def _dogs_by_strips(
    centred: NDArray[np.float32], params: FocusParams, arrays: Arrays
) -> Iterator[tuple[int, Any, Array]]:
    """As `_dogs`, by SciPy's cosine transforms: (i - 1, index of a strip of rows, its pixels).

    Larger scales leave only low frequencies: the transforms back are fed just those, exactly.
    """
    rows, cols = centred.shape[-2:]
    cosines = arrays.fft.dctn(centred, axes=(-2, -1), norm="ortho")
    scales, down, along = tuple(params.scales), Axis(2 * rows, rows), Axis(2 * cols, cols)
    for i in range(params.n_scales):
        v, u = (slice(int(np.count_nonzero(_smooth(scales, axis)[i] > NEGLIGIBLE))) for axis in (down, along))
        product = _product(
            np,
            cosines[..., v, u],
            _smooth(scales, down)[i, v, None],
            _step(scales, down)[i, v, None],
            _smooth(scales, along)[i + 1, u],
            _step(scales, along)[i, u],
        )
        partial = arrays.fft.idct(product, n=rows, axis=-2, norm="ortho", overwrite_x=True)
        for strip in arrays.strips(rows):
            yield i, np.s_[..., strip, :], arrays.fft.idct(partial[..., strip, :], n=cols, axis=-1, norm="ortho")


# --- Transfers, on the host ---------------------------------------------------------------------------------------


class _Transfers(NamedTuple):
    """The Gaussians of all scales at the frequencies of an axis.

    smooth : (n_scales + 1, kept) float32 response of Gaussian(t_i)
    step : (n_scales, kept) float32, t_i times the difference to the next
    """

    smooth: NDArray[np.float32]
    step: NDArray[np.float32]


@lru_cache(maxsize=32)
def _transfers(scales: tuple[float, ...], axis: Axis) -> _Transfers:
    smooth = np.stack([_transfer(t, axis) for t in scales])
    step = np.array(scales[:-1])[:, None] * np.diff(smooth, axis=0)
    return _Transfers(smooth.astype(np.float32), step.astype(np.float32))


def _smooth(scales: tuple[float, ...], axis: Axis) -> NDArray[np.float32]:
    return _transfers(scales, axis).smooth


def _step(scales: tuple[float, ...], axis: Axis) -> NDArray[np.float32]:
    return _transfers(scales, axis).step


def _transfer(t: float, axis: Axis) -> NDArray[np.float64]:
    """(kept,) response of `gaussian(t)` at the frequencies of an axis."""
    kernel = gaussian(t)
    radius = len(kernel) // 2
    wrapped = np.zeros(axis.period)
    np.add.at(wrapped, np.arange(-radius, radius + 1) % axis.period, kernel)  # it may be longer than the tile
    return np.asarray(np.fft.fft(wrapped).real[: axis.kept])
