"""Tiles a second that one client gets through an endpoint of many GPUs, and how long others wait behind it.

    python benchmarks/dispatch_rate.py [--gpus 1 2 4 8] [--seconds 20] [--out dispatch_rate.csv] [--quick]

The endpoint is simulated: its workers sleep, 1/3000 s a tile by path, 20 ms a task. All else is real: tiles, packing,
window, 18 requests in ten seconds (tests/sleeping.py keeps the service's order and limits), rows as JSON, ledger.

paced     tiles 30 times as slow, in tasks of a 30th of the tiles, figures times 30: tasks last as long as at full
          rate, but what the client itself computes does not count. Do window and requests keep the workers busy?
rows      the client alone at full rate: tiles from memory, rows to nowhere
ledger    as `mhfd watch` does it: tiles from the ledger, submitted, rows stored
wait      a microscope that writes a tile each half second, on an endpoint of two slow workers: alone, beside one client
          with a backlog without end, beside four; "fixed" is beside one that keeps 16 tasks of 64 tiles in flight

Rates are those of the second half of a run: the window has to learn the endpoint's rate first. The ideal is what the
workers do with tasks of 1000 tiles that never make them wait.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from mhfd.contract import FocusParams
from mhfd_client.client import AHEAD, Client
from mhfd_client.config import Config, DataMapping, GlobusEndpoint, Limits
from mhfd_client.dispatch.pack import Tile
from mhfd_client.ledger import Ledger, open_ledger
from mhfd_client.pipeline.context import Bell, Context, Options
from mhfd_client.pipeline.dispatch import DispatchStep
from mhfd_client.pipeline.notices import Board
from mhfd_client.pipeline.runner import Runner
from service import write_csv  # the benchmark beside this one

sys.path.append(str(Path(__file__).parents[1] / "tests"))

from sleeping import SHA256, SleepingCompute, SleepingEndpoint, sleeping_endpoint, template

GPU_TILES_PER_S = 3000.0
PER_TASK_S = 0.02
PACE = 30  # of "paced"
SLOW_TILES_PER_S = 30.0  # a core of a processor
SPECTRUM = "A" * 1100  # as long as a real one
PARAMS = FocusParams()
UUID = "4b116d3c-1703-4f8f-9f6f-39921e5864df"
TRAVEL_S = 0.07  # there, and as long back
NEARLY = 0.9  # of what the workers can do: then they limit
REQUESTS_USED = 17  # of 18 in ten seconds
LIVE_EVERY_S = 0.5
FIXED = Limits(in_flight_s=3600.0, tasks_in_flight=16, max_tiles_per_task=64)
STAGED = """
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < :tiles)
INSERT INTO tile
    (run_id, folder_id, name, state, size, mtime_ns, tile_sha256, height, width, seen_at, changed_at, state_at)
SELECT :run, 1, printf('t%07d.tif', i), 'staged', 1048576, i, :sha256, 1024, 1024, i, i, i FROM n"""


@dataclass(frozen=True)
class Rate:
    """One measured rate.

    Attributes
    ----------
    cpu : seconds of this process a second, the simulated endpoint's part in it included
    requests : made in ten seconds
    window : tiles that might be in flight at the end
    limit : what the client met first
    """

    what: str
    gpus: int
    ideal: float
    tiles_per_s: float
    cpu: float
    requests: float
    tiles_a_task: float
    window: int
    limit: str


@dataclass(frozen=True)
class Wait:
    """Waits of the microscope's tiles, from submitting to the row."""

    beside: str
    tiles: int
    p50_s: float
    p95_s: float
    longest_s: float
    backlog_tiles_per_s: float


@contextmanager
def client_of(endpoint: SleepingEndpoint, limits: Limits) -> Iterator[tuple[Client, SleepingCompute]]:
    compute = SleepingCompute(endpoint, travel_s=TRAVEL_S, row=template(SPECTRUM), slots=limits.tasks_in_flight)
    entry = GlobusEndpoint(
        uuid=UUID,
        functions=dict.fromkeys(SleepingCompute.functions, UUID),
        data=(DataMapping(root="/scratch"),),
        limits=limits,
    )  # type: ignore[arg-type]
    config = Config(endpoints={compute.name: entry})
    with Client(compute.name, config=config, compute=compute) as client:
        yield client, compute
        client.close(0.0)


# ----------------------------------------------------------------------------------------------------------------- rate


class Endless:
    """Keeps a client full of tiles; counts the rows."""

    def __init__(self, client: Client) -> None:
        self.rows = 0
        self._client = client
        self._put = 0
        self._room = threading.Condition()
        self._ended = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def end(self) -> None:
        with self._room:
            self._ended = True
            self._room.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            room = max(0, self._client.window - (self._put - self.rows))
            with self._room:
                if self._ended:
                    return
                if room < max(1, self._client.window // 8):
                    self._room.wait(0.05)
                    continue
            tiles = [self._tile(self._put + k) for k in range(room)]
            self._put += room
            self._client.put(tiles)

    def _tile(self, number: int) -> Tile:
        path = f"/scratch/run/s0001/t{number:07d}.tif"
        tile = Tile(path, path, None, PARAMS)
        tile.future.add_done_callback(self._count)
        return tile

    def _count(self, _: object) -> None:
        self.rows += 1


def measure_rows(gpus: int, seconds: float, pace: int = 1) -> Rate:
    """The client alone."""
    limits = Limits(max_tiles_per_task=Limits().max_tiles_per_task // pace)
    rate = GPU_TILES_PER_S / pace
    with sleeping_endpoint(gpus, rate, PER_TASK_S) as endpoint, client_of(endpoint, limits) as (client, compute):
        source = Endless(client)
        found = measured("rows", gpus, seconds, client, compute, lambda: source.rows)
        source.end()
    if pace == 1:
        return found
    faster = {key: getattr(found, key) * pace for key in ("tiles_per_s", "tiles_a_task", "window")}
    return judged(replace(found, what="paced", **faster))


def measure_ledger(gpus: int, seconds: float, folder: Path) -> Rate:
    """With the step of the watch that submits and stores."""
    tiles = round(min(gpus * GPU_TILES_PER_S, 10_000) * seconds)
    with ExitStack() as undo:
        endpoint = undo.enter_context(sleeping_endpoint(gpus, GPU_TILES_PER_S, PER_TASK_S))
        ledger = undo.enter_context(open_ledger(folder / f"ledger{gpus}.db"))
        client, compute = undo.enter_context(client_of(endpoint, Limits()))
        run = ledger.open_run("/scratch/run", PARAMS, layout="plain", endpoint=compute.name)
        stage(ledger, run.run_id, tiles)
        bells = {"watch": Bell(), "gate": Bell(), "transfer": Bell(), "dispatch": Bell()}
        context = Context(run=run, ledger=ledger, options=Options(), board=Board(print), bells=bells)  # type: ignore[arg-type]
        stored = [0]
        step = DispatchStep(context, client, on_results=lambda rows: stored.append(stored.pop() + len(rows)))
        runner = Runner(step, context.board, bells["dispatch"])
        runner.start()
        found = measured("ledger", gpus, seconds, client, compute, lambda: stored[0])
        step.drain()
        runner.stop()
        runner.join(10.0)
        return found


def stage(ledger: Ledger, run_id: int, tiles: int) -> None:
    """Put tiles into the ledger as the watch leaves them when they are staged."""
    with ledger.transaction():
        connection = ledger._database._connection  # type: ignore[attr-defined]
        connection.execute("INSERT INTO folder (folder_id, run_id, path) VALUES (1, ?, '')", (run_id,))
        connection.execute(STAGED, {"run": run_id, "tiles": tiles, "sha256": SHA256})


def measured(
    what: str, gpus: int, seconds: float, client: Client, compute: SleepingCompute, count: Callable[[], int]
) -> Rate:
    """Let it run, and measure its second half."""
    time.sleep(seconds / 2)
    begun_s, cpu_s, first, requests, tasks = (
        time.perf_counter(),
        time.process_time(),
        count(),
        compute.requests,
        len(compute.tasks),
    )
    time.sleep(seconds / 2)
    took_s = time.perf_counter() - begun_s
    rate, cpu = (count() - first) / took_s, (time.process_time() - cpu_s) / took_s
    asked = (compute.requests - requests) / took_s * 10
    sizes = compute.tasks[tasks:] or [0]
    tiles = Limits().max_tiles_per_task
    ideal = gpus * tiles / (tiles / GPU_TILES_PER_S + PER_TASK_S)
    return judged(Rate(what, gpus, ideal, rate, cpu, asked, statistics.fmean(sizes), client.window // AHEAD, ""))


def judged(rate: Rate) -> Rate:
    """With the limit that was met first; at full rate that is the client itself, since "paced" has the same tasks."""
    if rate.tiles_per_s > NEARLY * rate.ideal:
        return replace(rate, limit="workers")
    if rate.what != "paced":
        return replace(rate, limit="client")
    return replace(rate, limit="requests" if rate.requests > REQUESTS_USED else "window")


# ----------------------------------------------------------------------------------------------------------------- wait


def measure_wait(beside: str, backlogs: int, limits: Limits, seconds: float) -> Wait:
    """A microscope beside clients with a backlog; those begin before it."""
    with ExitStack() as undo:
        endpoint = undo.enter_context(sleeping_endpoint(2, SLOW_TILES_PER_S))
        others = [Endless(undo.enter_context(client_of(endpoint, limits))[0]) for _ in range(backlogs)]
        if others:
            time.sleep(seconds / 2)
        live, _ = undo.enter_context(client_of(endpoint, Limits()))
        waits: list[float] = []
        tiles = []
        begun_s, before = time.monotonic(), sum(other.rows for other in others)
        while time.monotonic() < begun_s + seconds:
            tiles.append(submitted(live, len(tiles), waits))
            time.sleep(LIVE_EVERY_S)
        rate = (sum(other.rows for other in others) - before) / (time.monotonic() - begun_s)
        for tile in tiles:
            tile.future.result(120.0)
        for other in others:
            other.end()
    waits.sort()
    p95_s = waits[(95 * (len(waits) - 1)) // 100]
    return Wait(beside, len(waits), statistics.median(waits), p95_s, waits[-1], rate)


def submitted(client: Client, number: int, waits: list[float]) -> Tile:
    path = f"/scratch/live/t{number:06d}.tif"
    tile = Tile(path, path, None, PARAMS)
    begun_s = time.monotonic()
    tile.future.add_done_callback(lambda _: waits.append(time.monotonic() - begun_s))
    client.put([tile])
    return tile


# --------------------------------------------------------------------------------------------------------------- report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--gpus", type=int, nargs="*", default=[1, 2, 4, 8])
    parser.add_argument("--seconds", type=float, default=20.0, help="of each measurement")
    parser.add_argument("--out", type=Path, help="CSV of the rates; that of the waits lies beside it")
    parser.add_argument("--quick", action="store_true", help="a check that it works, not how fast")
    given = parser.parse_args()
    if given.quick:
        given.gpus, given.seconds = [1], 2.0
    rates: list[Rate] = []
    with tempfile.TemporaryDirectory(prefix="mhfd-rate-") as name:
        for gpus in given.gpus:
            rates += [
                measure_rows(gpus, given.seconds, PACE),
                measure_rows(gpus, given.seconds),
                measure_ledger(gpus, given.seconds, Path(name)),
            ]
    print_rates(rates)
    waits = [
        measure_wait("nobody", 0, Limits(), given.seconds),
        measure_wait("1 backlog", 1, Limits(), given.seconds),
        measure_wait("4 backlogs", 4, Limits(), given.seconds),
        measure_wait("1 backlog, fixed", 1, FIXED, given.seconds),
    ]
    print_waits(waits)
    if given.out:
        write_csv(given.out, rates)
        write_csv(given.out.with_name(f"{given.out.stem}_wait.csv"), waits)


def print_rates(rates: list[Rate]) -> None:
    print("| | GPUs | ideal, tiles/s | tiles/s | of it | tiles a task | requests in 10 s | tiles a CPU s | met first |")
    print("|---|---|---|---|---|---|---|---|---|")
    for each in rates:
        own = f"{each.tiles_per_s / each.cpu:.0f}" if each.what != "paced" and each.cpu else ""
        print(
            f"| {each.what} | {each.gpus} | {each.ideal:.0f} | {each.tiles_per_s:.0f} "
            f"| {each.tiles_per_s / each.ideal:.0%} | {each.tiles_a_task:.0f} | {each.requests:.0f} "
            f"| {own} | {each.limit} |"
        )


def print_waits(waits: list[Wait]) -> None:
    print("\n| the microscope is beside | tiles | wait p50, s | p95, s | longest, s | backlog, tiles/s |")
    print("|---|---|---|---|---|---|")
    for each in waits:
        print(
            f"| {each.beside} | {each.tiles} | {each.p50_s:.2f} | {each.p95_s:.2f} | {each.longest_s:.2f} "
            f"| {each.backlog_tiles_per_s:.1f} |"
        )


if __name__ == "__main__":
    main()
