"""Simulate, score and report in one command, against a known truth."""

from __future__ import annotations

import json
from pathlib import Path
from time import perf_counter

from rich.console import Console
from rich.table import Table

from mhfd import iter_scores
from mhfd.judge import judge
from mhfd_client.simulate import RunPlan, simulate_run
from mhfd_client.views import terminal
from mhfd_client.views.report import ALARMS, confusion, write_report


def run_demo(out: Path, plan: RunPlan) -> None:
    """Simulate `plan` under OUT/run, score it, print verdicts against the truth, write OUT/report.html."""
    console = Console()
    run, report = out / "run", out / "report.html"
    with terminal.progress("simulating") as advance:
        truth = simulate_run(run, plan, advance)
    console.print(f"1. {len(truth)} tiles of {plan.tile_px} x {plan.tile_px} px simulated in {run}", highlight=False)

    start = perf_counter()
    files = [str(run / tile.file) for tile in truth]
    scored, _ = terminal.collect(iter_scores(files), len(files))
    results = judge(scored)
    took_s = perf_counter() - start
    (out / "results.json").write_text(json.dumps([row.to_dict() for row in results]), encoding="utf-8")
    console.print(
        f"2. scored in {took_s:.1f} s on this machine; {terminal.summary(results)}", highlight=False, soft_wrap=True
    )

    kinds = dict(zip(files, (tile.kind for tile in truth), strict=True))
    console.print("3. verdicts against the truth:")
    found = confusion(results, kinds)
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
    console.print(f"   {caught} of {n_bad} bad tiles caught, {false} false alarms", highlight=False)

    write_report(results, report, title=f"mhfd demo: {run}", truth=kinds)
    console.print(f"4. report with pictures: {report.resolve()}", highlight=False, soft_wrap=True)
