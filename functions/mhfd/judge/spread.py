"""How wide the point-spread function of each frame of one field is, against each other, from their power spectra.

Frames of one field show the same tissue. So all of them are fitted together: ln of the noise-free power of frame i in a
bin of frequency f is T + a_i - K D_i, with K = (2 pi f)^2. T is the tissue, the same in all frames, a_i
contrast, D_i (px^2) the variance of the point-spread function in each direction, up to what all frames have in common.
No frame is the reference, and no bin is given up for its noise: it has its weight.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mhfd.judge.blur import CURVE, SLOW_CURVE, Array
from mhfd.spectrum import BINS, DIRECTIONS_DEG, SLOW_BINS, SLOW_EDGES, Spectrum, bin_sizes

DIRECTIONS = len(DIRECTIONS_DEG)

LEAST_BIN = 3
"""Frequencies; bins of fewer are left out."""

BY_CHANCE = 0.175
"""Independent numbers that a block, under its window, gives for each of its frequencies."""

NOISE_GAIN, NOISE_SHAPE = 0.1, 0.05
"""The noise of a frame is known to so much of it: in all bins together, and in each."""

FLOOR, SLOW_FLOOR = 0.05, 0.05
"""Of the power of a bin, of means of 16 px: what frames of one field differ in for other reasons."""

BLOCKS_GAIN = 0.03
"""ln: which blocks have content differs from frame to frame, by so much of their mean power."""

SHAPE_ERROR = 1 / 12
"""Of (K D)^2: by so much ln of the power of a disc lies below that of a Gaussian of its variance."""

MEANS = 16.0**2
"""Pixels in a mean of the slow spectrum."""

LEAST_SHARE = 0.02
"""A bin's power is taken for at least so much of its noise: below, nothing is known of its logarithm."""

FIRST_ERROR = 0.3
"""Of ln of the power in the fit to begin with, for the shape of the point-spread function."""

ROUNDS, MOST_CHANGE, CLOSE = 60, 2.0, 1e-2
"""Of the fit: the most; the largest change of ln in one, and in errors at the end."""


@dataclass(frozen=True)
class Spreads:
    """Variances of the point-spread functions of n frames, up to what all have in common.

    Attributes
    ----------
    d : (n, 4) px^2 by direction, against the sharpest frame
    covariance : (4 n, 4 n) of that
    misfit : chi^2 of the fit by its degrees of freedom
    """

    d: Array
    covariance: Array
    misfit: float

    def mean(self) -> tuple[Array, Array]:
        """D over all directions, (n,), and its covariance."""
        n = len(self.d)
        to_mean = np.kron(np.eye(n), np.full((1, DIRECTIONS), 1 / DIRECTIONS))
        return self.d.mean(1), to_mean @ self.covariance @ to_mean.T


@dataclass(frozen=True)
class _Numbers:
    """What was measured, (m,) each: power, its noise, how many independent numbers it is the mean of, K, frame,
    direction (-1: all), level (which T), and what it differs in for other reasons."""

    power: Array
    noise: Array
    count: Array
    curve: Array
    frame: NDArray[np.int64]
    direction: NDArray[np.int64]
    level: NDArray[np.int64]
    floor: Array
    noise_shape: Array


def spreads(spectra: Sequence[Spectrum], shape: tuple[int, int]) -> Spreads:
    """Fit the spectra of frames of one field.

    Parameters
    ----------
    shape : of the frames, in px
    """
    numbers = _numbers(spectra, shape)
    return _Fit(numbers, len(spectra)).run()


def _numbers(spectra: Sequence[Spectrum], shape: tuple[int, int]) -> _Numbers:
    sizes = bin_sizes()
    power = np.array([np.nan_to_num(each.by_direction) for each in spectra])
    noise = np.array([each.noise() for each in spectra])
    blocks = np.array([each.blocks.sum() for each in spectra])
    slow = np.array([each.slow for each in spectra])
    frame, direction, level = np.nonzero(np.broadcast_to(sizes > LEAST_BIN, power.shape))
    at = frame, direction, level
    slow_frame, slow_level = np.nonzero(np.isfinite(slow))
    area = np.pi * (SLOW_EDGES[1:] ** 2 - SLOW_EDGES[:-1] ** 2) * shape[0] * shape[1]
    m, k = len(frame), len(slow_frame)
    slow_noise = noise[..., :3].mean((1, 2)) / MEANS
    return _Numbers(
        power=np.concatenate([power[at], slow[slow_frame, slow_level]]),
        noise=np.maximum(np.concatenate([noise[at], slow_noise[slow_frame]]), 1e-12),
        count=np.concatenate(
            [BY_CHANCE * sizes[direction, level] * blocks[frame], np.maximum(0.4 * area[slow_level], 1.0)]
        ),
        curve=np.concatenate([CURVE[level], SLOW_CURVE[slow_level]]),
        frame=np.concatenate([frame, slow_frame]),
        direction=np.concatenate([direction, np.full(k, -1)]),
        level=np.concatenate([direction * BINS + level, DIRECTIONS * BINS + slow_level]),
        floor=np.repeat([FLOOR, SLOW_FLOOR], [m, k]),
        noise_shape=np.repeat([NOISE_SHAPE, 0.5], [m, k]),
    )


def _sectors() -> Array:
    """(4, 4) how much D of each direction counts in each sector, which is 45 degrees wide."""
    across = (1 - np.sin(np.pi / 4) / (np.pi / 4)) / 2  # mean of sin^2 over the sector
    return np.asarray((1 - across) * np.eye(DIRECTIONS) + across * np.eye(DIRECTIONS)[[2, 3, 0, 1]])


class _Fit:
    """Gauss-Newton steps in T, a_i, the gain of the blocks, of the noise, and D_i; the middle two have priors of 0."""

    def __init__(self, numbers: _Numbers, n: int) -> None:
        self._of, self._n = numbers, n
        sizes = (DIRECTIONS * BINS + SLOW_BINS, n, n, n, DIRECTIONS * n)
        ends = np.cumsum(sizes)
        self._t, self._a, self._b, self._g, self._d = (
            slice(end - size, end) for end, size in zip(ends, sizes, strict=True)
        )
        self._rows = np.arange(len(numbers.power))
        of, frame = numbers, numbers.frame
        self._share = np.where(of.direction[:, None] < 0, 1 / DIRECTIONS, _sectors()[of.direction])  # (m, 4) in D
        design = np.zeros((len(self._rows), int(ends[-1])))
        design[self._rows, of.level] = 1
        design[self._rows, self._a.start + frame] = 1
        design[self._rows, self._b.start + frame] = of.direction >= 0
        for j in range(DIRECTIONS):
            design[self._rows, self._d.start + DIRECTIONS * frame + j] = -of.curve * self._share[:, j]
        self._design = design  # but for the noise's gain
        self._prior = np.zeros(int(ends[-1]))
        self._prior[self._b], self._prior[self._g] = BLOCKS_GAIN**-2, NOISE_GAIN**-2
        self._tie = np.full_like(self._prior, 1e-6)  # of what all frames have in common nothing is known

    def run(self) -> Spreads:
        of, n = self._of, self._n
        at = self._first()
        for _ in range(ROUNDS):
            y, w, design = self._linear(at)
            normal = design.T @ (w[:, None] * design) + np.diag(self._prior + self._tie)
            step = np.linalg.solve(normal, design.T @ (w * y) - self._prior * at)
            change = np.sqrt(w) * np.abs(design @ step)
            far = np.abs(design @ step)[w > 1].max(initial=0)
            at = at + step * min(1.0, MOST_CHANGE / max(far, MOST_CHANGE))
            if change.max() < CLOSE:
                break
        parameters = int((np.bincount(of.level) > 0).sum()) + (1 + DIRECTIONS) * (n - 1)
        d = at[self._d].reshape(n, DIRECTIONS)
        return Spreads(
            d=d - d[d.mean(1).argmin()],
            covariance=np.linalg.inv(normal)[self._d, self._d],
            misfit=float((w * y**2).sum() / max(len(y) - parameters, 1)),
        )

    def _first(self) -> Array:
        """Where to begin: a fit of ln of the power that stands out from the noise."""
        of = self._of
        signal = np.maximum(of.power - of.noise, LEAST_SHARE * of.noise)
        w = np.where(signal > of.noise, 1 / ((of.power / signal) ** 2 / of.count + FIRST_ERROR**2), 1e-6)
        x = self._design
        normal = x.T @ (w[:, None] * x) + np.diag(self._prior + self._tie)
        at = np.linalg.solve(normal, x.T @ (w * np.log(signal)))
        over = np.zeros(self._t.stop)  # of tissue that nothing stands out of there is no more than what was measured
        np.maximum.at(over, of.level, x @ at - np.log(np.maximum(of.power, LEAST_SHARE * of.noise)))
        at[self._t] -= over
        return np.asarray(at)

    def _linear(self, at: Array) -> tuple[Array, Array, Array]:
        """Residuals in units of the signal, their weights, and the derivatives of ln of the signal."""
        of, design = self._of, self._design.copy()
        ln = self._design @ at
        signal = np.maximum(np.exp(np.minimum(ln, 50.0)), LEAST_SHARE * of.noise)
        design[self._rows, self._g.start + of.frame] = of.noise / signal
        y = (of.power - of.noise * (1 + at[self._g][of.frame])) / signal - 1
        d = at[self._d].reshape(self._n, DIRECTIONS)
        beyond = of.curve * (self._share * (d - d[d.mean(1).argmin()])[of.frame]).sum(1)
        by_chance = (2 * signal * of.noise + of.noise**2) / of.count
        variance = (by_chance + (of.noise_shape * of.noise) ** 2) / signal**2
        variance += of.floor**2 + (SHAPE_ERROR * beyond**2) ** 2
        return np.clip(y, -1, 1.5), 1 / variance, design
