"""`mhfd score`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, get_args

import click

from mhfd.contract import BackendName, ExitCode, FocusParams, FocusResult
from mhfd_client.cli.options import (
    FILE,
    Numbers,
    config_option,
    endpoint_option,
    measure_options,
)


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@endpoint_option
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array of results (schema 1) and nothing else.")
@click.option("--csv", "csv_file", type=FILE, help="Write a table to this file too.")
@click.option("--html", "html_file", type=FILE, help="Write a report with pictures too.")
@click.option("--all", "show_all", is_flag=True, help="List every tile on a terminal, not only those to look at.")
@click.option("--fail-on-oof", is_flag=True, help="Exit with 1 when a tile is out of focus or astigmatic.")
@click.option("--pixel-size-nm", type=click.FloatRange(min=0, min_open=True), help="Instead of the files' values.")
@click.option("--max-pixels", type=click.IntRange(min=1), help="Refuse larger tiles unread.")
@click.option("--workers", type=click.IntRange(min=1), help="Tiles scored at once.  [default: one a core]")
@click.option("--backend", type=click.Choice(get_args(BackendName)), default="auto", show_default=True, help="Kernel.")
@click.option("--devices", type=Numbers(), help="GPUs to use, like 0,1.  [default: the first]")
@config_option
@measure_options
def score(
    paths: tuple[str, ...],
    endpoint: str,
    as_json: bool,
    csv_file: Path | None,
    html_file: Path | None,
    show_all: bool,
    fail_on_oof: bool,
    pixel_size_nm: float | None,
    max_pixels: int | None,
    workers: int | None,
    backend: str,
    devices: list[int] | None,
    config_file: Path | None,
    **measure: Any,
) -> None:
    """Score image files, folders (recursively) and glob patterns.

    The verdict compares a tile with the others in its folder. Exit code: 0 all scored, 1 out-of-focus tiles found
    (--fail-on-oof), 2 wrong usage, 3 some tiles failed, 69 the endpoint is out of reach, 75 a file could not be
    written, 77 somebody has to sign in, 78 no such endpoint, 130 interrupted (what is done is printed).
    """
    params = FocusParams.from_dict(measure)
    from mhfd.judge import judge
    from mhfd_client.files.find import find_tiles
    from mhfd_client.views import terminal

    files = find_tiles(paths)
    if not files:
        raise click.UsageError(f"no image files in {', '.join(paths)}")
    if endpoint == "local":
        from mhfd import iter_scores
        from mhfd.images import DEFAULT_MAX_PIXELS

        stream = iter_scores(
            files,
            params,
            backend,
            devices=devices,
            pixel_size_nm=pixel_size_nm,
            max_pixels=max_pixels or DEFAULT_MAX_PIXELS,
            workers=workers,
        )
        results, interrupted = terminal.collect(stream, len(files))
    else:
        for name, value in (("pixel-size-nm", pixel_size_nm), ("max-pixels", max_pixels), ("workers", workers)):
            if value is not None:
                raise click.UsageError(f"--{name} has no meaning on an endpoint: leave it out, or score locally")
        if backend != "auto" or devices:
            raise click.UsageError("--backend and --devices are for this machine; an endpoint has its own")
        from mhfd_client import Client

        with Client(endpoint, config=config_file, on_notice=partial(click.echo, err=True)) as client:
            results, interrupted = terminal.collect(client.map(files, params), len(files))
    results = judge(results)
    if as_json:
        terminal.print_json(results)
    else:
        terminal.print_table(results, show_all=show_all)
    if csv_file:
        terminal.write_csv(results, csv_file)
    if html_file:
        from mhfd_client.views.report import write_report

        write_report(results, html_file, title=" ".join(paths), params=params)
    if interrupted:
        click.echo(f"Interrupted: {len(results)} tiles are done, the others were not scored.", err=True)
        sys.exit(ExitCode.INTERRUPTED)
    sys.exit(_exit_code(results, fail_on_oof))


def _exit_code(results: Sequence[FocusResult], fail_on_oof: bool) -> ExitCode:
    if fail_on_oof and any(row.verdict in ("out_of_focus", "astigmatic") for row in results):
        return ExitCode.OUT_OF_FOCUS
    return ExitCode.FAILED_TILES if any(row.status == "failed" for row in results) else ExitCode.OK
