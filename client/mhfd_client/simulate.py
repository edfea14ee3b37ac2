"""A synthetic serial-section run of brain tissue with known focus, for trying everything without a microscope.

Two halves. `Specimen` is tissue as a function of place, in nanometres: neurites are chains of spheres
that compete for space (a smoothed power diagram), bent by a random warp and filled with organelles, so
sections continue one another in z and neighbouring tiles share their overlap. `expose` is the
microscope: point-spread function, contrast, shot noise, detector, 8 bits.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Callable
from dataclasses import astuple, dataclass, fields
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile
from scipy import fft, ndimage, spatial, special

from mhfd.contract import MhfdError, ParamsError

Array = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]
Bools = npt.NDArray[np.bool_]

SECTION_NM = 50.0  # thickness of a section, and distance from one to the next
OVERLAP = 0.06  # share of a tile's side that it has in common with its neighbour
HALF_ANGLE_RAD = 0.008  # of the beam: a defocus z spreads a point to a disc of radius HALF_ANGLE_RAD * z
MARGIN_PX = 16  # rendered round a tile, so that blur brings in the tissue beyond its edge
MAX_VOLUME_UM3 = 20_000.0  # of tissue with its surroundings; takes about 2 GB

_PAD_NM = 1000.0  # tissue built beyond the run on all sides, so that nothing ends at its border
_BLOCK_NM = 72.0  # pixels of one such block share their candidate neurites
_CANDIDATES = 20
_SOFTNESS_NM2 = 45.0**2  # rounds off the corners of the power diagram
_SEEN_NM = 32.0  # depth from which the signal comes; membranes that pass it obliquely smear
_MEMBRANE_NM = 5.0  # standard deviation of the stain across one membrane
_GRAIN_PX = 1024  # the grain of the cytoplasm repeats after this, which nobody sees
_TILE_NAME = re.compile(r"s\d{4,}_r\d+_c\d+\.tif")


class FolderInUseError(MhfdError, FileExistsError):
    """The output folder holds something that `simulate_run` did not write and must not touch."""


@dataclass(frozen=True, kw_only=True)
class RunPlan:
    """What to simulate. Frozen; equal plans give equal bytes.

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
        a value is out of range; the sentence says which range.
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
        if (volume := math.prod(side + 2 * _PAD_NM for side in self.size_nm) / 1e9) > MAX_VOLUME_UM3:
            raise ParamsError(
                f"This run needs {volume:,.0f} cubic micrometres of tissue; {MAX_VOLUME_UM3:,.0f} is the most that "
                "fits in memory. Choose fewer sections, rows or cols, or a smaller tile_px or pixel_size_nm."
            )

    @property
    def step_px(self) -> int:
        """Distance from a tile to its neighbour."""
        return self.tile_px - round(OVERLAP * self.tile_px)

    @property
    def size_nm(self) -> tuple[float, float, float]:
        """Depth, height and width of the tissue that the run cuts."""
        height, width = ((n - 1) * self.step_px + self.tile_px for n in (self.rows, self.cols))
        return self.sections * SECTION_NM, height * self.pixel_size_nm, width * self.pixel_size_nm


@dataclass(frozen=True, kw_only=True)
class TileTruth:
    """What is known of one tile: a line of truth.csv, columns in this order.

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


def simulate_run(out: Path, plan: RunPlan, progress: Callable[[int, int], None] | None = None) -> list[TileTruth]:
    """Write the tiles of a synthetic run and `truth.csv` into `out`.

    Parameters
    ----------
    out : folder, made if missing. An earlier simulation in it is replaced.
    plan : what to simulate; the same plan gives the same bytes
    progress : called after each tile with the number done and the number in all

    Returns
    -------
    One `TileTruth` a tile, in order of section, row and col.

    Raises
    ------
    FolderInUseError
        `out` is a file, or holds things that no simulation wrote.
    OSError
        `out` cannot be written.
    """
    _clear(out)
    exposures = plan_exposures(plan)
    truths = [exposure.truth for exposure in exposures]
    # The table goes first: it marks the folder as ours, so a run that was interrupted can be run again.
    with (out / "truth.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_COLUMNS)
        writer.writerows(astuple(truth) for truth in truths)
    specimen = Specimen(plan)
    for done, exposure in enumerate(exposures, start=1):
        truth = exposure.truth
        scene = resin(plan, truth) if truth.kind == "blank" else specimen.view(truth.section, truth.row, truth.col)
        image = expose(scene, exposure, _rng(plan, 3, truth.section, truth.row, truth.col))
        _write_tile(out / truth.file, image, plan)
        if progress is not None:
            progress(done, len(exposures))
    return truths


_COLUMNS = [field.name for field in fields(TileTruth)]


def _clear(out: Path) -> None:
    """Make `out` ready: new, empty, or rid of the tiles of an earlier simulation."""
    if out.exists() and not out.is_dir():
        raise FolderInUseError(f"{out} is a file. Give the name of a folder to write the simulated run to.")
    out.mkdir(parents=True, exist_ok=True)
    if not any(out.iterdir()):
        return
    table = out / "truth.csv"
    header, *lines = (table.read_text(encoding="utf-8", errors="replace") if table.is_file() else "").splitlines() or [
        ""
    ]
    if header != ",".join(_COLUMNS):
        raise FolderInUseError(
            f"{out} already holds files that mhfd did not simulate. "
            "Choose a new or empty folder, so that nothing is lost."
        )
    for line in lines:
        name = line.partition(",")[0]
        if _TILE_NAME.fullmatch(name):
            (out / name).unlink(missing_ok=True)


def _write_tile(path: Path, image: npt.NDArray[np.uint8], plan: RunPlan) -> None:
    # The exact rational keeps the pixel size the same in the file as in the plan; 400 keeps it within 32 bits.
    per_cm = Fraction(10**7) / Fraction(plan.pixel_size_nm).limit_denominator(400)
    resolution = per_cm.as_integer_ratio()
    tifffile.imwrite(
        path, image, photometric="minisblack", resolution=(resolution, resolution), resolutionunit="CENTIMETER",
        software="mhfd", metadata=None,
    )  # fmt: skip


def _rng(plan: RunPlan, *key: int) -> np.random.Generator:
    """The stream of one part of the run, independent of what the others draw."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(plan.seed, spawn_key=key)))


# The microscope ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Exposure:
    """How one tile is taken: what the truth table says of it, and the two parts of its blur.

    `probe_px` is the beam in focus, a Gaussian; `spread_px` is what defocus and astigmatism add along
    (rows, cols), an elliptic disc. Both are standard deviations in pixels and add in quadrature.
    """

    truth: TileTruth
    probe_px: float
    spread_px: tuple[float, float]


def plan_exposures(plan: RunPlan) -> list[Exposure]:
    """Decide which tiles are bad or blank and how the microscope drifts, before any pixel is made."""
    places = [(s, r, c) for s in range(plan.sections) for r in range(plan.rows) for c in range(plan.cols)]
    rng = _rng(plan, 1)
    many = len(places) >= 12
    n_bad = max(round(plan.bad_fraction * len(places)), 2 * (many and plan.bad_fraction > 0))
    n_blank = max(round(plan.blank_fraction * len(places)), 1 * (many and plan.blank_fraction > 0))
    n_bad = min(n_bad, len(places) - n_blank)
    order = [int(i) for i in rng.permutation(len(places))]
    bad, blank = order[:n_bad], set(order[n_bad : n_bad + n_blank])
    astigmatic = set(bad[: max(1, n_bad // 3)] if n_bad > 1 else [])
    defocused = set(bad) - astigmatic

    drift = _rng(plan, 2).normal(0, (0.06, 0.02, 0.008), (plan.sections, 3)).cumsum(axis=0)
    exposures = []
    for i, (section, row, col) in enumerate(places):
        rng = _rng(plan, 4, section, row, col)
        probe = float(rng.uniform(0.5, 0.6))
        spread, along_rows = float(np.exp(rng.uniform(*np.log((1.5, 4.9))))), bool(rng.random() < 0.5)
        if i in defocused:
            spreads, astigmatism = (spread, spread), ""
        elif i in astigmatic:
            spread = 2.5 + 0.7 * (spread - 1.5)  # one axis alone, so it takes more to spoil the tile
            spreads, astigmatism = ((spread, 0.0), "rows") if along_rows else ((0.0, spread), "cols")
        else:
            spreads, astigmatism = (0.0, 0.0), ""
        truth = TileTruth(
            file=f"s{section:04d}_r{row}_c{col}.tif",
            section=section,
            row=row,
            col=col,
            kind="bad" if i in defocused | astigmatic else "blank" if i in blank else "good",
            blur_px=round(sum(math.hypot(probe, s) for s in spreads) / 2, 3),
            astigmatism=astigmatism,
            defocus_um=round(sum(spreads) / 2 * plan.pixel_size_nm * 2 / HALF_ANGLE_RAD / 1000, 2),
            dose=round(plan.dose * float(np.exp(np.clip(drift[section, 0], -0.7, 0.7))), 1),
            contrast=round(1 + float(np.clip(drift[section, 1], -0.2, 0.1)), 3),
            brightness=round(float(np.clip(drift[section, 2], -0.05, 0.05)), 3),
        )
        exposures.append(Exposure(truth=truth, probe_px=probe, spread_px=spreads))
    return exposures


def expose(scene: Array, exposure: Exposure, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Take a picture of `scene`.

    Parameters
    ----------
    scene : (rows + 2 MARGIN_PX, cols + 2 MARGIN_PX) in [0, 1], 1 is white

    Returns
    -------
    (rows, cols) uint8
    """
    truth = exposure.truth
    image = _spread(scene, exposure.probe_px, exposure.spread_px)[MARGIN_PX:-MARGIN_PX, MARGIN_PX:-MARGIN_PX]
    image = np.clip(0.5 + truth.contrast * (image - 0.5) + truth.brightness, 0.02, 1.0)
    # Machines differ in the last digit of exp or sin; whole steps keep that from reaching the file.
    image = np.rint(image * 1024) / 1024
    noise = rng.poisson(image * 2 * truth.dose) / (2 * truth.dose) - image
    noise = ndimage.convolve1d(noise, (0.05, 0.9, 0.05), axis=1)  # the detector's bandwidth, along the scan
    noise += rng.normal(0, 0.003, (image.shape[0], 1)) + rng.normal(0, 0.006, image.shape)
    levels: Array = np.clip(np.rint((image + noise) * 255), 0, 255)
    return levels.astype(np.uint8)


def _spread(scene: Array, probe_px: float, spread_px: tuple[float, float]) -> Array:
    """Convolve with a Gaussian probe and an elliptic disc of the given standard deviations."""
    v, u = fft.fftfreq(scene.shape[0])[:, None], fft.rfftfreq(scene.shape[1])[None, :]
    transfer = np.exp(-2 * (np.pi * probe_px) ** 2 * (u**2 + v**2))
    # A disc of radius R has standard deviation R / 2 along each axis.
    phase = np.maximum(4 * np.pi * np.hypot(spread_px[0] * v, spread_px[1] * u), 1e-9)
    transfer *= 2 * special.j1(phase) / phase
    return np.asarray(fft.irfft2(fft.rfft2(scene) * transfer, s=scene.shape), np.float64)


def resin(plan: RunPlan, truth: TileTruth) -> Array:
    """Bare resin: light, with a slow shading and nothing to focus on; of the shape that `expose` takes."""
    slope = _rng(plan, 5, truth.section, truth.row, truth.col).uniform(-0.03, 0.03, 2)
    ramp = np.linspace(-1, 1, plan.tile_px + 2 * MARGIN_PX)
    return np.asarray(0.78 + slope[0] * ramp[:, None] + slope[1] * ramp[None, :], np.float64)


# The tissue: all lengths in nm, all places (z, y, x) ----------------------------------------------------------------


class _SmoothField:
    """Random fields of unit variance that change over about `spacing_nm`: B-splines on a random lattice."""

    def __init__(
        self, rng: np.random.Generator, size_nm: tuple[float, float, float], spacing_nm: float, n: int = 1
    ) -> None:
        self.spacing_nm = spacing_nm
        shape = [math.ceil((side + 2 * _PAD_NM) / spacing_nm) + 4 for side in size_nm]
        self.lattice = rng.normal(0, (315 / 151) ** 1.5, (n, *shape))  # what B-spline smoothing takes away

    def sample(self, z: float, y: Array, x: Array, slope: bool = False) -> Array:
        """Values on the grid y by x, (n, len(y), len(x)), or with `slope` their change along z, per nm."""
        (planes, of_z), (rows, of_y), (cols, of_x) = (
            self._weights(place, self.lattice.shape[axis], slope and axis == 1)
            for axis, place in enumerate((np.array([z]), y, x), start=1)
        )
        plane = np.einsum("p,npyx->nyx", of_z[0], self.lattice[:, planes, rows, cols])
        return np.asarray(of_y @ plane @ of_x.T, np.float64)

    def _weights(self, place: Array, n: int, slope: bool) -> tuple[slice, Array]:
        """The lattice points that matter for these places, and the cubic B-spline of each, (places, points)."""
        t = (place + _PAD_NM) / self.spacing_nm + 1
        points = slice(max(math.floor(t[0]) - 1, 0), min(math.floor(t[-1]) + 3, n))
        t = t[:, None] - np.arange(n)[points]
        a = np.abs(t)
        if slope:
            down = np.where(a < 1, (1.5 * a - 2) * a, np.where(a < 2, -((2 - a) ** 2) / 2, 0))
            return points, down * np.sign(t) / self.spacing_nm
        return points, np.where(a < 1, 2 / 3 - a**2 + a**3 / 2, np.where(a < 2, (2 - a) ** 3 / 6, 0))


@dataclass(frozen=True)
class _Organelle:
    """A capsule round the segment `centre` +- `half`, inside one neurite."""

    centre: Array
    half: Array
    radius: float
    neurite: int
    kind: str  # "mitochondrion" or "endosome"
    across: Array  # direction in which the cristae follow one another


@dataclass(frozen=True)
class _Synapse:
    centre: Array
    towards: Array  # unit vector from the side with vesicles to the other
    radius: float
    neurite: int  # with the vesicles
    vesicles: Array  # (n, 3)


@dataclass(frozen=True)
class _Tube:
    """A blood vessel or a myelinated axon, straight before the warp bends it."""

    through: Array
    along: Array
    radius: float
    wall: float
    kind: str  # "vessel" or "axon"
    neurite: int  # that its inside counts as


class Specimen:
    """The tissue of a run; `view` cuts one tile's scene out of one section."""

    def __init__(self, plan: RunPlan) -> None:
        self.plan = plan
        rng = _rng(plan, 0)
        size = plan.size_nm
        self._warps = [
            (amplitude, _SmoothField(rng, size, spacing, 3))
            for amplitude, spacing in ((110.0, 800.0), (48.0, 230.0), (15.0, 80.0))
        ]
        self._shade = _SmoothField(rng, size, 700.0)
        self._reticulum = _SmoothField(rng, size, 110.0)
        self._last_grain: tuple[int, Array, Array] | None = None
        self._grow_neurites(rng)
        self._tubes = self._lay_tubes(rng)
        self._organelles = self._place_organelles(rng)
        self._synapses = self._place_synapses(rng)

    # Building

    def _grow_neurites(self, rng: np.random.Generator) -> None:
        """Lay random walks of spheres, thin and thick, until their volumes add up to the tissue's."""
        low, extent = -_PAD_NM, np.array(self.plan.size_nm) + 2 * _PAD_NM
        filled, chains = 0.0, []
        while filled < 1.1 * extent.prod():
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
        self._sphere = np.concatenate([places for places, _, _ in chains])
        self._radius = np.concatenate([radii for _, radii, _ in chains])
        self._along = np.concatenate([directions for _, _, directions in chains])
        self._neurite = np.repeat(np.arange(len(chains)), [len(places) for places, _, _ in chains])
        # A power diagram is a Voronoi diagram with one more coordinate, which a k-d tree can search.
        lift = np.sqrt(self._radius.max() ** 2 - self._radius**2)
        self._tree = spatial.cKDTree(np.column_stack([self._sphere, lift]), leafsize=32)
        n = len(chains)
        self._grey = np.clip(rng.normal(0.72, 0.045, n), 0.55, 0.82)
        self._graininess = np.clip(rng.lognormal(0.25, 0.5, n), 0.4, 2.4)
        self._has_tubules = rng.random(n) < 0.5
        mean_along = np.array([d.mean(axis=0) if len(d) else (1.0, 0.0, 0.0) for _, _, d in chains])
        first = np.cross(mean_along, rng.normal(size=(n, 3)))
        first /= np.linalg.norm(first, axis=1, keepdims=True)
        second = np.cross(mean_along, first)
        self._frame = np.stack([first, second / np.linalg.norm(second, axis=1, keepdims=True)])

    def _lay_tubes(self, rng: np.random.Generator) -> list[_Tube]:
        size = np.array(self.plan.size_nm)
        area_um2 = size[1] * size[2] / 1e6
        hosts = np.flatnonzero(self._has_tubules)  # one of these lends its cytoplasm to an axon
        tubes: list[_Tube] = []
        for kind, per_um2, radii, walls in (
            ("vessel", 1 / 90, (750, 1100), (110, 200)),
            ("axon", 1 / 40, (220, 420), (80, 140)),
        ):
            for _ in range(int(area_um2 * per_um2)):
                along = np.array([1.0, *rng.normal(0, 0.35, 2)])
                through = rng.uniform(0, size)
                radius, wall, host = rng.uniform(*radii), rng.uniform(*walls), int(rng.choice(hosts))
                apart = [np.linalg.norm(through - t.through) > 1.5 * (radius + wall + t.radius + t.wall) for t in tubes]
                if all(apart):
                    tubes.append(_Tube(through, along / np.linalg.norm(along), radius, wall, kind, host))
        return tubes

    def _place_organelles(self, rng: np.random.Generator) -> list[_Organelle]:
        organelles: list[_Organelle] = []
        for kind, share, thick in (("mitochondrion", 0.040, 130.0), ("endosome", 0.006, 90.0)):
            roomy = np.flatnonzero(
                (self._radius > thick) & (rng.random(len(self._radius)) < share * self._radius / 100)
            )
            for i in roomy:
                radius = float(rng.uniform(0.42, 0.7)) * min(float(self._radius[i]), 260.0)
                length = float(rng.uniform(100, 450)) if kind == "mitochondrion" else float(rng.uniform(0, 60))
                radius = radius if kind == "mitochondrion" else 0.6 * radius
                aside = rng.normal(0, 0.25, 3) * self._radius[i]
                across = rng.normal(0, 0.5, 3) + self._along[i]
                across /= np.linalg.norm(across)
                organelles.append(
                    _Organelle(
                        self._sphere[i] + aside, self._along[i] * length, radius, int(self._neurite[i]), kind, across
                    )
                )
        return organelles

    def _place_synapses(self, rng: np.random.Generator) -> list[_Synapse]:
        wanted = 1.1 * np.prod(np.array(self.plan.size_nm) + 2 * _PAD_NM) / 1e9
        synapses: list[_Synapse] = []
        for i in rng.choice(np.flatnonzero((self._radius > 110) & (self._radius < 450)), int(4 * wanted)):
            if len(synapses) >= wanted:
                break
            here = self._sphere[i]
            _, near = self._tree.query([*here, 0.0], k=24)
            j = next((int(k) for k in near if self._neurite[k] != self._neurite[i]), None)
            if j is None:
                continue
            gap = self._sphere[j] - here
            distance = float(np.linalg.norm(gap))
            towards = gap / distance
            reach = (distance + (self._radius[i] ** 2 - self._radius[j] ** 2) / distance) / 2
            centre = here + reach * towards
            if reach < 60 or not self._owns(centre - 20 * towards, int(self._neurite[i])).all():
                continue
            n = int(rng.integers(150, 420))
            offsets = rng.normal(0, 140, (n, 3))
            offsets -= (offsets @ towards)[:, None] * towards
            vesicles = centre + offsets - (35 + np.abs(rng.normal(0, 150, n)))[:, None] * towards
            synapses.append(_Synapse(centre, towards, float(rng.uniform(110, 200)), int(self._neurite[i]), vesicles))
        return synapses

    def _grain(self, section: int) -> tuple[Array, Array]:
        """Ribosomes and other small matter: fine and coarse noise of unit variance, new in each section."""
        if self._last_grain is None or self._last_grain[0] != section:
            noise = _rng(self.plan, 6, section).normal(size=(2, _GRAIN_PX, _GRAIN_PX))
            fine, coarse = (
                ndimage.gaussian_filter(layer, sigma / self.plan.pixel_size_nm, mode="wrap")
                for layer, sigma in zip(noise, (9.0, 26.0), strict=True)
            )
            self._last_grain = section, fine / fine.std(), coarse / coarse.std()
        return self._last_grain[1:]

    def _owns(self, places: Array, neurite: int) -> Bools:
        places = np.atleast_2d(places)
        _, nearest = self._tree.query(np.column_stack([places, np.zeros(len(places))]))
        return np.asarray(self._neurite[nearest] == neurite)

    # Cutting

    def view(self, section: int, row: int, col: int) -> Array:
        """The scene of one tile, with its margin: (tile_px + 2 MARGIN_PX) squared, in [0, 1], 1 is white."""
        side = self.plan.tile_px + 2 * MARGIN_PX
        block = max(1, round(_BLOCK_NM / self.plan.pixel_size_nm))
        whole = -(-side // block) * block
        top, left = (n * self.plan.step_px - MARGIN_PX for n in (row, col))
        y, x = ((start + np.arange(whole, dtype=np.float64)) * self.plan.pixel_size_nm for start in (top, left))
        return _Cut(self, section, y, x, block).scene(top, left)[:side, :side]


class _Cut:
    """One section of the specimen, seen on a grid of pixels."""

    def __init__(self, specimen: Specimen, section: int, y: Array, x: Array, block: int) -> None:
        self.specimen, self.section, self.y, self.x, self.block = specimen, section, y, x, block
        self.z = section * SECTION_NM
        # Where each pixel lies in the unbent tissue, and how that changes along z, y and x.
        here = np.stack(np.broadcast_arrays(self.z, y[:, None], x[None, :]))
        warps = specimen._warps
        self.place: Array = here + sum(a * field.sample(self.z, y, x) for a, field in warps)
        along_z = sum(a * field.sample(self.z, y, x, slope=True) for a, field in warps)
        along_z += np.array([1.0, 0.0, 0.0])[:, None, None]
        self.bend = np.stack([along_z, *np.gradient(self.place, specimen.plan.pixel_size_nm, axis=(1, 2))])
        self.shade = specimen._shade.sample(self.z, y, x)[0]
        self._partition()

    def _partition(self) -> None:
        """Give each pixel its neurite, its depth below that one's membrane, and the membrane's tilt."""
        specimen, block, plane = self.specimen, self.block, self.place.shape[1:]
        n = plane[0] // block, plane[1] // block
        self.coarse = self.place[:, block // 2 :: block, block // 2 :: block]
        centres = self.coarse.reshape(3, -1).T
        self.low, self.high = centres.min(axis=0) - _BLOCK_NM, centres.max(axis=0) + _BLOCK_NM
        _, near = specimen._tree.query(np.column_stack([centres, np.zeros(len(centres))]), k=_CANDIDATES)
        pixels = self.place.reshape(3, n[0], block, n[1], block).transpose(1, 3, 0, 2, 4).reshape(len(near), 3, -1)
        neurite = np.empty((len(near), block**2), np.intp)
        lead, pull = np.empty((len(near), block**2)), np.empty((3, len(near), block**2))
        for start in range(0, len(near), 128):  # so many blocks stay in the processor's cache
            part = slice(start, start + 128)
            of = near[part]
            spheres = specimen._sphere[of] - centres[part, None]
            offsets = pixels[part] - centres[part, :, None]
            held = _compete(spheres, specimen._radius[of], specimen._neurite[of], offsets)
            neurite[part], lead[part], pull[:, part] = held

        def in_place(of_blocks: npt.NDArray[Any]) -> npt.NDArray[Any]:
            apart: npt.NDArray[Any] = of_blocks.reshape(-1, n[0], n[1], block, block)
            joined: npt.NDArray[Any] = apart.transpose(0, 1, 3, 2, 4).reshape(-1, *plane)
            return joined

        normal = np.einsum("rayx,ayx->ryx", self.bend, in_place(pull))
        steepness = np.maximum(np.sqrt((normal**2).sum(axis=0)), 120 / _SOFTNESS_NM2)
        self.neurite: Ints = in_place(neurite)[0]
        self.depth: Array = in_place(lead)[0] / steepness
        self.tilt: Array = np.abs(normal[0]) / steepness
        for tube in specimen._tubes:
            self._insert_tube(tube)

    def scene(self, top: int, left: int) -> Array:
        """The light that comes through, 1 is white; (top, left) is the first pixel's place in the section."""
        specimen = self.specimen
        self.light = self._cytoplasm(top, left)
        for organelle in specimen._organelles:
            self._draw_organelle(organelle)
        for synapse in specimen._synapses:
            self._draw_vesicles(synapse)
        apart = 8.0  # half the distance between the membranes of two neighbours
        membranes = _line(self.depth - apart, self.tilt) + _line(self.depth + apart, self.tilt)
        self._stain(slice(None), slice(None), 0.95 * membranes)
        for synapse in specimen._synapses:
            self._draw_density(synapse)
        for tube in specimen._tubes:
            self._draw_tube(tube)
        return np.clip(self.light, 0, 1)

    def _stain(self, rows: slice, cols: slice, absorbed: Array) -> None:
        self.light[rows, cols] *= 1 - np.minimum(absorbed, 0.9)

    def _cytoplasm(self, top: int, left: int) -> Array:
        specimen, neurite = self.specimen, self.neurite
        rows, cols = (
            np.arange(start, start + n) % _GRAIN_PX for start, n in zip((top, left), neurite.shape, strict=True)
        )
        fine, coarse = (layer[np.ix_(rows, cols)] for layer in specimen._grain(self.section))
        shade = self.shade
        inside = np.clip((self.depth - 14) / 10, 0, 1)
        density = specimen._graininess[neurite] * np.exp(0.35 * shade) * inside
        light = specimen._grey[neurite] + 0.02 * shade + 0.035 * coarse * np.minimum(density, 1.2)
        light *= 1 - np.minimum(0.20 * density * np.maximum(fine - 0.9, 0), 0.55)
        cisterna = specimen._reticulum.sample(self.z, self.y, self.x)[0]
        # Smooth reticulum: thin sheets where the field is near zero, only well inside the larger neurites.
        sheet = np.exp(-((cisterna / 0.12) ** 2)) * np.clip((self.depth - 70) / 50, 0, 1) * np.clip(shade - 0.3, 0, 1)
        light *= 1 - 0.25 * sheet
        return np.asarray(light * (1 - 0.45 * self._tubules() * inside), np.float64)

    def _tubules(self) -> Array:
        """Microtubules: dots where a neurite is cut across, lines where it is cut along."""
        specimen, spacing = self.specimen, 85.0
        out = np.zeros(self.neurite.shape)
        where = specimen._has_tubules[self.neurite] & (self.depth > 25)
        neurite, place = self.neurite[where], self.place[:, where]
        a, b = (np.einsum("pa,ap->p", specimen._frame[k][neurite], place) / spacing for k in range(2))
        i, j = np.floor(a), np.floor(b)
        key = (i.astype(np.int64) * 73856093) ^ (j.astype(np.int64) * 19349663) ^ (neurite * 83492791)
        key = (key * 2654435761) & 0xFFFFFFFF
        shift_a, shift_b, there = ((key >> 7) & 255) / 255, ((key >> 15) & 255) / 255, ((key >> 23) & 255) < 110
        squared = (a - i - 0.2 - 0.6 * shift_a) ** 2 + (b - j - 0.2 - 0.6 * shift_b) ** 2
        out[where] = there * np.exp(-squared * spacing**2 / (2 * 8.5**2))
        return out

    def _window(self, centre: Array, reach: float) -> tuple[slice, slice] | None:
        """The pixels within `reach` of a place, or None when this cut misses it."""
        if (np.maximum(self.low - centre, centre - self.high) > reach).any():
            return None
        near = ((self.coarse - centre[:, None, None]) ** 2).sum(axis=0) < (reach + _BLOCK_NM) ** 2
        if not near.any():
            return None
        rows, cols = (np.flatnonzero(near.any(axis=axis)) for axis in (1, 0))
        return (
            slice(int(rows[0]) * self.block, (int(rows[-1]) + 1) * self.block),
            slice(int(cols[0]) * self.block, (int(cols[-1]) + 1) * self.block),
        )

    def _draw_organelle(self, organelle: _Organelle) -> None:
        window = self._window(organelle.centre, organelle.radius + float(np.linalg.norm(organelle.half)))
        if window is None:
            return
        offset = self.place[:, window[0], window[1]] - organelle.centre[:, None, None]
        length = float(np.linalg.norm(organelle.half))
        if length > 0:
            axis = organelle.half / length
            along = np.clip(np.tensordot(axis, offset, 1), -length, length)
            radial = offset - axis[:, None, None] * along
        else:
            radial = offset
        distance = np.sqrt((radial**2).sum(axis=0))
        tilt = np.abs(radial[0]) / np.maximum(distance, 1)
        room = np.where(self.neurite[window] == organelle.neurite, self.depth[window] - 38, -1000.0)
        depth = _soft_min(organelle.radius - distance, room, 25.0)
        inside = np.clip(depth / 6 + 0.5, 0, 1)
        if organelle.kind == "mitochondrion":
            wave = np.tensordot(organelle.across, offset, 1) / 62 * 2 * np.pi
            wave += 1.4 * self.shade[window]
            cristae = np.clip(1.9 * np.cos(wave) - 0.7, 0, 1) * np.clip((depth - 22) / 8, 0, 1)
            body = 0.47 * (1 - 0.5 * cristae)
            skin = 0.5 * _line(depth, tilt) + 0.42 * _line(depth - 18, tilt)
        else:
            body = np.full(depth.shape, 0.84)
            skin = 0.6 * _line(depth, tilt)
        light = self.light[window]
        self.light[window] = light + inside * (body - light) * (1.0 if organelle.kind == "endosome" else 0.9)
        self._stain(*window, skin)

    def _draw_vesicles(self, synapse: _Synapse) -> None:
        window = self._window(synapse.centre, 600.0)
        if window is None:
            return
        near = synapse.vesicles
        place = self.place[:, window[0], window[1]]
        # Their z in this cut is judged at the middle of the cluster, which the warp moves as one.
        here = place.reshape(3, -1)[:, ((place - synapse.centre[:, None, None]) ** 2).sum(axis=0).argmin()]
        near = near[np.abs(near[:, 0] - here[0]) < 30]
        if not len(near):
            return
        mask = (self.neurite[window] == synapse.neurite) & (self.depth[window] > 20)
        points = place[1:, mask].T
        if not len(points):
            return
        distance, _ = spatial.cKDTree(near[:, 1:]).query(points, distance_upper_bound=60.0)
        ring = np.zeros(mask.shape)
        ring[mask] = 0.5 * np.exp(-(((distance - 17) / 6.5) ** 2)) - 0.10 * (distance < 12)
        self._stain(*window, ring)

    def _draw_density(self, synapse: _Synapse) -> None:
        window = self._window(synapse.centre, synapse.radius)
        if window is None:
            return
        offset = self.place[:, window[0], window[1]] - synapse.centre[:, None, None]
        across = np.tensordot(synapse.towards, offset, 1)
        beside = (offset**2).sum(axis=0) - across**2
        disc = np.exp(-((beside / synapse.radius**2) ** 2))
        depth = np.maximum(self.depth[window], 0)
        thin, thick = 0.5 * np.exp(-depth / 14), 0.85 * np.exp(-((depth / 34) ** 2))  # before and behind the cleft
        stain = np.where(self.neurite[window] == synapse.neurite, thin, thick)
        self._stain(*window, disc * np.exp(-((across / 160) ** 2)) * stain)

    def _insert_tube(self, tube: _Tube) -> None:
        """Make room for a tube: its inside is one neurite, and its wall is a membrane to all others."""
        within = tube.radius - self._off_axis(tube)
        inside = within > -tube.wall / 2
        beside = -within - tube.wall
        self.tilt = np.where(inside | (beside < self.depth), 0.1, self.tilt)
        self.depth = np.where(inside, within, np.minimum(self.depth, beside))
        self.neurite = np.where(inside, tube.neurite, self.neurite)

    def _draw_tube(self, tube: _Tube) -> None:
        within = tube.radius - self._off_axis(tube)
        lumen = np.clip(within / 8 + 0.5, 0, 1)
        wall = np.clip((within + tube.wall) / 8 + 0.5, 0, 1) * (1 - lumen)
        if tube.kind == "axon":
            self.light += wall * (0.17 + 0.08 * np.cos(2 * np.pi * within / 17) - self.light)  # lamellae of myelin
            return
        lamina = np.clip((within + tube.wall + 45) / 14, 0, 1) * (1 - lumen)
        self.light += lamina * (0.60 - self.light)
        self.light += wall * (0.47 + 0.03 * self.shade - self.light)
        self.light += lumen * (0.80 - self.light)
        self._stain(slice(None), slice(None), 0.7 * (_line(within, 0.1) + _line(within + tube.wall, 0.1)))

    def _off_axis(self, tube: _Tube) -> Array:
        offset = self.place - tube.through[:, None, None]
        along = np.tensordot(tube.along, offset, 1)
        return np.asarray(np.sqrt((offset**2).sum(axis=0) - along**2), np.float64)


def _compete(spheres: Array, radii: Array, neurites: Ints, places: Array) -> tuple[Ints, Array, Array]:
    """Which neurite holds each place of some blocks, by how much, and how that changes from place to place.

    A sphere's weight is exp(-(distance^2 - radius^2) / softness). The heaviest sphere's neurite holds the place; it
    leads by log(own weights / weights of all others), which is 0 on the membrane.

    Parameters
    ----------
    spheres, radii, neurites : (blocks, candidates, 3), (blocks, candidates), (blocks, candidates)
    places : (blocks, 3, places)

    Returns
    -------
    neurite, lead : (blocks, places)
    gradient of lead : (3, blocks, places), per nm
    """
    # The square of the place itself is common to all candidates, so it is left out.
    constant = (radii**2 - (spheres**2).sum(axis=-1)) / _SOFTNESS_NM2
    exponent = (2 / _SOFTNESS_NM2 * spheres) @ places + constant[..., None]
    best = exponent.argmax(axis=1)
    exponent -= np.take_along_axis(exponent, best[:, None], 1)
    weight = np.exp(exponent, out=exponent)
    neurite = np.take_along_axis(neurites, best, 1)
    of_own = weight * (neurites[..., None] == neurite[:, None])
    of_other = weight - of_own
    own, other = of_own.sum(axis=1), of_other.sum(axis=1) + 1e-200
    across = spheres.transpose(0, 2, 1)
    gradient = (across @ of_own) / own[:, None] - (across @ of_other) / other[:, None]
    return neurite, np.log(own / other), 2 / _SOFTNESS_NM2 * gradient.transpose(1, 0, 2)


def _line(distance: Array, tilt: Array | float) -> Array:
    """Stain of a membrane at `distance`, seen through the section: steep ones are thin and dark, oblique ones smear."""
    width = np.sqrt(_MEMBRANE_NM**2 + (_SEEN_NM**2 / 12) * np.square(tilt))
    return np.asarray(_MEMBRANE_NM / width * np.exp(-0.5 * (distance / width) ** 2), np.float64)


def _soft_min(a: Array, b: Array, softness: float) -> Array:
    """The smaller of two, its corner rounded over about `softness`."""
    h = np.clip(0.5 + 0.5 * (b - a) / softness, 0, 1)
    return np.asarray(b + (a - b) * h - softness * h * (1 - h), np.float64)
