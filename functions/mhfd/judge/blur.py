"""How much wider a tile's point-spread function is than a reference's, from their power spectra.

Between two exposures of like tissue the ratio of the noise-free power spectra is exp(a - 4 pi^2 D f^2), f in cycles a
pixel. D (px^2) is the difference of the variances of their point-spread functions; a takes up contrast. All tiles of a
run at once: arrays (n, ...).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mhfd.spectrum import BINS, CELLS, FREQUENCIES, SLOW_EDGES, Spectrum, bin_sizes, noise_power

Array = NDArray[np.float64]

CURVE = (2 * np.pi * FREQUENCIES) ** 2
SLOW_CURVE = (2 * np.pi) ** 2 * SLOW_EDGES[1:] * SLOW_EDGES[:-1]

BEND_BINS = 7
"""With fewer, a bend below a power law cannot be told."""

LEAST_SIGNAL = 0.5
"""A bin counts where the signal is at least so many times the noise."""

LEAST_BINS = 4
CLIFF = 2.0
"""In units of ln. The fit stops where the ratio has fallen so far below that at low frequencies: beyond, at a disc's
first zero, a point-spread function tells nothing of its width."""

TEXTURE = 0.15**2 * 0.02 / FREQUENCIES
"""Variance of ln(power) from tile to tile of like tissue."""

GONE = (9.0, 0.3)
"""D and its error of a tile that shows fewer than LEAST_BINS bins, and lacks GONE_BINS that it would show in focus."""

GONE_BINS = 6
DROWNED = -1e6
"""In place of ln of a power that noise drowns."""

CONTRAST_TIE = 4.0
"""1 / variance of a, in case of fewer bins than LEAST_BINS: tiles are normalised, so it is about 0."""

MOST_DIMMED = 1.0
"""In units of ln: how much of the fall at low frequencies may be contrast."""

LOW_BINS, SLOW_VARIANCE = 7, 0.15**2
"""Of the means of 16 px the highest so many bins, which shading does not reach: 1/108 to 1/32 cycles a pixel; and the
variance of ln(power) there from tile to tile."""

WIDE, FALL, MISFIT = 14.0, 0.25, 0.15
"""They count where they say that D is more than so many px^2, a block's lowest bin has fallen by so much of it, and the
line through the blocks' bins does not fit to so much of D."""

LEAST_WIDE, FAR = 0.6, 1.5
"""px^2, units of ln. What the line says of a blurred tile, fit or not, is more than the one; or the fall is more than
the other (a ring's sidelobes are as flat as sharp tissue)."""

LOST_BINS, SUNK, SURELY_WIDE = 3, 0.5, 20.0
"""Where noise drowns at least so many of the bins that the reference shows, and leaves at most LEAST_BINS, lower by so
much (units of ln) and on no line, these are the tail of the window: only means of 16 px count, from so many px^2 on."""

FALLEN = 1.5
"""In units of ln: by so much most of the blocks' bins lie below the reference then. Contrast alone differs less, and
slow power that has risen alone is other tissue."""


@dataclass(frozen=True)
class Curve:
    """Noise-free power by frequency, (..., BINS).

    Attributes
    ----------
    ln : of the power, NaN where noise drowns it
    variance : of that by chance
    least : ln of the least power that would be seen beside the noise; infinite where nothing was measured
    """

    ln: Array
    variance: Array
    least: Array

    @classmethod
    def clean(cls, ln: Array) -> Curve:
        """A curve without noise, such as a reference."""
        return cls(ln, np.zeros_like(ln), np.full_like(ln, -np.inf))

    def __getitem__(self, which: NDArray[np.int64]) -> Curve:
        return Curve(self.ln[which], self.variance[which], self.least[which])

    def flat(self) -> Curve:
        """All but the last axis as one."""
        return Curve(*(each.reshape(-1, BINS) for each in (self.ln, self.variance, self.least)))

    def median(self) -> Array:
        """Of ln over the first axis, where what noise drowns counts as little; NaN where that is the most."""
        drowned = np.isnan(self.ln) & (self.least < np.inf)
        middle = _quiet_median(np.where(drowned, DROWNED, self.ln), 0)
        return np.where(middle > DROWNED / 2, middle, np.nan)


class Spectra:
    """The spectra of n tiles.

    Attributes
    ----------
    whole : (n, BINS)
    directions : (n, 4, BINS)
    quarters : (n, 2, 2, BINS)
    skewness : (n,) of means of 16 px
    slow : (n, SLOW_BINS) ln of their power
    """

    def __init__(self, spectra: Sequence[Spectrum]) -> None:
        sizes = bin_sizes()
        by_direction = np.nan_to_num([each.by_direction for each in spectra])
        by_cell = np.nan_to_num([each.by_cell for each in spectra])
        noise = noise_power(
            np.array([each.along_rows for each in spectra]), np.array([each.along_cols for each in spectra])
        )
        blocks = np.array([each.blocks for each in spectra])
        total = blocks.sum((1, 2))[:, None]
        all_noise = (sizes * noise).sum(1) / sizes.sum(0)
        self.whole = _curve((sizes * by_direction).sum(1) / sizes.sum(0), all_noise, sizes.sum(0), total)
        self.directions = _curve(by_direction, noise, sizes, total[:, None])
        cell_noise = all_noise[:, None, None]
        self._of_cells = by_cell, cell_noise, blocks[..., None]
        halves = (-1, 2, CELLS // 2, 2, CELLS // 2)
        in_quarter = blocks.reshape(halves).sum((2, 4))[..., None]
        power = (by_cell * blocks[..., None]).reshape(*halves, BINS).sum((2, 4)) / np.maximum(in_quarter, 1)
        self.quarters = _curve(power, cell_noise, sizes.sum(0), np.where(in_quarter >= 3, in_quarter, 0))
        self.skewness = np.nan_to_num([each.skewness for each in spectra])
        with np.errstate(divide="ignore", invalid="ignore"):
            self.slow = np.log(np.maximum([each.slow for each in spectra], 1e-12))

    def __len__(self) -> int:
        return len(self.skewness)

    def cells(self, which: NDArray[np.int64]) -> Curve:
        """(m, CELLS, CELLS, BINS) of some tiles; made when it is asked for, as that of 10^5 tiles takes a GiB."""
        power, noise, blocks = (each[which] for each in self._of_cells)
        return _curve(power, noise, bin_sizes().sum(0), blocks)


def _curve(power: Array, noise: Array, size: Array, blocks: Array) -> Curve:
    """A curve from power, noise included.

    Parameters
    ----------
    size : frequencies that a bin holds
    blocks : that the power is the mean of
    """
    signal = np.maximum(power - noise, 1e-12)
    seen = (signal > LEAST_SIGNAL * noise) & (size > 3) & (blocks > 0)
    by_chance = (power / signal) ** 2 / (0.175 * np.maximum(size, 1) * np.maximum(blocks, 1))
    of_noise = (0.04 * noise / signal) ** 2
    return Curve(
        np.where(seen, np.log(signal), np.nan),
        np.where(seen, by_chance + of_noise, np.inf),
        np.where((size > 3) & (blocks > 0), np.log(np.maximum(LEAST_SIGNAL * noise, 1e-12)), np.inf),
    )


def excess_blur(curve: Curve, reference: Array) -> tuple[Array, Array]:
    """D in px^2 and its standard error, (...); NaN where nothing can be said.

    A straight line through ln of the ratio against frequency squared, weighted by the variances, from the first bin
    that the reference shows up to the first that either has lost.

    Parameters
    ----------
    curve : (..., BINS)
    reference : (BINS,) or as `curve.ln`: ln of the reference's noise-free power
    """
    reference = np.broadcast_to(reference, curve.ln.shape)
    difference = curve.ln - reference
    begun = np.cumsum(np.isfinite(reference), -1) > 0
    use = begun & _until_first(begun & ~np.isfinite(difference))
    order = np.cumsum(use, -1) * use
    start = _quiet_median(np.where(use & (order <= 3), difference, np.nan), -1)[..., None]
    fallen = use & (order > LEAST_BINS) & (np.nan_to_num(difference) < start - CLIFF)
    use &= np.cumsum(fallen, -1) - fallen == 0

    n = use.sum(-1)
    w = np.where(use, 1 / (np.where(use, curve.variance, 1) + TEXTURE), 0)
    few = n < LEAST_BINS
    d, error = _line(np.where(use, np.nan_to_num(difference), 0), w, CURVE, np.where(few, CONTRAST_TIE, 0))
    there = begun & _until_first(begun & ~np.isfinite(reference))
    dimmed = np.clip(np.nan_to_num(start), -MOST_DIMMED, 0)
    there &= np.nan_to_num(reference, nan=-np.inf) + dimmed > curve.least  # in focus it would be seen
    gone = few & (there.sum(-1) - n >= GONE_BINS)
    told = n >= 2
    return (
        np.where(gone, np.where(told, np.fmax(d, GONE[0]), GONE[0]), np.where(told, d, np.nan)),
        np.where(gone, np.where(told, np.fmax(error, GONE[1]), GONE[1]), np.where(told, error, np.nan)),
    )


def tile_blur(spectra: Spectra, which: NDArray[np.int64], whole: Array, slow: Array) -> tuple[Array, Array]:
    """`excess_blur` of whole tiles, (m,), also where the blur is so wide that blocks show little but its tail.

    A Hann window mixes frequencies up to 1/32 cycles a pixel apart, and a disc or a ring rises again beyond its first
    zero. Where no line fits for that, wide blur is told from the means of 16 px. These differ more from tile to tile,
    and shading moves them: they count only where the blocks' lowest frequencies have fallen too.

    Parameters
    ----------
    whole : (BINS,) ln of the reference's power
    slow : (SLOW_BINS,) that of its means of 16 px
    """
    curve = spectra.whole[which]
    d, error = excess_blur(curve, whole)
    low = (spectra.slow[which] - slow)[:, -LOW_BINS:]
    wide, wide_error = _line(np.nan_to_num(low), np.full_like(low, 1 / SLOW_VARIANCE), SLOW_CURVE[-LOW_BINS:])
    fall = low[:, 0] - np.nan_to_num(curve.ln[:, 0] - whole[0], nan=-np.inf)
    left = np.isfinite(curve.ln).sum(-1)
    straight = error < MISFIT * d
    fits = straight & ~(left < LEAST_BINS)
    level = _quiet_median(np.where(np.isfinite(whole), np.nan_to_num(curve.ln - whole, nan=-9.0), np.nan), -1)
    blurred = np.isfinite(d) & ((d > LEAST_WIDE) | (fall > FAR)) & (level < -FALLEN)
    drowned = ~straight & (left <= LEAST_BINS) & (np.isfinite(whole).sum() - left >= LOST_BINS) & (level < -SUNK)
    by_both = ~fits & blurred & (wide > WIDE) & (fall > FALL * wide * CURVE[0])
    chosen = np.isfinite(low).all(1) & (by_both | (drowned & (wide > SURELY_WIDE) & ~(d > wide)))
    return np.where(chosen, wide, d), np.where(chosen, wide_error, error)


def _line(y: Array, w: Array, curve: Array, tie: Array | float = 0.0) -> tuple[Array, Array]:
    """D of the lines y = a - D curve with weights w, and its standard error; `tie`: the weight of a being 0."""
    x = -curve
    n, s, sx, sxx = (w > 0).sum(-1), w.sum(-1) + tie, (w * x).sum(-1), (w * x * x).sum(-1)
    sy, sxy = (w * y).sum(-1), (w * x * y).sum(-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        determinant = s * sxx - sx**2
        d, a = (s * sxy - sx * sy) / determinant, (sxx * sy - sx * sxy) / determinant
        misfit = (w * (y - a[..., None] - d[..., None] * x) ** 2).sum(-1) / np.maximum(n - 2, 1)
        return d, np.sqrt(s / determinant * np.maximum(misfit, 1))


def own_blur(reference: Array) -> float:
    """How far a spectrum bends below a power law, as D in px^2: about 0 to 1 for sharp tissue, more for blurred.

    Tissue is not a power law, and pixels may be finer than the microscope resolves. So this is a hint at how far a
    reference can be trusted, not a measure of blur.
    """
    known = np.isfinite(reference)
    if known.sum() < BEND_BINS:
        return float("nan")
    design = np.stack([np.ones(BINS), -np.log(FREQUENCIES), -CURVE], axis=1)[known]
    return float(np.linalg.lstsq(design, reference[known], rcond=None)[0][2])


def _until_first(event: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return np.asarray(np.cumsum(event, -1) == 0)


def _quiet_median(values: Array, axis: int) -> Array:
    """Median without NaN, NaN where there is nothing else; without NumPy's warning of that."""
    ordered = np.sort(values, axis=axis)  # NaN last
    n = np.isfinite(values).sum(axis=axis, keepdims=True)
    low, high = (np.take_along_axis(ordered, np.clip(at, 0, None), axis) for at in ((n - 1) // 2, n // 2 - (n == 0)))
    middle = np.where(n > 0, (low + high) / 2, np.nan)
    return np.asarray(np.squeeze(middle, axis))
