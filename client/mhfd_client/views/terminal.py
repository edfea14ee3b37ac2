"""Output of the commands: progress while waiting, then a table, JSON or CSV.

Names of files and messages come from outside: each is made `visible` where it is printed.
"""

from __future__ import annotations

import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.segment import Segment, Segments
from rich.style import Style
from rich.text import Text

from mhfd.contract import FocusResult, Verdict, split_page
from mhfd.text import counted, json_text, visible
from mhfd_client.judge.words import blur_in_numbers
from mhfd_client.views import listing
from mhfd_client.views.width import padded, width_of

if TYPE_CHECKING:
    from mhfd_client.doctor import Check

ROWS_ON_A_TERMINAL = 40
NAMED = 3  # of tiles that one sentence is about

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
LATER_COLUMNS = ("blur_px", "blur_nm", "blur_error_px", "flag_px", "reference")


@contextmanager
def progress(what: str) -> Generator[Callable[[int, int], None], None, None]:
    """Yield `advance(done, total)` for a bar on standard error; no bar if that is not a terminal."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def collect(stream: Iterator[FocusResult], n_files: int) -> tuple[list[FocusResult], bool]:
    """The results of the stream, and True if Ctrl-C cut it short: then those that were done."""
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


def print_plain(value: object) -> None:
    """Print plain JSON types on standard output, and nothing else."""
    sys.stdout.write(json_text(value) + "\n")


def print_check(check: Check) -> None:
    """Print one line of `mhfd doctor`, and a second with the remedy."""
    console = Console()
    styles = {"PASS": "green", "WARN": "yellow", "FAIL": "bold red"}
    said = Text(visible(f"{check.name}: {check.found}"))
    console.print(Text(check.level, styles[check.level]), said, soft_wrap=True)
    if check.remedy:
        console.print(Text(f"     {visible(check.remedy)}", "dim"), soft_wrap=True)


def write_results(results: Sequence[FocusResult], form: listing.Form, out: IO[bytes]) -> None:
    """Write results for programs: a JSON array, JSON lines, or `write_csv`."""
    if form == "csv":
        write_csv(results, out)
    elif form == "jsonl":
        listing.write_jsonl((row.to_dict() for row in results), out)
    else:
        listing.write_json((row.to_dict() for row in results), out)


def write_csv(results: Sequence[FocusResult], out: IO[bytes]) -> None:
    """Write one line per tile: the scalar measures, the error's code and message, the codes of the remarks."""
    columns = (*CSV_COLUMNS, "error_code", "error_message", "remarks", *LATER_COLUMNS)
    listing.write_csv(columns, map(_cells, results), out)


def _cells(row: FocusResult) -> Mapping[str, object]:
    return {
        **{name: getattr(row, name) for name in (*CSV_COLUMNS, *LATER_COLUMNS)},
        "error_code": row.error and row.error.code,
        "error_message": row.error and row.error.message,
        "remarks": " ".join(remark.code for remark in row.remarks),
    }


def print_table(results: Sequence[FocusResult], *, show_all: bool, file: IO[str] | None = None) -> None:
    """Print a table. On a terminal a long one is cut to the tiles that need attention.

    Parameters
    ----------
    file : instead of standard output
    """
    console = Console(file=file)
    rows = list(results)
    if console.is_terminal and not show_all and len(rows) > ROWS_ON_A_TERMINAL:
        rows = [row for row in rows if row.verdict != "in_focus"][:ROWS_ON_A_TERMINAL]
    folder = common_folder([row.path for row in rows])
    if rows:
        if folder:
            console.print(Text(f"in {visible(folder)}", "dim"), soft_wrap=True)
        _print_rows(console, rows, folder)
        failures = [(row.path, row.error.code, row.error.message) for row in rows if row.error]
        for line in _sentences("failed", failures, folder):
            console.print(Text(visible(line), VERDICT_STYLES["failed"]), soft_wrap=True)
    remarks = [(row.path, remark.code, remark.message) for row in results for remark in row.remarks]
    for line in _sentences("remark", remarks, folder):
        console.print(Text(visible(line), "yellow"), soft_wrap=True)
    if len(rows) < len(results):
        hidden = counted(len(results) - len(rows), "tile")
        console.print(Text(f"{hidden} not shown; --all lists every one, --csv writes them to a file."), soft_wrap=True)
    console.print(Text(summary(results)), soft_wrap=True)


def _sentences(what: str, told: Iterable[tuple[str, str, str]], folder: str) -> Iterator[str]:
    """A line for each thing told of tiles: with the tile if it is the only one, else with the first of them.

    Parameters
    ----------
    what : the word that each line begins with
    told : of each: the tile's path, a code, a sentence
    """
    alike: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for path, code, message in told:
        reason = re.sub(r"\d+", "0", _nameless(path, message))  # sizes differ from file to file
        alike.setdefault((code, reason), []).append((path, message))
    for (code, _), group in alike.items():
        path, message = group[0]
        if len(group) == 1:
            where = "" if path in message else f"{path}: "
            yield f"{what}: {where}{message} ({code})"
            continue
        names = ", ".join(each.removeprefix(folder) for each, _ in group[:NAMED])
        more = f" and {len(group) - NAMED} more" if len(group) > NAMED else ""
        yield f"{what}: {len(group)} tiles: {_nameless(path, message)} ({code}): {names}{more}"


def _nameless(path: str, message: str) -> str:
    file, _ = split_page(path)
    if file not in message:  # true of nearly all; each name would be a regular expression to compile
        return message
    names = "|".join(map(re.escape, (path, file)))
    return re.sub(rf"(?<!\w)(?:{names})(?!\w)", "the file", message)


def common_folder(paths: Sequence[str]) -> str:
    """The folder that all paths share, with its last separator; "" where they share none."""
    if not paths:
        return ""
    first, last = min(paths), max(paths)  # what these two share, all share
    n_same = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    return first[: max(first.rfind(separator, 0, n_same) for separator in (os.sep, "/")) + 1]


MEASURES = (
    ("focus score", "focus_score", ".2f"),
    ("features/Mpx", "features_per_mpx", ".0f"),
    ("scale px", "characteristic_scale_px", ".1f"),
    ("noise", "noise", ".3f"),
    ("content", "content", ".0%"),
    ("anisotropy", "anisotropy", ".2f"),
)
"""Columns of the table: heading, key of a result, format."""

COLUMN_GAP = "  "


def _print_rows(console: Console, rows: Sequence[FocusResult], folder: str) -> None:
    """As many columns as fit beside whole names; where none do, each name has a line of its own."""
    names = [visible(row.path[len(folder) :]) for row in rows]
    columns = [["tile", *names], ["verdict", *map(_verdict, rows)], ["blur px", *map(blur_in_numbers, rows)]]
    columns += [[heading, *(_number(getattr(row, name), spec) for row in rows)] for heading, name, spec in MEASURES]
    widths = [max(map(width_of, column)) for column in columns]
    least = len(columns) - len(MEASURES)
    for n in (len(columns), least + 2, least):
        # A pipe has no width.
        if not console.is_terminal or sum(widths[:n]) + len(COLUMN_GAP) * (n - 1) <= console.width:
            console.print(_table(columns[:n], widths[:n]), soft_wrap=True)
            return
    for row, name in zip(rows, names, strict=True):
        blur, score = blur_in_numbers(row), _number(row.focus_score, ".2f")
        numbers = [f"blur {blur} px"] * bool(blur) + [f"score {score}"] * bool(score)
        verdict = _verdict(row)
        console.print(Text(name), soft_wrap=True)
        console.print(Text.assemble("  ", (verdict, VERDICT_STYLES[verdict]), *(f"  {each}" for each in numbers)))


def _verdict(row: FocusResult) -> Verdict:
    return row.verdict or "cannot_tell"


def _table(columns: Sequence[Sequence[str]], widths: Sequence[int]) -> Segments:
    """Lines of a heading and of tiles. Not a `rich.table.Table`, which takes a millisecond a line."""
    styles: dict[str, Style] = {verdict: Style.parse(style) for verdict, style in VERDICT_STYLES.items()}
    heading, *lines = (
        [padded(tile, widths[0]), padded(verdict, widths[1]), *map(str.rjust, numbers, widths[2:])]
        for tile, verdict, *numbers in zip(*columns, strict=True)
    )
    found = [Segment(COLUMN_GAP.join(heading), Style(bold=True)), Segment.line()]
    for (tile, shown, *numbers), verdict in zip(lines, columns[1][1:], strict=True):
        before, after = tile + COLUMN_GAP, COLUMN_GAP + COLUMN_GAP.join(numbers)
        found += [Segment(before), Segment(shown, styles[verdict]), Segment(after), Segment.line()]
    return Segments(found)


def summary(results: Sequence[FocusResult]) -> str:
    """One line: how many tiles got which verdict, and what computed them."""
    counts = Counter(row.verdict or "cannot_tell" for row in results)
    parts = [f"{counts[verdict]} {verdict.replace('_', ' ')}" for verdict in VERDICT_STYLES if counts[verdict]]
    with_what = sorted({f"{row.provenance.backend}, {row.provenance.device}" for row in results})
    return visible(f"{counted(len(results), 'tile')}: {', '.join(parts)} ({'; '.join(with_what)})")


def _number(value: float | None, spec: str) -> str:
    return "" if value is None else format(value, spec)
