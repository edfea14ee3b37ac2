"""Which tiles belong together: a new tissue begins a group of its own, lost focus does not.

The shape of a spectrum cannot tell one tissue from another tissue blurred. So a new tissue is recognised by statistics
that blur leaves alone - the skewness of means of 16 px, the slope of the spectrum at low frequencies - that move while
the sharpness takes a step. A rise of D alone is blur.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mhfd.judge.blur import SLOW_CURVE, Array, Spectra, excess_blur
from mhfd.judge.reference import LEAST_TILES, Sharpest, sharpest

Index = NDArray[np.int64]

LEAST_BEFORE = 8
"""Tiles of a group before a new tissue can be told from it."""

SHAPE_FLOOR = np.array([0.12, 0.20])
"""Least spread from tile to tile of the two statistics."""

SUSPECTED, SURE, SURE_WITHOUT_STEP = 6.0, 18.0, 30.0
"""T^2 of the statistics: of one section, of two or more with a step of D, of those without."""

SECTIONS_TO_DECIDE = 2
SECTIONS_SUSPECTED = 4
"""A suspicion that has not become sure after so many sections is dropped."""

LOOK_BACK = 120
"""Tiles of a group that a new section is compared with: its latest, and as many from all its time."""

GROWTH, AHEAD = 1.1, 64
"""The reference is made again when its group has grown by so much; it measures so many tiles more than that at once."""

_SLOPE = np.repeat([0.25, -0.25], 4)


@dataclass
class Group:
    """Tiles of one setting and one tissue.

    Attributes
    ----------
    members : in order
    suspects : of those, the tiles of the last sections that may be of another tissue
    kept : of those, the ones that stand for an earlier run
    """

    members: list[int] = field(default_factory=list)
    suspects: list[int] = field(default_factory=list)
    kept: list[int] = field(default_factory=list)


class _Measured:
    """D of tiles against one reference, and what blur leaves alone of them; worked out once, many at a time.

    Parameters
    ----------
    until : tiles below that number are likely to be asked for
    """

    def __init__(self, spectra: Spectra, reference: Sharpest, until: int) -> None:
        self._spectra, self.reference, self._until = spectra, reference, min(until, len(spectra))
        self._known = np.zeros(len(spectra), dtype=np.bool_)
        self._d = np.empty(len(spectra))
        self._statistics = np.empty((len(spectra), 2))

    def __call__(self, tiles: Index) -> tuple[Array, Array]:
        """(m,) D; (m, 2) skewness, and the slope at low frequencies without what blur does to it."""
        missing = tiles[~self._known[tiles]]
        if len(missing):
            ahead = np.arange(missing.max() + 1, max(self._until, missing.max() + 1))
            self._measure(np.concatenate([missing, ahead[~self._known[ahead]]]))
        return self._d[tiles], self._statistics[tiles]

    def _measure(self, tiles: Index) -> None:
        d, _ = excess_blur(self._spectra.whole[tiles], self.reference.whole)
        slow = self._spectra.slow[tiles] + SLOW_CURVE * np.clip(np.nan_to_num(d), 0, 6)[:, None]
        self._d[tiles], self._known[tiles] = d, True
        self._statistics[tiles] = np.stack([self._spectra.skewness[tiles], np.nan_to_num(slow @ _SLOPE)], axis=1)


def groups(spectra: Spectra, sections: Sequence[Sequence[int]], kept: Sequence[int] = ()) -> list[Group]:
    """Divide the tiles of one setting by tissue.

    Parameters
    ----------
    sections : the tiles of each section, in the order in which they were taken
    kept : tiles of an earlier run, which come before
    """
    finder = _Finder(spectra, kept)
    for number, tiles in enumerate(sections):
        finder.add(number, list(tiles))
    return finder.found


class _Finder:
    """Takes one section after the other."""

    def __init__(self, spectra: Spectra, kept: Sequence[int]) -> None:
        self._spectra = spectra
        self.found = [Group(members=list(kept), kept=list(kept))]
        self._section_of = np.full(len(spectra), -99)
        self._measured: _Measured | None = None
        self._reference_of = 0  # the number of tiles that its reference was made of

    def add(self, number: int, tiles: list[int]) -> None:
        group = self.found[-1]
        self._section_of[tiles] = number
        before = group.members[: len(group.members) - len(group.suspects)]
        peers = self._peers(before)
        group.members += tiles
        if peers is None or self._measured is None:
            group.suspects = []
            return
        odd, step = self._strangeness(self._measured, peers, tiles)
        hint = (step and odd > SUSPECTED) or odd > SURE_WITHOUT_STEP / 2
        hint = hint or bool(group.suspects and odd > SUSPECTED / 2)
        sections = len(np.unique(self._section_of[group.suspects]))
        group.suspects = [*group.suspects, *tiles] if hint and sections < SECTIONS_SUSPECTED else []
        if len(np.unique(self._section_of[group.suspects])) < SECTIONS_TO_DECIDE:
            return
        odd, step = self._strangeness(self._measured, peers, group.suspects)
        if odd > (SURE if step else SURE_WITHOUT_STEP):  # what was before keeps its reference
            suspects, group.suspects, group.members = group.suspects, [], before
            self.found.append(Group(members=suspects))
            self._measured, self._reference_of = None, 0

    def _peers(self, before: list[int]) -> Index | None:
        """The tiles that a new section is compared with; None where nothing can be said."""
        if len(before) < LEAST_BEFORE:
            return None
        latest = before[-LOOK_BACK:]
        every = -(-len(before) // LOOK_BACK)
        tiles = np.array(sorted({*latest, *before[::every]}))
        if self._measured is None or len(before) > GROWTH * self._reference_of + 4:
            before_it = self._measured.reference.whole if self._measured else None
            reference = sharpest(self._spectra, tiles, before_it)
            ahead = int(tiles.max()) + int((GROWTH - 1) * len(before)) + AHEAD
            self._measured = _Measured(self._spectra, reference, ahead) if reference else None
            self._reference_of = len(before)
        return None if self._measured is None else tiles

    def _strangeness(self, measured: _Measured, peers: Index, tiles: Sequence[int]) -> tuple[float, bool]:
        """T^2 of the statistics of these tiles against their peers', and whether D took a step between them."""
        new = np.array(tiles)
        d, statistics = measured(new)
        peers_d, peers_statistics = measured(peers)
        usable = np.isfinite(d) & (np.abs(d) < 3.5)
        here = float(np.median(d[usable])) if usable.any() else np.nan
        alike = usable & (np.abs(d - here) < 0.6)
        good = np.isfinite(peers_d) & (peers_d < 3)
        if alike.sum() < max(2, 0.5 * len(new)) or good.sum() < LEAST_TILES or not self._steady(new, d):
            return 0.0, False
        when, start = self._section_of[peers], int(self._section_of[new].min())
        recent = peers_d[when >= start - 3]
        recent = recent[np.isfinite(recent)]
        old = float(np.median(recent if len(recent) else peers_d[np.isfinite(peers_d)][-8:]))
        reference = measured.reference
        step = abs(here - old) > max(0.45, 3 * reference.spread) and abs(old - reference.centre) < 0.4 * abs(here - old)
        near = good & (when >= start - 8)
        usual = peers_statistics[near] if near.any() else peers_statistics[good][-12:]
        found, centre = statistics[alike], np.median(usual, 0)
        spread = np.maximum(1.4826 * np.median(np.abs(usual - centre), 0), SHAPE_FLOOR)
        spread = spread * np.sqrt(1 / len(found) + 1 / len(usual))
        return float((((found.mean(0) - centre) / spread) ** 2).sum()), bool(step)

    def _steady(self, tiles: Index, d: Array) -> bool:
        """False where D changes from section to section: it drifts."""
        section = self._section_of[tiles]
        known = np.isfinite(d)
        middles = [np.median(d[known & (section == each)]) for each in np.unique(section[known])]
        return float(np.ptp(middles)) < 0.4 if middles else False
