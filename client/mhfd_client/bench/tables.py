"""The results as Markdown, CSV and JSON; and tables of these, read again."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, astuple, dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from mhfd.contract import FocusParams, ParamsError
from mhfd.text import cell, json_text, shown, visible
from mhfd_client.bench.contestants import Contestant
from mhfd_client.bench.plan import FIGURES, FILES_LAPS, Figure
from mhfd_client.bench.race import FIRST, Sample, Summary, summarise
from mhfd_client.files.whole import as_text, written


@dataclass(frozen=True, kw_only=True)
class Report:
    """All results of a run.

    Attributes
    ----------
    machine : see `machine.describe`
    tile : what was measured
    contestants : those outside figure 4
    left_out : sentences: what was left out, and why
    """

    machine: dict[str, str]
    tile: str
    params: FocusParams
    repeats: int
    settle_s: float
    contestants: Sequence[Contestant]
    samples: Sequence[Sample]
    summaries: Sequence[Summary]
    left_out: Sequence[str]

    def of(self, figure: Figure) -> list[Summary]:
        return [row for row in self.summaries if row.figure == figure]


def write_csv(path: Path, rows: Sequence[Sample] | Sequence[Summary], kind: type[Sample] | type[Summary]) -> None:
    with written(path) as out, as_text(out) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([field.name for field in fields(kind)])
        writer.writerows(map(cell, astuple(row)) for row in rows)


def as_json(report: Report) -> str:
    return json_text(
        {
            "machine": report.machine,
            "tile": report.tile,
            "params": report.params.to_dict(),
            "repeats": report.repeats,
            "settle_s": report.settle_s,
            "times": [asdict(row) for row in report.summaries],
            "shares_of_the_slower_part": shares_of_the_slower_part(report.samples),
            "left_out": list(report.left_out),
        }
    )


# --- Read again -------------------------------------------------------------------------------------------------------

Row = TypeVar("Row", Sample, Summary)


def read_tables(paths: Sequence[Path]) -> list[Summary]:
    """The times in files that `mhfd bench` wrote: raw.csv, summary.csv, or what --json printed.

    Where two files have the same job, the contestant's name says which file a time is from.

    Raises
    ------
    ParamsError
        A file cannot be read, or is something else.
    """
    tables = {path: _read(path) for path in dict.fromkeys(paths)}
    found: dict[tuple[object, ...], set[Path]] = {}
    for path, rows in tables.items():
        for row in rows:
            found.setdefault(_curve_of(row), set()).add(path)
    return [
        row if len(found[_curve_of(row)]) == 1 else replace(row, contestant=f"{row.contestant}, {path}")
        for path, rows in tables.items()
        for row in rows
    ]


def _curve_of(row: Summary) -> tuple[object, ...]:
    return row.figure, row.contestant, row.device


def _read(path: Path) -> list[Summary]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ParamsError(f"{path}: {getattr(error, 'strerror', None) or 'is no text in UTF-8'}") from error
    try:
        if text.lstrip().startswith("{"):
            return [_row(Summary, line) for line in json.loads(text)["times"]]
        reader = csv.DictReader(text.splitlines())
        if "repeat" in (reader.fieldnames or ()):
            return summarise([_row(Sample, line) for line in reader])
        if "runs" in (reader.fieldnames or ()):
            return [_row(Summary, line) for line in reader]
        raise KeyError("its columns are others")
    except (ValueError, TypeError, KeyError, RecursionError, csv.Error) as error:
        told = f"{path} is no table of `mhfd bench` (raw.csv, summary.csv or its JSON): {shown(str(error), 80)}"
        raise ParamsError(told) from error


def _row(kind: type[Row], line: Any) -> Row:
    """A line of a table; ValueError, TypeError or KeyError for something else."""
    if set(line) != {each.name for each in fields(kind)}:
        raise KeyError("its columns are others")
    if line["figure"] not in FIGURES:
        raise ValueError(f"there is no figure {shown(line['figure'])}")
    found: dict[str, Any] = dict(line)
    for name in ("side", "n_scales", "features", "repeat", "runs"):
        if name in found:
            found[name] = int(found[name])
    for name in ("ms", "median_ms", "q1_ms", "q3_ms"):
        if name in found and not 0 <= (value := float(found[name])) < math.inf:
            raise ValueError(f"{name} is a time, not {value}")
        if name in found:
            found[name] = float(found[name])
    if min(found["side"], found["n_scales"]) < 1:
        raise ValueError("a tile has a side and scales")
    if kind is Summary and not found["q1_ms"] <= found["median_ms"] <= found["q3_ms"]:
        raise ValueError("a median lies between its quartiles")
    if "ours" in found:
        found["ours"] = found["ours"] == "True"
    if "ratio" in found:
        found["ratio"] = float(found["ratio"]) if found["ratio"] else None
    for name in ("contestant", "device", "lap"):
        found[name] = str(found[name])
    return kind(**found)


def as_markdown(report: Report) -> str:
    """The machine and the tile, then a section for each figure, then what is missing."""
    texts: dict[Figure, Callable[[Report], str]] = {
        "3a": lambda report: _curve(report, "3a"),
        "3b": lambda report: _curve(report, "3b"),
        "4": _phases,
        "rivals": _rivals,
        "files": _files,
    }
    lines = [visible(f"- {what}: {said}") for what, said in report.machine.items()]
    lines.append(visible(f"- tile: {report.tile}"))
    lines.append(
        f"- times: medians of {report.repeats - 1} rounds, after one that is not counted; in each, every contestant "
        + (f"ran for {report.settle_s:g} s, at least twice, and its last run counts" if report.settle_s else "ran once")
    )
    sections = ["\n".join(lines)]
    sections += [texts[figure](report) for figure in FIGURES if report.of(figure)]
    if report.left_out:
        sections.append("\n".join(["Left out:", "", *(visible(f"- {sentence}") for sentence in report.left_out)]))
    return "\n\n".join(sections) + "\n"


def _curve(report: Report, figure: Figure) -> str:
    """Figure 3a or 3b: a line for each number of scales or side."""
    rows = [row for row in report.of(figure) if row.lap == "kernel"]
    names = list(dict.fromkeys(row.contestant for row in rows))
    points = {name: {varied(row): row for row in rows if row.contestant == name} for name in names}
    if figure == "3a":
        title = f"Figure 3a: time against the number of scales, {rows[0].side} x {rows[0].side} px"
    else:
        title = f"Figure 3b: time against the side of the tile, {rows[0].n_scales} scales"
    return "\n\n".join(
        [
            f"### {title}",
            _table(
                ["scales" if figure == "3a" else "side, px", *(f"{name}, ms" for name in names)],
                [
                    [str(x), *(_time_and_ratio(points[name].get(x)) for name in names)]
                    for x in sorted({varied(row) for row in rows})
                ],
            ),
            "Kernel only; in brackets, times the fastest of mhfd.",
            *(_trend(figure, name, points[name]) for name in names if len(points[name]) > 1),
        ]
    )


def varied(row: Summary) -> int:
    """The x value of figures 3a and 3b."""
    return row.n_scales if row.figure == "3a" else row.side


def _trend(figure: Figure, name: str, points: dict[int, Summary]) -> str:
    x = np.array(list(points), dtype=float)
    y = np.array([row.median_ms for row in points.values()])
    if figure == "3a":
        slope, start = np.polyfit(x, y, 1).tolist()
        return f"{name}: about {number(start)} ms and {number(slope)} ms a scale."
    slope = float(np.polyfit(np.log(x), np.log(y), 1)[0])
    return f"{name}: grows as the side to the power of {slope:.2f}."


def _phases(report: Report) -> str:
    """Figure 4: a line a phase."""
    rows = report.of("4")
    names = list(dict.fromkeys(row.contestant for row in rows))
    total = {name: sum(row.median_ms for row in rows if row.contestant == name) for name in names}
    cells = {(row.lap, row.contestant): row.median_ms for row in rows}

    def cell(lap: str, name: str) -> str:
        ms = cells.get((lap, name))
        return "-" if ms is None else f"{number(ms)} ({ms / total[name]:.0%})"

    side = rows[0].side
    return "\n\n".join(
        [
            f"### Figure 4: phases of devices that share a tile, {side} x {side} px, {rows[0].n_scales} scales",
            _table(
                ["phase", *(f"{name} ({_device(rows, name)}), ms" for name in names)],
                [
                    *([lap, *(cell(lap, name) for name in names)] for lap in dict.fromkeys(row.lap for row in rows)),
                    ["all", *(number(total[name]) for name in names)],
                ],
            ),
            "In brackets, the share of the whole. On the processor all devices are the same one, and nothing is "
            "copied in.",
        ]
    )


def _device(rows: Sequence[Summary], name: str) -> str:
    return next(row.device for row in rows if row.contestant == name)


def _rivals(report: Report) -> str:
    """A line a contestant, the fastest first."""
    rows = report.of("rivals")
    kernels = sorted((row for row in rows if row.lap == "kernel"), key=lambda row: row.median_ms)
    other = {(row.contestant, row.lap): row.median_ms for row in rows}
    notes = {contestant.name: contestant.note for contestant in report.contestants}
    side = kernels[0].side
    return "\n\n".join(
        [
            f"### Rivals, {side} x {side} px, {kernels[0].n_scales} scales",
            _table(
                [
                    "contestant", "device", "kernel, ms", "times mhfd's fastest", "with copy, ms",
                    "file to number, ms", "first run of a turn, ms", "features",
                ],
                [
                    [
                        row.contestant,
                        row.device,
                        number(row.median_ms),
                        number(row.ratio),
                        number(other.get((row.contestant, "copied"))),
                        number(other.get((row.contestant, "file"))),
                        number(other.get((row.contestant, FIRST))),
                        str(row.features),
                    ]
                    for row in kernels
                ],
            ),
            "\n".join(f"- {row.contestant}: {notes[row.contestant]}" for row in kernels),
        ]
    )  # fmt: skip


def shares_of_the_slower_part(samples: Sequence[Sample]) -> dict[str, float]:
    """By contestant, what the rate from files to numbers is of the slower part's alone: medians over the rounds."""
    whole, *parts = FILES_LAPS
    rounds: dict[str, dict[int, dict[str, float]]] = {}
    for sample in samples:
        if sample.figure == "files" and sample.repeat:
            rounds.setdefault(sample.contestant, {}).setdefault(sample.repeat, {})[sample.lap] = sample.ms
    return {
        name: float(np.median([max(ms[part] for part in parts) / ms[whole] for ms in by_round.values()]))
        for name, by_round in rounds.items()
    }


def _files(report: Report) -> str:
    """A line a backend: rates from files to numbers, and of the parts alone."""
    rows = report.of("files")
    rates = {(row.contestant, row.lap): 1e3 / row.median_ms for row in rows}
    shares = shares_of_the_slower_part(report.samples)
    first = rows[0]
    return "\n\n".join(
        [
            f"### Files to numbers, {first.side} x {first.side} px, {first.n_scales} scales",
            _table(
                [
                    "contestant", "device", "files to numbers, tiles/s", "kernel alone", "readers alone",
                    "share of the slower", "features",
                ],
                [
                    [
                        row.contestant,
                        row.device,
                        *(number(rates[row.contestant, lap]) for lap in FILES_LAPS),
                        f"{shares[row.contestant]:.0%}",
                        str(row.features),
                    ]
                    for row in sorted(rows, key=lambda row: row.median_ms)
                    if row.lap == FILES_LAPS[0]
                ],
            ),
            "Uncompressed files in the page cache, by the way of `mhfd score FOLDER`, all cores; one run a round. On a "
            "processor the kernel and the readers share the cores: the whole takes the sum of both.",
        ]
    )  # fmt: skip


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows))


def _time_and_ratio(row: Summary | None) -> str:
    if row is None:
        return "-"
    return number(row.median_ms) + ("" if row.ratio is None else f" ({number(row.ratio)})")


def number(value: float | None) -> str:
    """About three significant digits."""
    if value is None:
        return "-"
    decimals = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3
    return f"{value:.{decimals}f}"
