"""Measures in context -> verdicts. Pure: no pixels are touched, so old results can be judged anew.

A first rule: bare resin is told by its content, the rest by its focus score relative to the other tiles
of the same folder. Nothing is calibrated: a run that is out of focus throughout looks normal to it.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath
from statistics import median

from mhfd.contract import FocusResult, Verdict


@dataclass(frozen=True, kw_only=True)
class VerdictRule:
    """Where the lines are drawn.

    Attributes
    ----------
    min_content : below this fraction of content a tile shows nothing to focus on
    min_peers : tiles with content that a run must have before one can be judged against the others
    max_drop : a tile is out of focus when ln(score) lies this many spreads below the run's median
    min_spread : the spread of ln(score) is not taken smaller than this; sections do differ
    astigmatic_excess : and it is astigmatic when its anisotropy exceeds the run's median by this; half the
        drop is enough then
    """

    min_content: float = 0.05
    min_peers: int = 5
    max_drop: float = 3.0
    min_spread: float = 0.15
    astigmatic_excess: float = 0.2


@dataclass(frozen=True)
class Peers:
    """What the tiles of one run with content have in common."""

    log_score: float
    spread: float
    anisotropy: float


def judge(results: Iterable[FocusResult], rule: VerdictRule | None = None) -> list[FocusResult]:
    """The results with `verdict` and `confidence` filled in, in the order given; a run is a folder."""
    rows = list(results)
    folders: dict[PurePath, list[FocusResult]] = defaultdict(list)
    for row in rows:
        folders[PurePath(row.path).parent].append(row)
    peers = {folder: describe(members, rule) for folder, members in folders.items()}
    return [judge_one(row, peers[PurePath(row.path).parent], rule) for row in rows]


def judge_one(row: FocusResult, peers: Peers | None, rule: VerdictRule | None = None) -> FocusResult:
    """The result with `verdict` and `confidence` filled in, given what `describe` says of its run."""
    verdict, confidence = _verdict(row, peers, rule or VerdictRule())
    return replace(row, verdict=verdict, confidence=confidence)


def describe(rows: Sequence[FocusResult], rule: VerdictRule | None = None) -> Peers | None:
    """What the tiles of a run have in common; None when too few have content to say what is normal."""
    rule = rule or VerdictRule()
    peers = [row for row in rows if _has_content(row, rule) and row.focus_score]
    if len(peers) < rule.min_peers:
        return None
    logs = [math.log(row.focus_score or math.nan) for row in peers]
    middle = median(logs)
    spread = 1.4826 * median(abs(value - middle) for value in logs)
    return Peers(middle, max(spread, rule.min_spread), median(row.anisotropy or 0.0 for row in peers))


def _has_content(row: FocusResult, rule: VerdictRule) -> bool:
    return row.content is not None and row.content >= rule.min_content


def _verdict(row: FocusResult, run: Peers | None, rule: VerdictRule) -> tuple[Verdict, float | None]:
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
