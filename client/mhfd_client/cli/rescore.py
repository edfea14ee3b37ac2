"""`mhfd rescore`."""

from __future__ import annotations

import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from mhfd.contract import ExitCode, FocusParams, MhfdError
from mhfd_client.cli.names import OneOf
from mhfd_client.cli.options import (
    Command,
    config_option,
    endpoint_option,
    example,
    measure_options,
    opened_ledger,
    say,
    with_options,
)
from mhfd_client.cli.signals import on_signals

if TYPE_CHECKING:
    from mhfd_client.compute.protocol import Json
    from mhfd_client.config import Config
    from mhfd_client.rescore.driver import Driver
    from mhfd_client.rescore.progress import Progress
    from mhfd_client.rescore.request import Outcome, Request

TELL_EVERY_S = 600.0
COUNTING_S = 86400.0

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
        _control(config, runs, action, as_json)
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
    jobs = _Jobs(config, names, ledger_path(config, where), as_json=as_json)
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


class _Jobs:
    """Does one job after the other; an error of one does not stop the others.

    Attributes
    ----------
    told : what is said of each, as plain JSON types
    """

    def __init__(self, config: Config, names: list[str], ledger: str, *, as_json: bool) -> None:
        self._config, self._names, self._ledger, self._as_json = config, names, ledger, as_json
        self._driver: Driver | None = None
        self.interrupted = False
        self.exit_code = ExitCode.OK
        self.told: list[Json] = []

    def do(self, request: Request, *, resume: bool) -> None:
        from mhfd_client.rescore.driver import Driver
        from mhfd_client.rescore.job import job_file
        from mhfd_client.rescore.live import LiveTiles
        from mhfd_client.rescore.opening import open_sites
        from mhfd_client.rescore.request import Stopped

        file = job_file(request.run, request.params, {**request.options, "pattern": request.pattern})
        with self._one_of_several(request.run), file.locked():
            record = file.load()
            if resume and record is not None and record.manifest is not None:
                self._call("control_run", manifest=record.manifest, action="resume")
            with open_sites(self._config, self._names, request.run) as sites, _told_progress() as on_progress:
                self._driver = Driver(
                    request, sites, file, on_progress=on_progress, on_notice=partial(say, err=True),
                    live=LiveTiles(self._ledger),
                )  # fmt: skip
                with on_signals(self._on_signal):
                    try:
                        outcome = self._driver.run()
                    except Stopped as stopped:
                        say(f"{request.run}: {stopped.state}; the same command goes on", err=True)
                        self._end(ExitCode.TEMPORARY)
                        return
            self._tell(request.run, outcome)

    def count(self, request: Request) -> None:
        """Say what a job would take."""
        from mhfd_client.rescore.estimate import estimate
        from mhfd_client.rescore.job import known_jobs, rates
        from mhfd_client.rescore.opening import open_sites
        from mhfd_client.rescore.request import plan_arguments
        from mhfd_client.views.rescore import estimate_lines

        with self._one_of_several(request.run):
            with open_sites(self._config, self._names, request.run) as sites:
                arguments = plan_arguments(request, sites[0])
            arguments["options"]["dry_run"] = True
            plan = self._call("plan_run", **arguments)
            workers, rate = self._workers(request.priority), rates(known_jobs())
            known = [(workers[name], rate[name]) for name in self._names if name in rate and workers.get(name)]
            every = sum(count for count, _ in known)
            size = plan["shard_tiles"]
            done = sum(min(size, plan["tiles"] - shard * size) for shard in plan["done"])
            found = estimate(
                plan["tiles"] - done - plan["skipped"],
                plan["shards"] - len(plan["done"]),
                plan["bytes"],
                spectra=request.options.get("spectra", True),
                workers=every or None,
                tiles_per_s=sum(count * each for count, each in known) / every if every else None,
            )
            self.told.append({"schema": 1, "run": request.run, "files": plan["files"], **found.to_dict()})
            if not self._as_json:
                for line in estimate_lines(request.run, found, files=plan["files"], skipped=plan["skipped"] + done):
                    say(line)

    def _call(self, function: str, **arguments: Any) -> Json:
        from mhfd_client import Client

        with Client(self._names[0], config=self._config) as client:
            return client.call(function, COUNTING_S, **arguments)

    def _workers(self, priority: Any) -> dict[str, int]:
        """The workers that would work on a job, by endpoint; where it does not tell, none."""
        from mhfd_client.compute.local import count_gpus
        from mhfd_client.compute.opening import open_compute
        from mhfd_client.rescore.share import Workers, room

        found = {}
        for name in self._names:
            entry = self._config.endpoint(name)
            if name == "local":
                found[name] = self._config.local.workers or count_gpus() or 1
                continue
            compute = open_compute(name, entry)
            try:
                compute.connect()
                workers = Workers.of(compute.status().result(entry.limits.status_every_s).details)
                found[name] = room(replace(workers, idle=workers.total or 0), 0, priority) if workers.total else 0
            finally:
                compute.close()
        return found

    @contextmanager
    def _one_of_several(self, run: str) -> Generator[None, None, None]:
        try:
            yield
        except MhfdError as error:
            say(f"{run}: {error}", err=True)
            self.told.append({"schema": 1, "run": run, "state": "failed", "error": str(error)})
            self._end(error.exit_code)

    def _tell(self, run: str, outcome: Outcome) -> None:
        from mhfd_client.views.rescore import outcome_json, outcome_lines

        self.told.append(outcome_json(run, outcome))
        if not self._as_json:
            for line in outcome_lines(run, outcome):
                say(line)
        if outcome.state != "complete":
            self._end(ExitCode.TEMPORARY)
        elif outcome.finish and outcome.finish["failed"]:
            self._end(ExitCode.FAILED_TILES)

    def _end(self, code: ExitCode) -> None:
        self.exit_code = ExitCode.INTERRUPTED if self.interrupted else self.exit_code or code

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.interrupted or self._driver is None:
            raise KeyboardInterrupt
        self.interrupted = True
        say("no more is sent; ending when shards in flight are done, and once more ends at once", err=True)
        self._driver.stop()


@contextmanager
def _told_progress() -> Generator[Any, None, None]:
    """A bar on a terminal; elsewhere a line from time to time."""
    from mhfd_client.views import terminal
    from mhfd_client.views.rescore import progress_line

    told_s = time.monotonic()

    def on_progress(progress: Progress) -> None:
        nonlocal told_s
        advance(progress.tiles_done, progress.tiles)
        if time.monotonic() >= told_s + TELL_EVERY_S and not sys.stderr.isatty():
            told_s = time.monotonic()
            say(progress_line(progress), err=True)

    with terminal.progress("scoring") as advance:
        yield on_progress


def _control(config: Config, runs: tuple[str, ...], action: str, as_json: bool) -> None:
    """Ask, pause or cancel jobs that this machine knows."""
    from mhfd_client import Client
    from mhfd_client.rescore.job import known_jobs
    from mhfd_client.views.rescore import state_json, state_line
    from mhfd_client.views.terminal import print_plain

    if action != "status" and not runs:
        raise click.UsageError(f"name the run, or the job, to {action}")
    found = [each for run in runs for each in known_jobs(run)] if runs else known_jobs()
    told = []
    for _, record in found:
        answer = None
        if record.manifest is not None and (runs or action != "status"):  # all that are known: without asking anybody
            with Client(record.endpoints[0], config=config) as client:
                answer = client.call("control_run", manifest=record.manifest, action=action)
        told.append(state_json(record, answer))
    if as_json:
        print_plain(told)
        return
    for each in told:
        say(state_line(each))
    if not told:
        say("this machine knows no job yet: `mhfd rescore RUN` begins one", err=True)
