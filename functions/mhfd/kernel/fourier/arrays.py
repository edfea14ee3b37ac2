"""The library that holds the planes and works on them: NumPy on the processor, CuPy on a GPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mhfd.kernel.fft import LIBRARY

Array = Any
"""An array of `Arrays.xp`: a NumPy array, or one on the device."""

BYTES_AT_A_TIME = 2**28
"""Of planes that a device transforms together: enough that starting a transform takes less time than doing it."""

TABLES_KEPT = 64
"""On the device, until there are more."""


@dataclass(frozen=True)
class Arrays:
    """The library, for one device.

    Attributes
    ----------
    xp : `numpy`, or `cupy`
    fft : `mhfd.kernel.fft.LIBRARY`, or `cupyx.scipy.fft`
    strip_rows : rows that are worked on at a time, few enough to stay in a processor's cache; None: whole planes
    fuse : `cupy.fuse`, which makes one kernel of a formula; None: its operations run one after the other
    """

    xp: Any
    fft: Any
    strip_rows: int | None = None
    fuse: Callable[..., Any] | None = None
    _kernels: dict[Callable[..., Any], Callable[..., Any]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    _tables: dict[Any, Array] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def has_cosines(self) -> bool:
        """Whether the cosine transform of a strip of rows can be had."""
        return self.strip_rows is not None and hasattr(self.fft, "dctn")

    def strips(self, rows: int) -> Iterator[slice]:
        step = self.strip_rows or rows
        return (slice(top, min(rows, top + step)) for top in range(0, rows, step))

    def scales(self, n_scales: int, images: Array) -> Iterator[range]:
        """Indices of the scales whose planes, of the images' size, are made together."""
        step = 1 if self.strip_rows else max(1, BYTES_AT_A_TIME // images.nbytes)
        return (range(first, min(n_scales, first + step)) for first in range(0, n_scales, step))

    def fused(self, formula: Callable[..., Any]) -> Callable[..., Any]:
        """`formula(xp, ...)`, of planes of one shape or that broadcast to it: one kernel on a device."""
        bound = partial(formula, self.xp)
        if self.fuse is None:
            return bound
        if formula not in self._kernels:  # made twice by two threads, it is the same
            self._kernels[formula] = self.fuse(kernel_name=formula.__name__.strip("_"))(bound)
        return self._kernels[formula]

    def table(self, make: Callable[..., NDArray[Any]], *given: Any) -> Array:
        """`make(*given)`, copied to the device once."""
        key = make, given
        if key not in self._tables:
            if len(self._tables) >= TABLES_KEPT:
                self._tables.clear()
            self._tables[key] = self.xp.asarray(make(*given))
        return self._tables[key]

    def framed(self, image: Array, margin: int) -> Array:
        """The image with `margin` more pixels on all sides, of its mirror images."""
        if self.strip_rows:
            return self.xp.pad(image, margin, mode="symmetric")
        for axis in (0, 1):  # CuPy's pad is slow to start
            image = self.xp.take(image, self.table(_mirrored, image.shape[axis], margin), axis=axis)
        return image

    def row_products(self, a: Array, b: Array) -> Array:
        """(rows,) sums of a * b along the rows, in float32."""
        # CuPy's einsum is slow to start, NumPy's takes no memory.
        return self.xp.einsum("ij,ij->i", a, b) if self.strip_rows else self.fused(_row_products)(a, b)

    def to_host(self, array: Array) -> NDArray[Any]:
        """Copy to the host; waits for the device."""
        return array if isinstance(array, np.ndarray) else np.asarray(array.get())


def _row_products(xp: Any, a: Array, b: Array) -> Array:
    return xp.sum(a * b, axis=1)


def _mirrored(length: int, margin: int) -> NDArray[np.int64]:
    """(length + 2 margin,) places on a line that goes on in its mirror images."""
    return np.pad(np.arange(length), margin, mode="symmetric")


NUMPY = Arrays(np, LIBRARY, strip_rows=128)

WHOLE_PLANES = replace(NUMPY, strip_rows=None)
"""What runs on a device, by NumPy: to be judged without one."""
