"""A writing process is killed in the middle; its ledger is whole, and has all that was reported as stored."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from mhfd.contract import FocusParams
from mhfd_client.ledger import open_ledger

# Takes files through all states, five at a time, one of them a stack of two pages; prints what is stored.
WRITER = """
import itertools, sys, time
from mhfd.contract import FocusParams, FocusResult, Provenance
from mhfd_client.ledger import SeenFile, open_ledger

def scored(name, pixels):
    about = Provenance(mhfd="0", params_sha256="0", backend="numpy", device="cpu", tile_sha256=pixels)
    return FocusResult(path=name, status="scored", provenance=about, features=1, focus_score=1.0)

with open_ledger(sys.argv[1]) as ledger:
    run = ledger.open_run("/data", FocusParams(), layout="auto", endpoint="local")
    first = ledger.summary(run.run_id).counts["scored"]
    for k in itertools.count(first):
        now = time.time()
        files = [(SeenFile(f"s{k}/{i}.tif", 1, 1), None) for i in range(5)]
        ledger.see(run.run_id, files, now)
        if k % 3 == 0:
            ledger.see(run.run_id, [(SeenFile(f"s{k - 1}/0.tif", 2, 2), None)], now)
        with ledger.transaction():
            for row in ledger.take(run.run_id, "seen", 10, now=now):
                pages = [(f"{row.path}-{p}", (4, 4)) for p in range(2 if row.path.endswith("/4.tif") else 1)]
                ledger.finish(row.tile_id, pages, now)
        ids = [row.tile_id for row in ledger.take(run.run_id, "ready", 20, now=now)]
        ledger.sending(ids, f"ticket{k}", now)
        ledger.stage([(i, {"path": "x"}) for rows in ledger.tickets(run.run_id).values() for i in
                      [row.tile_id for row in rows]], now)
        rows = ledger.take(run.run_id, "staged", 20, now=now)
        ledger.submit([row.tile_id for row in rows], "local", now)
        ledger.back([rows[0].tile_id], "staged", "lost", now)
        rows = ledger.take(run.run_id, "submitted", 20, now=now)
        for tile_id in ledger.store([(row.tile_id, scored(row.name, row.tile_sha256)) for row in rows], now):
            print(tile_id, flush=True)
"""


def killed_writer(where: str, lines: int, after_s: float) -> set[int]:
    """The lines it printed before it was killed, `after_s` after some."""
    command = [sys.executable, "-c", WRITER, where]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        told = [writer.stdout.readline() for _ in range(lines)]
        time.sleep(after_s)  # not to wait for anything: the moment of the kill
        writer.kill()
        told += writer.stdout.readlines()
    return {int(line) for line in told if line.endswith("\n")}


@pytest.mark.parametrize("seed", range(4))
def test_a_kill_leaves_no_step_half_done(where: str, seed: int, sound: Callable[[str], None]) -> None:
    rng = random.Random(seed)
    told: set[int] = set()
    for _ in range(2):
        told |= killed_writer(where, rng.randrange(1, 60), rng.uniform(0, 0.03))
        with open_ledger(where) as ledger:
            sound(where)
            run = ledger.open_run("/data", FocusParams(), layout="auto", endpoint="local")
            stored = {row.tile_id for row in ledger.rows(run.run_id, states=["scored"], generations=True)}
    assert told <= stored
