"""`mhfd bench`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from mhfd_client.bench.plan import BACKENDS, FIGURES
from mhfd_client.cli.names import OneOf
from mhfd_client.cli.options import FILE, FOLDER, example


@click.command(epilog=example("mhfd bench --quick"))
@click.option("--figure", "figures", type=OneOf(FIGURES), multiple=True, help="May be repeated.  [default: all]")
@click.option("--backend", "backends", type=OneOf(BACKENDS), multiple=True, help="May be repeated.  [default: all]")
@click.option(
    "--device",
    "devices",
    type=click.IntRange(min=0),
    multiple=True,
    help="A GPU that shares the tile; may be repeated, also the same one.  [default: all]",
)
@click.option("--repeats", type=click.IntRange(min=2), help="Rounds; the first does not count.  [default: 21]")
@click.option("--side", type=click.IntRange(min=64), help="Of tiles, but in figure 3b.  [default: 1024]")
@click.option("--n-scales", type=click.IntRange(min=1), help="But in figure 3a.  [default: 16]")
@click.option("--max-side", type=click.IntRange(min=64), help="Largest tile of figure 3b.  [default: 4096]")
@click.option("--tile", type=FILE, help="Use this picture, not a simulated one.")
@click.option("--quick", is_flag=True, help="Run everything on tiny tiles: shows that it works, not how fast.")
@click.option("--out", type=FOLDER, help="Keep every time, the tables and pictures in this folder.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON and nothing else.")
def bench(out: Path | None, as_json: bool, **plan: Any) -> None:
    """Measure the speed of mhfd and other programs on this machine, and reproduce the paper's figures."""
    from mhfd_client.bench.plan import make_plan
    from mhfd_client.bench.run import run_bench

    run_bench(make_plan(**plan), out, as_json=as_json)
