"""The files of a simulated run, its tiles and truth.csv; or of a simulated focal series, with z.csv beside."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, fields
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tifffile

from mhfd.backends import available_cores
from mhfd.contract import MhfdError
from mhfd_client.files.whole import as_text, written
from mhfd_client.simulate.microscope import expose, resin
from mhfd_client.simulate.plan import Exposure, RunPlan, TileTruth, plan_exposures
from mhfd_client.simulate.series import DISTANCES, SeriesPlan, plan_series
from mhfd_client.simulate.tissue import Specimen

_COLUMNS = [field.name for field in fields(TileTruth)]
_TILE_NAME = re.compile(r"(s\d{4,}_r\d+_c\d+|z\d+)\.tif")


MOST_THREADS = 8
"""More gain little: between NumPy's calls only one runs."""


class FolderInUseError(MhfdError, FileExistsError):
    """The output folder holds files that `simulate_run` did not write and must not touch."""


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
        `out` is a file, or holds files that no simulation wrote.
    OSError
        `out` cannot be written.
    """
    exposures = plan_exposures(plan)
    _start(out, exposures)
    specimen = Specimen(plan)

    def take(exposure: Exposure) -> None:
        truth = exposure.truth
        place = truth.section, truth.row, truth.col
        scene = resin(plan, truth) if truth.kind == "blank" else specimen.view(*place)
        _write_tile(out / truth.file, expose(scene, exposure, plan.rng("noise", *place)), plan.pixel_size_nm)

    # A tile depends on its place alone, and NumPy releases the lock, so threads share the tiles.
    return _taken(exposures, take, progress)


def simulate_series(out: Path, plan: SeriesPlan, progress: Callable[[int, int], None] | None = None) -> list[TileTruth]:
    """Write a focal series, `truth.csv` and the table of its distances, `z.csv`, into `out`; as `simulate_run`.

    Returns
    -------
    One `TileTruth` a frame, by distance.
    """
    frames = plan_series(plan)
    exposures = [exposure for _, exposure in frames]
    _start(out, exposures)
    _write_table(out / "z.csv", DISTANCES, [(exposure.truth.file, f"{distance:g}") for distance, exposure in frames])
    scene = Specimen(plan.field).view(0, 0, 0)

    def take(exposure: Exposure) -> None:
        noise = plan.field.rng("noise", exposures.index(exposure))
        _write_tile(out / exposure.truth.file, expose(scene, exposure, noise), plan.field.pixel_size_nm)

    return _taken(exposures, take, progress)


def _start(out: Path, exposures: Sequence[Exposure]) -> None:
    """A folder with the table alone: it marks it as ours, so that what was interrupted can be run again."""
    _clear(out)
    _write_table(out / "truth.csv", _COLUMNS, [astuple(exposure.truth) for exposure in exposures])


def _taken(
    exposures: Sequence[Exposure], take: Callable[[Exposure], None], progress: Callable[[int, int], None] | None
) -> list[TileTruth]:
    """Have all pictures taken, by several threads; what they show."""
    pool = ThreadPoolExecutor(min(available_cores(), MOST_THREADS), thread_name_prefix="mhfd-simulate")
    try:
        for done, _ in enumerate(pool.map(take, exposures), start=1):
            if progress is not None:
                progress(done, len(exposures))
    finally:
        pool.shutdown(cancel_futures=True)
    return [exposure.truth for exposure in exposures]


def _clear(out: Path) -> None:
    """Make `out` ready: new, empty, or rid of the tiles of an earlier simulation."""
    if out.exists() and not out.is_dir():
        raise FolderInUseError(f"{out} is a file. Give the name of a folder to write the simulated run to.")
    out.mkdir(parents=True, exist_ok=True)
    if not any(out.iterdir()):
        return
    table = out / "truth.csv"
    lines = table.read_text(encoding="utf-8", errors="replace").splitlines() if table.is_file() else []
    if lines[:1] != [",".join(_COLUMNS)]:
        raise FolderInUseError(
            f"{out} already holds files that mhfd did not simulate. "
            "Choose a new or empty folder, so that nothing is lost."
        )
    for line in lines[1:]:
        name = line.partition(",")[0]
        if _TILE_NAME.fullmatch(name):  # the table may have been edited, and could name any file
            (out / name).unlink(missing_ok=True)


def _write_table(path: Path, columns: Sequence[str], lines: Sequence[Sequence[object]]) -> None:
    with written(path) as out, as_text(out) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(lines)


def _write_tile(path: Path, image: npt.NDArray[np.uint8], pixel_size_nm: float) -> None:
    # The exact rational keeps the pixel size the same in the file as in the plan; 400 keeps it within 32 bits.
    per_cm = Fraction(10**7) / Fraction(pixel_size_nm).limit_denominator(400)
    resolution = per_cm.as_integer_ratio()
    tifffile.imwrite(
        path, image, photometric="minisblack", resolution=(resolution, resolution), resolutionunit="CENTIMETER",
        software="mhfd", metadata=None,
    )  # fmt: skip
