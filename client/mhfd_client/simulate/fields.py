"""Smooth random functions of place, and the warp they make. Lengths in nm, places (z, y, x)."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from mhfd_client.simulate.plan import PAD_NM

Array = npt.NDArray[np.float64]


class SmoothField:
    """Random fields of unit variance that change over about `spacing_nm`: B-splines on a random lattice."""

    def __init__(
        self, rng: np.random.Generator, size_nm: tuple[float, float, float], spacing_nm: float, n: int = 1
    ) -> None:
        self.spacing_nm = spacing_nm
        shape = [math.ceil((side + 2 * PAD_NM) / spacing_nm) + 4 for side in size_nm]
        self.lattice = rng.normal(0, (315 / 151) ** 1.5, (n, *shape))  # makes up for B-spline smoothing

    def sample(self, z: float, y: Array, x: Array, slope: bool = False) -> Array:
        """Values on the grid y by x, (n, len(y), len(x)), or with `slope` their change along z, per nm."""
        (planes, of_z), (rows, of_y), (cols, of_x) = (
            self._weights(place, self.lattice.shape[axis], slope and axis == 1)
            for axis, place in enumerate((np.array([z]), y, x), start=1)
        )
        plane = np.einsum("p,npyx->nyx", of_z[0], self.lattice[:, planes, rows, cols])
        return np.asarray(of_y @ plane @ of_x.T, np.float64)

    def _weights(self, place: Array, n: int, slope: bool) -> tuple[slice, Array]:
        """The lattice points that affect these places, and the cubic B-spline of each, (places, points)."""
        t = (place + PAD_NM) / self.spacing_nm + 1
        points = slice(max(math.floor(t[0]) - 1, 0), min(math.floor(t[-1]) + 3, n))
        t = t[:, None] - np.arange(n)[points]
        a = np.abs(t)
        if slope:
            down = np.where(a < 1, (1.5 * a - 2) * a, np.where(a < 2, -((2 - a) ** 2) / 2, 0))
            return points, down * np.sign(t) / self.spacing_nm
        return points, np.where(a < 1, 2 / 3 - a**2 + a**3 / 2, np.where(a < 2, (2 - a) ** 3 / 6, 0))


class Warp:
    """Bends the tissue: a random displacement of some 100 nm with ever smaller wrinkles."""

    def __init__(self, rng: np.random.Generator, size_nm: tuple[float, float, float]) -> None:
        self._parts = [
            (amplitude, SmoothField(rng, size_nm, spacing, 3))
            for amplitude, spacing in ((110.0, 800.0), (48.0, 230.0), (15.0, 80.0))
        ]

    def sample(self, z: float, y: Array, x: Array, step_nm: float) -> tuple[Array, Array]:
        """Where the points of the grid y by x lie in the unbent tissue.

        Parameters
        ----------
        z, y, x : of the cut; y and x go up by `step_nm`

        Returns
        -------
        place : (3, len(y), len(x))
        bend : (3, 3, len(y), len(x)); bend[i] is how place changes along axis i of (z, y, x)
        """
        here = np.stack(np.broadcast_arrays(z, y[:, None], x[None, :]))
        place = here + sum(a * field.sample(z, y, x) for a, field in self._parts)
        along_z = sum(a * field.sample(z, y, x, slope=True) for a, field in self._parts)
        along_z += np.array([1.0, 0.0, 0.0])[:, None, None]
        return place, np.stack([along_z, *np.gradient(place, step_nm, axis=(1, 2))])
