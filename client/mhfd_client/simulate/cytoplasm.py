"""The contents of neurites: grain, smooth reticulum, microtubules. Lengths in nm."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy import ndimage

from mhfd_client.simulate.cut import Cut
from mhfd_client.simulate.fields import Array
from mhfd_client.simulate.neurites import Ints, Neurites
from mhfd_client.simulate.plan import RunPlan

_GRAIN_PX = 1024  # the grain of the cytoplasm repeats after this, which nobody sees


def draw_cytoplasm(cut: Cut, neurites: Neurites, grain: tuple[Array, Array], cisterna: Array) -> None:
    """Fill the cut, over what it showed before.

    Parameters
    ----------
    grain : fine and coarse, (rows, cols) each
    cisterna : (rows, cols), a field near zero where the sheets of smooth reticulum may lie
    """
    fine, coarse = grain
    shade = cut.shade
    inside = np.clip((cut.depth - 14) / 10, 0, 1)
    density = neurites.graininess[cut.neurite] * np.exp(0.35 * shade) * inside
    light = neurites.grey[cut.neurite] + 0.02 * shade + 0.035 * coarse * np.minimum(density, 1.2)
    light *= 1 - np.minimum(0.20 * density * np.maximum(fine - 0.9, 0), 0.55)
    # The sheets are thin, and lie only well inside the larger neurites.
    sheet = np.exp(-((cisterna / 0.12) ** 2)) * np.clip((cut.depth - 70) / 50, 0, 1) * np.clip(shade - 0.3, 0, 1)
    light *= 1 - 0.25 * sheet
    cut.light = light * (1 - 0.45 * _tubules(cut, neurites) * inside)


def grain(plan: RunPlan, section: int, rows: Ints, cols: Ints) -> tuple[Array, Array]:
    """Ribosomes and other small parts: fine and coarse noise of unit variance, new in each section.

    Parameters
    ----------
    rows, cols : the pixels wanted, counted from the section's corner; may be negative
    """
    fine, coarse = _grain_of(plan, section)
    wrapped = np.ix_(rows % _GRAIN_PX, cols % _GRAIN_PX)
    return fine[wrapped], coarse[wrapped]


@lru_cache(maxsize=1)  # the tiles of a section come one after another and share it
def _grain_of(plan: RunPlan, section: int) -> tuple[Array, Array]:
    noise = plan.rng("grain", section).normal(size=(2, _GRAIN_PX, _GRAIN_PX))
    fine, coarse = (
        ndimage.gaussian_filter(layer, sigma / plan.pixel_size_nm, mode="wrap")
        for layer, sigma in zip(noise, (9.0, 26.0), strict=True)
    )
    return fine / fine.std(), coarse / coarse.std()


def _tubules(cut: Cut, neurites: Neurites) -> Array:
    """Microtubules: dots where a neurite is cut across, lines where it is cut along."""
    spacing = 85.0
    out = np.zeros(cut.neurite.shape)
    where = neurites.has_tubules[cut.neurite] & (cut.depth > 25)
    neurite, place = cut.neurite[where], cut.place[:, where]
    a, b = (np.einsum("pa,ap->p", across[neurite], place) / spacing for across in neurites.across)
    i, j = np.floor(a), np.floor(b)
    key = (i.astype(np.int64) * 73856093) ^ (j.astype(np.int64) * 19349663) ^ (neurite * 83492791)
    key = (key * 2654435761) & 0xFFFFFFFF
    shift_a, shift_b, there = ((key >> 7) & 255) / 255, ((key >> 15) & 255) / 255, ((key >> 23) & 255) < 110
    squared = (a - i - 0.2 - 0.6 * shift_a) ** 2 + (b - j - 0.2 - 0.6 * shift_b) ** 2
    out[where] = there * np.exp(-squared * spacing**2 / (2 * 8.5**2))
    return out
