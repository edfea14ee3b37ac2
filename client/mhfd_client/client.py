"""`Client` scores tiles on an endpoint; its results are lists, iterators or `concurrent.futures`."""

from __future__ import annotations

import json
import logging
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Collection, Generator, Iterable, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from mhfd.contract import FocusParams, FocusResult, ParamsError
from mhfd.show.results import Results
from mhfd_client.compute.opening import open_compute
from mhfd_client.compute.protocol import Compute, EndpointUnavailableError, Json, Status
from mhfd_client.config import Config, GlobusEndpoint, LocalEndpoint, load_config
from mhfd_client.dispatch import answers
from mhfd_client.dispatch.dispatcher import Dispatcher
from mhfd_client.dispatch.pack import Packer, Source, Tile, tile_of, tiles_of
from mhfd_client.dispatch.queueing import Waiting
from mhfd_client.files.whole import write_whole
from mhfd_client.judge.run import judge_results

log = logging.getLogger(__name__)

Params = FocusParams | Mapping[str, Any] | None

AHEAD = 2  # windows: while one is in flight, the next one waits to follow
DRAIN_S = 10.0  # how long `close` waits for tiles in flight
MEMORY_BYTES = 2**28  # limit for the arrays that `map` has in flight, besides one
ANSWER_S = 600.0  # for one `call`: an endpoint may have to start its workers


class Client:
    """Scores tiles on an endpoint: "local" (this machine), a name of the configuration, or an endpoint's UUID.

        with Client("dgx") as client:
            results = client.score(["run/s0001_r0_c0.tif", "run/s0001_r0_c1.tif"])

    Nothing is started or sent before the first tile. All methods may be called from any thread, and from notebooks.
    A tile that cannot be scored is a row with status "failed"; exceptions are about the endpoint or the parameters.

    Parameters
    ----------
    endpoint : name or UUID
    config : a `Config`, or the file to read; by default the user's
    state_file : kept up to date with the tasks in flight, for `resume` in another process
    on_state : called with the same state when it changes, in a client thread
    on_notice : called with a sentence for the user ("offline since 12:03, 40 tiles wait"); by default it goes to
        the log as a warning
    on_queue : called with a `Waiting` at each look that finds tiles waiting for the endpoint's workers, as in a batch
        queue, and with None when they wait no more; by default `on_notice` is told once
    compute : another implementation of `Compute`

    Raises
    ------
    ConfigError
        There is no such endpoint, or the configuration cannot be used.
    """

    def __init__(
        self,
        endpoint: str = "local",
        *,
        config: Config | str | os.PathLike[str] | None = None,
        state_file: str | os.PathLike[str] | None = None,
        on_state: Callable[[Json], None] | None = None,
        on_notice: Callable[[str], None] = log.warning,
        on_queue: Callable[[Waiting | None], None] | None = None,
        compute: Compute | None = None,
    ) -> None:
        self.config = config if isinstance(config, Config) else load_config(config)
        self.entry = self.config.endpoint(endpoint)
        self.endpoint = endpoint
        self._compute = compute or open_compute(endpoint, self.entry)
        kept = None if state_file is None else partial(_write_state, Path(state_file))
        self._on_state = tuple(each for each in (kept, on_state) if each is not None)
        self._on_notice = on_notice
        self._on_queue = on_queue
        self._lock = threading.Lock()
        self._dispatcher: Dispatcher | None = None
        self._resources = _Resources()
        self._resources.computes.append(self._compute)
        # A client that is dropped without `close` leaves no threads behind.
        self._finalizer = weakref.finalize(self, self._resources.abandon)
        self._finalizer.atexit = False  # that would be too late: see _close_at_exit

    # --- Scoring --------------------------------------------------------------------------------------------------

    def score(self, sources: Source | Iterable[Source], params: Params = None) -> Results:
        """Score tiles; the rows in order, with verdicts. A file with several pages has a row a page.

        Ctrl-C cancels tiles not yet sent and returns at once; the client remains usable.

        Parameters
        ----------
        sources : files, or arrays (rows, cols); one or several
        params : `FocusParams`, or an object with its keys

        Raises
        ------
        ComputeError
            The endpoint does not work; the kind and the message say why.
        ParamsError
            The parameters are invalid.
        """
        checked = _params(params)
        tiles = [tile for source in _several(sources) for tile in tiles_of(source, checked)]
        self._running().put(tiles)
        try:
            return Results(judge_results([tile.future.result() for tile in tiles]))
        finally:
            for tile in tiles:  # after an exception or Ctrl-C; no effect on finished tiles
                tile.future.cancel()

    def map(self, sources: Iterable[Source], params: Params = None) -> Generator[FocusResult, None, None]:
        """`score` as a stream of any length: rows in order, each as soon as it is known; without verdicts.

        Sources are read as needed. Closing the iterator, or an exception, cancels tiles not yet sent.
        """
        checked, dispatcher = _params(params), self._running()
        under_way: deque[Tile] = deque()
        nbytes = 0
        try:
            for tile in (tile for source in _several(sources) for tile in tiles_of(source, checked)):
                while under_way and (len(under_way) >= self._window(dispatcher) or nbytes + tile.nbytes > MEMORY_BYTES):
                    nbytes -= under_way[0].nbytes
                    yield under_way.popleft().future.result()
                dispatcher.put([tile], linger=True)
                under_way.append(tile)
                nbytes += tile.nbytes
                while under_way and under_way[0].future.done():
                    nbytes -= under_way[0].nbytes
                    yield under_way.popleft().future.result()
            while under_way:
                yield under_way.popleft().future.result()
        finally:
            for tile in under_way:
                tile.future.cancel()

    def submit(self, source: Source, params: Params = None) -> Future[FocusResult]:
        """Score one tile in the background. Tiles submitted one right after the other share tasks."""
        tile = tile_of(source, _params(params))
        self.put([tile])
        return tile.future

    def put(self, tiles: Sequence[Tile]) -> None:
        """Score tiles made by the caller in the background; each has a future."""
        self._running().put(tiles, linger=True)

    @property
    def window(self) -> int:
        """The number of tiles worth having in flight, or waiting for it; it follows the endpoint's rate."""
        return self._window(self._running())

    def _window(self, dispatcher: Dispatcher) -> int:
        most = self._compute.slots * self.entry.limits.max_tiles_per_task
        return max(2, min(most, AHEAD * dispatcher.window))

    # --- The endpoint ---------------------------------------------------------------------------------------------

    def connect(self, *, interactive: bool | None = None) -> None:
        """Connect and sign in now, not with the first tile; later calls do nothing.

        Parameters
        ----------
        interactive : True if the user may be asked to sign in; by default, in a terminal or a notebook

        Raises
        ------
        ComputeError
            The connection fails; the kind says why.
        """
        self._running(interactive)

    @property
    def functions(self) -> Collection[str]:
        """Names that `call` takes."""
        return self._compute.functions

    def call(self, function: str, timeout_s: float = ANSWER_S, **arguments: Any) -> Json:
        """Run a registered function, say `describe` or `warmup`, and wait for its answer.

        Raises
        ------
        ComputeError
            It cannot be run, or does not answer in time.
        """
        self._running()
        reply = self._compute.submit(function, arguments)
        try:
            answer = reply.result(timeout_s)
        except FutureTimeoutError as error:
            raise EndpointUnavailableError(
                f"'{self.endpoint}' did not answer {function} within {timeout_s:.0f} s: run `mhfd doctor`"
            ) from error
        return answers.check(answer, self.endpoint)

    def status(self, timeout_s: float = 60.0) -> Status:
        """The endpoint's status, online or offline, at most a minute old.

        Raises
        ------
        ComputeError
            The request fails.
        """
        self._running()
        try:
            return self._compute.status().result(timeout_s)
        except FutureTimeoutError as error:
            raise EndpointUnavailableError(f"the service does not answer about '{self.endpoint}': try later") from error

    # --- Beginning again ------------------------------------------------------------------------------------------

    def state(self) -> Json:
        """The tasks in flight, as plain data for `resume`."""
        return self._running().state()

    def resume(self, state: Json | str | os.PathLike[str]) -> list[tuple[str, Future[FocusResult]]]:
        """Take up an earlier process's tasks in flight; the name and future of each tile.

        Answers that exist already come at once. Files of tasks that got no id are sent again. Call it before this
        client's first tile.

        Parameters
        ----------
        state : a value of `state`, or the state file
        """
        return [(tile.name, tile.future) for tile in self.take_up(state)]

    def take_up(self, state: Json | str | os.PathLike[str]) -> list[Tile]:
        """`resume`, but return the tiles themselves."""
        if not isinstance(state, dict):
            state = _read_state(Path(state))
        if state["endpoint"] != self._compute.name:
            raise ParamsError(f"this state belongs to endpoint '{state['endpoint']}', not '{self._compute.name}'")
        return self._running().resume(state)

    # --- End ------------------------------------------------------------------------------------------------------

    def close(self, drain_s: float = DRAIN_S) -> None:
        """Cancel tiles not yet sent, wait `drain_s` for the others, and end all threads and processes."""
        self._finalizer.detach()
        self._resources.close(drain_s)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, _: TracebackType | None) -> None:
        self.close(0.0 if kind is not None else DRAIN_S)

    def _running(self, interactive: bool | None = None) -> Dispatcher:
        with self._lock:
            if self._resources.closed:
                raise RuntimeError("this Client is closed; make a new one")
            if self._dispatcher is None:
                self._dispatcher = self._new_dispatcher(away=not self._connected(interactive))
            return self._dispatcher

    def _connected(self, interactive: bool | None) -> bool:
        """Connect in the caller's thread, for it may ask the user; False where this machine is to do the work."""
        try:
            self._compute.connect(interactive=interactive)
        except EndpointUnavailableError as error:
            if not self._falls_back:
                raise
            self._on_notice(f"{error}; tiles are scored on this machine until '{self.endpoint}' can be reached")
            return False
        return True

    @property
    def _falls_back(self) -> bool:
        return isinstance(self.entry, GlobusEndpoint) and self.entry.fallback == "local"

    def _new_dispatcher(self, *, away: bool) -> Dispatcher:
        overflow = _Overflow(self.config.local, self._resources) if self._falls_back else None
        dispatcher = Dispatcher(
            self._compute,
            Packer(self.endpoint, self.entry),
            overflow=overflow,
            on_notice=self._on_notice,
            on_queue=self._on_queue,
            on_change=partial(_tell, self._on_state) if self._on_state else None,
            away=away,
        )
        self._compute.acknowledged = dispatcher.acknowledged
        self._resources.add(dispatcher)
        return dispatcher


class _Overflow:
    """Scores here the tiles that the endpoint does not take; started when first needed."""

    def __init__(self, entry: LocalEndpoint, resources: _Resources) -> None:
        self._entry = entry
        self._resources = resources
        self._dispatcher: Dispatcher | None = None

    def __call__(self, tiles: Sequence[Tile]) -> None:
        if self._dispatcher is None:
            compute = open_compute("local", self._entry)
            self._resources.computes.append(compute)
            self._dispatcher = Dispatcher(compute, Packer("local", self._entry))
            self._resources.add(self._dispatcher)
        self._dispatcher.put(tiles)


class _Resources:
    """A client's dispatchers and computes; without a reference to it, so that it can be collected."""

    def __init__(self) -> None:
        self.dispatchers: list[Dispatcher] = []
        self.computes: list[Compute] = []
        self.closed = False

    def add(self, dispatcher: Dispatcher) -> None:
        self.dispatchers.append(dispatcher)
        _close_at_exit(self)

    def close(self, drain_s: float) -> None:
        self.closed = True
        for dispatcher in list(self.dispatchers):
            dispatcher.close(drain_s)
        for compute in list(self.computes):
            compute.close()
        _open.discard(self)

    def abandon(self) -> None:
        """`close`, in a thread of its own: garbage is collected in any thread, whatever locks that holds."""
        self.closed = True
        threading.Thread(target=self.close, args=(0.0,), name="mhfd-close", daemon=True).start()


_open: set[_Resources] = set()
_open_lock = threading.Lock()
_janitor: threading.Thread | None = None


def _close_at_exit(resources: _Resources) -> None:
    """Close what is still open when the main thread ends.

    Not by `atexit`: before that, Python waits for the pools' and the SDK's threads, which wait for their tasks.
    """
    global _janitor
    with _open_lock:
        _open.add(resources)
        if _janitor is None or not _janitor.is_alive():
            _janitor = threading.Thread(target=_close_all, name="mhfd-exit", daemon=False)
            _janitor.start()


def _close_all() -> None:
    threading.main_thread().join()
    for resources in list(_open):
        resources.close(0.0)


def _params(given: Params) -> FocusParams:
    if given is None or isinstance(given, FocusParams):
        return given or FocusParams()
    return FocusParams.from_dict(dict(given))


def _several(sources: Source | Iterable[Source]) -> Iterable[Source]:
    return [sources] if isinstance(sources, str | os.PathLike | np.ndarray) else sources


def _tell(listeners: Sequence[Callable[[Json], None]], state: Json) -> None:
    for listener in listeners:
        listener(state)


def _write_state(file: Path, state: Json) -> None:
    """Write the file whole or not at all; an error is only logged, as scoring goes on."""
    try:
        write_whole(file, json.dumps(state))  # names as they are, also those that are not UTF-8: `resume` reads them
    except OSError as error:
        why = error.strerror
        log.warning("%s cannot be written (%s): tasks in flight could not be taken up after a crash", file, why)


def _read_state(file: Path) -> Json:
    try:
        state = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ParamsError(f"{file} cannot be read as a client's state file: {error}") from error
    if not isinstance(state, dict) or state.get("schema") != 1:
        raise ParamsError(f"{file} is not a state file of this version of mhfd")
    return state
