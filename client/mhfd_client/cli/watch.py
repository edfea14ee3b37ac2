"""`mhfd watch`."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, get_args

import click

from mhfd.contract import ExitCode, MhfdError
from mhfd.text import counted, is_unicode
from mhfd_client.cli.dashboard import PORT, door_options, page_door, tell_page
from mhfd_client.cli.layouts import layout_option
from mhfd_client.cli.names import OneOf, complete_endpoint, complete_profile
from mhfd_client.cli.options import FOLDER, config_option, example, max_blur_option, say
from mhfd_client.cli.signals import on_signals
from mhfd_client.files.near import did_you_mean
from mhfd_client.files.order import Order

if TYPE_CHECKING:
    from mhfd_client.config import Config, Settings
    from mhfd_client.ledger import Run, Summary
    from mhfd_client.pipeline import Pipeline
    from mhfd_client.pipeline.assembly import Serve
    from mhfd_client.views.page.opening import Door

log = logging.getLogger(__name__)

SWITCH_S = 0.0005


@click.command(epilog=example("mhfd watch run --once", "mhfd watch run --endpoint dgx --page"))
@click.argument("folder", type=FOLDER, required=False, metavar="[DIR]")
@click.option(
    "--endpoint",
    shell_complete=complete_endpoint,
    help="Where tiles are scored.  [default: the profile's, else local]",
)
@click.option(
    "--profile",
    shell_complete=complete_profile,
    help="Which [profiles.NAME] of the configuration.  [default: the configuration's]",
)
@click.option("--ledger", help="File or postgresql:// URL.  [default: the configuration's]")
@click.option("--once", is_flag=True, help="End when everything in the folder is scored, failed or stalled.")
@click.option("--wait-for-folder", is_flag=True, help="Wait until the folder exists.")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.option("--order", type=OneOf(get_args(Order)), help="Which tiles go first.  [default: fresh]")
@layout_option
@click.option("--pattern", help="With --layout regex: pattern of the file names.")
@click.option("--listen", metavar="HOST:PORT", help="Where the microscope reports finished tiles.")
@click.option(
    "--page",
    is_flag=False,
    flag_value=f"127.0.0.1:{PORT}",
    metavar="[HOST:PORT]",
    help=f"Show the run live in the browser, by default at 127.0.0.1:{PORT}.",
)
@door_options
@max_blur_option
@click.option("--log-dir", type=FOLDER, help="Write log files to this folder.")
@click.option("--quiet", is_flag=True, help="Do not print alerts; the log, `mhfd status` and channels have them.")
@config_option
def watch(
    folder: Path | None,
    profile: str | None,
    once: bool,
    wait_for_folder: bool,
    dry_run: bool,
    quiet: bool,
    max_blur_px: float | None,
    config_file: Path | None,
    page: str | None,
    tokens: tuple[str, ...],
    tls_cert: Path | None,
    tls_key: Path | None,
    readonly: bool,
    browser: bool,
    **flags: Any,
) -> None:
    """Score a microscope's folder DIR as it fills, and keep each tile's state in a ledger.

    The folder is only read. Start again after any failure: nothing is lost, nothing is stored twice. Ctrl-C ends when
    tiles under way are stored, a second one at once.

    Exit code: 0, or with --once 3 when tiles failed, are stalled or were left out; 75 another process watches this
    run, 77 somebody has to sign in, 78 bad configuration, 130 interrupted.
    """
    from mhfd_client.config import load_config, resolve
    from mhfd_client.logs import start_logging

    config = load_config(config_file)
    given = {**flags, "folder": str(folder) if folder else None, "config": str(config_file) if config_file else None}
    if max_blur_px is not None:
        given["verdict"] = {"max_blur_px": max_blur_px}
    settings = resolve(config, profile, given)
    if settings.profile.log_dir:
        start_logging(settings.profile.log_dir, days=settings.profile.log_days)
    try:
        door = page_door(page, tokens, tls_cert, tls_key, readonly) if page is not None else None
        view = View(door, browser=browser)
        run_watch(config, settings, view, once=once, wait=wait_for_folder, dry_run=dry_run, quiet=quiet)
    except MhfdError as error:
        log.error("%s", error, extra={"on_screen": True})  # nobody reads that of a watch that the system started
        raise


@dataclass(frozen=True)
class View:
    """The page of a watch.

    Attributes
    ----------
    door : None: no page
    browser : open it here
    """

    door: Door | None = None
    browser: bool = False


def run_watch(
    config: Config, settings: Settings, view: View, *, once: bool, wait: bool, dry_run: bool, quiet: bool
) -> None:
    """Watch until the end, and exit."""
    from mhfd_client.pipeline import assembly

    for notice in settings.notices:
        _tell(notice)
    chosen = settings.profile.folder
    if chosen is None:
        raise click.UsageError("name the folder to watch, or set it: `mhfd init`")
    stop = _Stop()
    with stop.on_signals():
        if wait:
            assembly.wait_for_folder(chosen, _tell, lambda: stop.asked)
        if not stop.asked and not chosen.is_dir():
            near = did_you_mean(chosen, folder=True)
            raise click.UsageError(f"{chosen}: no such folder{near or ';'} --wait-for-folder waits until it exists")
        if not is_unicode(str(chosen.resolve())):
            raise click.UsageError(f"{chosen}: a name that is not UTF-8 fits in no ledger; rename the folder")
        if dry_run:
            _print_plan(assembly.plan_watch(chosen, config, settings))
            return
        summary = None if stop.asked else _watch(chosen, config, settings, view, stop, once=once, quiet=quiet)
    sys.exit(_exit_code(summary, stop, once=once))


def _watch(
    folder: Path, config: Config, settings: Settings, view: View, stop: _Stop, *, once: bool, quiet: bool
) -> Summary:
    from mhfd_client.ledger import LedgerGoneError
    from mhfd_client.pipeline.assembly import open_watch

    announce = announcer(quiet=quiet)
    # Its steps wait for files and the ledger most of the time; by default each waits up to 5 ms for its turn beside the
    # judge, who computes.
    sys.setswitchinterval(SWITCH_S)

    def watch_one_ledger() -> Summary | None:
        """The run in numbers; None when the ledger is gone, and the profile asks for a new one."""
        try:
            with open_watch(
                folder, config, settings, once=once, tell=_tell, announce=announce, serve=_serve(settings, view)
            ) as pipeline:
                _tell(f"watching {folder}; scoring on {settings.profile.endpoint}; ledger {settings.ledger}")
                stop.then(pipeline)
                return pipeline.run()
        except LedgerGoneError as error:
            if settings.profile.ledger_gone == "end" or stop.asked:
                raise
            _tell(f"{error}. A new one is begun")
            return None

    while (summary := watch_one_ledger()) is None:
        pass
    _tell(_in_words(summary))
    return summary


def announcer(*, quiet: bool) -> Callable[[str], None]:
    """Prints alerts; with --quiet they are in the log, the ledger and the channels alone."""
    return (lambda _: None) if quiet else say


def _serve(settings: Settings, view: View) -> Serve | None:
    """What opens the page and the listener; None where neither is wanted."""
    listen = settings.profile.listen
    if view.door is None and listen is None:
        return None
    from mhfd_client.serving import require_server

    require_server("listening for finished tiles")
    from mhfd_client.views.page.opening import open_doors

    def serve(pipeline: Pipeline, run: Run) -> AbstractContextManager[None]:
        return open_doors(
            settings.ledger, run, lambda path: pipeline.look(path), _tell,
            listen=listen, door=view.door, tell_page=partial(tell_page, browser=view.browser),
        )  # fmt: skip

    return serve


class _Stop:
    """Handles Ctrl-C and SIGTERM: the first ends in good order, the second at once."""

    def __init__(self) -> None:
        self.asked = False
        self.interrupted = False
        self._pipeline: Pipeline | None = None

    def then(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        if self.asked:
            pipeline.stop()

    def on_signals(self) -> AbstractContextManager[None]:
        return on_signals(self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        again, self.asked = self.asked, True
        self.interrupted |= number == signal.SIGINT
        if self._pipeline is None:
            if again:
                raise KeyboardInterrupt
            return
        if again:
            self._pipeline.leave()
        else:
            _tell("ending when tiles under way are stored; once more ends at once")
            self._pipeline.stop()


def _exit_code(summary: Summary | None, stop: _Stop, *, once: bool) -> ExitCode:
    if stop.interrupted:
        return ExitCode.INTERRUPTED
    if once and summary is not None and (summary.counts.get("failed") or summary.stalled or summary.left_out):
        return ExitCode.FAILED_TILES
    return ExitCode.OK


def _tell(sentence: str) -> None:
    log.info("%s", sentence)
    say(sentence, err=True)


def _print_plan(plan: Any) -> None:
    lines: Sequence[tuple[str, object]] = (
        ("folder", plan.folder),
        ("layout", plan.layout),
        ("tiles", f"{plan.tiles}, of which the ledger knows {plan.known}"),
        ("images that are not tiles", plan.passed_over),
        ("scored on", plan.endpoint),
        ("transfer", plan.transfer),
        ("ledger", plan.ledger),
    )
    for name, value in lines:
        say(f"{name + ':':26}{value}")


def _in_words(summary: Summary) -> str:
    counts = summary.counts
    waiting = sum(counts.get(state, 0) for state in ("seen", "ready", "staged", "submitted")) - summary.stalled
    parts = [f"{counted(counts.get('scored', 0), 'tile')} scored"]
    for count, what in (
        (counts.get("failed", 0), "failed"),
        (summary.stalled, "stalled"),
        (waiting, "to be done"),
        (summary.missing, "missing"),
        (summary.left_out, "left out"),
    ):
        if count:
            parts.append(f"{count} {what}")
    return ", ".join(parts)
