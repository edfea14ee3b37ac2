"""`mhfd bench`: measure, print, save."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import tifffile
from numpy.typing import NDArray

from mhfd.contract import FocusParams
from mhfd.extras import install_hint
from mhfd_client.bench import machine, plots, tables
from mhfd_client.bench.contestants import Contestant, Field, Trial, gather
from mhfd_client.bench.feeding import files_needed, gather_files, write_files
from mhfd_client.bench.plan import BenchPlan, Figure
from mhfd_client.bench.race import Sample, Summary, race, summarise
from mhfd_client.bench.shared import gather_curves, gather_phases
from mhfd_client.bench.tile import cut, picture
from mhfd_client.files.whole import write_whole
from mhfd_client.views import terminal


def run_bench(plan: BenchPlan, out: Path | None = None, *, as_json: bool = False) -> tables.Report:
    """Carry out a plan and print Markdown tables, or JSON.

    Parameters
    ----------
    out : folder, made if missing, for raw.csv (every repeat), summary.csv, tables.md and, where matplotlib is
        installed, pictures

    Raises
    ------
    BackendError
        a backend was named that does not work here.
    TileError
        the plan's tile cannot be read.
    """
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)  # to fail before the work, not after it
    with terminal.progress("measuring") as advance:
        report = measure(plan, advance)
    sys.stdout.write(tables.as_json(report) + "\n" if as_json else tables.as_markdown(report))
    if out is not None:
        _keep(report, out)
    return report


def measure(plan: BenchPlan, advance: Callable[[int, int], None] = lambda done, total: None) -> tables.Report:
    """Carry out a plan.

    Parameters
    ----------
    advance : called with the turns done and all turns; each contestant has one turn a round
    """
    nobody = Field(contestants=(), missing=())
    field = gather(plan.backends, plan.batch) if set(plan.figures) - {"4", "files"} else nobody
    phases = gather_phases(plan.backends, plan.devices) if "4" in plan.figures else nobody
    curves = gather_curves(plan.backends, plan.devices) if {"3a", "3b"} & set(plan.figures) else nobody
    feeding = gather_files(plan.backends, plan.batch) if "files" in plan.figures else nobody
    races = [
        (figure, side, n_scales, _racing(figure, field, curves, phases, feeding))
        for figure in plan.figures
        for side, n_scales in _points(plan, figure)
    ]
    source = picture(plan.tile, max(side for _, side, _, _ in races))
    total = plan.repeats * sum(len(contestants) for *_, contestants in races)
    turns = iter(range(1, total + 1))
    samples: list[Sample] = []
    left_out = list(dict.fromkeys(field.missing + curves.missing + phases.missing + feeding.missing))
    with tempfile.TemporaryDirectory() as folder:
        for figure, side, n_scales, contestants in races:
            pixels = cut(source, side)
            path = _file(pixels, Path(folder)) if figure == "rivals" else None
            files = (
                write_files(pixels, files_needed(contestants, plan.files), Path(folder)) if figure == "files" else ()
            )
            job = Trial(pixels=pixels, params=FocusParams(n_scales=n_scales), path=path, files=files)
            settle_s = 0 if figure == "files" else plan.settle_s
            measured, failed = race(
                figure, contestants, job, plan.repeats, lambda: advance(next(turns), total), settle_s
            )
            samples += measured
            left_out += failed
    return tables.Report(
        machine=machine.describe(),
        tile=f"{plan.tile or 'simulated tissue'}, {source.dtype}",
        params=FocusParams(),
        repeats=plan.repeats,
        settle_s=plan.settle_s,
        contestants=field.contestants,
        samples=samples,
        summaries=summarise(samples),
        left_out=left_out,
    )


def _racing(figure: Figure, field: Field, curves: Field, phases: Field, feeding: Field) -> list[Contestant]:
    if figure == "4":
        return list(phases.contestants)
    if figure == "files":
        return list(feeding.contestants)
    if figure == "rivals":
        return list(field.contestants)
    return [contestant for contestant in field.contestants + curves.contestants if contestant.curves]


def _points(plan: BenchPlan, figure: Figure) -> Iterator[tuple[int, int]]:
    """Side and number of scales of each tile of a figure."""
    if figure == "3a":
        yield from ((plan.side, n_scales) for n_scales in plan.scale_counts)
    elif figure == "3b":
        yield from ((side, plan.n_scales) for side in plan.sides)
    else:
        yield plan.side, plan.n_scales


def _file(pixels: NDArray[Any], folder: Path) -> Path:
    path = folder / "tile.tif"
    tifffile.imwrite(path, pixels, photometric="minisblack")
    return path


def _keep(report: tables.Report, out: Path) -> None:
    tables.write_csv(out / "raw.csv", report.samples, Sample)
    tables.write_csv(out / "summary.csv", report.summaries, Summary)
    write_whole(out / "tables.md", tables.as_markdown(report))
    try:
        plots.draw(report, out)
    except ImportError:
        sys.stderr.write(f"No pictures: matplotlib is not installed ({install_hint('bench')}).\n")
