"""The rule for rows without a spectrum, of older versions and of tiles too small for one: scores within a folder.

Nothing is calibrated: a folder that is out of focus throughout looks normal to it. So it is never surer than MOST_SURE.
"""

from __future__ import annotations

import math
import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import PurePath
from statistics import median

from mhfd.contract import FocusResult, Verdict
from mhfd.judge.doubts import weighed
from mhfd.judge.rule import VerdictRule
from mhfd.robust import spread

MIN_PEERS = 5
"""Tiles with content that a folder needs for one to be judged against the others."""

MAX_DROP = 3.0
"""A tile is out of focus when ln(score) lies this many spreads below the folder's median."""

MIN_SPREAD = 0.15
"""Least spread of ln(score) to assume; sections do differ."""

ASTIGMATIC_EXCESS = 0.2
"""A tile is astigmatic when its anisotropy exceeds the folder's median by this; half of MAX_DROP is enough then."""

LEAST_SCORE = 1e-3
"""A score of 0 is a peer too."""

MOST_SURE = 0.69


@dataclass(frozen=True)
class _Peers:
    """Medians and spread of a folder's tiles with content."""

    log_score: float
    spread: float
    anisotropy: float


def judge_by_folder(rows: Sequence[FocusResult], rule: VerdictRule) -> list[FocusResult]:
    """The rows, all of them scored and with content, judged; each compared with those of its folder and measure."""
    members: dict[tuple[str, int], list[FocusResult]] = defaultdict(list)
    groups = [(_folder(row.path), row.provenance.measure) for row in rows]
    for row, group in zip(rows, groups, strict=True):
        members[group].append(row)
    peers = {group: _describe(tiles) for group, tiles in members.items()}
    return [_judged(row, peers[group]) for row, group in zip(rows, groups, strict=True)]


def _folder(path: str) -> str:
    folder, name = os.path.split(path)
    return PurePath(path).parent.as_posix() if name in ("", ".") else _one_spelling(folder)


@lru_cache  # pathlib takes longer than all else that is done with a name
def _one_spelling(folder: str) -> str:
    """Of a folder, which may be written `a//b` or `a/./b`."""
    return PurePath(folder).as_posix()


def _log_score(row: FocusResult) -> float:
    return math.log(max(row.focus_score or 0.0, LEAST_SCORE))


def _describe(tiles: Sequence[FocusResult]) -> _Peers | None:
    known = [tile for tile in tiles if tile.focus_score is not None]
    if len(known) < MIN_PEERS:
        return None
    logs = [_log_score(tile) for tile in known]
    middle = median(logs)
    return _Peers(middle, max(spread(logs, middle), MIN_SPREAD), median(tile.anisotropy or 0.0 for tile in known))


def _judged(row: FocusResult, peers: _Peers | None) -> FocusResult:
    if peers is None or row.focus_score is None:
        return replace(row, verdict="cannot_tell", confidence=None, doubts=("nothing_to_compare", "by_score"))
    drop = (peers.log_score - _log_score(row)) / peers.spread
    verdict: Verdict = "out_of_focus" if drop > MAX_DROP else "in_focus"
    margin = abs(drop - MAX_DROP)
    if (row.anisotropy or 0.0) - peers.anisotropy > ASTIGMATIC_EXCESS and drop > MAX_DROP / 2:
        verdict, margin = "astigmatic", drop - MAX_DROP / 2
    sure = 1 / (1 + math.exp(-1.7 * min(margin, 40.0)))
    confidence, doubts = weighed(sure, {"by_score": MOST_SURE})
    return replace(row, verdict=verdict, confidence=confidence, doubts=doubts, reference="scores of its folder")
