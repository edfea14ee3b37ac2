"""Plan a simulated run: how each of its tiles is taken, and the truth about it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from mhfd.contract import ParamsError

SECTION_NM = 50.0  # thickness of a section, and distance from one to the next
OVERLAP = 0.06  # share of a tile's side that its neighbour shows, too
HALF_ANGLE_RAD = 0.008  # of the beam: a defocus z spreads a point to a disc of radius HALF_ANGLE_RAD * z
MARGIN_PX = 16  # rendered around a tile, so that blur brings in the tissue beyond its edge
PAD_NM = 1000.0  # tissue built beyond the run on all sides, so that nothing ends at its border
MAX_VOLUME_UM3 = 20_000.0  # of tissue with its surroundings; takes about 2 GB

Stream = Literal["tissue", "kinds", "drift", "noise", "blur", "resin", "grain"]  # a new one goes last
_STREAMS: tuple[Stream, ...] = get_args(Stream)


@dataclass(frozen=True, kw_only=True)
class RunPlan:
    """A run to simulate. Frozen; equal plans give equal bytes.

    Attributes
    ----------
    sections, rows, cols : number of sections, and the grid of tiles in each
    tile_px : side of a tile in pixels, 64 to 4096
    pixel_size_nm : 2 to 30
    bad_fraction : share of tiles out of focus or astigmatic; one of each at least when there are 12 tiles or more
    blank_fraction : share of tiles that show bare resin; one at least when there are 12 tiles or more
    dose : electrons per pixel at mid grey, at the start of the run; it drifts
    seed : of every random choice

    Raises
    ------
    ParamsError
        a value is out of range; the message gives the range.
    """

    sections: int = 6
    rows: int = 2
    cols: int = 3
    tile_px: int = 512
    pixel_size_nm: float = 8.0
    bad_fraction: float = 0.12
    blank_fraction: float = 0.06
    dose: float = 200.0
    seed: int = 1

    def __post_init__(self) -> None:
        for name, low, high in (
            ("sections", 1, 9999), ("rows", 1, 999), ("cols", 1, 999), ("tile_px", 64, 4096), ("seed", 0, 2**63 - 1),
        ):  # fmt: skip
            whole = getattr(self, name)
            if isinstance(whole, bool) or not isinstance(whole, int) or not low <= whole <= high:
                raise ParamsError(f"{name} must be a whole number from {low} to {high}, not {whole!r}.")
        for name, least, most in (
            ("pixel_size_nm", 2.0, 30.0), ("bad_fraction", 0.0, 1.0), ("blank_fraction", 0.0, 1.0), ("dose", 1.0, 1e6),
        ):  # fmt: skip
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
                raise ParamsError(f"{name} must be a number from {least:g} to {most:g}, not {value!r}.")
            object.__setattr__(self, name, float(value))
        if self.bad_fraction + self.blank_fraction > 1:
            raise ParamsError(
                f"bad_fraction and blank_fraction are shares of the same tiles and must add up to 1 at most, "
                f"not {self.bad_fraction + self.blank_fraction:g}."
            )
        if (volume := math.prod(side + 2 * PAD_NM for side in self.size_nm) / 1e9) > MAX_VOLUME_UM3:
            raise ParamsError(
                f"This run needs {volume:,.0f} cubic micrometres of tissue; {MAX_VOLUME_UM3:,.0f} is the most that "
                "fits in memory. Choose fewer sections, rows or cols, or a smaller tile_px or pixel_size_nm."
            )

    @property
    def step_px(self) -> int:
        """Distance from a tile to its neighbour."""
        return self.tile_px - round(OVERLAP * self.tile_px)

    @property
    def scene_px(self) -> int:
        """Side of a tile with its margin."""
        return self.tile_px + 2 * MARGIN_PX

    @property
    def size_nm(self) -> tuple[float, float, float]:
        """Depth, height and width of the tissue that the run cuts."""
        height, width = ((n - 1) * self.step_px + self.tile_px for n in (self.rows, self.cols))
        return self.sections * SECTION_NM, height * self.pixel_size_nm, width * self.pixel_size_nm

    def rng(self, stream: Stream, *place: int) -> np.random.Generator:
        """A random generator for one purpose at one place, independent of all others."""
        key = (_STREAMS.index(stream), *place)
        return np.random.Generator(np.random.PCG64(np.random.SeedSequence(self.seed, spawn_key=key)))


@dataclass(frozen=True, kw_only=True)
class TileTruth:
    """The truth about one tile: a line of truth.csv, columns in this order.

    Attributes
    ----------
    file, section, row, col : the tile's name in the run's folder and its place, counted from 0
    kind : "good", "bad" (out of focus or astigmatic) or "blank" (bare resin)
    blur_px : standard deviation of the point-spread function, mean of rows and cols
    astigmatism : "", or the axis that is blurred, "rows" (vertically) or "cols" (horizontally)
    defocus_um : of the beam, mean of both axes: (standard deviation of its disc) * 2 / HALF_ANGLE_RAD
    dose, contrast, brightness : electrons per pixel at mid grey; gain about mid grey; offset, 1 is full range
    """

    file: str
    section: int
    row: int
    col: int
    kind: str
    blur_px: float
    astigmatism: str
    defocus_um: float
    dose: float
    contrast: float
    brightness: float


@dataclass(frozen=True, kw_only=True)
class Exposure:
    """How one tile is taken: its line of the truth table, and the two parts of its blur.

    `probe_px` is the beam in focus, a Gaussian; `spread_px` is what defocus and astigmatism add along
    (rows, cols), an elliptic disc. Both are standard deviations in pixels and add in quadrature.
    """

    truth: TileTruth
    probe_px: float
    spread_px: tuple[float, float]


def plan_exposures(plan: RunPlan) -> list[Exposure]:
    """Decide which tiles are bad or blank and how the microscope drifts, before any pixel is made.

    Returns
    -------
    One `Exposure` a tile, in order of section, row and col.
    """
    places = [(s, r, c) for s in range(plan.sections) for r in range(plan.rows) for c in range(plan.cols)]
    defocused, astigmatic, blank = _choose(plan, len(places))
    drift = plan.rng("drift").normal(0, (0.06, 0.02, 0.008), (plan.sections, 3)).cumsum(axis=0)
    drift = np.clip(drift, (-0.7, -0.2, -0.05), (0.7, 0.1, 0.05))
    exposures = []
    for i, (section, row, col) in enumerate(places):
        rng = plan.rng("blur", section, row, col)
        probe = float(rng.uniform(0.5, 0.6))
        spread, along_rows = float(np.exp(rng.uniform(*np.log((1.5, 4.9))))), bool(rng.random() < 0.5)
        spreads, astigmatism = (0.0, 0.0), ""
        if i in defocused:
            spreads = spread, spread
        elif i in astigmatic:
            spread = 2.5 + 0.7 * (spread - 1.5)  # one axis alone, so it takes more to spoil the tile
            spreads, astigmatism = ((spread, 0.0), "rows") if along_rows else ((0.0, spread), "cols")
        dose, contrast, brightness = drift[section]
        truth = TileTruth(
            file=f"s{section:04d}_r{row}_c{col}.tif",
            section=section,
            row=row,
            col=col,
            kind="bad" if any(spreads) else "blank" if i in blank else "good",
            blur_px=round(sum(math.hypot(probe, s) for s in spreads) / 2, 3),
            astigmatism=astigmatism,
            defocus_um=round(sum(spreads) / 2 * plan.pixel_size_nm * 2 / HALF_ANGLE_RAD / 1000, 2),
            dose=round(plan.dose * float(np.exp(dose)), 1),
            contrast=round(1 + float(contrast), 3),
            brightness=round(float(brightness), 3),
        )
        exposures.append(Exposure(truth=truth, probe_px=probe, spread_px=spreads))
    return exposures


def _choose(plan: RunPlan, n_tiles: int) -> tuple[set[int], set[int], set[int]]:
    """The numbers of the tiles that are out of focus, astigmatic and blank."""
    many = n_tiles >= 12
    n_bad = max(round(plan.bad_fraction * n_tiles), 2 * (many and plan.bad_fraction > 0))
    n_blank = max(round(plan.blank_fraction * n_tiles), 1 * (many and plan.blank_fraction > 0))
    n_bad = min(n_bad, n_tiles - n_blank)
    n_astigmatic = max(1, n_bad // 3) if n_bad > 1 else 0
    order = [int(i) for i in plan.rng("kinds").permutation(n_tiles)]
    return set(order[n_astigmatic:n_bad]), set(order[:n_astigmatic]), set(order[n_bad : n_bad + n_blank])
