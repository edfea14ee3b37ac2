"""What `mhfd rescore` does with jobs: one after the other, counted beforehand, or paused."""

from __future__ import annotations

import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from mhfd.contract import ExitCode, MhfdError
from mhfd_client.cli.options import say
from mhfd_client.cli.signals import on_signals

if TYPE_CHECKING:
    from mhfd_client.compute.protocol import Json
    from mhfd_client.config import Config
    from mhfd_client.rescore.driver import Driver
    from mhfd_client.rescore.progress import Progress
    from mhfd_client.rescore.request import Outcome, Request

TELL_EVERY_S = 600.0
COUNTING_S = 86400.0


class Jobs:
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
        from mhfd_client.rescore.opening import open_sites, workers_of
        from mhfd_client.rescore.request import plan_arguments
        from mhfd_client.views.rescore import estimate_lines

        with self._one_of_several(request.run):
            with open_sites(self._config, self._names, request.run) as sites:
                arguments = plan_arguments(request, sites[0])
            arguments["options"]["dry_run"] = True
            plan = self._call("plan_run", **arguments)
            workers, rate = workers_of(self._config, self._names, request.priority), rates(known_jobs())
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


def control(config: Config, runs: tuple[str, ...], action: str, as_json: bool) -> None:
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
