"""Simulate, score and report in one command, against a known truth."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from time import perf_counter, time

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mhfd import iter_scores
from mhfd.contract import BackendName
from mhfd.text import counted, json_text, visible
from mhfd_client.files.whole import write_whole
from mhfd_client.judge.run import judge_results
from mhfd_client.simulate import RunPlan, simulate_run
from mhfd_client.views import terminal
from mhfd_client.views.report.gathering import of_results
from mhfd_client.views.report.model import ALARMS, confusion
from mhfd_client.views.report.page import write_report


def _backend() -> BackendName:
    """The fastest, without the advice to install a faster one: for a few tiles any will do."""
    return "auto" if importlib.util.find_spec("numba") or importlib.util.find_spec("cupy") else "numpy"


def _program() -> str:
    """How this program was called."""
    called = Path(sys.argv[0])
    return str(called) if called.stem == "mhfd" else "mhfd"


def run_demo(out: Path, plan: RunPlan) -> None:
    """Simulate `plan` under OUT/run, score it, print verdicts against the truth, write OUT/report.html."""
    console = Console()

    def say(line: str) -> None:
        console.print(Text(visible(line)), soft_wrap=True)

    run, report = out / "run", out / "report.html"
    with terminal.progress("simulating") as advance:
        truth = simulate_run(run, plan, advance)
    say(f"1. {counted(len(truth), 'tile')} of {plan.tile_px} x {plan.tile_px} px simulated in {run}")

    start = perf_counter()
    files = [str(run / tile.file) for tile in truth]
    scored, _ = terminal.collect(iter_scores(files, backend=_backend()), len(files))
    results = judge_results(scored, root=str(run))
    took_s = perf_counter() - start
    write_whole(out / "results.json", json_text([row.to_dict() for row in results]))
    say(f"2. scored in {took_s:.1f} s on this machine; {terminal.summary(results)}")

    kinds = dict(zip(files, (tile.kind for tile in truth), strict=True))
    say("3. verdicts against the truth:")
    found = confusion(((row.path, row.verdict) for row in results), kinds)
    verdicts = [verdict for verdict in terminal.VERDICT_STYLES if any(row[verdict] for row in found.values())]
    table = Table(box=None, header_style="bold", padding=(0, 2))
    table.add_column("   truth")
    for verdict in verdicts:
        table.add_column(verdict.replace("_", " "), justify="right", style=terminal.VERDICT_STYLES[verdict])
    for kind in ("good", "bad", "blank"):
        if kind in found:
            table.add_row(f"   {kind}", *(str(found[kind][verdict] or "-") for verdict in verdicts))
    console.print(table)
    alarms = {kind: sum(row[verdict] for verdict in ALARMS) for kind, row in found.items()}
    caught, n_bad = alarms.get("bad", 0), sum(tile.kind == "bad" for tile in truth)
    false = sum(alarms.values()) - caught
    say(f"   {caught} of {counted(n_bad, 'bad tile')} caught, {counted(false, 'false alarm')}")

    told = of_results(results, f"mhfd demo: {run}", time(), root=str(run), truth=kinds)
    write_report(told, report)
    say(f"4. report with pictures: {report.resolve()}")
    say(f"5. the same live in the browser: {_program()} demo --live")
