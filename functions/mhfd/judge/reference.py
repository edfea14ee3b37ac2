"""The sharp tiles that others are compared with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mhfd.contract import ParamsError
from mhfd.judge.blur import Array, Curve, Spectra, excess_blur, own_blur
from mhfd.judge.setting import Setting
from mhfd.spectrum import Spectrum
from mhfd.text import shown

SHARPEST_SHARE = 0.3
"""Part of the tiles that the reference is made of: even where most are bad, some of these are sharp."""

ALIKE = 0.3
"""px^2. Sharp tiles lie within this of the sharpest, and within two errors."""

LEAST_TILES = 4
"""Below, nothing can be said of a tile."""

KEPT_TILES = 16
"""Tiles that a kept reference consists of, at most."""

SHARPER_BY = 0.2
"""px^2. Kept tiles that are sharper than the run's sharpest by so much are its reference alone."""

SURE_TILES = 8
"""With fewer sharp tiles there is nothing worth keeping."""


@dataclass(frozen=True)
class Reference:
    """Sharp tiles of one setting and one tissue, by their spectra.

    Attributes
    ----------
    name : for people: which run they are from
    tiles : how many sharp tiles that run had; `spectra` are some of them
    spectra : packed (`Spectrum.pack`)
    """

    name: str
    setting: Setting
    tiles: int
    spectra: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """A JSON object."""
        return {
            "name": self.name, "setting": list(self.setting), "tiles": self.tiles, "spectra": list(self.spectra)
        }  # fmt: skip

    @classmethod
    def from_dict(cls, given: object) -> Reference:
        """Read what `to_dict` wrote.

        Raises
        ------
        ParamsError
            It is something else.
        """
        if not isinstance(given, dict):
            raise ParamsError(f"a reference is an object, not {shown(given)}")
        name, tiles, spectra = given.get("name"), given.get("tiles"), given.get("spectra")
        if not isinstance(name, str) or not isinstance(tiles, int) or not isinstance(spectra, list) or not spectra:
            raise ParamsError(f"a reference has a name, a number of tiles and spectra, not {shown(given)}")
        for each in spectra:
            if not isinstance(each, str):
                raise ParamsError(f"a reference has spectra as text, not {shown(each)}")
            Spectrum.unpack(each)
        return cls(name, Setting.from_list(given.get("setting")), tiles, tuple(spectra))

    def is_blurrier_than(self, other: Reference, by: float = 0.3) -> bool:
        """True if its tiles' point-spread function is wider, by more than `by` px^2; also if that cannot be told."""
        own, others = (Spectra([Spectrum.unpack(each) for each in ref.spectra]) for ref in (self, other))
        d, _ = excess_blur(own.whole, others.whole.median())
        middle = float(np.median(d)) if np.isfinite(d).all() else float("nan")
        return not middle <= by


@dataclass(frozen=True)
class Sharpest:
    """The reference of a group of tiles, and how much its sharp tiles differ.

    Attributes
    ----------
    spectra, best : which tiles it is made of
    whole : (BINS,) ln of their median power
    centre, spread : of D among the sharper tiles, px^2
    """

    spectra: Spectra
    best: NDArray[np.int64]
    whole: Array
    centre: float
    spread: float

    @cached_property
    def part(self) -> Array:
        """(BINS,) As `whole`, of quarters of tiles."""
        return self.spectra.quarters[self.best].flat().median()

    @cached_property
    def cell(self) -> Array:
        """(BINS,) As `whole`, of the cells of their maps."""
        return self.spectra.cells(self.best).flat().median()

    @cached_property
    def directions(self) -> Array:
        """(4, BINS) As `whole`, by direction."""
        return self.spectra.directions[self.best].median()

    @cached_property
    def slow(self) -> Array:
        """(SLOW_BINS,) As `whole`, of means of 16 px."""
        return np.asarray(np.median(self.spectra.slow[self.best], axis=0))

    @cached_property
    def own_blur(self) -> float:
        """How far it bends below a power law, px^2."""
        return own_blur(self.whole)


def sharpest(
    spectra: Spectra, members: NDArray[np.int64], before: Array | None = None, kept: Sequence[int] = ()
) -> Sharpest | None:
    """The reference of the members; None where they are too few.

    Parameters
    ----------
    before : an earlier reference to begin the search with
    kept : members that are known to be sharp: where they are sharper than what is found, they are the reference
    """
    if len(members) < LEAST_TILES - 1:
        return None
    curves = spectra.whole[members]
    reference = curves.median() if before is None else before
    count = max(3, int(np.ceil(SHARPEST_SHARE * len(members))))
    order = np.arange(len(members))
    for _ in range(3):  # the first search starts from the middle, which may be blurred
        d, error = excess_blur(curves, reference)
        rank = np.nan_to_num(d, nan=100.0) + np.nan_to_num(error, nan=1.0)
        order = np.argsort(rank, kind="stable")[:count]
        alike = rank[order] < np.quantile(rank, 0.05) + ALIKE + 2 * np.median(np.nan_to_num(error[order], nan=1.0))
        order = order[: max(3, int(alike.sum()))]  # in a drift the sharpest third is no longer sharp
        found = curves[order].median()
        if np.array_equal(found, reference, equal_nan=True):
            break
        reference = found
    best = members[order]
    if kept:
        known = spectra.whole[np.array(kept)]
        d, _ = excess_blur(Curve.clean(reference), known.median())
        if not d < SHARPER_BY:  # most of the run is blurred
            best, curves, reference = np.array(kept), known, known.median()
    d, _ = excess_blur(curves, reference)
    d = d[np.isfinite(d)]
    sharp, usual = np.quantile(d, (0.05, 0.3)) if len(d) else (0.0, 0.0)
    # Of a normal distribution cut at its 60 % the two lie 1.12 deviations apart, and the middle 0.52 above the upper.
    spread = max(0.06, float(usual - sharp) / 1.12) if len(d) >= 12 else 0.15
    centre = float(usual) + 0.52 * spread if len(d) >= 6 else 0.1
    return Sharpest(spectra, best, reference, centre, spread)


def unpacked(packed: Sequence[str | None]) -> list[Spectrum | None]:
    """The spectra; None for those that this version cannot read."""
    return [_unpacked(each) for each in packed]


@lru_cache(maxsize=1000)  # a run is judged again whenever tiles arrive
def _unpacked(packed: str | None) -> Spectrum | None:
    if packed is None:
        return None
    try:
        spectrum = Spectrum.unpack(packed)
    except ParamsError:
        return None
    return spectrum if np.isfinite(spectrum.along_rows).all() and np.isfinite(spectrum.along_cols).all() else None
