"""The files of a simulated run: its tiles and truth.csv."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
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
from mhfd_client.simulate.tissue import Specimen

_COLUMNS = [field.name for field in fields(TileTruth)]
_TILE_NAME = re.compile(r"s\d{4,}_r\d+_c\d+\.tif")


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
    _clear(out)
    exposures = plan_exposures(plan)
    truths = [exposure.truth for exposure in exposures]
    # The table goes first: it marks the folder as ours, so an interrupted run can be run again.
    _write_table(out / "truth.csv", truths)
    specimen = Specimen(plan)

    def take(exposure: Exposure) -> None:
        truth = exposure.truth
        place = truth.section, truth.row, truth.col
        scene = resin(plan, truth) if truth.kind == "blank" else specimen.view(*place)
        _write_tile(out / truth.file, expose(scene, exposure, plan.rng("noise", *place)), plan.pixel_size_nm)

    # A tile depends on its place alone, and NumPy releases the lock, so threads share the tiles.
    pool = ThreadPoolExecutor(min(available_cores(), MOST_THREADS), thread_name_prefix="mhfd-simulate")
    try:
        for done, _ in enumerate(pool.map(take, exposures), start=1):
            if progress is not None:
                progress(done, len(exposures))
    finally:
        pool.shutdown(cancel_futures=True)
    return truths


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


def _write_table(path: Path, truths: list[TileTruth]) -> None:
    with written(path) as out, as_text(out) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_COLUMNS)
        writer.writerows(astuple(truth) for truth in truths)


def _write_tile(path: Path, image: npt.NDArray[np.uint8], pixel_size_nm: float) -> None:
    # The exact rational keeps the pixel size the same in the file as in the plan; 400 keeps it within 32 bits.
    per_cm = Fraction(10**7) / Fraction(pixel_size_nm).limit_denominator(400)
    resolution = per_cm.as_integer_ratio()
    tifffile.imwrite(
        path, image, photometric="minisblack", resolution=(resolution, resolution), resolutionunit="CENTIMETER",
        software="mhfd", metadata=None,
    )  # fmt: skip
