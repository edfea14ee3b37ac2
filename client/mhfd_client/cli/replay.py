"""`mhfd replay`."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import click

from mhfd.contract import ExitCode
from mhfd_client.cli.options import FILE, FOLDER, Existing, example, say


class Speed(click.ParamType):
    """How many times faster than the original: 10x, 0.5x, max."""

    name = "speed"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        text = str(value).strip().lower()
        try:
            speed = math.inf if text == "max" else float(text.removesuffix("x"))
        except ValueError:
            speed = 0.0
        if not speed > 0:
            self.fail(f"{value!r} is not a speed; write it like 10x, 0.5x or max", param, ctx)
        return speed


@click.command(epilog=example("mhfd replay run --into copy --speed max"))
@click.argument("run", type=Existing(file_okay=False))
@click.option("--into", type=FOLDER, required=True, help="The folder to fill; nothing in it is overwritten.")
@click.option("--speed", type=Speed(), help="Times the original speed, like 10x; max: no waiting.  [default: 10x]")
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), help="Tiles a second, instead of --speed.")
@click.option("--max-gap-s", type=click.FloatRange(min=0), default=10.0, show_default=True, help="Longest interval.")
@click.option("--half-written", is_flag=True, help="Let files grow, rest, be preallocated, renamed, taken again.")
@click.option("--faults", is_flag=True, help="Leave some tiles unfinished.")
@click.option("--repeat", type=click.IntRange(min=1), default=1, show_default=True, help="Repeat in again-0002, ...")
@click.option("--seed", type=int, default=1, show_default=True, help="Same seed, same way of writing.")
@click.option("--manifest", type=FILE, help="Record of what was written.  [default: beside the folder]")
def replay(
    run: Path,
    into: Path,
    speed: float | None,
    rate: float | None,
    max_gap_s: float,
    half_written: bool,
    faults: bool,
    repeat: int,
    seed: int,
    manifest: Path | None,
) -> None:
    """Feed the old run RUN into a folder, as a microscope would, to try `mhfd watch` without one.

    RUN is only read. Text files that name its tiles grow with them. The manifest lists what every file should hold,
    which tiles were taken again, and which were left unfinished.

    Exit code: 0, 2 it cannot be done as asked, 75 a file could not be read or written, 130 interrupted.
    """
    from mhfd_client.replay import manifest_path, plan_replay, run_replay
    from mhfd_client.views import terminal

    if speed is not None and rate is not None:
        raise click.UsageError("give --speed or --rate, not both")
    plan = plan_replay(
        run, speed=speed or 10.0, rate=rate, max_gap_s=max_gap_s, half_written=half_written, faults=faults,
        repeat=repeat, seed=seed,
    )  # fmt: skip
    with terminal.progress("replaying") as advance:
        told = run_replay(plan, into, manifest, advance)
    tiles = [entry for entry in told["files"] if entry["kind"] == "tile"]
    whole = sum(entry["state"] == "whole" for entry in tiles)
    again = sum(entry["reacquired"] for entry in tiles)
    left = sum(entry["state"] == "unfinished" for entry in tiles)
    others = len(told["files"]) - len(tiles)
    say(
        f"Tiles in {into}: {whole} of {plan.n_tiles}, {again} of them taken again; {left} left unfinished. "
        f"Other files: {others}. Manifest: {manifest or manifest_path(into)}"
    )
    if told["interrupted"]:
        sys.exit(ExitCode.INTERRUPTED)
