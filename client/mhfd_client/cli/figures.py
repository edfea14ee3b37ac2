"""The part of `mhfd report` that draws the paper's figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mhfd.contract import ExitCode
from mhfd_client.cli.options import FILE, FOLDER, Command, say, with_options

if TYPE_CHECKING:
    from mhfd_client.ledger import Ledger, Run

TABLE = click.Path(exists=True, dir_okay=False, path_type=Path)


def figure_options(command: Command) -> Command:
    """The options of the figures."""
    options: list[Callable[[Command], Command]] = [
        click.option("--figures", type=FOLDER, metavar="DIR", help="Instead, draw the paper's figures into DIR."),
        click.option("--series", multiple=True, metavar="DIR|FILE", help="For figures 1, 2a, 2b: a focal series."),
        click.option(
            "--distances", type=FILE, help="Its table: file, working_distance_um (or _mm).  [default: headers]"
        ),
        click.option("--bench", type=TABLE, multiple=True, help="For figures 3a, 3b, 4: a table of `mhfd bench`."),
    ]
    return with_options(command, options)


def draw_figures(
    folder: Path,
    series: Sequence[str],
    distances: Path | None,
    bench: Sequence[Path],
    run: AbstractContextManager[tuple[Ledger, Run]] | None,
) -> ExitCode:
    """Draw what there are data for, and name what is left out.

    Parameters
    ----------
    run : opens a run; None: figure 1 is of the series
    """
    from mhfd_client.bench.tables import read_tables
    from mhfd_client.cli.calibrate import frames
    from mhfd_client.judge.calibration import read_series
    from mhfd_client.views.figures.gathering import Written, write_figures
    from mhfd_client.views.figures.style import check_matplotlib

    if distances is not None and not series:
        raise click.UsageError("--distances goes with --series")
    check_matplotlib()
    if series or bench or run:
        folder.mkdir(parents=True, exist_ok=True)  # to fail before the work, not after it
    times = read_tables(bench)
    found = read_series(frames(series), distances) if series else None
    for row in found.failed if found else ():
        say(f"failed: {row.path}: {row.error.message if row.error else ''}", err=True)
    code = ExitCode.FAILED_TILES if found and found.failed else ExitCode.OK
    written = 0
    with run or nullcontext() as opened:
        for figure in write_figures(folder, series=found, run=opened, times=times):
            if isinstance(figure, Written):
                written += 1
                first, *others = figure.files
                say(f"{figure.name}: {figure.says}: {', '.join([str(first), *(each.suffix for each in others)])}")
            else:
                say(f"{figure.name} is left out: {figure.why}", err=True)
                code = ExitCode.FAILED_TILES if figure.given else code
    if not written and code == ExitCode.OK:
        raise click.UsageError("there are no data for a figure: name a focal series, a run or a table, as told above")
    return code
