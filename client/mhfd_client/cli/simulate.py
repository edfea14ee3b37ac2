"""`mhfd simulate` and `mhfd demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from mhfd.text import counted
from mhfd_client.cli.options import FOLDER, Command, example, option, say, with_options


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
@_plan_options
def simulate(out: Path, **plan: Any) -> None:
    """Write a synthetic serial-section run to the folder OUT: tiles and truth.csv."""
    from mhfd_client.simulate import RunPlan, simulate_run
    from mhfd_client.views import terminal

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

    With --live it goes on until Ctrl-C.
    """
    from mhfd_client.simulate import RunPlan

    if live:
        from mhfd_client.cli.live import live_demo

        live_demo(out, RunPlan(**plan), browser=browser)
    else:
        from mhfd_client.simulate.demo import run_demo

        run_demo(out, RunPlan(**plan))
