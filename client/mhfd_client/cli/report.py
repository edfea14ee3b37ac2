"""`mhfd report`: a run as one HTML file to keep, to print, to send."""

from __future__ import annotations

from pathlib import Path

import click

from mhfd_client.cli.options import FILE, FOLDER, config_option, opened_ledger, say

DEFAULT = Path("report.html")


@click.command()
@click.argument("target", type=click.Path(path_type=Path), required=False, metavar="[RUN|LEDGER|FOLDER]")
@click.option("--out", type=FILE, help="File to write.  [default: report.html, unless there is --pdf]")
@click.option("--run", "folder", type=FOLDER, metavar="DIR", help="Folder of the run, where a ledger has several.")
@click.option("--ledger", "where", help="File or postgresql:// URL.  [default: the configuration's]")
@config_option
def report(
    target: Path | None, out: Path | None, folder: Path | None, where: str | None, config_file: Path | None
) -> None:
    """Write a report of a run: what to take again, map, chart, all tiles, settings, in one HTML file.

    By default of the run opened last.
    """
    from mhfd_client.judge.run import judge_run
    from mhfd_client.views.report import write_report

    with opened_ledger(where, config_file, readonly=True) as ledger:
        run = ledger.find_run(None if target is None else str(target))
        results = [tile.result for tile in judge_run(ledger, run.run_id)]
    out = out or DEFAULT
    write_report(results, out, title=run.root, params=run.params)
    say(f"report: {out}", err=True)
