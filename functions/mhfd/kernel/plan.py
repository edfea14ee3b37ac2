"""How the fast kernels reach every scale with few operations: numbers only, no pixels.

Each Gaussian is made from the one before it. The step from t to u acts only on the frequencies that
Gaussian(t) leaves, so its taps are fitted by least squares with that weight. A plane smoothed with
t px does not need every pixel: the taps are `step` pixels apart, and from t = 3 x 2^level on only
every 2^level-th pixel is kept. Differences of Gaussians are interpolated back to every pixel, with
weights fitted in the same way. All errors stay below TOLERANCE, about the rounding of float32.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from mhfd.contract import FocusParams
from mhfd.kernel.measures import TRUNCATE, gaussian

TOLERANCE = 2e-7
"""Largest error of a response D_i at any frequency, relative to the input, for scales a pixel apart."""

LEVEL_T = 3.0
"""A plane may keep every 2^level-th pixel once it is smoothed with LEVEL_T x 2^level px."""

MAX_LEVEL = 6

CLOSE = 2, 7
"""Most samples apart, and most of them on each side, of taps that are close (`plan`)."""

HALF_WIDTH = 6
"""Samples on each side that the interpolation of a level uses."""

_STEEPEST = 3.0  # ratio of scales that one step may span: beyond, two steps are cheaper
_LARGEST_SUM = 2.5  # of the absolute taps: beyond, they would magnify rounding
_FREQUENCIES = 513

_Taps = tuple[int, tuple[float, ...]]


@dataclass(frozen=True)
class Smooth:
    """One step of the cascade: `target = source + taps * source`, along columns, then along rows.

    Along an axis, with x the samples of the source, the step adds `sum_k taps[k-1] (x[+k step] + x[-k step] - 2 x[0])`:
    flat ground stays exactly flat.

    Attributes
    ----------
    level : source and target hold every 2^level-th pixel
    from_image : the source is the tile itself (level 0), not the plane before
    taps : (K,) weights
    step : distance between taps, in samples of the level
    u : standard deviation of the target, px
    scale_index, t : the step yields D_i = t (target - plane before) for this i; None: the plane is only intermediate
    """

    level: int
    from_image: bool
    taps: tuple[float, ...]
    step: int
    u: float
    scale_index: int | None = None
    t: float = 0.0

    @property
    def reach(self) -> int:
        """How far the step looks, in samples of its level."""
        return self.step * len(self.taps)


@dataclass(frozen=True)
class Decimate:
    """Keep every second sample of the plane before: it goes from `level` - 1 to `level`."""

    level: int


@dataclass(frozen=True)
class CascadePlan:
    """Steps for a range of scales of tiles of one shape.

    Attributes
    ----------
    steps : in order
    margin : pixels, a multiple of the coarsest level's spacing, by which planes of level 1 and up extend beyond
        the tile on each side, filled by its boundary rule; the effect of pixels beyond is far below TOLERANCE
    """

    steps: tuple[Smooth | Decimate, ...]
    margin: int

    @property
    def levels(self) -> int:
        """Number of levels, at least 1."""
        return 1 + max(step.level for step in self.steps)

    @property
    def spacing(self) -> int:
        """Pixels between the samples of the coarsest level."""
        return int(2 ** (self.levels - 1))

    @property
    def halo(self) -> int:
        """Pixels beyond a part of the tile on which its responses depend, a multiple of `spacing`."""
        reach, farthest = 0, 0
        for step in self.steps:
            if isinstance(step, Smooth):
                reach = (0 if step.from_image else reach) + (step.reach << step.level)
                farthest = max(farthest, reach)
        interpolation = HALF_WIDTH * self.spacing if self.levels > 1 else 0
        return -(-(farthest + interpolation) // self.spacing) * self.spacing


@lru_cache(maxsize=64)
def plan(
    params: FocusParams, shape: tuple[int, int], first: int = 0, last: int | None = None, *, close: bool = False
) -> CascadePlan:
    """Steps that yield D_i for first <= i < last, by default all.

    Parameters
    ----------
    params : scales in pixels
    shape : (rows, cols) of the whole tile
    close : taps within CLOSE rather than fewer ones further apart, where they magnify nothing: two such steps run in
        one launch of a GPU
    """
    scales = params.scales
    last = params.n_scales if last is None else last
    # Beyond six deviations a Gaussian weighs 1e-9; tiles smaller than that stay at level 0, without margins.
    margin = math.ceil(TRUNCATE * scales[last])
    top = MAX_LEVEL if margin <= min(shape) else 0
    steps: list[Smooth | Decimate] = []
    level, t = 0, 0.0
    targets: list[tuple[float, int | None]] = [(u, None) for u in [*_way_points(scales[first]), scales[first]]]
    targets += [(scales[i + 1], i) for i in range(first, last)]
    for u, index in targets:
        while level < top and t >= LEVEL_T * 2 ** (level + 1):
            level += 1
            steps.append(Decimate(level))
        steps.append(_smooth(t, u, level, index, close))
        t = u
    spacing = 2**level
    return CascadePlan(tuple(steps), margin=-(-(margin + HALF_WIDTH * spacing) // spacing) * spacing if level else 0)


def _way_points(t: float) -> list[float]:
    """Scales before the first one: none for small Gaussians; large ones are made from smaller ones."""
    points = []
    while t > _STEEPEST:
        t /= _STEEPEST
        points.append(t)
    return points[::-1]


def _smooth(t: float, u: float, level: int, index: int | None, close: bool) -> Smooth:
    """The cheaper of the step from the plane before and the step from the tile; t = 0 is the tile."""
    # D is proportional to the distance between its scales; so is the error allowed.
    tolerance = TOLERANCE * min(1.0, u - t) / u
    found, from_image = _fit(t, u, 2**level, tolerance), t == 0
    if close and found and found[0] > CLOSE[0]:
        nearby = _fit(t, u, 2**level, tolerance, fewer_than=CLOSE[1] + 1, widest=CLOSE[0])
        found = nearby if nearby and not _magnifies(nearby) else found
    if level == 0 and u < 2 * LEVEL_T and not from_image:
        direct = _fit(0.0, u, 1, tolerance, fewer_than=found and len(found[1]))
        found, from_image = direct or found, direct is not None
    assert found is not None, (t, u, level)
    return Smooth(level, from_image, found[1], found[0], u, index, 0.0 if index is None else t)


def _magnifies(taps: _Taps) -> bool:
    """Whether a step makes waves of some frequency larger: after many such steps rounding would be seen."""
    step, weights = taps
    omega = np.linspace(0, math.pi, _FREQUENCIES)
    gain = 1 + 2 * (np.cos(np.outer(omega, step * np.arange(1, len(weights) + 1))) - 1) @ np.array(weights)
    return bool(np.abs(gain).max() > 1 + TOLERANCE)


def transfer(t: float, omega: NDArray[np.float64]) -> NDArray[np.float64]:
    """Response of `gaussian(t)` at angular frequencies per px; 1 for t = 0."""
    if t == 0:
        return np.ones_like(omega)
    if t >= 2:  # sampling and truncation change nothing above 1e-8
        return np.asarray(np.exp(-0.5 * (t * omega) ** 2))
    g = gaussian(t)
    r = len(g) // 2
    return np.asarray(g[r] + 2 * np.cos(np.outer(omega, np.arange(1, r + 1))) @ g[r + 1 :])


def _band(t: float) -> NDArray[np.float64]:
    """(n,) frequencies at which Gaussian(t) leaves more than 1e-10."""
    return np.linspace(0, min(math.pi, 7 / t) if t else math.pi, _FREQUENCIES)


def _fit(
    t: float, u: float, spacing: int, tolerance: float, fewer_than: int | None = None, widest: int | None = None
) -> _Taps | None:
    """Step and fewest taps that take Gaussian(t) to Gaussian(u) within the tolerance; None if not `fewer_than`."""
    omega = _band(t)
    before, after = transfer(t, omega), transfer(u, omega)
    width = math.sqrt(u * u - t * t) / spacing
    best: _Taps | None = None
    # Taps further apart than this let aliases of the Gaussian in.
    furthest = max(1, int(1.2 * width * t / u))
    for step in range(min(furthest, widest or furthest), 0, -1):
        if best and step < best[0] - 2:  # closer taps only become more
            break
        for count in range(max(1, int(3 * width / step)), math.ceil(6 * width / step) + (40 if step == 1 else 4)):
            if fewer_than is not None and count >= fewer_than:
                break
            lags = step * spacing * np.arange(1, count + 1)
            basis = 2 * (np.cos(np.outer(omega, lags)) - 1) * before[:, None]
            taps = np.linalg.lstsq(basis, after - before, rcond=1e-13)[0]
            error = float(np.abs(basis @ taps - (after - before)).max())
            if error <= tolerance and 2 * np.abs(taps).sum() <= _LARGEST_SUM:
                best, fewer_than = (step, tuple(taps.tolist())), count
                break
    return best


@lru_cache(maxsize=64)
def interpolators(level: int) -> NDArray[np.float32]:
    """(2^level, 2 HALF_WIDTH) weights of the samples m = 1 - HALF_WIDTH .. HALF_WIDTH around a pixel.

    Row p is for pixels p px beyond sample m = 0; row 0 copies that sample.
    """
    spacing = 2**level
    t = LEVEL_T * spacing
    omega = np.concatenate([-_band(t)[::-1], _band(t)])
    weight = transfer(t, omega)
    samples = np.arange(1 - HALF_WIDTH, HALF_WIDTH + 1)
    basis = np.exp(1j * np.outer(omega, samples * spacing)) * weight[:, None]
    rows = []
    for place in range(spacing):
        goal = np.exp(1j * omega * place) * weight
        stacked = np.concatenate([basis.real, basis.imag]), np.concatenate([goal.real, goal.imag])
        rows.append(np.linalg.lstsq(*stacked, rcond=1e-13)[0])
    weights = np.array(rows)
    weights[0] = samples == 0
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float32)
