"""`mhfd compare`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mhfd.contract import ExitCode
from mhfd_client.cli.options import OUT_FILE, STDOUT, config_option, example, format_option, print_listing

if TYPE_CHECKING:
    from mhfd_client.views.listing import Form


@click.command(epilog=example("mhfd compare before.csv after.csv", "mhfd compare run run/.mhfd/new --fail-on-change"))
@click.argument("before", metavar="A")
@click.argument("after", metavar="B")
@format_option("table", "json", "jsonl", "csv")
@click.option("--fail-on-change", is_flag=True, help="Exit with 1 when a verdict changed, or a side lacks tiles.")
@click.option("--ledger", "where", help="Where runs are looked up.  [default: the configuration's]")
@click.option("--out", type=OUT_FILE, help="File to write.  [default: standard output]")
@config_option
def compare(
    before: str,
    after: str,
    form: Form,
    fail_on_change: bool,
    where: str | None,
    out: Path | None,
    config_file: Path | None,
) -> None:
    """Compare two results of the same tiles, A and B: which verdicts changed, and why.

    Each is a folder that `mhfd rescore` filled (RUN/.mhfd/JOB, or RUN with one job), a run of the ledger (its folder or
    number), another ledger (FILE#RUN), or a file of `mhfd score` or `mhfd export`: .json, .jsonl, .csv, .parquet.

    Reasons: pixels (taken again), parameters, version, setting (as the file tells it), numbers (measured anew),
    reference (other sharp tiles), threshold, unknown.

    Exit code: 0; 1 a verdict changed or tiles are missing (--fail-on-change); 78 there are no results.
    """
    from mhfd_client.config import ledger_path, load_config
    from mhfd_client.rescore.compare import Tally, changes
    from mhfd_client.rescore.sources import aligned, open_source
    from mhfd_client.views.compare import listing

    ledger, tally = ledger_path(load_config(config_file), where), Tally()
    sources = open_source(before, ledger), open_source(after, ledger)
    found = changes(*aligned(*sources), tally)
    print_listing(listing(sources[0].name, sources[1].name, found, tally), form, out or STDOUT)
    sys.exit(ExitCode.OUT_OF_FOCUS if fail_on_change and tally.differ else ExitCode.OK)
