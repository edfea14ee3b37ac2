"""A client that dies anywhere on its way with bundles: each tile is scored once all the same, and nothing is left."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from mhfd.contract import FocusParams, FocusResult
from mhfd.worker import device, score_paths
from mhfd_client.ledger import Ledger, Run, SeenFile, open_ledger
from mhfd_client.pipeline import transfer as step_module
from mhfd_client.pipeline.context import Bell, Context, Options
from mhfd_client.pipeline.notices import Board
from mhfd_client.pipeline.transfer import TransferStep
from mhfd_client.transfer import bundle

from .conftest import TIMEOUT_S, Move

QUICK = FocusParams(n_scales=2, max_t=4.0)
TILES = 4


class KilledError(BaseException):
    """As SIGKILL: nothing that follows in the program happens."""


class Reaper:
    """Kills at the call of a number, before or after what it does."""

    def __init__(self) -> None:
        self.at, self.calls, self.after = 0, 0, False

    def watch(self, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> None:
        does: Callable[..., Any] = getattr(owner, name)

        def call(*arguments: Any, **named: Any) -> Any:
            self.calls += 1
            dies = self.calls == self.at
            if dies and not self.after:
                raise KilledError(f"before {name}")
            try:
                return does(*arguments, **named)
            finally:
                if dies:
                    raise KilledError(f"after {name}")

        monkeypatch.setattr(owner, name, call)


@pytest.fixture
def reaper(monkeypatch: pytest.MonkeyPatch) -> Reaper:
    from mhfd_client.transfer.service import Service

    found = Reaper()
    for owner, names in (
        (Service, ("submission_id", "submit", "delete", "names", "look")),
        (bundle, ("_bundles", "_write_index")),
        (bundle.Shelf, ("pack", "load", "remove")),
        (Ledger, ("tickets", "sending", "stage", "to_clean", "cleaned", "copies")),
    ):
        for name in names:
            found.watch(monkeypatch, owner, name)
    monkeypatch.setattr(step_module, "CLEAN_EVERY_S", 0.0)
    return found


@pytest.fixture
def worker(move: Move, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("MHFD_BACKEND", "numpy")
    device.backend.cache_clear()
    yield
    device.backend.cache_clear()


def ready(root: Path, where: Path) -> None:
    """A run with tiles that the gate has let through."""
    root.mkdir()
    for number in range(TILES):
        pixels = np.random.default_rng(number).integers(0, 256, (32, 32), np.uint8)
        tifffile.imwrite(root / f"t{number}.tif", pixels)
    names = sorted(each.name for each in root.iterdir())
    rows = score_paths([str(root / name) for name in names], QUICK.to_dict())["rows"]
    with open_ledger(where) as ledger:
        run = opened(ledger, root)
        ledger.see(run.run_id, [(SeenFile(name, (root / name).stat().st_size, 1), None) for name in names], 1.0)
        for tile, row in zip(ledger.rows(run.run_id), rows, strict=True):
            ledger.finish(tile.tile_id, [(row["provenance"]["tile_sha256"], (32, 32))], 2.0)


def opened(ledger: Ledger, root: Path) -> Run:
    return ledger.open_run(str(root), QUICK, layout="plain", endpoint="here")


def live(move: Move, where: Path) -> None:
    """One process: transfers, has tiles scored where they arrive, and ends when nothing is left to do."""
    with open_ledger(where) as ledger:
        run = opened(ledger, move.root)
        bells: Any = {stage: Bell() for stage in ("watch", "gate", "transfer", "dispatch")}
        step = TransferStep(Context(run, ledger, Options(), Board(lambda _: None), bells), move.transfer())
        end_s = time.monotonic() + TIMEOUT_S
        while not (states(ledger, run) == ["scored"] * TILES and not left(move)):
            assert time.monotonic() < end_s, (states(ledger, run), left(move), step._board.notices())
            step.step()
            score(ledger, run, move)
            time.sleep(0.005)
        step.step()


def score(ledger: Ledger, run: Run, move: Move) -> None:
    staged = ledger.take(run.run_id, "staged", 100, now=time.time())
    for row in staged:
        place = {**(row.place or {}), "name": row.name}
        place["path"] = str(move.destination / place["path"])
        assert place.pop("collection") == move.options["destination_collection"]
        ledger.submit([row.tile_id], "here", time.time())
        (answer,) = score_paths([place], QUICK.to_dict())["rows"]
        ledger.store([(row.tile_id, FocusResult.from_dict(answer))], time.time())


def states(ledger: Ledger, run: Run) -> list[str]:
    return [row.state for row in ledger.rows(run.run_id)]


def left(move: Move) -> list[Path]:
    """Files of bundles here, and of copies there."""
    here = [each for each in move.root.parent.rglob(".mhfd-bundles*/**/*") if each.is_file()]
    return here + move.copies()


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_killed_at_any_line(move: Move, tmp_path: Path, reaper: Reaper, after: bool) -> None:
    move.options |= {
        "source_collection": move.service.collection(tmp_path), "local_root": str(tmp_path), "bundle_from": 2,
    }  # fmt: skip
    reaper.after = after
    for number in itertools.count(1):
        move.root, where = tmp_path / f"run{number}", tmp_path / f"ledger{number}.db"
        reaper.at = 0
        ready(move.root, where)
        reaper.at, reaper.calls = number, 0
        try:
            live(move, where)
            break  # it had ended before
        except KilledError:
            reaper.at = 0
            live(move, where)
        with open_ledger(where, readonly=True) as ledger:
            assert all(row.attempts == 1 for row in ledger.rows(1))  # nothing was scored twice
        assert sorted(each.name for each in move.root.iterdir()) == [f"t{each}.tif" for each in range(TILES)]
    assert number > 15
