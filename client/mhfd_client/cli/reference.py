"""`mhfd reference`: the sharp tiles of earlier runs that a run is compared with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mhfd.text import counted
from mhfd_client.cli.names import Group
from mhfd_client.cli.options import (
    FOLDER,
    Command,
    config_option,
    example,
    format_option,
    opened_ledger,
    print_listing,
    say,
    with_options,
)

if TYPE_CHECKING:
    from mhfd_client.ledger import KeptReference
    from mhfd_client.views.listing import Form

COLUMNS = ("instrument", "setting", "tiles", "kept_at", "run_id")


def _ledger_options(command: Command) -> Command:
    where = click.option("--ledger", "where", help="File or postgresql:// URL.  [default: the configuration's]")
    return with_options(command, [where, config_option])


@click.group(cls=Group, epilog=example("mhfd reference list", "mhfd reference set sem1 run"))
def reference() -> None:
    """Sharp tiles of earlier runs, kept in the ledger by instrument and setting.

    A run is compared with its own sharp tiles. Its first tiles, and a run that is blurred throughout, are judged only
    where an earlier run of the same instrument left some: `mhfd watch` keeps them when it ends.
    """


@reference.command("list", epilog=example("mhfd reference list --format csv"))
@_ledger_options
@format_option("table", "json", "jsonl", "csv")
def list_(where: str | None, config_file: Path | None, form: Form) -> None:
    """List what is kept, the newest first."""
    from mhfd_client.views.listing import Listing

    with opened_ledger(where, config_file, readonly=True) as ledger:
        kept = ledger.references()
    print_listing(Listing(map(_as_json, kept), COLUMNS, lines=lambda: map(_in_words, kept)), form)
    if not kept:
        say("nothing is kept yet: `mhfd watch` keeps the sharp tiles of a run when it ends", err=True)


@reference.command(epilog=example("mhfd reference show sem1"))
@click.argument("instrument")
@_ledger_options
def show(instrument: str, where: str | None, config_file: Path | None) -> None:
    """Print what is kept of INSTRUMENT, as JSON with the numbers themselves.

    Exit code: 0; 78 nothing is kept under that name.
    """
    from mhfd_client.ledger import LedgerError
    from mhfd_client.views import terminal

    with opened_ledger(where, config_file, readonly=True) as ledger:
        kept = ledger.references(instrument)
        known = ", ".join(dict.fromkeys(each.instrument for each in ledger.references()))
    if not kept:
        raise LedgerError(
            f"nothing is kept of '{instrument}'; {f'there is: {known}' if known else 'there is none yet'}"
        )
    terminal.print_plain([{**_as_json(each), "reference": each.reference} for each in kept])


@reference.command("set", epilog=example("mhfd reference set sem1 run"))
@click.argument("instrument")
@click.argument("folder", type=FOLDER, required=False, metavar="[DIR]")
@_ledger_options
def set_(instrument: str, folder: Path | None, where: str | None, config_file: Path | None) -> None:
    """Keep the sharp tiles of the run in folder DIR, by default the last one, under INSTRUMENT in place of others.

    Exit code: 0; 78 there is no such run, or it has too few sharp tiles.
    """
    from mhfd_client.judge.run import keep_references
    from mhfd_client.ledger import LedgerError

    with opened_ledger(where, config_file, readonly=False) as ledger:
        run = ledger.find_run(None if folder is None else str(folder))
        kept = keep_references(ledger, run.run_id, instrument, anyway=True)
    if not kept:
        raise LedgerError(f"{run.root} has too few sharp tiles with a spectrum to keep: score more of it first")
    for each in kept:
        say(_in_words(each))


@reference.command(epilog=example("mhfd reference forget sem1"))
@click.argument("instrument")
@click.option("--setting", help="Only that of this setting, as `list` prints it.")
@_ledger_options
def forget(instrument: str, setting: str | None, where: str | None, config_file: Path | None) -> None:
    """Forget what is kept of INSTRUMENT.

    Exit code: 0; 78 nothing is kept under that name.
    """
    with opened_ledger(where, config_file, readonly=False) as ledger:
        n = ledger.forget_references(instrument, setting)
    say(f"{counted(n, 'reference')} of {instrument} forgotten")


def _in_words(kept: KeptReference) -> str:
    from mhfd_client.views.status import local, utc

    return f"{kept.instrument}: {kept.setting}: {counted(kept.tiles, 'tile')}, kept {local(utc(kept.kept_at))}"


def _as_json(kept: KeptReference) -> dict[str, Any]:
    from mhfd_client.views.status import utc

    return {
        "instrument": kept.instrument,
        "setting": kept.setting,
        "tiles": kept.tiles,
        "kept_at": utc(kept.kept_at),
        "run_id": kept.run_id,
    }
