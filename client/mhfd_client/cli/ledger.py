"""`mhfd ledger`: its backup, and its way back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mhfd.text import counted
from mhfd_client.cli.names import Group
from mhfd_client.cli.options import FILE, Command, config_option, example, say, with_options

if TYPE_CHECKING:
    from mhfd_client.upkeep.backup import Copied


def _ledger_options(command: Command) -> Command:
    where = click.option("--ledger", "where", help="File or postgresql:// URL.  [default: the configuration's]")
    return with_options(command, [where, config_option])


@click.group(cls=Group, epilog=example("mhfd ledger backup ledger.backup.db"))
def ledger() -> None:
    """The record of all runs: back it up, and restore it."""


@ledger.command(epilog=example("mhfd ledger backup ledger.backup.db"))
@click.argument("file", type=FILE)
@_ledger_options
def backup(file: Path, where: str | None, config_file: Path | None) -> None:
    """Copy the ledger to FILE, as of one moment, also while a watch writes it; the copy is checked.

    An earlier backup of that name is replaced when the new one is sound. Of a ledger in PostgreSQL, FILE is a dump that
    pg_dump makes. Exit code: 0; 75 FILE cannot be written, 78 there is no ledger, or FILE is something else.
    """
    from mhfd_client.config import ledger_path, load_config
    from mhfd_client.upkeep.backup import back_up

    copied = back_up(ledger_path(load_config(config_file), where), file)
    say(f"{file}: {_in_words(copied)}")


@ledger.command(epilog=example("mhfd ledger restore ledger.backup.db"))
@click.argument("file", type=FILE)
@_ledger_options
def restore(file: Path, where: str | None, config_file: Path | None) -> None:
    """Put the backup FILE in the place of the ledger; the one before is kept beside it.

    It is checked first. What was scored since the backup is scored again by the next watch, or taken from an endpoint's
    spool by `mhfd recover`. Exit code: 0; 75 a watch or a page uses the ledger, 78 FILE is damaged or no backup.
    """
    from mhfd_client.config import ledger_path, load_config
    from mhfd_client.upkeep.backup import restore

    done = restore(file, ledger_path(load_config(config_file), where))
    say(f"restored: {_in_words(done.copied)}")
    if done.kept is not None:
        say(f"the ledger before is kept as {done.kept}")


def _in_words(copied: Copied) -> str:
    told = (counted(copied.runs, "run"), counted(copied.tiles, "tile"), f"{copied.size / 1e6:.1f} MB")
    return f"{', '.join(told)}, version {copied.tables_version} of the tables"
