"""How soon is a worsening focus noticed, and how often falsely? Runs of known focus, replayed tile by tile.

    python benchmarks/alerts.py --tiles ../shared/em/vnc-ssTEM --small-seeds 1-65 --out docs/tables/alerts.csv

Runs are made as in verdicts.py, by `degrade.py run`. After each tile the run so far is judged, and the trend followed,
by what a watch uses. "drift" worsens to 2.5 px. "refocus" is a drift that is set back to sharp at 1.5 px: its first
sections are those of "drift", the others those of "none". Good runs are "none", and other kinds without their bad
tiles; with --small-seeds more of "none", of crops of 512 px (four tiles of 256 px). Prints Markdown; --out has one line
a run. A quarter of a minute a run of 80 tiles; --keep DIR keeps scored rows for the next time.
"""

from __future__ import annotations

import argparse
import csv
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import numpy as np
import tifffile

from mhfd.judge import judge
from mhfd.judge.trend import Share, Trend, counts, followed
from mhfd_client.config import AlertSettings
from verdicts import DEGRADE, Case, Folders, Scored, make_run, numbers, print_table

GOOD = ("none", "dosestep", "contrastdrift", "bar", "border", "jpeg", "curtain", "detector")
REFOCUS_PX = 1.5
REACHED_PX = 1.0
SMALL_PX = 512


@dataclass(frozen=True)
class Outcome:
    """What was said in one run. Tiles are numbered among those that count (with content, and judged) from 0.

    Attributes
    ----------
    reached : the first whose true blur is 1 px or more; None in good runs
    refocused : the first after the refocus
    began, ended : when "worsening" began and ended, by the last tile so far
    began_px : true blur of the tile at which "worsening" first began
    many : how often "many" began
    """

    kind: str
    psf: str
    seed: int
    tiles: int
    reached: int | None
    refocused: int | None
    began: tuple[int, ...]
    ended: tuple[int, ...]
    many: int
    began_px: float | None

    @property
    def delay(self) -> int | None:
        """Tiles from the one at 1 px to the alarm, both counted as the run goes: 0 is at once, less is before."""
        return self.began[0] - self.reached if self.reached is not None and self.began else None


def replay(case: Case, scored: Sequence[Scored], refocused: int | None = None) -> Outcome:
    """Judge a run as it grows, and follow its trend.

    Parameters
    ----------
    refocused : number of the first tile after a refocus
    """
    rows = [row for _, row in scored]
    sections = [int(truth["section"]) for truth, _ in scored]
    rules = AlertSettings()
    began: list[int] = []
    ended: list[int] = []
    many = 0
    worse = was_many = False
    reached = back = began_px = None
    place = 0
    for n in range(1, len(rows) + 1):
        judged = judge(rows[:n], sections=sections[:n])
        trend, share = followed(judged, Trend(), Share(rules.k, rules.n))
        truth, place = scored[n - 1][0], sum(map(counts, judged)) - 1
        if counts(judged[-1]):
            blur_px = float(truth["blur_px"] or 0)
            reached = place if reached is None and blur_px >= REACHED_PX else reached
            back = place if back is None and refocused is not None and n > refocused else back
        if trend.worse != worse:
            began_px = float(truth["blur_px"] or 0) if began_px is None else began_px
            (began if trend.worse else ended).append(place)
        many += share.many and not was_many
        worse, was_many = trend.worse, share.many
    good = case.kind not in ("drift", "refocus")
    return Outcome(
        case.kind, case.psf, case.seed, place + 1, None if good else reached, back, tuple(began), tuple(ended), many,
        began_px,
    )  # fmt: skip


def refocused_run(drift: Sequence[Scored], sharp: Sequence[Scored]) -> tuple[list[Scored], int]:
    """A drift up to REFOCUS_PX, then sharp sections; and the number of the first of these."""
    before = [each for each in drift if _done_px(each, drift) < REFOCUS_PX]
    section = max(int(truth["section"]) for truth, _ in before)
    after = [each for each in sharp if int(each[0]["section"]) > section]
    return [*before, *after], len(before)


def _done_px(tile: Scored, drift: Sequence[Scored]) -> float:
    """The blur of a tile's section; blank tiles have none of their own."""
    last = max(int(truth["section"]) for truth, _ in drift)
    return 2.5 * int(tile[0]["section"]) / last


def without_bad(scored: Iterable[Scored]) -> list[Scored]:
    return [each for each in scored if each[0]["kind"] != "bad"]


def outcomes(arguments: argparse.Namespace) -> Iterator[Outcome]:
    folders = Folders(arguments.tiles, None, arguments.degrade, arguments.keep)
    for seed in arguments.seeds:
        for psf in arguments.psf:
            drift, sharp = (make_run(Case(kind, psf, seed), folders) for kind in ("drift", "none"))
            yield replay(Case("drift", psf, seed), drift)
            yield replay(Case("refocus", psf, seed), *refocused_run(drift, sharp))
    for seed in arguments.seeds:
        for kind in arguments.good:
            # Without blur the point-spread function changes nothing but the noise.
            case = Case(kind, arguments.psf[0], seed)
            yield replay(case, without_bad(make_run(case, folders)))
    for seed in arguments.small_seeds:
        with tempfile.TemporaryDirectory() as folder:
            write_crops(arguments.tiles, Path(folder), seed)
            small = replace(folders, tiles=Path(folder), keep=None)
            yield replay(Case("none", "small", seed), make_run(Case("none", "gauss", seed), small))


def write_crops(tiles: Path, folder: Path, seed: int) -> None:
    """Of each tile a part of SMALL_PX."""
    rng = np.random.default_rng(seed)
    for number, path in enumerate(sorted(tiles.rglob("*.tif*"))):
        tile = tifffile.imread(path)
        y, x = (int(rng.integers(0, side - SMALL_PX + 1)) for side in tile.shape)
        tifffile.imwrite(folder / f"{number:03}.tif", tile[y : y + SMALL_PX, x : x + SMALL_PX])


DRIFT_COLUMNS = (
    "kind", "runs", "with an alarm", "median delay, tiles", "all delays", "true blur at the alarm, px",
    "with a second alarm", "median tiles from refocus to its end",
)  # fmt: skip
GOOD_COLUMNS = ("good runs", "runs", "tiles", "false alarms: worsening", "many")


def report(found: Sequence[Outcome], name: str) -> None:
    print(f"{name}\n")
    print_table(DRIFT_COLUMNS, drift_rows(found))
    print_table(GOOD_COLUMNS, good_rows([each for each in found if each.kind not in ("drift", "refocus")]))


def drift_rows(found: Sequence[Outcome]) -> Iterator[tuple[object, ...]]:
    for kind in ("drift", "refocus"):
        here = [each for each in found if each.kind == kind]
        delays = sorted(each.delay for each in here if each.delay is not None)
        blurs = [each.began_px for each in here if each.began_px is not None]
        late = [each.ended[0] - each.refocused for each in here if each.refocused is not None and each.ended]
        yield (
            kind, len(here), sum(bool(each.began) for each in here), median(delays) if delays else "",
            " ".join(map(str, delays)), f"{min(blurs):.2f} to {max(blurs):.2f}" if blurs else "",
            sum(len(each.began) > 1 for each in here), median(late) if late else "",
        )  # fmt: skip


def good_rows(found: Sequence[Outcome]) -> Iterator[tuple[object, ...]]:
    for kind, is_small in dict.fromkeys((each.kind, each.psf == "small") for each in found):
        here = [each for each in found if each.kind == kind and (each.psf == "small") == is_small]
        yield f"{kind}{', small tiles' if is_small else ''}", len(here), *_totals(here)
    yield "all", len(found), *_totals(found)


def _totals(found: Sequence[Outcome]) -> tuple[int, int, int]:
    return sum(each.tiles for each in found), sum(len(each.began) for each in found), sum(each.many for each in found)


def write(found: Iterable[Outcome], out: Path) -> None:
    """One line a run."""
    with out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(
            ("kind", "psf", "seed", "tiles", "reached", "refocused", "began", "ended", "many", "delay", "began_px")
        )
        for each in found:
            began, ended = (" ".join(map(str, places)) for places in (each.began, each.ended))
            writer.writerow((
                each.kind, each.psf, each.seed, each.tiles, each.reached, each.refocused, began, ended, each.many,
                each.delay, each.began_px,
            ))  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiles", type=Path, required=True, help="folder of in-focus TIFF tiles, a section each")
    parser.add_argument("--degrade", type=Path, default=DEGRADE, help="degrade.py")
    parser.add_argument("--seeds", type=numbers, default=numbers("1-10"), help="like 1-10 or 1,4,7")
    parser.add_argument("--good", type=lambda text: text.split(";"), default=list(GOOD), help="kinds of good runs")
    parser.add_argument("--psf", type=lambda text: text.split(","), default=["gauss", "disc"])
    parser.add_argument("--small-seeds", type=numbers, default=[], help="more good runs, of small tiles")
    parser.add_argument("--keep", type=Path, help="folder for scored rows")
    parser.add_argument("--out", type=Path, help="CSV with one line a run")
    arguments = parser.parse_args()
    found = []
    for outcome in outcomes(arguments):
        found.append(outcome)
        print(f"\r{len(found)} runs", end="", file=sys.stderr)
    print(file=sys.stderr)
    if arguments.out:
        write(found, arguments.out)
    report(found, f"{arguments.tiles.name}, seeds {min(arguments.seeds)} to {max(arguments.seeds)}")


if __name__ == "__main__":
    main()
