"""`mhfd simulate` and `mhfd demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from mhfd.extras import needed
from mhfd.text import counted
from mhfd_client.cli.options import FOLDER, Command, example, option, say, with_options

LIVE_TILE_PX = 256
"""Side of a tile of the live demo: larger ones take a minute to simulate."""


def _plan_options(command: Command) -> Command:
    """The options that make a `RunPlan`."""
    options = [
        option("--sections", int, "Number of sections.", 6),
        option("--rows", int, "Rows of tiles in a section.", 2),
        option("--cols", int, "Columns of tiles in a section.", 3),
        option("--tile-px", int, "Side of a tile in pixels.", 512),
        option("--pixel-size-nm", float, "Nanometres per pixel.", 8.0),
        option("--bad-fraction", float, "Share of tiles out of focus or astigmatic.", 0.12),
        option("--blank-fraction", float, "Share of tiles that show bare resin.", 0.06),
        option("--dose", float, "Electrons per pixel at mid grey.", 200.0),
        option("--seed", int, "Same seed, same bytes.", 1),
    ]
    return with_options(command, options)


@click.command(epilog=example("mhfd simulate run --sections 3"))
@click.argument("out", type=FOLDER)
@click.option("--series", type=int, metavar="N", help="Instead, N frames of one place at several working distances.")
@click.option("--step-um", type=float, help="With --series: from frame to frame.  [default: 1.5]")
@_plan_options
def simulate(out: Path, series: int | None, step_um: float | None, **plan: Any) -> None:
    """Write a synthetic serial-section run to the folder OUT: tiles and truth.csv.

    With --series a focal series, with the working distances in z.csv: for `mhfd calibrate` and `mhfd report --figures`.
    """
    needed("scipy", "demo", "mhfd simulate")
    from mhfd_client.simulate import RunPlan, SeriesPlan, simulate_run, simulate_series
    from mhfd_client.views import terminal

    if series is not None:
        field = RunPlan(**{**plan, "sections": 1, "rows": 1, "cols": 1})
        taken = SeriesPlan(field=field, frames=series, **({} if step_um is None else {"step_um": step_um}))
        with terminal.progress("simulating") as advance:
            simulate_series(out, taken, advance)
        say(f"{counted(series, 'frame')}, z.csv and truth.csv in {out}. Next: mhfd calibrate {out} --distances "
            f"{out / 'z.csv'} --dry-run")  # fmt: skip
        return
    if step_um is not None:
        raise click.UsageError("--step-um goes with --series")
    with terminal.progress("simulating") as advance:
        truth = simulate_run(out, RunPlan(**plan), advance)
    say(f"{counted(len(truth), 'tile')} and truth.csv in {out}. Score them: mhfd score {out}")


@click.command(epilog=example("mhfd demo", "mhfd demo --live"))
@click.option("--out", type=FOLDER, default=Path("mhfd-demo"), show_default=True, help="Folder for tiles and report.")
@click.option("--live", is_flag=True, help="Write the run into a watched folder instead, and show it on a page.")
@click.option("--open/--no-open", "browser", default=True, show_default=True, help="With --live: open the page here.")
@_plan_options
def demo(out: Path, live: bool, browser: bool, **plan: Any) -> None:
    """Simulate a run, score it on this machine, compare the verdicts with the truth, write a report.

    With --live it goes on until Ctrl-C; tiles are smaller then, if --tile-px does not say, so that it begins soon.
    """
    needed("scipy", "demo", "mhfd demo")
    from mhfd_client.simulate import RunPlan

    if live and click.get_current_context().get_parameter_source("tile_px") is ParameterSource.DEFAULT:
        plan["tile_px"] = LIVE_TILE_PX

    if live:
        from mhfd_client.cli.live import live_demo

        live_demo(out, RunPlan(**plan), browser=browser)
    else:
        from mhfd_client.simulate.demo import run_demo

        run_demo(out, RunPlan(**plan))
