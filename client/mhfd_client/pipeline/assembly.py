"""Builds a watch from the configuration: a pipeline with all that it needs."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from mhfd.contract import ExitCode, FocusParams, MhfdError
from mhfd_client.client import Client
from mhfd_client.config import Config, GlobusEndpoint, LocalEndpoint, Settings
from mhfd_client.dispatch.queueing import Waiting
from mhfd_client.files.names import is_image_name
from mhfd_client.judge.alerts import Alerts
from mhfd_client.judge.events import EventBook
from mhfd_client.ledger import Json, Ledger, LedgerError, Run, open_ledger
from mhfd_client.naming import Layout, open_layout
from mhfd_client.notify.opening import open_channels
from mhfd_client.notify.outbox import Outbox
from mhfd_client.pipeline.alert import AlertStep
from mhfd_client.pipeline.context import Bell, Options, Results
from mhfd_client.pipeline.notices import Board
from mhfd_client.pipeline.pipeline import Pipeline
from mhfd_client.pipeline.telling import Telling
from mhfd_client.serving import require_server
from mhfd_client.transfer.opening import open_transfer
from mhfd_client.watch import Folder, Scanner, Waker

log = logging.getLogger(__name__)

Serve = Callable[[Pipeline, Run], AbstractContextManager[None]]
"""Opens what a watch offers to others as long as it lasts."""

ENDLESS_S = 1e9  # a watch never gives up an endpoint
ONCE_STALL_FACTOR = 5  # with `once` nobody waits minutes for the end of a file
MIN_POLL_S = 0.5
LOOK_FOR_FOLDER_S = 2.0


@dataclass(frozen=True)
class WatchPlan:
    """The plan of a watch, for `--dry-run`.

    Attributes
    ----------
    tiles, passed_over : numbers of images that are tiles, and that are not
    known : number of tiles that the ledger knows
    """

    folder: Path
    layout: str
    endpoint: str
    transfer: str
    ledger: str
    tiles: int
    passed_over: int
    known: int


@contextmanager
def open_watch(
    folder: Path,
    config: Config,
    settings: Settings,
    *,
    once: bool,
    tell: Callable[[str], None],
    on_results: Callable[[Results], None] = lambda _: None,
    announce: Callable[[str], None] | None = None,
    serve: Serve | None = None,
) -> Generator[Pipeline, None, None]:
    """Yield a pipeline for a folder, ready to run; close everything when the block ends.

    Parameters
    ----------
    tell : receives notices on the watch itself
    announce : receives alerts on tiles and on the run, which also go to the profile's channels; without it nothing is
        judged
    serve : in place of the plain listener for a microscope's messages

    Raises
    ------
    MhfdError
        The configuration cannot be used, somebody has to sign in, or another process watches this run.
    """
    profile = settings.profile
    root = folder.resolve()
    with ExitStack() as open_parts:
        ledger = open_ledger(settings.ledger)
        open_parts.callback(ledger.close)
        layout = open_layout(profile.layout, root=root, pattern=profile.pattern)
        params = FocusParams.from_dict(profile.params)
        run = ledger.open_run(str(root), params, layout=layout.name, endpoint=profile.endpoint)
        open_parts.enter_context(ledger.lease(run.run_id))
        rule = {**profile.verdict.model_dump(), "instrument": profile.instrument or settings.name}
        ledger.set_rule(run.run_id, _with_chosen(rule, ledger.rule(run.run_id)), time.time())
        entry = _patient(config, settings, once=once)
        board = Board(tell)
        client = Client(
            profile.endpoint,
            config=_with(config, profile.endpoint, entry),
            # Nothing of a local task outlives this process, so there is nothing to take up.
            on_state=None if isinstance(entry, LocalEndpoint) else partial(_save_state, ledger, run, board),
            on_notice=partial(board.put, "endpoint"),
            on_queue=partial(_show_queue, ledger, run, board),
        )
        open_parts.callback(client.close, 0.0)
        transfer = open_transfer(entry, root=root, run=f"run{run.run_id}-{run.params_sha256[:8]}")
        open_parts.callback(transfer.close)
        _sign_in(client.connect, "endpoint", board)
        _sign_in(transfer.connect, "transfer", board)
        options = Options(
            poll_s=min(profile.poll_s, max(MIN_POLL_S, profile.settle_s)) if once else profile.poll_s,
            settle_s=profile.settle_s,
            stall_s=min(profile.stall_s, ONCE_STALL_FACTOR * profile.settle_s) if once else profile.stall_s,
            marker=profile.marker,
            exclude=profile.exclude,
            order=profile.order,
            fresh_s=profile.fresh_s,
            once=once,
            patience_s=entry.limits.patience_s,
        )
        bell = None if once else open_parts.enter_context(Waker(root, wakes=_wakes(profile.marker), notice=tell))
        telling = None
        if announce is not None:
            telling = _telling(config, settings, ledger, run, board, announce)
            open_parts.callback(telling.stop)

        def stored(results: Results) -> None:
            if telling is not None:
                telling.put(results)
            on_results(results)

        pipeline = Pipeline(run, ledger, layout, transfer, client, options, board, bell=bell, on_results=stored)
        open_parts.enter_context(serve(pipeline, run) if serve else _listener(profile.listen, pipeline, tell))
        if telling is not None:
            telling.start()
        yield pipeline
        if telling is not None and not pipeline.left:
            telling.finish()


def _telling(
    config: Config, settings: Settings, ledger: Ledger, run: Run, board: Board, announce: Callable[[str], None]
) -> Telling:
    """What judges this run and tells people."""
    rules, endpoint = settings.profile.alerts, settings.profile.endpoint
    boxes = []
    for channel in open_channels(config, rules.channels):
        bell = Bell()
        boxes.append((Outbox(ledger, run, channel, rules, on_post=bell.ring), bell))
    book = EventBook(ledger, run.run_id, rules, [box for box, _ in boxes], tell=announce)
    alerts = Alerts(ledger, run.run_id, book)
    until = _signed_in_until if isinstance(config.endpoint(endpoint), GlobusEndpoint) else lambda: None
    step = AlertStep(
        ledger, run.run_id, alerts, book, board, endpoint=endpoint, tell=announce, signed_in_until=until
    )  # fmt: skip
    return Telling(step, boxes, board)


def _signed_in_until() -> float | None:
    from mhfd_client.service.signin import signed_in_until  # imports Globus

    return signed_in_until()


@contextmanager
def _listening(listen: str, pipeline: Pipeline, tell: Callable[[str], None]) -> Generator[None, None, None]:
    require_server("listening for finished tiles")
    from mhfd_client.watch.hook import Hook

    with Hook(listen, lambda path: pipeline.look(path)) as hook:
        tell(f"listening at {hook.url} for finished tiles")
        yield


def _listener(listen: str | None, pipeline: Pipeline, tell: Callable[[str], None]) -> AbstractContextManager[None]:
    return nullcontext() if listen is None else _listening(listen, pipeline, tell)


def _with_chosen(rule: Json, kept: Json) -> Json:
    """The configuration's thresholds, but that which somebody chose for this run since they were last set."""
    chosen = kept.get("chosen")
    if not chosen or chosen.get("instead_of") != rule["max_blur_px"]:
        return rule
    return {**rule, "max_blur_px": kept["max_blur_px"], "chosen": chosen}


def _wakes(marker: str | None) -> Callable[[str], bool]:
    """A test of file names: True if a change is worth a scan (images; with a marker, all names)."""
    return is_image_name if marker is None else lambda name: True


def _save_state(ledger: Ledger, run: Run, board: Board, state: Json) -> None:
    """Save the tasks in flight for the next start. If that fails, tiles are scored again; the watch goes on."""
    try:
        ledger.save_resume(run.run_id, state)
    except LedgerError as error:
        board.put("tasks in flight", str(error))
    else:
        board.clear("tasks in flight")


def _show_queue(ledger: Ledger, run: Run, board: Board, waiting: Waiting | None) -> None:
    """Show since when how many tiles of the run wait for workers; that none starts is the endpoint's trouble."""
    if waiting is None or waiting.silent:
        board.clear("queue")
    if waiting is None:
        return
    with suppress(LedgerError):  # then the tiles that were sent are counted
        waiting = replace(waiting, tiles=ledger.summary(run.run_id).to_do)
    board.put("endpoint" if waiting.silent else "queue", str(waiting), since=waiting.since)


def plan_watch(folder: Path, config: Config, settings: Settings) -> WatchPlan:
    """Scan the folder once and plan a watch; nothing is written or asked."""
    root = folder.resolve()
    layout = open_layout(settings.profile.layout, root=root, pattern=settings.profile.pattern)
    endpoint = settings.profile.endpoint
    transfer = open_transfer(_patient(config, settings, once=True), root=root, run="dry")
    tiles = [file.path for each in _folders(root, layout, settings) for file in each.files]
    images = [file.path for each in _folders(root, None, settings) for file in each.files]
    return WatchPlan(
        folder=root,
        layout=layout.name,
        endpoint=endpoint,
        transfer=transfer.name,
        ledger=settings.ledger,
        tiles=len(tiles),
        passed_over=len(images) - len(tiles),
        known=_known(settings.ledger, root, tiles),
    )


def wait_for_folder(folder: Path, tell: Callable[[str], None], stopped: Callable[[], bool]) -> None:
    """Wait until the folder exists, or until stopped."""
    if not folder.is_dir():
        tell(f"waiting for {folder}")
    while not folder.is_dir() and not stopped():
        time.sleep(LOOK_FOR_FOLDER_S)


def _patient(config: Config, settings: Settings, *, once: bool) -> GlobusEndpoint | LocalEndpoint:
    """The endpoint's entry with the profile's fallback and, unless `once`, endless patience."""
    entry = config.endpoint(settings.profile.endpoint)
    changes: dict[str, object] = {}
    if not once:
        changes["limits"] = entry.limits.model_copy(update={"patience_s": ENDLESS_S})
    if settings.profile.fallback is not None and isinstance(entry, GlobusEndpoint):
        changes["fallback"] = settings.profile.fallback
    return entry.model_copy(update=changes)


def _with(config: Config, name: str, entry: GlobusEndpoint | LocalEndpoint) -> Config:
    if isinstance(entry, LocalEndpoint):
        return config.model_copy(update={"local": entry})
    return config.model_copy(update={"endpoints": {**config.endpoints, name: entry}})


def _sign_in(connect: Callable[[], None], matter: str, board: Board) -> None:
    """Sign in now, while somebody may be there; watch even if the service is out of reach."""
    try:
        connect()
    except MhfdError as error:
        if error.exit_code in (ExitCode.SIGN_IN, ExitCode.CONFIG):
            raise
        board.put(matter, str(error))


def _folders(root: Path, layout: Layout | None, settings: Settings) -> Iterator[Folder]:
    def is_tile(path: str) -> bool:
        return layout is None or layout.position(path) is not None

    scanner = Scanner(root, is_tile=is_tile, exclude=settings.profile.exclude)
    return (each for each in scanner.scan() if isinstance(each, Folder))


def _known(where: str, root: Path, tiles: list[str]) -> int:
    """How many of the tiles the ledger has; 0 without a ledger."""
    if "://" not in where and not Path(where).exists():
        return 0
    ledger = open_ledger(where, readonly=True)
    try:
        return len(tiles) - len(ledger.unknown(ledger.find_run(str(root)).run_id, tiles))
    except LedgerError:  # no such run yet
        return 0
    finally:
        ledger.close()
