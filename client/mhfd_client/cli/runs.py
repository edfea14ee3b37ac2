"""`mhfd runs`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mhfd_client.cli.options import config_option, example, format_option, opened_ledger, print_listing, say

if TYPE_CHECKING:
    from mhfd_client.views.listing import Form


@click.command(epilog=example("mhfd runs", "mhfd runs --format csv"))
@click.option("--ledger", "where", help="File or postgresql:// URL.  [default: the configuration's]")
@format_option("table", "json", "jsonl", "csv")
@config_option
def runs(where: str | None, form: Form, config_file: Path | None) -> None:
    """List the runs of a ledger, the last opened first: folder, state, tiles scored, flagged, failed and missing.

    How many are flagged is what the watch of a run said; "not known" where that does not hold any more: `mhfd status`
    judges anew. Exit code: 0; 69 the ledger is out of reach, 78 there is none.
    """
    from mhfd_client.views.runs import listing

    with opened_ledger(where, config_file, readonly=True) as ledger:
        found = listing(ledger, time.time())
        print_listing(found, form)
        if form == "table" and not any(found.lines()):
            say(f"{ledger.name} has no runs yet: `mhfd watch DIR` begins one", err=True)
