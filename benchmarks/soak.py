"""Watch a run while each part of the system is killed, again and again; at the end nothing may be missing.

    python benchmarks/soak.py [--tiles 10000] [--seeds 20] [--kills 8] [--out soak.csv] [--quick]

`mhfd replay` writes a run of small tiles as a microscope would: in pieces, preallocated, renamed, some of them twice.
`mhfd watch` moves them with Globus Transfer and has them scored on a Globus Compute endpoint. SDK, endpoint, engine and
broker are real; Compute's and Transfer's services are the tests' loopback. Meanwhile, at random moments, one of client,
worker, endpoint, broker and Transfer service is ended with kill -9 and started again.

At the end of each seed the ledger must hold each tile of the replay's manifest once, scored once, with the numbers that
scoring the source on this machine gives, and agree with the ledger of an undisturbed run. If not, the exit code is 1.

Busy workers are killed: see docs/service.md for what becomes of Parsl when an idle one is killed. Linux only.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
import tifffile
from scipy import ndimage

import mhfd
from mhfd import registry
from mhfd_client.ledger import open_ledger
from service import kill_at_work, write_csv, write_toml  # the benchmark beside this one

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "tests"))  # where the loopback is

if TYPE_CHECKING:
    from loopback.endpoint import Endpoint
    from loopback.stack import Loopback

SIDE_PX = 64
SECTION_TILES = 100  # 10 x 10
VICTIMS = ("client", "worker", "endpoint", "broker", "transfer")
END_S = 900.0
LIMITS = {  # so that losses are noticed within seconds; the loopback has no request limit
    "deadline_s": 20.0,
    "first_deadline_s": 40.0,
    "status_after_s": 2.0,
    "status_every_s": 3.0,
    "max_tiles_per_task": 200,
    "requests_per_10_s": 200,
}


@dataclass(frozen=True)
class Row:
    """The outcome of one seed.

    Attributes
    ----------
    again : tiles that were submitted more than once
    missing, twice, different : tiles without a result, with more than one, with wrong numbers
    """

    seed: int
    tiles: int
    seconds: float
    client: int
    worker: int
    endpoint: int
    broker: int
    transfer: int
    reacquired: int
    again: int
    missing: int
    twice: int
    different: int

    @property
    def good(self) -> bool:
        return not (self.missing or self.twice or self.different)


# ------------------------------------------------------------------------------------------------------------ the stage


def make_run(folder: Path, count: int) -> None:
    """Write `count` different tiles, a folder per section."""
    rng = np.random.default_rng(1)
    cloth = ndimage.gaussian_filter(rng.normal(size=(2048, 2048)), 1.5)
    cloth = (128 + 400 * cloth).clip(0, 255).astype(np.uint8)
    for k in range(count):
        section, cell = divmod(k, SECTION_TILES)
        file = folder / f"s{section:04d}" / f"s{section:04d}_r{cell // 10}_c{cell % 10}.tif"
        file.parent.mkdir(parents=True, exist_ok=True)
        y, x = rng.integers(0, 2048 - SIDE_PX, 2)
        tifffile.imwrite(file, cloth[y : y + SIDE_PX, x : x + SIDE_PX])


@dataclass
class Stage:
    """All parts of the system, and the means to kill them."""

    loopback: Loopback
    endpoint: Endpoint
    config: Path
    folder: Path
    environment: dict[str, str]

    def command(self, *arguments: object) -> subprocess.Popen[bytes]:
        log = (self.folder / "commands.log").open("ab")
        with log:
            return subprocess.Popen(
                [sys.executable, "-m", "mhfd_client", *map(str, arguments)],
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def tell(self) -> None:
        """Print the end of each log: the folder may be gone before anyone can look."""
        for log in [self.folder / "commands.log", *(self.folder / "endpoint").rglob("*.log")]:
            lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:]
            print(f"--- {log.relative_to(self.folder)}", *lines, sep="\n", file=sys.stderr)


@contextlib.contextmanager
def staged(folder: Path) -> Iterator[Stage]:
    from loopback.broker import wait_until
    from loopback.endpoint import Endpoint
    from loopback.stack import Loopback

    with contextlib.ExitStack() as undo:
        loopback = Loopback(folder / "loopback")
        undo.callback(loopback.stop)
        for name in [name for name in os.environ if name.startswith("GLOBUS_")]:
            del os.environ[name]
        os.environ.update(loopback.environment)
        sdk = loopback.client()
        functions = {record.name: record.uuid for record in registry.register(sdk, registry.FUNCTIONS)}
        collections = {
            "source_collection": loopback.transfer.collection(folder / "microscope"),
            "destination_collection": loopback.transfer.collection(folder / "scratch"),
        }
        endpoint = Endpoint(
            folder / "endpoint",
            loopback.environment,
            source=ROOT / "endpoint_configs" / "cpu",
            worker_environment={"PYTHONPATH": str(Path(mhfd.__file__).parents[1])},
        )
        allow(endpoint.folder / "config.yaml", list(functions.values()))
        endpoint.start()
        undo.callback(endpoint.stop)
        wait_until(lambda: loopback.service.cloud.online(endpoint.id), 30.0, "the endpoint is online")
        entry = {
            "uuid": endpoint.id,
            "functions": functions,
            "user_endpoint_config": {"workers": 1},
            "limits": LIMITS,
            "transfer": {
                "method": "globus",
                **collections,
                "local_root": str(folder / "microscope"),
                "source_root": "/",
                "destination_root": "/tiles/",
                "endpoint_root": str(folder / "scratch" / "tiles"),
            },
        }
        config = write_toml(folder / "config.toml", {"soak": entry})
        with config.open("a") as file:
            file.write("\n[profiles.soak]\nendpoint = 'soak'\npoll_s = 1.0\nsettle_s = 0.3\nstall_s = 600.0\n")
        yield Stage(loopback, endpoint, config, folder, dict(os.environ))


def allow(config: Path, functions: list[str]) -> None:
    import yaml

    given = yaml.safe_load(config.read_text())
    config.write_text(yaml.safe_dump({**given, "allowed_functions": functions}))


# ------------------------------------------------------------------------------------------------------------- one seed


class Watch:
    """`mhfd watch` in a process of its own, which can be killed and started again."""

    def __init__(self, stage: Stage, into: Path, ledger: Path) -> None:
        self._stage, self._into, self._ledger = stage, into, ledger
        self._process = self._start()

    def _start(self, *more: str) -> subprocess.Popen[bytes]:
        stage = self._stage
        return stage.command(
            "watch", self._into, "--config", stage.config, "--profile", "soak", "--ledger", self._ledger, "--quiet",
            "--wait-for-folder", *more,
        )  # fmt: skip

    def kill(self) -> None:
        kill_group(self._process)

    def start(self) -> None:
        self._process = self._start()

    def finish(self) -> int:
        """Stop cleanly, then do the rest with `--once`; its exit code."""
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(120)
        last = self._start("--once")
        try:
            return last.wait(END_S)
        except subprocess.TimeoutExpired:
            self._stage.tell()
            raise
        finally:
            kill_group(last)


def kill_group(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def run_seed(stage: Stage, source: Path, seed: int, kills: int, rate: float) -> tuple[Row, dict[str, Any]]:
    """Replay, watch and kill; the outcome, and the ledger's tiles by name."""
    chance = random.Random(seed)
    into = stage.folder / "microscope" / f"run{seed}"
    ledger = stage.folder / f"ledger{seed}.db"
    manifest = stage.folder / f"manifest{seed}.json"
    begun_s = time.monotonic()
    watch = Watch(stage, into, ledger)
    replay = stage.command(
        "replay", source, "--into", into, "--rate", rate, "--half-written", "--seed", seed, "--manifest", manifest
    )
    harmed: Counter[str] = Counter()
    harms = harms_of(stage, watch)
    try:
        plan = [*VICTIMS, *chance.choices(VICTIMS, k=max(0, kills - len(VICTIMS)))][:kills]
        chance.shuffle(plan)
        length_s = sum(1 for _ in source.rglob("*.tif")) / rate
        for victim in plan:
            time.sleep(chance.uniform(0.2, 2.0) * length_s / max(1, kills))
            if harms[victim](chance):
                harmed[victim] += 1
        if replay.wait(END_S):
            raise RuntimeError(f"mhfd replay failed: see {stage.folder / 'commands.log'}")
        watch.finish()
    finally:
        kill_group(replay)
        watch.kill()
    seconds = time.monotonic() - begun_s
    tiles, again, twice = read_ledger(ledger)
    files = [each for each in json.loads(manifest.read_text())["files"] if each["kind"] == "tile"]
    names = {each["path"] for each in files}
    row = Row(
        seed=seed,
        tiles=len(files),
        seconds=round(seconds, 1),
        **{victim: harmed[victim] for victim in VICTIMS},
        reacquired=sum(each["reacquired"] for each in files),
        again=again,
        missing=sum(name not in tiles or tiles[name]["state"] != "scored" for name in names),
        twice=twice + len(set(tiles) - names),
        different=0,
    )
    shutil.rmtree(into)
    return row, tiles


def harms_of(stage: Stage, watch: Watch) -> dict[str, Callable[[random.Random], bool]]:
    """Functions that kill and restart each victim; True if there was something to kill."""

    def client(chance: random.Random) -> bool:
        watch.kill()
        time.sleep(chance.uniform(0, 1))
        watch.start()
        return True

    def worker(chance: random.Random) -> bool:
        until_s = time.monotonic() + 10
        while time.monotonic() < until_s:
            for process in stage.endpoint.processes("worker"):
                with contextlib.suppress(psutil.NoSuchProcess):
                    if kill_at_work(process):
                        return True
            time.sleep(0.01)
        return False

    def endpoint(chance: random.Random) -> bool:
        stage.endpoint.kill()
        time.sleep(chance.uniform(0, 1))
        stage.endpoint.start()
        return True

    def broker(chance: random.Random) -> bool:
        stage.loopback.broker.kill()
        time.sleep(chance.uniform(0, 1))
        stage.loopback.broker.start()
        return True

    def transfer(chance: random.Random) -> bool:
        stage.loopback.transfer.kill()
        time.sleep(chance.uniform(0, 1))
        stage.loopback.transfer.start()
        return True

    return {"client": client, "worker": worker, "endpoint": endpoint, "broker": broker, "transfer": transfer}


MEASURES = ("features", "features_by_scale", "focus_score", "noise", "content", "anisotropy", "vollath_f4", "shape")


def read_ledger(file: Path) -> tuple[dict[str, Any], int, int]:
    """Tiles by name, how many were submitted more than once, how many names come twice."""
    ledger = open_ledger(file, readonly=True)
    try:
        run = ledger.find_run(None)
        rows = [row for row in ledger.rows(run.run_id) if row.superseded_by is None]
    finally:
        ledger.close()
    tiles = {
        row.name: {
            "state": row.state,
            "sha256": row.tile_sha256,
            "error": row.error_message,
            **{key: (row.result or {}).get(key) for key in MEASURES},
        }
        for row in rows
    }
    return tiles, sum(row.attempts > 1 for row in rows), len(rows) - len(tiles)


# ----------------------------------------------------------------------------------------------------------------- all


def differing(tiles: dict[str, Any], truth: dict[str, Any]) -> list[str]:
    return [name for name, tile in tiles.items() if tile != truth.get(name)]


def truth_of(source: Path) -> dict[str, Any]:
    """The correct ledger entry of each tile, by scoring the source here."""
    files = sorted(str(file.relative_to(source).as_posix()) for file in source.rglob("*.tif"))
    rows = mhfd.score_many([source / file for file in files])
    return {
        name: {
            "state": row.status,
            "sha256": row.provenance.tile_sha256,
            "error": None,
            **{key: row.to_dict()[key] for key in MEASURES},
        }
        for name, row in zip(files, rows, strict=True)
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tiles", type=int, default=10_000)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--kills", type=int, default=8, help="kills per seed; five or more include every kind")
    parser.add_argument("--rate", type=float, default=200.0, help="tiles per second that the microscope writes")
    parser.add_argument("--out", type=Path, help="CSV of all seeds")
    parser.add_argument("--keep", type=Path, help="work in this folder and keep it")
    parser.add_argument("--quick", action="store_true", help="one seed of 300 tiles")
    given = parser.parse_args()
    if given.quick:
        given.tiles, given.seeds, given.rate, given.kills = 300, 1, 20.0, 5
    with contextlib.ExitStack() as undo:
        folder = given.keep or Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="mhfd-soak-")))
        folder.mkdir(parents=True, exist_ok=True)
        source = folder / "source"
        make_run(source, given.tiles)
        truth = truth_of(source)
        stage = undo.enter_context(staged(folder))
        rows = []
        for seed in [0, *range(given.first_seed, given.first_seed + given.seeds)]:
            row, tiles = run_seed(stage, source, seed, given.kills if seed else 0, given.rate)
            wrong = differing(tiles, truth)
            row = Row(**{**asdict(row), "different": len(wrong)})
            rows.append(row)
            print_row(row, first=len(rows) == 1)
            for name in wrong[:3]:
                print(f"  {name}: {tiles[name]} instead of {truth.get(name)}", file=sys.stderr)
            if given.out:
                write_csv(given.out, rows)
    bad = sum(not row.good for row in rows)
    print(f"\n{len(rows) - bad} of {len(rows)} ledgers are correct.")
    return 1 if bad else 0


def print_row(row: Row, *, first: bool) -> None:
    """Print a line of a Markdown table, at once: a soak takes long. Seed 0 is the undisturbed run."""
    if first:
        names = [field.name for field in fields(Row)]
        print(f"| {' | '.join(names)} |\n|{'---|' * len(names)}")
    print(f"| {' | '.join(str(value) for value in asdict(row).values())} |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
