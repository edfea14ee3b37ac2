"""`mhfd report`: a run as one HTML file to keep, to print, to send."""

from __future__ import annotations

import sys
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mhfd.contract import ExitCode
from mhfd.text import counted
from mhfd_client.cli.figures import draw_figures, figure_options
from mhfd_client.cli.options import FILE, FOLDER, OUT_FILE, STDOUT, config_option, example, opened_ledger, out_file, say

if TYPE_CHECKING:
    from mhfd_client.ledger import Ledger, Run
    from mhfd_client.views.report.model import Report

DEFAULT = Path("report.html")
NAMED = 5
"""Runs in a message, at most."""


@click.command(
    epilog=example(
        "mhfd report run --pdf report.pdf", "mhfd report --figures figures --series series --distances series/z.csv"
    )
)
@click.argument("target", required=False, metavar="[RUN|LEDGER]")
@click.option("--out", type=OUT_FILE, help="File to write; - is standard output.  [default: report.html]")
@click.option("--pdf", type=FILE, help="Write a PDF; with --out the HTML file too.")
@click.option("--run", "folder", type=FOLDER, metavar="DIR", help="Folder of the run, where a ledger has several.")
@click.option("--ledger", "where", help="File or postgresql:// URL.  [default: the configuration's]")
@figure_options
@config_option
def report(
    target: str | None,
    out: Path | None,
    pdf: Path | None,
    folder: Path | None,
    where: str | None,
    figures: Path | None,
    series: Sequence[str],
    distances: Path | None,
    bench: Sequence[Path],
    config_file: Path | None,
) -> None:
    """Write a report of a run: what to take again, beside sharp neighbours; map, chart, all tiles, settings.

    RUN is its folder, by default that of the run opened last; LEDGER is a ledger file with one run, or see --run. A
    folder that the ledger has no run of is scored here first. It is one HTML file that needs nothing else. A PDF is
    printed by Chromium, Chrome or Edge, or made by WeasyPrint.

    With --figures DIR no report, but the figures of the paper from your own data, each as SVG and PNG with its numbers
    as CSV: 1, 2a and 2b from a focal series (1 from a run, if one is named), 3a, 3b and 4 from a benchmark.

    Exit code: 0; 2 wrong usage, or no images or data; 3 some data for a figure could not be used; 69 the ledger is out
    of reach, 75 a file cannot be written, 78 there is no such run, or nothing that makes a PDF; 130 interrupted.
    """
    if figures is not None:
        if out is not None or pdf is not None:
            raise click.UsageError("--figures writes no report: leave out --out and --pdf")
        named = target is not None or folder is not None or where is not None
        run = _opened(target, folder, where, config_file) if named else None
        sys.exit(draw_figures(figures, series, distances, bench, run))
    if series or distances or bench:
        raise click.UsageError("--series, --distances and --bench go with --figures")
    from mhfd_client.files.whole import check_writable
    from mhfd_client.views.report.page import render_report
    from mhfd_client.views.report.pdf import check_pdf, write_pdf

    if out is None and pdf is None:
        out = DEFAULT
    if pdf is not None:
        check_pdf()
    for file in (out, pdf):
        if file is not None and file != STDOUT:
            check_writable(file)
    page = render_report(_gathered(target, folder, where, config_file))
    if out is not None:
        with out_file(out) as written:
            written.write(page.encode())
    if pdf is not None:
        write_pdf(page, pdf)
    for file in (out, pdf):
        if file is not None and file != STDOUT:
            say(f"report: {file.resolve()}", err=True)


def _gathered(target: str | None, folder: Path | None, where: str | None, config_file: Path | None) -> Report:
    """What the report says; of a folder without a run after it was scored."""
    from mhfd_client.ledger import LedgerBusyError, LedgerError, LedgerUnavailableError
    from mhfd_client.views.report.gathering import of_run

    try:
        with _opened(target, folder, where, config_file) as (ledger, run):
            return of_run(ledger, run, time.time())
    except (LedgerUnavailableError, LedgerBusyError):
        raise
    except LedgerError:
        wanted = target if folder is None else str(folder)
        if where is not None or _is_ledger(target) or wanted is None or not Path(wanted).is_dir():
            raise
    say(f"the ledger has no run of {wanted}: its images are scored here", err=True)
    return _scored(wanted)


@contextmanager
def _opened(
    target: str | None, folder: Path | None, where: str | None, config_file: Path | None
) -> Generator[tuple[Ledger, Run], None, None]:
    """The run that is meant, and its ledger."""
    if _is_ledger(target):
        if where is not None:
            raise click.UsageError(f"{target} and --ledger both name a ledger: name one")
        with opened_ledger(target, config_file, readonly=True) as ledger:
            yield ledger, _only_run(ledger, folder)
        return
    if target is not None and folder is not None:
        raise click.UsageError(f"{target} and --run both name a run: name one")
    with opened_ledger(where, config_file, readonly=True) as ledger:
        yield ledger, ledger.find_run(target if folder is None else str(folder))


def _is_ledger(target: str | None) -> bool:
    return target is not None and ("://" in target or Path(target).is_file())


def _only_run(ledger: Ledger, folder: Path | None) -> Run:
    runs = ledger.runs()
    if folder is None and len({run.root for run in runs}) > 1:
        some = ", ".join(dict.fromkeys(run.root for run in runs[:NAMED]))
        raise click.UsageError(f"{ledger.name} has several runs: name one with --run, the last are {some}")
    return ledger.find_run(None if folder is None else str(folder))


def _scored(folder: str) -> Report:
    """The report of a folder, scored on this machine as `mhfd score` does."""
    from mhfd import iter_scores
    from mhfd_client.files.find import Search
    from mhfd_client.judge.run import judge_results
    from mhfd_client.views import terminal
    from mhfd_client.views.report.gathering import of_results

    search = Search([folder])
    for sentence in search.left_out:
        say(sentence, err=True)
    if not search.tiles:
        raise click.UsageError(f"no image files in {folder}")
    results, interrupted = terminal.collect(iter_scores(search.tiles), len(search.tiles))
    if interrupted:
        say(f"Interrupted: {counted(len(results), 'tile is', 'tiles are')} done; no report was written.", err=True)
        sys.exit(ExitCode.INTERRUPTED)
    name = Path(folder).resolve().name or folder
    return of_results(judge_results(results, root=folder), name, time.time(), root=folder)
