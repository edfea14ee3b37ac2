"""Neurites: chains of spheres that compete for space, a smoothed power diagram. Lengths in nm, places (z, y, x)."""

from __future__ import annotations

import math
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from scipy import ndimage, spatial

from mhfd_client.simulate.fields import Array
from mhfd_client.simulate.plan import PAD_NM

Ints = npt.NDArray[np.intp]

SOFTNESS_NM2 = 45.0**2  # rounds off the corners of the power diagram
_CANDIDATES = 20  # spheres that compete for the pixels of one block

_T = TypeVar("_T", bound=np.generic)


class Neurites:
    """The cells' processes, which fill all space.

    Attributes
    ----------
    sphere, along, radius, owner : of each sphere its centre, the direction of its neurite there, its radius, and its
        neurite's number; (spheres, 3) the first two, (spheres,) the others
    grey, graininess, has_tubules : how each neurite's cytoplasm looks, (neurites,)
    across : two directions at right angles to each neurite, (2, neurites, 3)
    volume_nm3 : of the tissue that they fill
    """

    def __init__(self, rng: np.random.Generator, size_nm: tuple[float, float, float]) -> None:
        """Lay random walks of spheres, thin and thick, until their volumes add up to the tissue's."""
        low, extent = -PAD_NM, np.array(size_nm) + 2 * PAD_NM
        self.volume_nm3 = float(extent.prod())
        filled, chains = 0.0, []
        while filled < 1.1 * self.volume_nm3:
            radius = float(np.clip(rng.lognormal(math.log(105), 0.65), 45, 420))
            length = rng.uniform(3000, 7000)
            step = max(0.85 * radius, 60.0)
            n = int(length / step)
            heading = rng.normal(size=3)
            turns = rng.normal(0, 0.55 * math.sqrt(step / 1000), (n, 3)).cumsum(axis=0)
            directions = heading / np.linalg.norm(heading) + turns
            directions /= np.linalg.norm(directions, axis=1, keepdims=True)
            places = rng.uniform(low, low + extent) + step * (directions.cumsum(axis=0) - directions.sum(axis=0) / 2)
            swelling = ndimage.gaussian_filter1d(rng.normal(size=n), max(350 / step, 0.5), mode="nearest")
            radii = radius * np.exp(0.3 * swelling / max(float(swelling.std()), 0.3))
            inside = ((places > low - radius) & (places < low + extent + radius)).all(axis=1)
            filled += float((np.pi * radii**2 * step)[inside].sum())
            chains.append((places[inside], radii[inside], directions[inside]))
        self.sphere = np.concatenate([places for places, _, _ in chains])
        self.radius = np.concatenate([radii for _, radii, _ in chains])
        self.along = np.concatenate([directions for _, _, directions in chains])
        self.owner: Ints = np.repeat(np.arange(len(chains)), [len(places) for places, _, _ in chains])
        # A power diagram is a Voronoi diagram with one more coordinate, which a k-d tree can search.
        lift = np.sqrt(self.radius.max() ** 2 - self.radius**2)
        self._tree = spatial.KDTree(np.column_stack([self.sphere, lift]), leafsize=32)

        n = len(chains)
        self.grey = np.clip(rng.normal(0.72, 0.045, n), 0.55, 0.82)
        self.graininess = np.clip(rng.lognormal(0.25, 0.5, n), 0.4, 2.4)
        self.has_tubules = rng.random(n) < 0.5
        mean_along = np.array([d.mean(axis=0) if len(d) else (1.0, 0.0, 0.0) for _, _, d in chains])
        first = np.cross(mean_along, rng.normal(size=(n, 3)))
        first /= np.linalg.norm(first, axis=1, keepdims=True)
        second = np.cross(mean_along, first)
        self.across = np.stack([first, second / np.linalg.norm(second, axis=1, keepdims=True)])

    def heaviest(self, places: Array, k: int) -> Ints:
        """The `k` spheres with the strongest hold on each place, strongest first: (places, 3) -> (places, k)."""
        _, spheres = self._tree.query(np.column_stack([places, np.zeros(len(places))]), k=k)
        return np.asarray(spheres, np.intp).reshape(len(places), k)

    def partition(self, place: Array, block: int) -> tuple[Ints, Array, Array]:
        """Assign the pixels of a plane to neurites.

        Parameters
        ----------
        place : (3, rows, cols), of each pixel
        block : side of the squares of pixels that share their candidates; rows and cols are multiples of it

        Returns
        -------
        neurite, lead : (rows, cols), as `_compete` gives them
        gradient of lead : (3, rows, cols), per nm
        """
        pixels = _into_blocks(place, block)
        centres = place[:, block // 2 :: block, block // 2 :: block].reshape(3, -1).T
        near = self.heaviest(centres, _CANDIDATES)
        neurite = np.empty((len(near), 1, block**2), np.intp)
        lead, gradient = np.empty((len(near), 1, block**2)), np.empty((len(near), 3, block**2))
        for start in range(0, len(near), 128):  # 128 blocks stay in the processor's cache
            part = slice(start, start + 128)
            of = near[part]
            spheres = self.sphere[of] - centres[part, None]
            offsets = pixels[part] - centres[part, :, None]
            neurite[part, 0], lead[part, 0], gradient[part] = _compete(
                spheres, self.radius[of], self.owner[of], offsets
            )
        plane = place.shape[1:]
        return (
            _from_blocks(neurite, *plane)[0],
            _from_blocks(lead, *plane)[0],
            _from_blocks(gradient, *plane),
        )


def _compete(spheres: Array, radii: Array, neurites: Ints, places: Array) -> tuple[Ints, Array, Array]:
    """The neurite that holds each place of some blocks, its lead there, and the gradient of the lead.

    A sphere's weight is exp(-(distance^2 - radius^2) / softness). The heaviest sphere's neurite holds the place; it
    leads by log(own weights / weights of all others), which is 0 on the membrane.

    Parameters
    ----------
    spheres, radii, neurites : (blocks, candidates, 3), (blocks, candidates), (blocks, candidates)
    places : (blocks, 3, places)

    Returns
    -------
    neurite, lead : (blocks, places)
    gradient of lead : (blocks, 3, places), per nm
    """
    # The square of the place itself is common to all candidates, so it is left out.
    constant = (radii**2 - (spheres**2).sum(axis=-1)) / SOFTNESS_NM2
    exponent = (2 / SOFTNESS_NM2 * spheres) @ places + constant[..., None]
    best = exponent.argmax(axis=1)
    exponent -= np.take_along_axis(exponent, best[:, None], 1)
    weight = np.exp(exponent, out=exponent)
    neurite = np.take_along_axis(neurites, best, 1)
    of_own = weight * (neurites[..., None] == neurite[:, None])
    of_other = weight - of_own
    own, other = of_own.sum(axis=1), of_other.sum(axis=1) + 1e-200
    across = spheres.transpose(0, 2, 1)
    gradient = (across @ of_own) / own[:, None] - (across @ of_other) / other[:, None]
    return neurite, np.log(own / other), 2 / SOFTNESS_NM2 * gradient


def _into_blocks(planes: npt.NDArray[_T], block: int) -> npt.NDArray[_T]:
    """(n, rows, cols) -> (blocks, n, pixels of a block)."""
    n, rows, cols = planes.shape
    apart = planes.reshape(n, rows // block, block, cols // block, block).transpose(1, 3, 0, 2, 4)
    joined: npt.NDArray[_T] = apart.reshape(-1, n, block**2)
    return joined


def _from_blocks(blocks: npt.NDArray[_T], rows: int, cols: int) -> npt.NDArray[_T]:
    """(blocks, n, pixels of a block) -> (n, rows, cols)."""
    n, block = blocks.shape[1], math.isqrt(blocks.shape[2])
    apart = blocks.reshape(rows // block, cols // block, n, block, block).transpose(2, 0, 3, 1, 4)
    joined: npt.NDArray[_T] = apart.reshape(n, rows, cols)
    return joined
