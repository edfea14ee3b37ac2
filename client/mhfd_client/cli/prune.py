"""`mhfd prune`."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mhfd_client.cli.options import FOLDER, Bytes, config_option, example, say

if TYPE_CHECKING:
    from mhfd_client.upkeep.prune import FileKind


class Days(click.ParamType):
    """An age in days, one at least: 90d, or 90."""

    name = "days"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = re.fullmatch(r"(\d{1,6}(?:\.\d+)?)\s*d?", str(value))
        if number is None or float(number[1]) < 1:
            self.fail(f"{value!r} is not an age of a day or more; write it like 90d", param, ctx)
        return float(number[1])


@click.command(epilog=example("mhfd prune --dry-run", "mhfd prune --older-than 180d --runs --dry-run"))
@click.option("--older-than", "days", type=Days(), default="90d", show_default=True, help="Age of what goes.")
@click.option("--keep", type=Bytes(), metavar="SIZE", help="Also remove what is older, beyond so much of each kind.")
@click.option("--logs", type=FOLDER, multiple=True, help="Folders with log files.  [default: the configuration's]")
@click.option("--spool", type=FOLDER, multiple=True, help="An endpoint's spools.  [default: MHFD_SPOOL_DIR]")
@click.option("--results", type=FOLDER, multiple=True, help="Folders with answers.  [default: MHFD_RESULT_DIR]")
@click.option("--runs", is_flag=True, help="Also remove old runs from the ledger, results and decisions included.")
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@click.option("--ledger", "where", help="With --runs: file or postgresql:// URL.  [default: the configuration's]")
@config_option
def prune(
    days: float,
    keep: int | None,
    logs: tuple[Path, ...],
    spool: tuple[Path, ...],
    results: tuple[Path, ...],
    runs: bool,
    dry_run: bool,
    where: str | None,
    config_file: Path | None,
) -> None:
    """Remove old log files, spool files, files of answers and, with --runs, old runs of the ledger. Never a tile.

    A file goes only if mhfd wrote it, by its name and its first line, and it is a day old at least; links stay. A run
    goes if it was not opened for so long and no watch works on it: `mhfd ledger backup` first. Exit code: 0.
    """
    from mhfd_client.config import load_config
    from mhfd_client.upkeep.bundle import log_folders

    before = time.time() - days * 86400
    folders: dict[FileKind, Sequence[Path]] = {
        "log": logs or log_folders(load_config(config_file)),
        "spool": spool or _named("MHFD_SPOOL_DIR"),
        "results": results or _named("MHFD_RESULT_DIR"),
    }
    freed = sum(_pruned_files(folders, before, keep, dry_run))
    verb = "would be freed" if dry_run else "are free"
    say(f"{freed:,} bytes {verb}" if freed else "no old files")
    if runs:
        in_ledger = sum(_pruned_runs(where, config_file, before, dry_run))
        what = "would be free in the ledger, whose file keeps its size" if dry_run else "are free in the ledger"
        say(f"about {in_ledger:,} bytes {what} for new rows" if in_ledger else "no old runs to remove")


def _named(variable: str) -> list[Path]:
    told = os.environ.get(variable)
    return [Path(told)] if told else []


def _pruned_files(
    folders: dict[FileKind, Sequence[Path]], before: float, keep: int | None, dry_run: bool
) -> Iterator[int]:
    from mhfd_client.upkeep.prune import old_files

    for kind, named in folders.items():
        for each in old_files(kind, named, before, keep):
            freed = each.size if dry_run else each.delete()
            say(
                f"{each.kind}: {each.path} ({each.size:,} bytes){'' if freed or not each.size else ' is in use, stays'}"
            )
            yield freed


def _pruned_runs(where: str | None, config_file: Path | None, before: float, dry_run: bool) -> Iterator[int]:
    from mhfd_client.cli.options import opened_ledger
    from mhfd_client.upkeep.prune import forget, old_runs

    with opened_ledger(where, config_file, readonly=dry_run) as ledger:
        for each in list(old_runs(ledger, before)):
            kept = each.kept or ("" if dry_run else forget(ledger, each.run))
            say(f"run: {each.run.root} (about {each.size:,} bytes){f' stays: {kept}' if kept else ''}")
            yield 0 if kept else each.size
