"""Plan a simulated focal series: one place, taken at several working distances, and the truth about each frame."""

from __future__ import annotations

import math
from dataclasses import dataclass

from mhfd.contract import ParamsError
from mhfd_client.simulate.plan import HALF_ANGLE_RAD, Exposure, RunPlan, TileTruth

DISTANCES = ("file", "working_distance_um")
"""Columns of z.csv, as `mhfd calibrate --distances` reads them."""

BEST_UM = 5200.0
"""Working distance of best focus."""

ASIDE = 0.2
"""Best focus lies so many steps from the middle of a series, so that no two frames are equally far from it."""

PROBE_PX = 0.55
LEAST_FRAMES, MOST_FRAMES = 3, 99
MOST_SPREAD_PX = 6.0
"""A wider disc would bring in tissue from beyond what is rendered around a tile."""


@dataclass(frozen=True, kw_only=True)
class SeriesPlan:
    """A focal series to simulate.

    Attributes
    ----------
    field : the specimen and how it is taken; a single tile of it is shown
    frames : 3 to 99
    step_um : of the working distance, from frame to frame

    Raises
    ------
    ParamsError
        a value is out of range; the message gives the range.
    """

    field: RunPlan
    frames: int = 9
    step_um: float = 1.5

    def __post_init__(self) -> None:
        if not LEAST_FRAMES <= self.frames <= MOST_FRAMES:
            raise ParamsError(f"a focal series has {LEAST_FRAMES} to {MOST_FRAMES} frames, not {self.frames}.")
        if not self.step_um > 0:
            raise ParamsError(f"step_um must be above 0, not {self.step_um:g}.")
        if (reach := max(map(abs, self.defocus_um))) > (most := MOST_SPREAD_PX / self.px_per_um):
            raise ParamsError(
                f"The outer frame of this series is {reach:.3g} um out of focus; {most:.3g} is the most that is "
                "simulated with this pixel size. Choose fewer frames or a smaller step_um."
            )

    @property
    def px_per_um(self) -> float:
        """Standard deviation of the point-spread function that a micrometre of defocus adds."""
        return HALF_ANGLE_RAD / 2 * 1000 / self.field.pixel_size_nm

    @property
    def defocus_um(self) -> tuple[float, ...]:
        """Of each frame; negative on the near side."""
        return tuple((i - (self.frames - 1) / 2 - ASIDE) * self.step_um for i in range(self.frames))


def plan_series(plan: SeriesPlan) -> list[tuple[float, Exposure]]:
    """The frames of a series with their working distances in um; nothing but the defocus differs between them."""
    digits = len(str(plan.frames - 1))
    return [
        (round(BEST_UM + defocus, 6), _exposure(plan, f"z{i:0{digits}}.tif", abs(defocus)))
        for i, defocus in enumerate(plan.defocus_um)
    ]


def _exposure(plan: SeriesPlan, file: str, defocus_um: float) -> Exposure:
    spread = defocus_um * plan.px_per_um
    truth = TileTruth(
        file=file,
        section=0,
        row=0,
        col=0,
        kind="good" if spread < 1 else "bad",
        blur_px=round(math.hypot(PROBE_PX, spread), 3),
        astigmatism="",
        defocus_um=round(defocus_um, 3),
        dose=plan.field.dose,
        contrast=1.0,
        brightness=0.0,
    )
    return Exposure(truth=truth, probe_px=PROBE_PX, spread_px=(spread, spread))
