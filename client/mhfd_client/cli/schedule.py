"""`mhfd schedule`: score archives again without anybody at the keyboard."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import get_args

import click

from mhfd_client.cli.names import Group, OneOf, complete_endpoint
from mhfd_client.cli.options import config_option, example, say
from mhfd_client.schedule.opening import Kind, open_scheduler
from mhfd_client.schedule.when import EVERY, When

with_option = click.option(
    "--with", "kind", type=OneOf(get_args(Kind)), default="windows" if sys.platform == "win32" else "systemd",
    show_default=True, help="Which scheduler; globus needs no machine of yours.",
)  # fmt: skip
name_option = click.option("--name", help="Tells a schedule from your others.")
dry_option = click.option("--dry-run", is_flag=True, help="Only say what would be done.")


@click.group(cls=Group, epilog=example("mhfd schedule install /data/run --every 1d --at 02:00"))
def schedule() -> None:
    """Score archived runs again on a schedule: what is new or changed, and nothing twice."""


@schedule.command(epilog=example("mhfd schedule install /data/run --with systemd --every 1d --at 02:00 --dry-run"))
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@with_option
@click.option("--every", type=OneOf(EVERY), default="1d", show_default=True, help="How often.")
@click.option("--at", default="02:00", show_default=True, help='Time of the day; with 7d "Sun 02:00".')
@click.option("--endpoint", shell_complete=complete_endpoint, help="As in `mhfd rescore`.")
@click.option("--copy", nargs=2, metavar="FROM TO", help="globus: first copy COLLECTION:/folder to COLLECTION:/folder.")
@click.option("--consent", multiple=True, metavar="COLLECTION", help="globus: a collection that wants your consent.")
@name_option
@dry_option
@config_option
def install(
    runs: tuple[str, ...], kind: Kind, every: str, at: str, endpoint: str | None, copy: tuple[str, str] | None,
    consent: tuple[str, ...], name: str | None, dry_run: bool, config_file: Path | None,
) -> None:  # fmt: skip
    """Make a schedule, or change it to this. A second time it changes nothing.

    Exit code: 0; 2 it cannot be had like this, 69 the scheduler is not there, 77 somebody has to sign in.
    """
    from mhfd_client.schedule.protocol import Schedule

    try:
        when = When.parse(every, at)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    if kind != "globus" and (copy or consent):
        raise click.UsageError("--copy and --consent go with --with globus")
    here = config_file and config_file.absolute()
    wanted = Schedule(tuple(map(_absolute, runs)), when, name, endpoint, here)
    for line in open_scheduler(kind, here, copy=copy, consent_to=consent).install(wanted, dry_run=dry_run):
        _say(line)


@schedule.command(epilog=example("mhfd schedule show --json"))
@with_option
@name_option
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object and nothing else.")
@config_option
def show(kind: Kind, name: str | None, as_json: bool, config_file: Path | None) -> None:
    """Show when a schedule runs next, and how it went last.

    Exit code: 0; 69 the scheduler is not there, 77 somebody has to sign in.
    """
    from dataclasses import asdict

    from mhfd.text import json_text

    shown = open_scheduler(kind, config_file).show(name)
    if as_json:
        click.echo(json_text(asdict(shown)))
        return
    say(f"{shown.title}: {shown.state}")
    if shown.state != "not installed":
        say(f"next run: {shown.next_run or 'none'}")
        say(f"last run: {shown.last_run or 'none yet'}")
        say(f"last result: {shown.last_result or 'none yet'}")


@schedule.command(epilog=example("mhfd schedule remove --dry-run"))
@with_option
@name_option
@dry_option
@config_option
def remove(kind: Kind, name: str | None, dry_run: bool, config_file: Path | None) -> None:
    """Take a schedule away; what is scored stays.

    Exit code: 0; 69 the scheduler is not there, 77 somebody has to sign in.
    """
    for line in open_scheduler(kind, config_file).remove(name, dry_run=dry_run):
        _say(line)


def _say(text: str) -> None:
    for line in text.splitlines():
        say(line)


def _absolute(run: str) -> str:
    """A folder of this machine by its whole path; another's as it is."""
    path = Path(run)
    if path.exists() or not run.startswith("/"):
        if not path.exists():
            from mhfd_client.files.near import did_you_mean

            raise click.UsageError(
                f"{run}: no such folder{did_you_mean(path, folder=True)}; an endpoint's begins with /"
            )
        return str(path.absolute())
    return run
