"""After any calls in any order the ledger is sound, and no tile has two results."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger_connections import Connection
from mhfd.contract import FocusParams, FocusResult
from mhfd_client.ledger import Ledger, SeenFile, open_ledger

FILES = ("a.tif", "s1/a.tif", "s1/b.tif")
PIXELS = ("p", "q")
STEPS = (
    "see", "gone", "waiting", "stalled", "unstall", "finish", "sending", "unsent", "stage", "submit", "store", "fail",
    "back", "retry", "recover", "clean", "nested",
    *("finish", "stage", "submit", "see") * 3,  # otherwise few get far
)  # fmt: skip

ids = st.just(list(range(1, 13))) | st.lists(st.integers(1, 12), max_size=6, unique=True)
step = st.tuples(st.sampled_from(STEPS), ids, st.sampled_from(FILES), st.sampled_from(PIXELS), st.integers(1, 3))


def do(ledger: Ledger, run_id: int, each: Any, scored: Any, failed: Any) -> None:
    name, tiles, path, pixels, k = each
    now = 100.0 * k
    acts: dict[str, Callable[[], object]] = {
        "see": lambda: ledger.see(run_id, [(SeenFile(path, k, k), None)], now),
        "gone": lambda: ledger.mark_gone(run_id, [path], now),
        "waiting": lambda: ledger.waiting(tiles, "growing", now),
        "stalled": lambda: ledger.stalled(tiles, "truncated", now),
        "unstall": lambda: ledger.retry(run_id, stalled=True),
        "finish": lambda: _finish(ledger, tiles, [(pixels, (4, 4))] * k, now),
        "sending": lambda: ledger.sending(tiles, f"ticket{k}", now),
        "unsent": lambda: ledger.unsent(tiles, now),
        "stage": lambda: ledger.stage([(i, {"path": path}) for i in tiles], now),
        "submit": lambda: ledger.submit(tiles, "local", now),
        "store": lambda: ledger.store([(i, scored(path, pixels)) for i in tiles], now),
        "fail": lambda: ledger.store([(i, failed(path)) for i in tiles], now),
        "back": lambda: ledger.back(tiles, ("seen", "ready", "staged")[k - 1], "why", now),
        "retry": lambda: ledger.retry(run_id, failed=True, stalled=True, now=now),
        "recover": lambda: ledger.recover(run_id, [scored(path, pixels).to_dict()], now),
        "clean": lambda: ledger.cleaned([i for i, _ in ledger.to_clean(run_id, 9)]),
        "nested": lambda: _undone(ledger, run_id, path),
    }
    acts[name]()


def _finish(ledger: Ledger, tiles: list[int], pages: list[tuple[str, tuple[int, int]]], now: float) -> None:
    for tile_id in tiles:
        ledger.finish(tile_id, pages, now)


def _undone(ledger: Ledger, run_id: int, path: str) -> None:
    with ledger.transaction():
        with pytest.raises(RuntimeError), ledger.transaction():
            ledger.mark_gone(run_id, [path], 1.0)
            raise RuntimeError
        ledger.see(run_id, [(SeenFile(path, 1, 1), None)], 1.0)


Make = Callable[..., FocusResult]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(step, min_size=5, max_size=40))
def test_any_order_of_steps_leaves_the_ledger_sound(
    steps: list[Any],
    sound: Callable[[Path], None],
    make_scored: Make,
    make_failed: Make,
    connections: list[Connection],
) -> None:
    with tempfile.TemporaryDirectory() as folder, open_ledger(Path(folder) / "ledger.db") as ledger:
        connections[-1].execute("PRAGMA synchronous = OFF")  # for speed: no power is cut here
        run = ledger.open_run(folder, FocusParams(), layout="auto", endpoint="local", now=0.0)
        ledger.see(run.run_id, [(SeenFile(path, 1, 1), None) for path in FILES], 1.0)
        kept: dict[int, Any] = {}
        for each in steps:
            do(ledger, run.run_id, each, make_scored, make_failed)
            rows = {row.tile_id: row for row in ledger.rows(run.run_id, generations=True)}
            for tile_id, result in kept.items():
                assert rows[tile_id].result == result, "a stored score never changes"
            kept = {i: row.result for i, row in rows.items() if row.state == "scored"}
        sound(Path(folder) / "ledger.db")
        found = ledger.summary(run.run_id)
        assert sum(found.counts.values()) + found.gone + found.superseded == len(rows)
