"""Time of a tile's way through Globus Compute on this machine: real SDK, endpoint and broker, the cloud a loopback.

    python benchmarks/service.py [--tiles FOLDER] [--n 100] [--out raw.csv] [--quick]

Measured with stock results and with low latency (docs/service.md), each with the service near and at a distance of
40 ms, there and back: every request takes 40 ms longer; the task once and the result twice, each one way, 60 ms.

no-op     the stack alone: the SDK's Executor calls a registered function that does nothing
carried   the same with as many bytes as a tile has: the stack's time to carry it
one tile  pixels in memory -> our client -> endpoint -> row -> line in a file, synchronised with the disk
by path   a batch of files that the endpoint reads, in turn with `mhfd.iter_scores` of the same files ("local")

All run in turn, with pauses so that our client never has to wait for its own request limit. Linux only.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import itertools
import json
import multiprocessing
import os
import random
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import wait
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import psutil
import tifffile
import yaml
from numpy.typing import NDArray

import mhfd
from mhfd import registry
from mhfd.contract import FocusResult
from mhfd.images.inline import best_codec, encode_tile
from mhfd.worker import read_spool
from mhfd_client import Client

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "tests"))  # where the loopback is

if TYPE_CHECKING:
    from globus_compute_sdk import Executor

    from loopback.endpoint import Endpoint
    from loopback.stack import Loopback

MODES = {"stock": "0", "low latency": "1"}  # MHFD_LOW_LATENCY on the endpoint
DISTANCES_MS = (0, 40)
NO_OP = "def no_op(data):\n    return None\n"
RESULT_S = 300.0
RECOVERY_S = 900.0
PAUSE_S = (0.05, 0.6)  # between calls: our client makes 15 requests per 10 s, and none should wait
INLINE_CEILING_BYTES_PER_S = 2 * 9.5e6  # 20 requests in 10 s, 10 MB each minus overhead

# what, mode, distance in ms, "p50" or "p95", limit in s
GOALS = (
    ("one tile", "low latency", 0, "p50", 0.100),
    ("one tile", "low latency", 0, "p95", 0.150),
    ("one tile", "low latency", 40, "p50", 0.230),
    ("one tile", "stock", 0, "p95", 1.2),
)
SHARE_GOAL_S = 0.060
PATH_GOAL = 0.80  # of the local rate


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One measurement in seconds.

    Attributes
    ----------
    scoring_s : the part for reading and scoring on the worker
    lost, twice : tiles of the batch without a stored row, and with more than one
    again : repeated scorings of the batch's tiles, counted in the workers' spool
    """

    results: str
    distance_ms: int
    what: str
    number: int
    tiles: int
    seconds: float
    scoring_s: float = 0.0
    lost: int = 0
    twice: int = 0
    again: int = 0


class Store:
    """Rows as lines of a file, one per tile, on the disk when `add` returns; any thread may add."""

    def __init__(self, path: Path) -> None:
        self.names = (
            [json.loads(line)["path"] for line in path.read_text("utf-8").splitlines()] if path.exists() else []
        )
        self._file: IO[str] = path.open("a", encoding="utf-8")
        self._lock = threading.Lock()

    def add(self, row: FocusResult) -> None:
        if row.status != "scored":
            raise RuntimeError(f"A tile was not scored, so the times would mean nothing: {row.error}")
        with self._lock:
            self._file.write(json.dumps(row.to_dict()) + "\n")
            self._file.flush()
            os.fsync(self._file.fileno())
            self.names.append(row.path)

    def close(self) -> None:
        self._file.close()


# ------------------------------------------------------------------------------------------------------------ the stage


@dataclass
class Stage:
    """One endpoint, warm or not, and two clients of it: the SDK's and ours."""

    mode: str
    loopback: Loopback
    endpoint: Endpoint
    executor: Executor
    no_op: str
    inline: Client
    paths: Client
    config: Path
    folder: Path

    def call_no_op(self, data: str = "") -> tuple[float, float]:
        """Seconds in all, and of the scoring."""
        began_s = time.perf_counter()
        self.executor.submit_to_registered_function(self.no_op, (data,)).result(RESULT_S)
        return time.perf_counter() - began_s, 0.0

    def score_one(self, pixels: NDArray[Any], store: Store) -> tuple[float, float]:
        """Seconds in all, and of the scoring."""
        began_s = time.perf_counter()
        row = self.inline.submit(pixels).result(RESULT_S)
        store.add(row)
        return time.perf_counter() - began_s, row.timing_ms.total / 1e3

    @contextlib.contextmanager
    def store(self) -> Iterator[Store]:
        """An empty store."""
        self.rows.unlink(missing_ok=True)
        with contextlib.closing(Store(self.rows)) as store:
            yield store

    @property
    def rows(self) -> Path:
        return self.folder / "rows.jsonl"

    def scored(self) -> Counter[str]:
        """Number of scorings of each tile, by the spool."""
        return Counter(line["row"]["path"] for line in read_spool(self.endpoint.home / ".mhfd" / "spool"))

    @contextlib.contextmanager
    def at_distance(self, distance_ms: int) -> Iterator[None]:
        """Put the service `distance_ms` (there and back) from machine and endpoint."""
        self.loopback.faults.latency_s = distance_ms / 1000
        self.loopback.faults.result_latency_s = 1.5 * distance_ms / 1000
        yield
        self.loopback.faults.clear()


@contextlib.contextmanager
def staged(loopback: Loopback, mode: str, source: Path, tiles: Path, folder: Path, workers: int) -> Iterator[Stage]:
    """Start an endpoint from a copy of the folder `source`; its engine starts with its first task."""
    from globus_compute_sdk.serialize import ComputeSerializer, JSONData

    from loopback.broker import wait_until
    from loopback.endpoint import Endpoint
    from mhfd_client.compute.prompt import executor_class

    sdk = loopback.client()
    no_op = sdk.register_source_code(NO_OP, "no_op")
    functions = {record.name: record.uuid for record in registry.register(sdk, registry.FUNCTIONS)}
    environment = {"MHFD_LOW_LATENCY": MODES[mode], "PYTHONPATH": str(Path(mhfd.__file__).parents[1])}
    with contextlib.ExitStack() as undo:
        endpoint = Endpoint(folder / "home", loopback.environment, source=source, worker_environment=environment)
        allow(endpoint.folder / "config.yaml", [no_op, *functions.values()])
        endpoint.start()
        undo.callback(endpoint.stop)
        wait_until(lambda: loopback.service.cloud.online(endpoint.id), 30.0, "the endpoint is online")

        executor = executor_class(mode == "low latency")(
            endpoint_id=endpoint.id,
            user_endpoint_config={"workers": workers},
            api_burst_limit=1,  # else each task after the fourth waits for seconds
            serializer=ComputeSerializer(strategy_data=JSONData()),
            result_serializers=["globus_compute_sdk.serialize.JSONData"],
        )
        undo.callback(loopback.close_executors)
        common = {
            "uuid": endpoint.id,
            "functions": functions,
            "user_endpoint_config": {"workers": workers},
            "low_latency": mode == "low latency",
        }
        entries = {"inline": common, "paths": {**common, "data": [{"local_root": str(tiles), "root": str(tiles)}]}}
        config = write_toml(folder / "config.toml", entries)
        inline, by_path = (undo.enter_context(Client(name, config=config)) for name in entries)
        yield Stage(mode, loopback, endpoint, executor, no_op, inline, by_path, config, folder)


def allow(config: Path, functions: Sequence[str]) -> None:
    given = yaml.safe_load(config.read_text())
    config.write_text(yaml.safe_dump({**given, "allowed_functions": list(functions)}))


def write_toml(path: Path, entries: dict[str, dict[str, Any]]) -> Path:
    """Write JSON values as TOML: equal, but objects have `=` for `:`."""

    def value(given: object) -> str:
        if isinstance(given, dict):
            return "{" + ", ".join(f"{key} = {value(each)}" for key, each in given.items()) + "}"
        if isinstance(given, list):
            return "[" + ", ".join(map(value, given)) + "]"
        return json.dumps(given)

    lines = [
        f"[endpoints.{name}]\n" + "".join(f"{key} = {value(each)}\n" for key, each in entry.items())
        for name, entry in entries.items()
    ]
    path.write_text("\n".join(lines))
    return path


# ------------------------------------------------------------------------------------------------------------- measures


def measure_cold_start(stage: Stage, pixels: NDArray[Any]) -> Iterator[Sample]:
    """The first task starts user endpoint, engine and workers; the first tile loads and compiles the kernel."""
    with stage.store() as store:
        for what, call in (("first no-op", stage.call_no_op), ("first tile", partial(stage.score_one, pixels, store))):
            seconds, _ = call()
            yield Sample(results=stage.mode, distance_ms=0, what=what, number=0, tiles=0, seconds=seconds)


def warm_up(stage: Stage, paths: Sequence[Path], workers: int) -> None:
    """Score until every worker has had a tile; we cannot choose the worker."""
    with stage.store() as store:
        for future in [stage.paths.submit(path) for path in itertools.islice(itertools.cycle(paths), 8 * workers)]:
            store.add(future.result(RESULT_S))


def measure_round_trips(stage: Stage, tiles: Sequence[NDArray[Any]], n: int) -> Iterator[Sample]:
    """In turn, so that load affects all alike, and at random moments: the stack polls at regular ones."""
    for distance_ms in DISTANCES_MS:
        with stage.at_distance(distance_ms), stage.store() as store:
            for number in range(-1, n):  # the first is not counted
                pixels = tiles[number % len(tiles)]
                ways = {
                    "no-op": stage.call_no_op,
                    "carried": partial(stage.call_no_op, encode_tile(pixels, "raw")["data"]),
                    "one tile": partial(stage.score_one, pixels, store),
                }
                for what, call in ways.items():
                    time.sleep(random.uniform(*PAUSE_S))
                    seconds, scoring_s = call()
                    if number >= 0:
                        yield Sample(
                            results=stage.mode,
                            distance_ms=distance_ms,
                            what=what,
                            number=number,
                            tiles=int(what == "one tile"),
                            seconds=seconds,
                            scoring_s=scoring_s,
                        )


def measure_idle(stage: Stage, idle_s: float) -> Iterator[Sample]:
    """CPU seconds per idle second, of the user endpoint and of this process (the loopback's threads included)."""
    users = stage.endpoint.processes("user")

    def spent() -> tuple[float, float]:
        return sum(sum(user.cpu_times()[:2]) for user in users), time.process_time()

    before = spent()
    time.sleep(idle_s)
    for what, first, last in zip(("idle user endpoint", "idle client and loopback"), before, spent(), strict=True):
        yield Sample(results=stage.mode, distance_ms=0, what=what, number=0, tiles=0, seconds=(last - first) / idle_s)


def measure_throughput(stage: Stage, paths: Sequence[Path], rounds: int) -> Iterator[Sample]:
    yield run_batch(stage, stage.inline, "inline", paths)
    for number in range(rounds):
        yield run_local(stage, paths, number)
        yield replace(run_batch(stage, stage.paths, "by path", paths), number=number)


def run_local(stage: Stage, paths: Sequence[Path], number: int) -> Sample:
    """Score all here, on all cores, and store each row as it comes; a tile before that, to load the kernel."""
    mhfd.score(paths[0])
    with stage.store() as store:
        began_s = time.perf_counter()
        for row in mhfd.iter_scores(paths):
            store.add(row)
        seconds = time.perf_counter() - began_s
    return Sample(results=stage.mode, distance_ms=0, what="local", number=number, tiles=len(paths), seconds=seconds)


def measure_recovery(stage: Stage, paths: Sequence[Path]) -> Iterator[Sample]:
    """Kill a part when a quarter of the batch is stored; seconds from the start to the last row."""

    def kill_workers() -> None:
        # While computing: an idle one holds the lock of Parsl's task queue, and no later worker would get a task.
        for worker in stage.endpoint.processes("worker"):
            while not kill_at_work(worker):
                pass

    def kill_endpoint() -> None:
        stage.endpoint.kill()
        stage.endpoint.start()

    def kill_broker() -> None:
        stage.loopback.broker.kill()
        stage.loopback.broker.start()

    harms = {"nothing": lambda: None, "workers": kill_workers, "endpoint": kill_endpoint, "broker": kill_broker}
    for what, harm in harms.items():
        yield run_batch(stage, stage.paths, f"killed: {what}", paths, harm)
    yield run_killed_client(stage, paths)


def kill_at_work(process: psutil.Process) -> bool:
    """Kill it while it computes; True if it did.

    It is stopped first, and its log looked at: its task may have ended since it was seen to use the processor. While it
    waits for another it holds the lock; and a result that is noted as done, but not handed over, is awaited for ever.
    """
    before = sum(process.cpu_times()[:2])
    time.sleep(0.03)
    if sum(process.cpu_times()[:2]) == before:
        return False
    process.suspend()
    while process.status() != psutil.STATUS_STOPPED:
        time.sleep(0.001)
    if not _is_in_a_task(process):
        process.resume()
        return False
    process.kill()
    return True


def _is_in_a_task(process: psutil.Process) -> bool:
    """Whether a worker began a task a while ago, and has not ended it, by its log."""
    for log in map(Path, (each.path for each in process.open_files())):  # one that starts has none yet
        if log.name.startswith("worker_") and time.time() - log.stat().st_mtime > 0.03:
            return "Received executor task" in log.read_text("utf-8").rstrip().rpartition("\n")[2]
    return False


def run_batch(
    stage: Stage, client: Client, what: str, paths: Sequence[Path], harm: Callable[[], None] | None = None
) -> Sample:
    """Score all, storing each row as it comes; `harm` runs once a quarter is stored."""
    before = stage.scored()
    with stage.store() as store:
        began_s = time.perf_counter()
        futures = [client.submit(path) for path in paths]
        for future in futures:
            future.add_done_callback(lambda done: store.add(done.result()))
        if harm is not None:
            wait_for_quarter(store, paths)
            harm()
        wait(futures, RECOVERY_S)
        seconds = time.perf_counter() - began_s
        return outcome(stage, what, paths, store, before, seconds)


def run_killed_client(stage: Stage, paths: Sequence[Path]) -> Sample:
    """Kill a process that scores the batch; then another client takes over its tiles in flight, and sends those that
    are neither in flight nor stored."""
    before, state = stage.scored(), stage.folder / "state.json"
    with stage.store() as store:
        pass
    began_s = time.perf_counter()
    child = multiprocessing.get_context("spawn").Process(
        target=score_and_store, args=(stage.config, state, stage.rows, paths)
    )
    child.start()
    while len(stage.rows.read_text("utf-8").splitlines()) < len(paths) / 4:
        time.sleep(0.01)
    child.kill()
    child.join()
    with contextlib.closing(Store(stage.rows)) as store:
        with Client("paths", config=stage.config) as client:
            under_way = dict(client.resume(state))
            rest = [path for path in paths if str(path) not in under_way and str(path) not in store.names]
            futures = [
                *(each for name, each in under_way.items() if name not in store.names),
                *map(client.submit, rest),
            ]
            for future in futures:
                future.add_done_callback(lambda done: store.add(done.result()))
            wait(futures, RECOVERY_S)
            seconds = time.perf_counter() - began_s
        return outcome(stage, "killed: client", paths, store, before, seconds)


def score_and_store(config: Path, state: Path, rows: Path, paths: Sequence[Path]) -> None:
    """The client that is killed."""
    with contextlib.closing(Store(rows)) as store, Client("paths", config=config, state_file=state) as client:
        futures = [client.submit(path) for path in paths]
        for future in futures:
            future.add_done_callback(lambda done: store.add(done.result()))
        wait(futures)


def wait_for_quarter(store: Store, paths: Sequence[Path]) -> None:
    while len(store.names) < len(paths) / 4:
        time.sleep(0.01)


def outcome(
    stage: Stage, what: str, paths: Sequence[Path], store: Store, before: Counter[str], seconds: float
) -> Sample:
    time.sleep(0.1)  # for the last future's callback
    stored, scored = Counter(store.names), stage.scored() - before
    return Sample(
        results=stage.mode,
        distance_ms=0,
        what=what,
        number=0,
        tiles=len(paths),
        seconds=seconds,
        lost=sum(str(path) not in stored for path in paths),
        twice=sum(count > 1 for count in stored.values()),
        again=sum(count - 1 for count in scored.values()),
    )


# --------------------------------------------------------------------------------------------------------------- tables


def of(samples: Sequence[Sample], what: str, mode: str, distance_ms: int = 0) -> list[float]:
    return [
        each.seconds for each in samples if (each.what, each.results, each.distance_ms) == (what, mode, distance_ms)
    ]


def p50(seconds: Sequence[float]) -> float:
    return statistics.median(seconds)


def p95(seconds: Sequence[float]) -> float:
    return float(np.percentile(seconds, 95))


def print_round_trips(samples: Sequence[Sample]) -> None:
    """Print medians and 95th percentiles, in ms."""
    print("\n| results | to the service and back, ms | no-op | p95 | carried | p95 | one tile | p95 | its scoring |")
    print("|---|---|---|---|---|---|---|---|---|")
    for mode, distance_ms in itertools.product(modes_of(samples), DISTANCES_MS):
        times = [of(samples, what, mode, distance_ms) for what in ("no-op", "carried", "one tile")]
        figures = [each(what) for what in times for each in (p50, p95)]
        figures.append(p50([each.scoring_s for each in samples if each.what == "one tile" and each.results == mode]))
        print(f"| {mode} | {distance_ms} | " + " | ".join(f"{1e3 * each:.0f}" for each in figures) + " |")
    for what, mode, distance_ms, name, limit_s in GOALS:
        if times := of(samples, what, mode, distance_ms):
            report_goal(
                f"{what}, {mode}, {distance_ms} ms away, {name}", {"p50": p50, "p95": p95}[name](times), limit_s
            )
    if tile := of(samples, "one tile", "low latency"):
        report_goal("our share", p50(tile) - p50(of(samples, "no-op", "low latency")), SHARE_GOAL_S)


def report_goal(what: str, seconds: float, limit_s: float) -> None:
    verdict = "reached" if seconds <= limit_s else "MISSED"
    print(f"\n{what}: {1e3 * seconds:.0f} ms, goal {1e3 * limit_s:.0f} ms: {verdict}.")


def print_rest(samples: Sequence[Sample], inline_bytes: float) -> None:
    """Print tables of the single measurements."""
    ceiling = INLINE_CEILING_BYTES_PER_S / inline_bytes
    print(
        "\n| results | first no-op, s | first tile after it, s | CPU of the idle user endpoint | of the idle client |"
    )
    print("|---|---|---|---|---|")
    for mode in modes_of(samples):
        starts = [of(samples, what, mode)[0] for what in ("first no-op", "first tile")]
        idle = [of(samples, what, mode)[0] for what in ("idle user endpoint", "idle client and loopback")]
        cells = [f"{each:.1f}" for each in starts] + [f"{100 * each:.1f} %" for each in idle]
        print(f"| {mode} | " + " | ".join(cells) + " |")
    print("\n| results | way | tiles | s | tiles/s | share of the inline ceiling |")
    print("|---|---|---|---|---|---|")
    for each in samples:
        if each.what in ("inline", "local", "by path"):
            rate = each.tiles / each.seconds
            share = f"{100 * rate / ceiling:.0f} %" if each.what == "inline" else ""
            print(f"| {each.results} | {each.what} | {each.tiles} | {each.seconds:.1f} | {rate:.1f} | {share} |")
    print(f"\nInline ceiling: {ceiling:.1f} tiles/s (2 requests/s of 9.5 MB, {inline_bytes / 1e6:.2f} MB a tile).")
    for mode in modes_of(samples):
        pairs = zip(of(samples, "local", mode), of(samples, "by path", mode), strict=True)
        if ratios := [local / by_path for local, by_path in pairs]:
            verdict = "reached" if p50(ratios) >= PATH_GOAL else "MISSED"
            print(f"\nby path, {mode}: {p50(ratios):.0%} of the local rate, goal {PATH_GOAL:.0%}: {verdict}.")
    killed = [each for each in samples if each.what.startswith("killed: ")]
    if not killed:
        return
    print("\n| results | killed in mid-batch | tiles | s | lost | stored twice | scored again |")
    print("|---|---|---|---|---|---|---|")
    for each in killed:
        counts = (each.tiles, f"{each.seconds:.1f}", each.lost, each.twice, each.again)
        print(f"| {each.results} | {each.what.removeprefix('killed: ')} | " + " | ".join(map(str, counts)) + " |")


def modes_of(samples: Sequence[Sample]) -> list[str]:
    return list(dict.fromkeys(each.results for each in samples))


# ----------------------------------------------------------------------------------------------------------------- main


def gather_tiles(folder: Path, source: Path | None, n: int, side: int) -> list[Path]:
    """`n` tiles in the new `folder`: links to those of `source`, repeated, or to simulated ones."""
    folder.mkdir()
    if source is None:
        from mhfd_client.simulate import RunPlan, simulate_run

        source = folder.with_name("simulated")
        simulate_run(source, RunPlan(sections=min(n, 8), rows=1, cols=1, tile_px=side))
    found = sorted(path for path in source.iterdir() if path.suffix.lower() in {".tif", ".tiff"})
    if not found:
        raise SystemExit(f"{source} holds no TIFF tiles.")
    paths = [folder / f"{number:04d}.tif" for number in range(n)]
    for path, target in zip(paths, itertools.cycle(found), strict=False):
        path.symlink_to(target.resolve())
    return paths


def inline_bytes(pixels: Sequence[NDArray[Any]]) -> float:
    """Mean bytes a tile adds to a request, packed as our client packs many."""
    return statistics.fmean(len(encode_tile(each, best_codec())["data"]) for each in pixels)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiles", type=Path, help="folder of grey TIFF tiles to use instead of simulated ones")
    parser.add_argument("--side", type=int, default=1024, help="side of simulated tiles, in px (default: %(default)s)")
    parser.add_argument("--n", type=int, default=100, help="round trips of each kind (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=200, help="tiles of a batch (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="batches by path, and local ones (default: %(default)s)")
    parser.add_argument(
        "--workers", type=int, default=1, help="of the endpoint; workers share the cores (default: %(default)s)"
    )
    parser.add_argument("--only", choices=MODES, help="measure with this mode only")
    parser.add_argument(
        "--endpoint-folder",
        type=Path,
        default=ROOT / "endpoint_configs" / "cpu",
        help="the endpoint to measure (default: endpoint_configs/cpu)",
    )
    parser.add_argument("--idle-s", type=float, default=5.0, help="idle seconds watched (default: %(default)s)")
    parser.add_argument("--no-recovery", action="store_true", help="kill nothing")
    parser.add_argument(
        "--quick", action="store_true", help="low latency and few round trips only: a check, in seconds"
    )
    parser.add_argument("--out", type=Path, help="write every sample to this CSV file")
    args = parser.parse_args()
    if args.quick:
        args.n, args.batch, args.side, args.idle_s, args.no_recovery, args.only = 2, 8, 256, 1.0, True, "low latency"
        args.rounds = 1
    from loopback.fixtures import missing

    if lack := missing():
        raise SystemExit(lack)
    from loopback.stack import Loopback

    samples: list[Sample] = []
    with tempfile.TemporaryDirectory(prefix="mhfd-service-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        paths = gather_tiles(folder / "tiles", args.tiles, args.batch, args.side)
        pixels = [tifffile.imread(path) for path in paths[:20]]
        loopback = Loopback(folder / "loopback")
        os.environ.update(loopback.environment)
        try:
            for mode in [args.only] if args.only else MODES:
                place = folder / mode.replace(" ", "-")
                place.mkdir()
                with staged(loopback, mode, args.endpoint_folder, paths[0].parent, place, args.workers) as stage:
                    samples += measure_cold_start(stage, pixels[0])
                    warm_up(stage, paths, args.workers)
                    samples += measure_round_trips(stage, pixels, args.n)
                    samples += measure_idle(stage, args.idle_s)
                    samples += measure_throughput(stage, paths, args.rounds)
                    if not args.no_recovery and mode == list(MODES)[-1]:
                        samples += measure_recovery(stage, paths)
        finally:  # keep what was measured before an interruption
            if args.out:
                write_csv(args.out, samples)
            loopback.stop()
    shapes = sorted({" x ".join(map(str, each.shape)) for each in pixels})
    print(f"Tiles of {', '.join(shapes)} px, {args.n} round trips of each kind, {args.workers} worker(s).")
    print_round_trips(samples)
    print_rest(samples, inline_bytes(pixels))


def write_csv(path: Path, samples: Sequence[Any]) -> None:
    """Write samples, dataclasses of one kind, a line each."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(samples[0])], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(each) for each in samples)


if __name__ == "__main__":
    main()
