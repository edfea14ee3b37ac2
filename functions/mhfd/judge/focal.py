"""A focal series: one field at several distances -> best focus f', and what a micrometre of defocus does to blur.

Defocus widens the point-spread function: its variance is D = (k (f - f'))^2 + d0, a parabola in the distance f. D of
the frames is known up to a constant (`mhfd.judge.spread`), so d0 is free. Intervals are of 95 %. That of f', a ratio,
is Fieller's (1954), and holds where the parabola is shallow too. Distances are in any one unit; k is px per unit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mhfd.contract import FocusResult
from mhfd.extras import needed
from mhfd.judge.blur import Array, Spectra, tile_blur
from mhfd.judge.reference import unpacked
from mhfd.judge.setting import setting_of
from mhfd.judge.spread import DIRECTIONS, Spreads, spreads
from mhfd.text import counted

Reason = Literal[
    "too_few_distances", "no_content", "different_settings", "flat", "not_a_parabola", "not_bracketed", "unsure"
]

LEAST_DISTANCES = 3
SHARE, LEAST = 0.04, 0.02
"""D of a frame is known to this share of it, and to so many px^2, whatever the fit says: a point-spread function is no
Gaussian, and focus is not even across a field."""

TRUST = 5.0
"""The error that the fit states counts like so many degrees of freedom, beside those of the misfit."""

K_SHAPE = 0.1
"""k is known to this share of it at best: a disc of one variance is not seen like a Gaussian of it."""

LEVEL = 0.95
SURE = 0.95
"""With so much confidence D changes along a series, else it is flat."""

EXPLAINED, MISFIT = 0.8, 4.0
"""A series is no parabola where this explains less of the variance of D, and misses by so many times the errors."""

SAME = 1e-6
"""Of the range: distances closer than this are one."""


class Interval(NamedTuple):
    """A number and the ends of its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class FocalFit:
    """What a series tells; None where it cannot.

    Attributes
    ----------
    best : f'
    k : px per unit: how fast the point-spread function widens
    slope : px^2 per unit: change of D from the lowest to the highest distance
    floor : px^2, D at f' against the sharpest frame
    by_direction : (4,) f' along the rows, at 45 degrees, down the columns, at 135 degrees
    astigmatism : f' along the rows minus down the columns, and at 45 minus at 135 degrees
    reason, declined : why there is no f', as a code and as a sentence
    """

    best: Interval | None = None
    k: Interval | None = None
    slope: Interval | None = None
    floor: float | None = None
    by_direction: tuple[Interval | None, ...] = (None,) * DIRECTIONS
    astigmatism: tuple[Interval | None, Interval | None] = (None, None)
    reason: Reason | None = None
    declined: str | None = None


@dataclass(frozen=True)
class Series:
    """The frames of a series that can be used, and what was fitted.

    Attributes
    ----------
    used : (n,) which of the frames
    distances : (n,)
    d, error : (n,) px^2 of each used frame against the sharpest, and its standard error
    verdict_d : (n,) the same as verdicts read it, NaN where nothing can be said
    """

    fit: FocalFit
    used: tuple[int, ...] = ()
    distances: Array | None = None
    d: Array | None = None
    error: Array | None = None
    verdict_d: Array | None = None

    def verdict_k(self) -> Interval | None:
        """px per unit: how fast `blur_px` grows with defocus; None without f'."""
        if self.fit.best is None or self.verdict_d is None or self.distances is None or self.d is None:
            return None
        squares = (self.distances - self.fit.best.value) ** 2
        x = squares - squares[self.d.argmin()]
        known = np.isfinite(self.verdict_d) & (np.abs(x) > 0)
        if not known.any():
            return None
        x, y = x[known], self.verdict_d[known]
        w = 1 / ((SHARE * y) ** 2 + LEAST)
        found = float((w * x * y).sum() / (w * x * x).sum())
        dof = TRUST + known.sum() - 1
        scale = max(1.0, float(TRUST + (w * (y - found * x) ** 2).sum()) / dof)
        half = _quantile(dof) * math.sqrt(scale / float((w * x * x).sum()))
        return _root(Interval(found, found - half, found + half)) if found > 0 else None


def measure_series(rows: Sequence[FocusResult], distances: Sequence[float]) -> Series:
    """Fit the scored frames of one field.

    Parameters
    ----------
    distances : of each frame, in one unit
    """
    found = unpacked([row.spectrum for row in rows])
    used = tuple(i for i, spectrum in enumerate(found) if spectrum is not None)
    if len({setting_of(row) for row in rows}) > 1:
        told = "; ".join(sorted({str(setting_of(row)) for row in rows}))
        return _declined("different_settings", f"the frames were not taken alike ({told}): take all with one setting")
    here = np.array([distances[i] for i in used], dtype=np.float64)
    if _distinct(distances) < LEAST_DISTANCES:
        told = counted(_distinct(distances), "different distance")
        return _declined("too_few_distances", f"a series needs three different distances, this has {told}")
    if _distinct(here) < LEAST_DISTANCES:
        lack = len(rows) - len(used)
        return _declined(
            "no_content",
            f"{counted(lack, 'frame shows', 'frames show')} too little structure: choose a field with tissue",
        )
    spectra = [spectrum for spectrum in found if spectrum is not None]
    picture = rows[used[0]].picture
    shape = picture[2:] if picture else rows[used[0]].shape or (0, 0)
    widths = spreads(spectra, (shape[0], shape[1]))
    d, covariance = widths.mean()
    sharpest = int(d.argmin())
    packed = Spectra(spectra)
    verdict_d, _ = tile_blur(packed, np.arange(len(used)), packed.whole.ln[sharpest], packed.slow[sharpest])
    against = covariance + covariance[sharpest, sharpest] - covariance[sharpest] - covariance[:, sharpest, None]
    return Series(
        fit=fit_series(here, widths),
        used=used,
        distances=here,
        d=d - d[sharpest],
        error=np.sqrt(np.maximum(np.diag(against), 0) + LEAST**2 + (SHARE * (d - d[sharpest])) ** 2),
        verdict_d=verdict_d,
    )


def _declined(reason: Reason, sentence: str) -> Series:
    return Series(FocalFit(reason=reason, declined=sentence))


def _distinct(distances: Sequence[float] | Array) -> int:
    ordered = np.sort(np.asarray(distances, dtype=np.float64))
    if not len(ordered):
        return 0
    return 1 + int((np.diff(ordered) > SAME * max(float(np.ptp(ordered)), 1e-300)).sum())


def fit_series(distances: Array, widths: Spreads) -> FocalFit:
    """The parabola through D of n frames at three or more distances.

    Parameters
    ----------
    distances : (n,)
    """
    middle, half = (distances.max() + distances.min()) / 2, float(np.ptp(distances)) / 2
    at = (distances - middle) / half
    d, covariance = widths.mean()
    whole = _Parabola.through(at, d, covariance, widths.misfit)
    slope = Interval(*(each / half for each in whole.told(1)))
    bend = whole.told(2)
    k = _widened(Interval(*(each / half for each in _root(bend)))) if bend.high > 0 else None
    reason, declined = _why_not(whole, d, middle, half)
    if reason is not None:
        return FocalFit(
            k=k if reason in ("not_bracketed", "unsure") else None, slope=slope, reason=reason, declined=declined
        )
    parts = [_Parabola.through(at, *_of_direction(widths, j), widths.misfit) for j in range(DIRECTIONS)]
    best = whole.vertex()
    assert best is not None
    return FocalFit(
        best=_scaled(best, middle, half),
        k=k,
        slope=slope,
        floor=float(whole.p[0] - whole.p[1] ** 2 / (4 * whole.p[2]) - d.min()),
        by_direction=tuple(None if (each := part.vertex()) is None else _scaled(each, middle, half) for part in parts),
        astigmatism=(
            _difference(parts, widths.covariance, 0, 2, half),
            _difference(parts, widths.covariance, 1, 3, half),
        ),
    )


def _why_not(whole: _Parabola, d: Array, middle: float, half: float) -> tuple[Reason | None, str | None]:
    """Why a parabola gives no best focus; None where it does."""
    if whole.explained(d) < EXPLAINED and whole.misfit > MISFIT:
        return "not_a_parabola", "blur along the series is no parabola: is it one field, and are the distances right?"
    if not whole.changes():
        return "flat", "blur does not change along the series beyond its errors: take larger steps"
    bend, turn = whole.told(2), whole.turn()
    if bend.high < 0 and abs(turn) < 1:
        return "not_a_parabola", "the frames in the middle of the series are the most blurred: are the distances right?"
    if not (bend.value > 0 and abs(turn) <= 1):
        side = "lowest" if whole.p[1] > 0 else "highest"
        end = middle - math.copysign(half, whole.p[1])
        return "not_bracketed", (
            f"best focus is not bracketed: the frames are sharpest at the {side} distance ({end:g}), "
            f"go on {'below' if side == 'lowest' else 'beyond'} it"
        )
    vertex = whole.vertex()
    if vertex is None or vertex.high - vertex.low > 2:
        return (
            "unsure",
            "best focus cannot be told: its error is as large as the series; take larger steps or a higher dose",
        )
    return None, None


def _of_direction(widths: Spreads, j: int) -> tuple[Array, Array]:
    return widths.d[:, j], widths.covariance[j::DIRECTIONS, j::DIRECTIONS]


def _scaled(told: Interval, middle: float, half: float) -> Interval:
    return Interval(*(middle + half * each for each in told))


def _root(told: Interval) -> Interval:
    return Interval(*(math.sqrt(max(each, 0.0)) for each in told))


def _widened(k: Interval) -> Interval:
    """With what the shape of the point-spread function adds to its error."""
    low, high = (math.hypot(k.value - end, K_SHAPE * k.value) for end in (k.low, k.high))
    return Interval(k.value, max(k.value - low, 0.0), k.value + high)


def _quantile(dof: float) -> float:
    """How many standard errors a 95 % interval reaches to each side."""
    return float(_special().stdtrit(dof, (1 + LEVEL) / 2))  # Student's t


def _special() -> Any:
    """SciPy's functions, loaded when a series is fitted: `mhfd score` needs none, and scipy.stats takes a second."""
    return needed("scipy.special", "cpu", "a focal series")


def _difference(parts: Sequence[_Parabola], covariance: Array, one: int, other: int, half: float) -> Interval | None:
    """f' of one direction minus that of another, in the unit of the distances; None where one is unknown."""
    a, b = parts[one], parts[other]
    if a.vertex() is None or b.vertex() is None:
        return None
    ga, gb = a.gradient(), b.gradient()
    between = covariance[one::DIRECTIONS, other::DIRECTIONS]
    shared = float(ga @ between @ gb) * math.sqrt(a.scale * b.scale)
    variance = float(ga @ a.covariance @ ga) * a.scale + float(gb @ b.covariance @ gb) * b.scale - 2 * shared
    value, reach = half * (a.turn() - b.turn()), half * _quantile(a.dof) * math.sqrt(max(variance, 0.0))
    return Interval(value, value - reach, value + reach)


@dataclass(frozen=True)
class _Parabola:
    """D = p0 + p1 x + p2 x^2, x from -1 to 1.

    Attributes
    ----------
    covariance : (n, n) of D
    operator : (3, n) from D to p
    of_p : (3, 3) covariance of p, scaled
    scale : of the covariances, from the misfit
    dof : degrees of freedom of that scale
    misfit : chi^2 by its degrees of freedom; 0 where there are none
    """

    x: Array
    p: Array
    covariance: Array
    operator: Array
    of_p: Array
    scale: float
    dof: float
    misfit: float

    @classmethod
    def through(cls, x: Array, d: Array, covariance: Array, spectra_misfit: float) -> _Parabola:
        """By generalised least squares.

        Parameters
        ----------
        spectra_misfit : chi^2 by degrees of freedom of the fit that gave D
        """
        n = len(x)
        known = covariance * max(1.0, spectra_misfit)
        known = known + np.diag(LEAST**2 + (SHARE * (d - d.min())) ** 2)
        free = known + 1e3 * float(np.trace(known))  # what all frames have in common is not known
        design = np.stack([np.ones(n), x, x**2], axis=1)
        weighted = np.linalg.solve(free, design).T
        of_p = np.linalg.inv(weighted @ design)
        operator = of_p @ weighted
        p = operator @ d
        rest = d - design @ p
        chi2 = float(rest @ np.linalg.solve(free, rest))
        spare = n - 3
        scale = max(1.0, (TRUST + chi2) / (TRUST + spare))
        return cls(x, p, known, operator, of_p * scale, scale, TRUST + spare, chi2 / spare if spare else 0.0)

    def told(self, i: int) -> Interval:
        """A coefficient."""
        half = _quantile(self.dof) * math.sqrt(self.of_p[i, i])
        return Interval(float(self.p[i]), float(self.p[i]) - half, float(self.p[i]) + half)

    def changes(self) -> bool:
        """True where D is surely not the same along the series."""
        part = self.p[1:]
        statistic = float(part @ np.linalg.solve(self.of_p[1:, 1:], part)) / 2
        return statistic > float(_special().fdtri(2, self.dof, SURE))

    def explained(self, d: Array) -> float:
        """The share of the variance of D that the parabola explains."""
        rest = d - np.stack([np.ones_like(self.x), self.x, self.x**2], axis=1) @ self.p
        return 1 - float(rest @ rest) / max(float(((d - d.mean()) ** 2).sum()), 1e-12)

    def turn(self) -> float:
        """Where it turns."""
        return float(-self.p[1] / (2 * self.p[2])) if self.p[2] else math.inf

    def gradient(self) -> NDArray[np.float64]:
        """(n,) of `turn` by D."""
        return np.asarray((-self.operator[1] + self.p[1] / self.p[2] * self.operator[2]) / (2 * self.p[2]))

    def vertex(self) -> Interval | None:
        """Where D is least; None where the interval has no ends."""
        t2 = _quantile(self.dof) ** 2
        c1, c2 = float(self.p[1]), float(self.p[2])
        # All x with (c1 + 2 c2 x)^2 <= t^2 var(c1 + 2 c2 x).
        a = 4 * (c2**2 - t2 * self.of_p[2, 2])
        b = 4 * (c1 * c2 - t2 * self.of_p[1, 2])
        c = c1**2 - t2 * self.of_p[1, 1]
        if c2 <= 0 or a <= 0:
            return None
        root = math.sqrt(max(b * b - 4 * a * c, 0.0))
        return Interval(-c1 / (2 * c2), float(-b - root) / (2 * a), float(-b + root) / (2 * a))
