"""What the commands print: progress while waiting, then a table, JSON or CSV."""

from __future__ import annotations

import csv
import json
import sys
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from mhfd.contract import FocusResult, Verdict, split_page

ROWS_ON_A_TERMINAL = 40

VERDICT_STYLES: dict[Verdict, str] = {
    "in_focus": "green",
    "out_of_focus": "bold red",
    "astigmatic": "bold magenta",
    "no_content": "dim",
    "cannot_tell": "yellow",
    "failed": "bold yellow",
}

CSV_COLUMNS = (
    "path", "status", "verdict", "confidence", "focus_score", "features", "features_per_mpx",
    "characteristic_scale_px", "noise", "content", "anisotropy", "saturated", "vollath_f4", "pixel_size_nm",
)  # fmt: skip


@contextmanager
def progress(what: str) -> Generator[Callable[[int, int], None], None, None]:
    """A bar on standard error while the block runs, given (done, total); silent where nobody watches."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def collect(stream: Iterator[FocusResult], n_files: int) -> tuple[list[FocusResult], bool]:
    """All results of the stream, and whether Ctrl-C cut it short; then what was done is returned."""
    results: list[FocusResult] = []
    files_done: set[str] = set()
    try:
        with progress("scoring") as advance:
            for row in stream:
                results.append(row)
                files_done.add(split_page(row.path)[0])
                advance(len(files_done), n_files)
    except KeyboardInterrupt:
        return results, True
    return results, False


def print_json(results: Sequence[FocusResult]) -> None:
    json.dump([row.to_dict() for row in results], sys.stdout, allow_nan=False)
    sys.stdout.write("\n")


def write_csv(results: Sequence[FocusResult], path: Path) -> None:
    """One line a tile: the scalar measures, then the error's code and message."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow((*CSV_COLUMNS, "error_code", "error_message"))
        for row in results:
            error = (row.error.code, row.error.message) if row.error else ("", "")
            writer.writerow((*(getattr(row, name) for name in CSV_COLUMNS), *error))


def print_table(results: Sequence[FocusResult], *, show_all: bool) -> None:
    """A table for people. On a terminal a long one is cut to the tiles that want attention."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=max([100, *(len(row.path) + 90 for row in results)]))  # a pipe has no width: never wrap
    rows = list(results)
    if console.is_terminal and not show_all and len(rows) > ROWS_ON_A_TERMINAL:
        rows = [row for row in rows if row.verdict != "in_focus"]
    shown = rows if show_all or not console.is_terminal else rows[:ROWS_ON_A_TERMINAL]
    if shown:
        console.print(_table(shown))
    if len(shown) < len(results):
        console.print(
            f"{len(results) - len(shown)} tiles not shown; --all lists every one, --csv writes them to a file."
        )
    console.print(summary(results), highlight=False, soft_wrap=True)


def _table(rows: Sequence[FocusResult]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("tile", overflow="fold")
    table.add_column("verdict")
    for heading in ("focus score", "features/Mpx", "scale px", "noise", "content", "anisotropy"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        style = VERDICT_STYLES[row.verdict or "cannot_tell"]
        verdict = f"[{style}]{row.verdict}[/]"
        if row.error:
            verdict = f"[{style}]failed[/] {_escape(row.error.message)} [dim]({row.error.code})[/]"
        table.add_row(
            _escape(row.path),
            verdict,
            _number(row.focus_score, ".2f"),
            _number(row.features_per_mpx, ".0f"),
            _number(row.characteristic_scale_px, ".1f"),
            _number(row.noise, ".3f"),
            _number(row.content, ".0%"),
            _number(row.anisotropy, ".2f"),
        )
    return table


def summary(results: Sequence[FocusResult]) -> str:
    """One line: how many tiles got which verdict."""
    counts = Counter(row.verdict or "cannot_tell" for row in results)
    parts = [f"{counts[verdict]} {verdict.replace('_', ' ')}" for verdict in VERDICT_STYLES if counts[verdict]]
    return f"{len(results)} tiles: {', '.join(parts)}"


def _number(value: float | None, spec: str) -> str:
    return "" if value is None else format(value, spec)


def _escape(text: str) -> str:
    from rich.markup import escape

    return escape(text)
