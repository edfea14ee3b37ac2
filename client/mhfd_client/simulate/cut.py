"""One section of the specimen on a grid of pixels, into which its parts are drawn. Lengths in nm, places (z, y, x)."""

from __future__ import annotations

import numpy as np

from mhfd_client.simulate.fields import Array
from mhfd_client.simulate.neurites import SOFTNESS_NM2, Neurites

Window = tuple[slice, slice]

BLOCK_NM = 72.0  # pixels of one such block share their candidate neurites
EVERYWHERE: Window = (slice(None), slice(None))
_SEEN_NM = 32.0  # depth from which the signal comes; membranes that pass it obliquely smear
_MEMBRANE_NM = 5.0  # standard deviation of the stain across one membrane


class Cut:
    """The pixels of a cut: where each lies, and its light, which parts of the tissue dim as they are drawn.

    Attributes
    ----------
    place : (3, rows, cols), in the unbent tissue
    neurite : number of the neurite that holds the pixel; this and all the following (rows, cols)
    depth : below that neurite's membrane
    tilt : of the membrane: 0 where it is upright in the section, 1 where it lies flat
    shade : unit variance; slow changes in all that is drawn
    light : transmitted, 1 is white
    """

    def __init__(self, neurites: Neurites, place: Array, bend: Array, shade: Array, block: int) -> None:
        """Share out the pixels; `bend` is how `place` changes along (z, y, x), `block` see `Neurites.partition`."""
        self.place, self.shade, self._block = place, shade, block
        self._coarse = place[:, block // 2 :: block, block // 2 :: block]
        self._low, self._high = self._coarse.min(axis=(1, 2)) - BLOCK_NM, self._coarse.max(axis=(1, 2)) + BLOCK_NM
        self.neurite, lead, gradient = neurites.partition(place, block)
        normal = np.einsum("rayx,ayx->ryx", bend, gradient)
        steepness = np.maximum(np.sqrt((normal**2).sum(axis=0)), 120 / SOFTNESS_NM2)
        self.depth: Array = lead / steepness
        self.tilt: Array = np.abs(normal[0]) / steepness
        self.light: Array = np.ones(self.depth.shape)

    def window(self, centre: Array, reach: float) -> Window | None:
        """The pixels within `reach` of a place, or None if this cut misses it."""
        if (np.maximum(self._low - centre, centre - self._high) > reach).any():
            return None
        near = ((self._coarse - centre[:, None, None]) ** 2).sum(axis=0) < (reach + BLOCK_NM) ** 2
        if not near.any():
            return None
        rows, cols = (np.flatnonzero(near.any(axis=axis)) for axis in (1, 0))
        return (
            slice(int(rows[0]) * self._block, (int(rows[-1]) + 1) * self._block),
            slice(int(cols[0]) * self._block, (int(cols[-1]) + 1) * self._block),
        )

    def offset(self, centre: Array, window: Window = EVERYWHERE) -> Array:
        """From `centre` to each pixel of the window, (3, rows, cols)."""
        return self.place[:, window[0], window[1]] - centre[:, None, None]

    def stain(self, absorbed: Array, window: Window = EVERYWHERE) -> None:
        """Remove this share of the light, 0.9 at most."""
        self.light[window] *= 1 - np.minimum(absorbed, 0.9)

    def draw_membranes(self) -> None:
        """Stain the membranes of all neurites."""
        apart = 8.0  # half the distance between the membranes of two neighbours
        self.stain(0.95 * (membrane(self.depth - apart, self.tilt) + membrane(self.depth + apart, self.tilt)))


def membrane(distance: Array, tilt: Array | float) -> Array:
    """Stain of a membrane at `distance`, seen through the section: steep ones are thin and dark, oblique ones smear."""
    width = np.sqrt(_MEMBRANE_NM**2 + (_SEEN_NM**2 / 12) * np.square(tilt))
    return np.asarray(_MEMBRANE_NM / width * np.exp(-0.5 * (distance / width) ** 2), np.float64)
