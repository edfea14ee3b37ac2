"""Verdicts on results. Pure: reads no pixels, so old results can be judged again.

A first rule: content identifies bare resin; other tiles are judged by their focus score relative to the
tiles of the same folder. Nothing is calibrated: a run that is out of focus throughout looks normal to it.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import PurePath
from statistics import median
from typing import NamedTuple, Protocol

from mhfd.contract import MEASURE, FocusResult, Status, Verdict
from mhfd.robust import spread


@dataclass(frozen=True, kw_only=True)
class VerdictRule:
    """Thresholds of the verdict.

    Attributes
    ----------
    min_content : below this fraction of content a tile shows nothing to focus on
    min_peers : tiles with content and features that a group needs for one to be judged against the others
    max_drop : a tile is out of focus when ln(score) lies this many spreads below the run's median
    min_spread : least spread of ln(score) to assume; sections do differ
    astigmatic_excess : a tile is astigmatic when its anisotropy exceeds the run's median by this; half of
        `max_drop` is enough then
    """

    min_content: float = 0.05
    min_peers: int = 5
    max_drop: float = 3.0
    min_spread: float = 0.15
    astigmatic_excess: float = 0.2


@dataclass(frozen=True)
class Peers:
    """Medians and spread of a run's tiles with content."""

    log_score: float
    spread: float
    anisotropy: float


class Evidence(Protocol):
    """The values that a verdict is made of; a `FocusResult` has them, and so has `Measured`."""

    @property
    def status(self) -> Status: ...

    @property
    def focus_score(self) -> float | None: ...

    @property
    def content(self) -> float | None: ...

    @property
    def anisotropy(self) -> float | None: ...


class Measured(NamedTuple):
    """`Evidence` without the rest of the result."""

    status: Status
    focus_score: float | None
    content: float | None
    anisotropy: float | None


class Judgement(NamedTuple):
    """A verdict, and how sure it is: 0.5 to 1, None where that is not known."""

    verdict: Verdict
    confidence: float | None


class Group(NamedTuple):
    """Tiles that are compared: those of one folder, "" for the top one, by one version of the measure."""

    folder: str
    measure: int


def group_of(path: str, measure: int = MEASURE) -> Group:
    """The group of a tile of this path."""
    folder = PurePath(path).parent.as_posix()
    return Group("" if folder == "." else folder, measure)


def judge(results: Iterable[FocusResult], rule: VerdictRule | None = None) -> list[FocusResult]:
    """The results with `verdict` and `confidence` filled in, in the order given, each compared with its folder's."""
    rows = list(results)
    group = [group_of(row.path, row.provenance.measure) for row in rows]
    members: dict[Group, list[FocusResult]] = defaultdict(list)
    for row, its in zip(rows, group, strict=True):
        members[its].append(row)
    peers = {its: describe(tiles, rule) for its, tiles in members.items()}
    return [judged(row, peers[its], rule) for row, its in zip(rows, group, strict=True)]


def judged(row: FocusResult, peers: Peers | None, rule: VerdictRule | None = None) -> FocusResult:
    """The result with `verdict` and `confidence` filled in."""
    verdict, confidence = judge_one(row, peers, rule)
    return replace(row, verdict=verdict, confidence=confidence)


def judge_one(tile: Evidence, peers: Peers | None, rule: VerdictRule | None = None) -> Judgement:
    """The verdict on one tile, given what `describe` says of its peers."""
    return Judgement(*_verdict(tile, peers, rule or VerdictRule()))


def describe(tiles: Iterable[Evidence], rule: VerdictRule | None = None) -> Peers | None:
    """The `Peers` of tiles; None when too few have content to say what is normal."""
    rule = rule or VerdictRule()
    peers = [tile for tile in tiles if _has_content(tile, rule) and tile.focus_score]
    if len(peers) < rule.min_peers:
        return None
    logs = [math.log(tile.focus_score or math.nan) for tile in peers]
    middle = median(logs)
    return Peers(middle, max(spread(logs, middle), rule.min_spread), median(tile.anisotropy or 0.0 for tile in peers))


def _has_content(row: Evidence, rule: VerdictRule) -> bool:
    return row.content is not None and row.content >= rule.min_content


def _verdict(row: Evidence, run: Peers | None, rule: VerdictRule) -> tuple[Verdict, float | None]:
    if row.status == "failed":
        return "failed", None
    if row.content is None:
        return "cannot_tell", None
    if not _has_content(row, rule):
        return "no_content", _confidence((rule.min_content - row.content) / rule.min_content)
    if run is None or row.focus_score is None:
        return "cannot_tell", None
    drop = (run.log_score - math.log(max(row.focus_score, 1e-9))) / run.spread
    if (row.anisotropy or 0.0) - run.anisotropy > rule.astigmatic_excess and drop > rule.max_drop / 2:
        return "astigmatic", _confidence(drop - rule.max_drop / 2)
    return "out_of_focus" if drop > rule.max_drop else "in_focus", _confidence(abs(drop - rule.max_drop))


def _confidence(margin: float) -> float:
    """From 0.5 on the line to 1 far from it. Logistic in spreads; not calibrated against outcomes."""
    return round(1 / (1 + math.exp(-1.7 * min(margin, 40.0))), 4)
