"""`mhfd demo --live`: a simulated run, written into a watched folder as a microscope would, with the page open."""

from __future__ import annotations

import threading
from pathlib import Path

from mhfd.text import counted
from mhfd_client.cli.dashboard import page_door
from mhfd_client.cli.options import say
from mhfd_client.cli.watch import View, run_watch
from mhfd_client.config import Config, resolve
from mhfd_client.replay import plan_replay, run_replay
from mhfd_client.simulate import RunPlan, simulate_run
from mhfd_client.views import terminal

TILES_A_SECOND = 2.0


def live_demo(out: Path, plan: RunPlan, *, browser: bool, port: int = 0) -> None:
    """Simulate a run under OUT, then replay it into OUT/live, watched, until Ctrl-C."""
    door = page_door(f"127.0.0.1:{port}", (), None, None, readonly=False)
    original, live = out / "original", _fresh(out)
    with terminal.progress("simulating") as advance:
        truth = simulate_run(original, plan, advance)
    say(
        f"{counted(len(truth), 'tile')} of {plan.tile_px} x {plan.tile_px} px; written to {live}, two a second",
        err=True,
    )
    live.mkdir(parents=True)
    steps = plan_replay(original, rate=TILES_A_SECOND)
    microscope = threading.Thread(target=run_replay, args=(steps, live), name="mhfd-microscope", daemon=True)
    microscope.start()
    config = Config()
    settings = resolve(config, None, {"folder": str(live), "ledger": str(out / "ledger.db")})
    run_watch(config, settings, View(door, browser=browser), once=False, wait=False, dry_run=False, quiet=False)


def _fresh(out: Path) -> Path:
    """A folder that is not there yet: live, live-2, ..."""
    taken = {path.name for path in out.iterdir()} if out.is_dir() else set()
    n = 1
    while (name := f"live-{n}" if n > 1 else "live") in taken:
        n += 1
    return out / name
