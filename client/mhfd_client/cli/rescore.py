"""`mhfd rescore`."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mhfd.contract import FocusParams
from mhfd_client.cli.jobs import Jobs, control
from mhfd_client.cli.names import OneOf
from mhfd_client.cli.options import (
    Command,
    config_option,
    endpoint_option,
    example,
    measure_options,
    opened_ledger,
    with_options,
)

if TYPE_CHECKING:
    from mhfd_client.compute.protocol import Json

ACTIONS = {
    "status": "Tell how far the jobs of RUN are; without RUN, all of this machine.",
    "pause": "Have running shards stop soon, and send no more until --resume.",
    "cancel": "The same, for good; results stay, and --resume goes on after all.",
}


class Sample(click.ParamType):
    """A number of tiles, or a fraction of them."""

    name = "number or fraction"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | float:
        if isinstance(value, int | float):
            return value
        try:
            number = int(value) if value.isdecimal() else float(value)
        except ValueError:
            number = -1
        if number > 0 and (isinstance(number, int) or number <= 1):
            return number
        return self.fail(f"{value!r} is neither a number of tiles, like 1000, nor a fraction, like 0.01", param, ctx)


def _plan_options(command: Command) -> Command:
    options = [
        click.option("--pattern", help="Files to score, like '**/*.tif'.  [default: every image]"),
        click.option("--changed-only", is_flag=True, help="Take over what an earlier job of the run has of a file."),
        click.option("--sample", type=Sample(), help="Score only so many tiles, or a fraction: always the same ones."),
        click.option("--out", metavar="FOLDER", help="Where the results go, as the endpoint sees it.  [default: RUN]"),
        click.option("--shard-tiles", type=click.IntRange(min=1), help="Tiles of a task.  [default: 65536]"),
        click.option("--no-spectra", is_flag=True, help="Do not keep spectra: smaller, but no verdicts by blur."),
        click.option("--job", metavar="NAME", help="A name for the job.  [default: one that tells its parameters]"),
    ]
    return with_options(command, options)


@click.command(
    epilog=example("mhfd rescore run", "mhfd rescore run --dry-run", "mhfd rescore /archive/run7 --endpoint dgx,a100")
)
@click.argument("runs", nargs=-1, metavar="RUN...")
@endpoint_option
@click.option("--dry-run", is_flag=True, help="Count files, tiles, tasks, requests, bytes and hours; write nothing.")
@_plan_options
@click.option(
    "--priority", type=OneOf(("low", "normal")), default="low", show_default=True,
    help="'low' leaves workers free for live tiles.",
)  # fmt: skip
@click.option("--reference", "instrument", metavar="NAME", help="Judge also by what `mhfd reference` has of it.")
@click.option("--ledger", "where", help="Whose live tiles and references count.  [default: the configuration's]")
@click.option("--status", "action", flag_value="status", help=ACTIONS["status"])
@click.option("--pause", "action", flag_value="pause", help=ACTIONS["pause"])
@click.option("--cancel", "action", flag_value="cancel", help=ACTIONS["cancel"])
@click.option("--resume", is_flag=True, help="Go on with a job that was paused or cancelled.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array, an object a run, and nothing else.")
@config_option
@measure_options
def rescore(
    runs: tuple[str, ...],
    endpoint: str,
    dry_run: bool,
    pattern: str | None,
    changed_only: bool,
    sample: int | float | None,
    out: str | None,
    shard_tiles: int | None,
    no_spectra: bool,
    job: str | None,
    priority: Any,
    instrument: str | None,
    where: str | None,
    action: str | None,
    resume: bool,
    as_json: bool,
    config_file: Path | None,
    **measure: Any,
) -> None:
    """Score archived runs where they lie; the results are a Parquet dataset in RUN/.mhfd.

    RUN is a folder as the endpoint sees it, or one of this machine that the endpoint has, too. Several endpoints,
    --endpoint A,B, share a run that they all see. Tiles never pass through the service. What is done is told by the
    dataset's parts: after a crash, or for new files, the same command goes on. Ctrl-C sends no more and waits for the
    shards in flight; a second one leaves at once.

    Exit code: 0 complete; 2 wrong usage; 3 some tiles failed; 69 no endpoint can be reached; 75 shards are missing, or
    the job is paused or cancelled: run it again; 77 somebody has to sign in; 78 no such endpoint; 130 interrupted.
    """
    from mhfd_client.config import ledger_path, load_config
    from mhfd_client.rescore.opening import names_of, run_name
    from mhfd_client.rescore.request import Request

    config, names = load_config(config_file), names_of(endpoint)
    if action is not None:
        control(config, runs, action, as_json)
        return
    if not runs:
        raise click.UsageError("name the folder of a run, or --status")
    if "local" in names:
        _check_folders(runs)
    options = {
        "changed_only": changed_only or None, "sample": sample, "out": out, "shard_tiles": shard_tiles,
        "spectra": False if no_spectra else None, "job": job,
    }  # fmt: skip
    request = Request(
        run="",
        params=FocusParams.from_dict(measure),
        pattern=pattern,
        options={key: value for key, value in options.items() if value is not None},
        references=_references(instrument, where, config_file),
        priority=priority,
    )
    jobs = Jobs(config, names, ledger_path(config, where), as_json=as_json)
    for run in dict.fromkeys(run_name(run, names) for run in runs):
        if jobs.interrupted:
            break
        if dry_run:
            jobs.count(replace(request, run=run))
        else:
            jobs.do(replace(request, run=run), resume=resume)
    if as_json:
        from mhfd_client.views.terminal import print_plain

        print_plain(jobs.told)
    sys.exit(jobs.exit_code)


def _check_folders(runs: tuple[str, ...]) -> None:
    from mhfd_client.files.near import did_you_mean

    missing = [f"{run}: no such folder{did_you_mean(run, folder=True)}" for run in runs if not Path(run).is_dir()]
    if missing:
        raise click.UsageError(" ".join(missing))


def _references(instrument: str | None, where: str | None, config_file: Path | None) -> tuple[Json, ...]:
    """What the ledger keeps of an instrument.

    Raises
    ------
    LedgerError
        Nothing.
    """
    if instrument is None:
        return ()
    from mhfd_client.ledger import LedgerError

    with opened_ledger(where, config_file, readonly=True) as ledger:
        kept = ledger.references(instrument)
        known = ", ".join(dict.fromkeys(each.instrument for each in ledger.references()))
    if not kept:
        there_is = f"there is: {known}" if known else "there is none yet"
        raise LedgerError(f"nothing is kept of '{instrument}'; {there_is}")
    return tuple(each.reference for each in kept)
