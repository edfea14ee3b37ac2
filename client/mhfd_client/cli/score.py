"""`mhfd score`."""

from __future__ import annotations

import glob
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from mhfd.contract import BackendName, ExitCode, FocusParams, FocusResult
from mhfd.text import counted
from mhfd_client.cli.layouts import layout_option
from mhfd_client.cli.names import OneOf
from mhfd_client.cli.options import (
    OUT_FILE,
    STDOUT,
    Numbers,
    config_option,
    endpoint_option,
    example,
    format_option,
    max_blur_option,
    measure_options,
    opened_ledger,
    out_file,
    say,
)

if TYPE_CHECKING:
    from mhfd.judge import VerdictRule
    from mhfd_client.judge.run import Standard
    from mhfd_client.naming import Layout
    from mhfd_client.views.listing import Form


@click.command(
    epilog=example("mhfd score run --csv scores.csv --html report.html", 'mhfd score "run/*_r0_*.tif" --format jsonl')
)
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@endpoint_option
@format_option("table", "json", "jsonl", "csv")
@click.option("--csv", "csv_file", type=OUT_FILE, help="Write a table to this file too; - is standard output.")
@click.option("--html", "html_file", type=OUT_FILE, help="Write a report with pictures too; - is standard output.")
@click.option("--all", "show_all", is_flag=True, help="List every tile on a terminal, not only those to look at.")
@click.option("--fail-on-oof", is_flag=True, help="Exit with 1 when a tile is out of focus or astigmatic.")
@max_blur_option
@layout_option
@click.option("--pattern", help="With --layout regex: pattern of the file names.")
@click.option("--instrument", metavar="NAME", help="Judge also by what `mhfd reference` has of it.  [default: nothing]")
@click.option("--ledger", "where", help="With --instrument: file or postgresql:// URL.  [default: the configuration's]")
@click.option("--pixel-size-nm", type=click.FloatRange(min=0, min_open=True), help="Instead of the files' values.")
@click.option("--max-pixels", type=click.IntRange(min=1), help="Refuse larger tiles unread.")
@click.option("--workers", type=click.IntRange(min=1), help="Tiles scored at once.  [default: one a core]")
@click.option("--backend", type=OneOf(get_args(BackendName)), default="auto", show_default=True, help="Kernel.")
@click.option("--devices", type=Numbers(), help="GPUs to use, like 0,1.  [default: the first]")
@config_option
@measure_options
def score(
    paths: tuple[str, ...],
    endpoint: str,
    form: Form,
    csv_file: Path | None,
    html_file: Path | None,
    show_all: bool,
    fail_on_oof: bool,
    max_blur_px: float | None,
    layout: str | None,
    pattern: str | None,
    instrument: str | None,
    where: str | None,
    pixel_size_nm: float | None,
    max_pixels: int | None,
    workers: int | None,
    backend: str,
    devices: list[int] | None,
    config_file: Path | None,
    **measure: Any,
) -> None:
    """Score image files, folders (recursively) and glob patterns.

    The verdict compares a tile with the sharp ones among all, as `mhfd watch` does with those of its run. Exit code: 0
    all scored, 1 out-of-focus tiles found (--fail-on-oof), 2 wrong usage or no such file or folder, 3 some tiles
    failed, 69 the endpoint is out of reach, 75 a file could not be written, 77 somebody has to sign in, 78 no such
    endpoint, or nothing kept of --instrument, 130 interrupted (what is done is printed).
    """
    params = FocusParams.from_dict(measure)
    _refuse_mixed_output(form, csv_file, html_file)
    if where is not None and instrument is None:
        raise click.UsageError("--ledger is where the tiles of --instrument are kept: name that too")
    from mhfd_client.files.find import Search
    from mhfd_client.files.whole import check_writable
    from mhfd_client.judge.run import judge_results
    from mhfd_client.naming import open_layout
    from mhfd_client.views import terminal

    names = open_layout(layout or "auto", pattern=pattern)
    standard = _standard(instrument, where, config_file, max_blur_px)
    search = Search(paths)
    root = paths[0] if len(paths) == 1 and Path(paths[0]).is_dir() else None
    files = search.tiles if layout is None else _tiles(search.tiles, paths, root, names)
    if left := len(search.tiles) - len(files):
        say(f"{counted(left, 'image is no tile', 'images are no tiles')} of the layout '{layout}'", err=True)
    for sentence in search.left_out:
        say(sentence, err=True)
    if not files:
        raise click.UsageError(f"no image files in {', '.join(paths)}")
    missing = _missing(paths, files)
    for file in (csv_file, html_file):
        if file not in (None, STDOUT):
            check_writable(file)
    if endpoint == "local":
        from mhfd import iter_scores
        from mhfd.backends import quickest
        from mhfd.images import DEFAULT_MAX_PIXELS

        stream = iter_scores(
            files,
            params,
            backend if devices else quickest(backend, _bytes(files)),
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

        with Client(endpoint, config=config_file, on_notice=partial(say, err=True)) as client:
            results, interrupted = terminal.collect(client.map(files, params), len(files))
    results = judge_results(_with_hints(results, missing), standard, root=root, layout=names)
    try:
        # Files first: a closed pipe ends the command when it prints.
        _write_files(
            results,
            csv_file,
            html_file,
            title=" ".join(paths),
            root=root,
            layout=names,
            params=params,
            rule=standard.rule,
        )
    finally:
        if form != "table":
            with out_file(STDOUT) as out:
                terminal.write_results(results, form, out)
        elif STDOUT not in (csv_file, html_file):
            terminal.print_table(results, show_all=show_all)
    if interrupted:
        done = counted(len(results), "tile is", "tiles are")
        say(f"Interrupted: {done} done, the others were not scored.", err=True)
        sys.exit(ExitCode.INTERRUPTED)
    sys.exit(_exit_code(results, fail_on_oof))


def _standard(
    instrument: str | None, where: str | None, config_file: Path | None, max_blur_px: float | None
) -> Standard:
    """How the tiles are judged. A ledger is only opened to see what is kept of an instrument.

    Raises
    ------
    LedgerError
        Nothing is kept of it.
    """
    from mhfd.judge import VerdictRule
    from mhfd_client.judge.run import Standard, instrument_standard
    from mhfd_client.ledger import LedgerError

    rule = VerdictRule() if max_blur_px is None else VerdictRule(max_blur_px=max_blur_px)
    if instrument is None:
        return Standard(rule)
    with opened_ledger(where, config_file, readonly=True) as ledger:
        standard = instrument_standard(ledger, instrument, rule)
        known = ", ".join(dict.fromkeys(each.instrument for each in ledger.references()))
    if not standard.references and not standard.calibrations:
        what = f"there is: {known}" if known else "there is none yet"
        raise LedgerError(f"nothing is kept of the instrument '{instrument}'; {what}")
    return standard


def _tiles(files: Sequence[str], paths: Sequence[str], root: str | None, layout: Layout) -> list[str]:
    """Those that the layout, which somebody chose, calls tiles, and those that were named outright."""
    from mhfd_client.judge.sections import positions_of

    positions = zip(files, positions_of(files, root, layout), strict=True)
    return [file for file, position in positions if position is not None or file in paths]


def _missing(paths: Sequence[str], files: Sequence[str]) -> dict[str, str]:
    """Path that leads nowhere -> the end of a message, with the name that was probably meant.

    Raises
    ------
    UsageError
        No path leads anywhere, and none is the name of an image: that is one failed tile.
    """
    from mhfd_client.files.names import is_image_name
    from mhfd_client.files.near import did_you_mean, is_missing

    nowhere = set(paths).intersection(files)  # a folder or a pattern that matches is not among the files
    missing = {path: "" if glob.has_magic(path) else did_you_mean(path) for path in nowhere if is_missing(path)}
    images = [path for path in missing if is_image_name(Path(path).name) and not glob.has_magic(path)]
    if missing.keys() >= set(paths) and not images:
        what = {path: "no file matches" if glob.has_magic(path) else "no such file or folder" for path in missing}
        raise click.UsageError(" ".join(f"{path}: {what[path]}{missing[path]}" for path in dict.fromkeys(paths)))
    return missing


def _bytes(files: Sequence[str]) -> int:
    """What they hold together; a file that cannot be asked holds nothing."""
    total = 0
    for file in files:
        with suppress(OSError, ValueError):
            total += Path(file).stat().st_size
    return total


def _with_hints(results: Sequence[FocusResult], missing: Mapping[str, str]) -> list[FocusResult]:
    return [
        replace(row, error=replace(row.error, message=f"{row.error.message}{missing[row.path]}"))
        if row.error and row.error.code == "not_found" and row.path in missing
        else row
        for row in results
    ]


def _refuse_mixed_output(form: Form, csv_file: Path | None, html_file: Path | None) -> None:
    wanted = {f"--format {form}": form != "table", "--csv -": csv_file == STDOUT, "--html -": html_file == STDOUT}
    to_stdout = [flag for flag, given in wanted.items() if given]
    if len(to_stdout) > 1:
        raise click.UsageError(f"{' and '.join(to_stdout)} would mix on standard output: name a file for all but one")
    if csv_file is not None and csv_file == html_file:
        raise click.UsageError(f"--csv and --html both name {csv_file}: give each a file of its own")
    if html_file == STDOUT and sys.stdout.isatty():
        raise click.UsageError("a report is not for a terminal: name a file, or send standard output to one")


def _write_files(
    results: Sequence[FocusResult],
    csv_file: Path | None,
    html_file: Path | None,
    *,
    title: str,
    root: str | None,
    layout: Layout,
    params: FocusParams,
    rule: VerdictRule,
) -> None:
    """Write the table and the report; the second also when the first cannot be written."""
    from mhfd_client.views import terminal

    try:
        if csv_file is not None:
            with out_file(csv_file) as out:
                terminal.write_csv(results, out)
    finally:
        if html_file is not None:
            from mhfd_client.views.report.gathering import of_results
            from mhfd_client.views.report.page import render_report

            told = of_results(results, title, time.time(), root=root, layout=layout, params=params, rule=rule)
            page = render_report(told)
            with out_file(html_file) as out:
                out.write(page.encode())


def _exit_code(results: Sequence[FocusResult], fail_on_oof: bool) -> ExitCode:
    if fail_on_oof and any(row.verdict in ("out_of_focus", "astigmatic") for row in results):
        return ExitCode.OUT_OF_FOCUS
    return ExitCode.FAILED_TILES if any(row.status == "failed" for row in results) else ExitCode.OK
