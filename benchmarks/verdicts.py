"""How far can verdicts be trusted? Runs of known focus, replayed tile by tile.

    python benchmarks/verdicts.py --tiles ../shared/em/vnc-ssTEM --tiles2 ../shared/em/sbfsem-hela --out verdicts.csv

`degrade.py run` makes runs out of in-focus tiles: of every kind, with every seed and point-spread function. Each run is
judged as it grows: a tile's verdict at arrival, two sections later, and at the end. "all, kept" is "all" with the
reference that a run without a bad tile has left; "mixed, alike" is "mixed" with both tissues in frames of one size.
Prints Markdown tables; --out has one line a tile. Minutes a seed; --keep DIR keeps scored rows for the next time.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import pickle
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mhfd.contract import FocusResult
from mhfd.judge import Reference, judge, references_of
from mhfd.scoring import score_many

DEGRADE = Path(__file__).parents[2] / "shared" / "eval" / "degrade.py"
KINDS = (
    "std", "mild", "half", "drift", "most", "all", "all, kept", "none", "dosestep", "contrastdrift", "astig", "mixed",
    "mixed, alike", "bar", "border", "jpeg", "curtain", "detector", "truncated",
)  # fmt: skip
VIEWS = ("at arrival", "two sections later", "at the end")
ALARMS = ("out_of_focus", "astigmatic")
BINS = (0.0, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.01)
Truth = dict[str, Any]
Scored = tuple[Truth, FocusResult]


@dataclass(frozen=True)
class Case:
    """One run to make and to judge."""

    kind: str
    psf: str
    seed: int


@dataclass(frozen=True)
class Folders:
    """Where tiles are, and the program that spoils them; `keep`: where scored rows are kept."""

    tiles: Path
    tiles2: Path | None
    degrade: Path
    keep: Path | None


@dataclass(frozen=True)
class Line:
    """A tile's truth, and its verdict at one time."""

    case: Case
    view: str
    truth: Truth
    row: FocusResult

    @property
    def alarm(self) -> bool:
        return self.row.verdict in ALARMS

    @property
    def right(self) -> bool:
        wanted = {"bad": ALARMS, "blank": ("no_content",), "good": ("in_focus",)}
        return self.row.verdict in wanted[self.truth["kind"]]


@cache
def load_degrade(path: Path) -> Any:
    """degrade.py as a module."""
    if not path.is_file():
        raise SystemExit(f"{path} is not there: name degrade.py with --degrade")
    spec = importlib.util.spec_from_file_location("degrade", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class _Collector:
    """Takes the tiles of a run, as degrade.py's Writer does, into memory."""

    def __init__(self) -> None:
        self.images: list[NDArray[Any]] = []
        self.truths: list[Truth] = []

    def add(self, name: str, image: NDArray[Any], **truth: Any) -> None:
        self.images.append(image)
        self.truths.append({"file": f"{name}.tif", **truth})


def make_run(case: Case, folders: Folders) -> list[Scored]:
    """The tiles of a run, scored, in the order in which they were taken."""
    kept = folders.keep and folders.keep / f"{folders.tiles.name} {case.kind} {case.psf} {case.seed}.pickle"
    if kept and kept.exists():
        found: list[Scored] = pickle.loads(kept.read_bytes())
        return found
    degrade = load_degrade(folders.degrade)
    tiles = degrade.load_tiles(folders.tiles)
    second = partial(_cropped, degrade.load_tiles, tiles[0][1].shape) if "alike" in case.kind else degrade.load_tiles
    kind = case.kind.partition(",")[0]
    arguments = argparse.Namespace(kind=kind, psf=case.psf, tiles2=folders.tiles2)
    collector, plain = _Collector(), degrade.load_tiles
    degrade.load_tiles = second
    try:
        degrade.make_run(collector, tiles, np.random.default_rng(case.seed), arguments)
    finally:
        degrade.load_tiles = plain
    rows = score_many(collector.images, workers=1)
    scored = [(truth, replace(row, path=truth["file"])) for truth, row in zip(collector.truths, rows, strict=True)]
    if kept:
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_bytes(pickle.dumps(scored))
    return scored


def _cropped(
    load: Callable[[Path], list[tuple[str, NDArray[Any]]]], shape: tuple[int, int], folder: Path
) -> list[tuple[str, NDArray[Any]]]:
    return [(name, tile[: shape[0], : shape[1]]) for name, tile in load(folder)]


def replay(case: Case, folders: Folders, *, end_only: bool = False) -> list[Line]:
    """Judge a run as it grows, or only when it is whole."""
    scored = make_run(case, folders)
    references: list[Reference] = []
    if "kept" in case.kind:
        earlier = make_run(Case("none", case.psf, case.seed + 100), folders)
        whole = judge([row for _, row in earlier], sections=[int(truth["section"]) for truth, _ in earlier])
        references = references_of(whole, name="an earlier run")
    rows = [row for _, row in scored]
    sections = [int(truth["section"]) for truth, _ in scored]
    last = max(sections)

    def judged(n: int) -> list[FocusResult]:
        return judge(rows[:n], sections=sections[:n], references=references)

    end = judged(len(rows))
    if end_only:
        return [Line(case, VIEWS[-1], truth, row) for (truth, _), row in zip(scored, end, strict=True)]
    arrival = [judged(n + 1)[n] for n in range(len(rows))]
    ends = {section: max(i for i, each in enumerate(sections) if each == section) + 1 for section in set(sections)}
    by_section = {section: judged(n) for section, n in ends.items()}
    later = [by_section[min(section + 2, last)][i] for i, section in enumerate(sections)]
    return [
        Line(case, view, truth, row)
        for view, found in zip(VIEWS, (arrival, later, end), strict=True)
        for (truth, _), row in zip(scored, found, strict=True)
    ]


def main() -> None:
    arguments = _arguments()
    load_degrade(arguments.degrade)
    folders = Folders(arguments.tiles, arguments.tiles2, arguments.degrade, arguments.keep)
    kinds = [kind for kind in arguments.kinds if folders.tiles2 or not kind.startswith("mixed")]
    cases = [Case(kind, psf, seed) for kind in kinds for psf in arguments.psf for seed in arguments.seeds]
    lines: list[Line] = []
    with ProcessPoolExecutor(arguments.processes) as pool:
        for number, found in enumerate(
            pool.map(partial(replay, folders=folders, end_only=arguments.end_only), cases), start=1
        ):
            lines += found
            print(f"\r{number} of {len(cases)} runs", end="", file=sys.stderr)
    print(file=sys.stderr)
    if arguments.out:
        write(lines, arguments.out)
    seeds = ", ".join(map(str, arguments.seeds))
    print(f"{arguments.tiles.name}, seeds {seeds}, point-spread functions {', '.join(arguments.psf)}\n")
    for view in VIEWS[-1:] if arguments.end_only else VIEWS:
        print(f"{view}:\n")
        print_table(KIND_COLUMNS, kind_rows([each for each in lines if each.view == view], kinds))
    print("confidence, all times:\n")
    print_table(("confidence", "verdicts", "right"), reliability(lines))
    print("blur of tiles blurred all over, at the end: blur_px^2 over true blur^2:\n")
    quartiles = ("tiles", "lower quartile", "median", "upper quartile")
    print_table(("psf", "true blur px", *quartiles), slopes(lines, lambda truth: f"{float(truth['blur_px']):g}"))
    print_table(("psf", "dose", *quartiles), slopes(lines, dose_range, 1.5))


KIND_COLUMNS = (
    "kind", "bad", "caught", "named astigmatic", "bad cannot tell", "good and blank", "false", "good cannot tell",
    "blanks named", "sure (>= 0.9)", "sure and right", "bad in focus, most sure",
)  # fmt: skip


def kind_rows(lines: Sequence[Line], kinds: Iterable[str]) -> Iterator[tuple[object, ...]]:
    for kind in kinds:
        here = [each for each in lines if each.case.kind == kind and each.truth["kind"] != "border"]
        bad = [each for each in here if each.truth["kind"] == "bad"]
        good = [each for each in here if each.truth["kind"] == "good"]
        blank = [each for each in here if each.truth["kind"] == "blank"]
        said = Counter(each.row.verdict for each in bad)
        sure = [each for each in here if (each.row.confidence or 0) >= 0.9]
        missed = [each.row.confidence or 0.0 for each in bad if each.row.verdict == "in_focus"]
        yield (
            kind, len(bad), sum(each.alarm for each in bad), said["astigmatic"], said["cannot_tell"],
            len(good) + len(blank), sum(each.alarm for each in (*good, *blank)),
            sum(each.row.verdict == "cannot_tell" for each in good),
            f"{sum(each.right for each in blank)}/{len(blank)}", f"{len(sure)}/{len(here)}",
            sum(each.right for each in sure), f"{max(missed):.2f}" if missed else "",
        )  # fmt: skip


def reliability(lines: Sequence[Line]) -> Iterator[tuple[object, ...]]:
    judged = [
        each
        for each in lines
        if each.truth["kind"] != "border" and each.row.confidence is not None and each.row.verdict != "cannot_tell"
    ]
    for low, high in pairwise(BINS):
        here = [each.right for each in judged if low <= (each.row.confidence or 0) < high]
        yield f"{low:g} to {min(high, 1):g}", len(here), f"{np.mean(here):.3f}" if here else ""


def slopes(lines: Sequence[Line], key: Callable[[Truth], str], least_px: float = 0.0) -> Iterator[tuple[object, ...]]:
    """D over true blur^2 of tiles blurred all over, by point-spread function and by what `key` says of a tile."""
    plain = ("std", "mild", "most", "dosestep", "contrastdrift", "detector", "curtain")
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    for each in lines:
        if each.view == VIEWS[-1] and each.case.kind in plain and each.truth["kind"] == "bad":
            true_px = float(each.truth["blur_px"])
            if true_px >= least_px:
                found[each.case.psf, key(each.truth)].append(((each.row.blur_px or 0.0) / true_px) ** 2)
    for (psf, what), ratios in sorted(found.items()):
        quartiles = (f"{each:.2f}" for each in np.quantile(ratios, (0.25, 0.5, 0.75)))
        yield psf, what, len(ratios), *quartiles


def dose_range(truth: Truth) -> str:
    """In electrons a pixel."""
    edges = (0, 60, 120, 200)
    low = max(edge for edge in edges if edge <= float(truth["dose"]))
    return next((f"{low:03} to {high}" for high in edges if high > low), f"{low:03} and more")


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    print("| " + " | ".join(columns) + " |\n|" + " --- |" * len(columns))
    for row in rows:
        print("| " + " | ".join(map(str, row)) + " |")
    print()


def write(lines: Iterable[Line], out: Path) -> None:
    """One line a tile and time."""
    columns = (
        "kind", "psf", "seed", "when", "file", "section", "truth", "true_blur_px", "dose", "verdict", "confidence",
        "blur_px", "blur_error_px", "flag_px", "content",
    )  # fmt: skip
    with out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for each in lines:
            case, truth, row = each.case, each.truth, each.row
            writer.writerow(
                (
                    case.kind, case.psf, case.seed, each.view, truth["file"], truth["section"], truth["kind"],
                    truth["blur_px"], truth["dose"], row.verdict, row.confidence, row.blur_px, row.blur_error_px,
                    None if row.flag_px is None else round(row.flag_px, 3), row.content,
                )
            )  # fmt: skip


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiles", type=Path, required=True, help="folder of in-focus TIFF tiles, a section each")
    parser.add_argument("--tiles2", type=Path, help="those of another tissue, for the mixed runs")
    parser.add_argument("--degrade", type=Path, default=DEGRADE, help="degrade.py")
    parser.add_argument("--seeds", type=numbers, default=numbers("1-10"), help="like 1-10 or 1,4,7")
    parser.add_argument("--kinds", type=_kinds, default=list(KINDS), help="of runs, separated by semicolons")
    parser.add_argument("--psf", type=lambda text: text.split(","), default=["gauss", "disc"])
    parser.add_argument("--processes", type=int, default=None, help="runs made at once; by default one a core")
    parser.add_argument("--keep", type=Path, help="folder for scored rows")
    parser.add_argument(
        "--end-only", action="store_true", help="judge each run only when it is whole: a tenth of the time"
    )
    parser.add_argument("--out", type=Path, help="CSV with one line a tile and time")
    return parser.parse_args()


def numbers(text: str) -> list[int]:
    ranges = [part.partition("-") for part in text.split(",")]
    return [n for first, _, last in ranges for n in range(int(first), int(last or first) + 1)]


def _kinds(text: str) -> list[str]:
    kinds = [kind.strip() for kind in text.split(";")]
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        raise argparse.ArgumentTypeError(f"there is no kind {unknown[0]!r}; there are: {'; '.join(KINDS)}")
    return kinds


if __name__ == "__main__":
    main()
