"""Two results of the same tiles: which verdicts changed, and why. Pure.

Both sides come as streams. Where they are in the same order, as two datasets of one run are, little is in memory; of
those in another order, the tiles that still wait for their other side.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Literal

Reason = Literal[
    "pixels",  # the tile was taken again, or is another: its pixels differ
    "parameters",  # of the measure
    "version",  # of mhfd, or of its measure
    "setting",  # size of the picture or of a pixel, dwell time, vendor, as the file tells them
    "numbers",  # what was measured
    "reference",  # the sharp tiles that it was compared with, or that there were none
    "threshold",  # the same blur, another verdict: --max-blur-px
    "unknown",  # nothing that both sides tell differs
]

MEASURES = ("focus_score", "features", "noise", "content", "anisotropy")

ALIKE = 1e-4
"""Relative difference of numbers that are the same: other processors round differently, and parts keep six digits."""

ALIKE_PX = 0.002
"""The same of blur, px, which is kept to three decimals."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What one side says of a tile; None where it does not tell.

    Attributes
    ----------
    measures : values of `MEASURES`
    setting : what makes tiles comparable: rows, cols, nm a pixel, dwell time, vendor
    version : of mhfd and of the measure
    """

    path: str
    verdict: str | None
    measures: tuple[float | None, ...] = (None,) * len(MEASURES)
    blur_px: float | None = None
    flag_px: float | None = None
    reference: str | None = None
    setting: tuple[float | str | None, ...] = ()
    version: tuple[str | int | None, ...] = ()
    params_sha256: str | None = None
    tile_sha256: str | None = None
    error_code: str | None = None


@dataclass(frozen=True)
class Change:
    """A tile whose verdicts differ, or that only one side has.

    Attributes
    ----------
    reasons : all that apply, the first cause first; empty where a side is missing
    """

    path: str
    before: Verdict | None
    after: Verdict | None
    reasons: tuple[Reason, ...] = ()


@dataclass
class Tally:
    """What a comparison found, counted while it runs.

    Attributes
    ----------
    both : tiles that both sides have
    verdicts : (before, after) -> tiles, of those that changed
    reasons : reason -> tiles with it
    """

    both: int = 0
    changed: int = 0
    only_before: int = 0
    only_after: int = 0
    verdicts: Counter[tuple[str, str]] = field(default_factory=Counter)
    reasons: Counter[Reason] = field(default_factory=Counter)

    @property
    def differ(self) -> bool:
        return bool(self.changed or self.only_before or self.only_after)


def changes(before: Iterable[Verdict], after: Iterable[Verdict], tally: Tally) -> Iterator[Change]:
    """The tiles that differ: changed ones first, in order, then those that only one side has.

    Parameters
    ----------
    tally : is counted up, complete at the end
    """
    left: dict[str, Verdict] = {}
    right: dict[str, Verdict] = {}
    for a, b in zip_longest(before, after):
        pairs = []
        if a is not None and b is not None and a.path == b.path:  # nearly always
            pairs = [(a, b)]
        else:
            if a is not None:
                left[a.path] = a
            if b is not None:
                right[b.path] = b
            for path in dict.fromkeys(each.path for each in (a, b) if each is not None):
                if path in left and path in right:
                    pairs.append((left.pop(path), right.pop(path)))
        for one, other in pairs:
            tally.both += 1
            if one.verdict != other.verdict:
                yield _counted(Change(one.path, one, other, why(one, other)), tally)
    tally.only_before += len(left)
    tally.only_after += len(right)
    yield from (Change(each.path, each, None) for each in left.values())
    yield from (Change(each.path, None, each) for each in right.values())


def why(a: Verdict, b: Verdict) -> tuple[Reason, ...]:
    """What differs between the two sides of a tile whose verdict changed."""
    found: dict[Reason, bool] = {
        "pixels": _differ(a.tile_sha256, b.tile_sha256),
        "parameters": _differ(a.params_sha256, b.params_sha256),
        "version": any(map(_differ, a.version, b.version)),
        "setting": any(map(_differ, a.setting, b.setting)),
        "numbers": a.error_code != b.error_code or any(map(_unlike, a.measures, b.measures)),
    }
    same_tile = not any(found.values())
    same_blur = not _blur_differs(a.blur_px, b.blur_px) and not _blur_differs(a.flag_px, b.flag_px)
    found["reference"] = (
        _differ(a.reference, b.reference) or _lacks_one(a, b) or _lacks_one(b, a) or (same_tile and not same_blur)
    )
    found["threshold"] = not any(found.values()) and a.flag_px is not None and b.flag_px is not None
    return tuple(reason for reason, is_so in found.items() if is_so) or ("unknown",)


def _lacks_one(a: Verdict, b: Verdict) -> bool:
    """True if nothing could be told of one side, for want of tiles to compare it with."""
    return (a.verdict, a.reference) == ("cannot_tell", None) and b.reference is not None


def _counted(change: Change, tally: Tally) -> Change:
    tally.changed += 1
    tally.reasons.update(change.reasons)
    if change.before is not None and change.after is not None:
        tally.verdicts[change.before.verdict or "none", change.after.verdict or "none"] += 1
    return change


def _differ(a: object, b: object) -> bool:
    """False where a side does not tell."""
    if isinstance(a, int | float) and isinstance(b, int | float):
        return _unlike(a, b)
    return a is not None and b is not None and a != b


def _unlike(a: float | None, b: float | None) -> bool:
    return a is not None and b is not None and not math.isclose(a, b, rel_tol=ALIKE, abs_tol=1e-6)


def _blur_differs(a: float | None, b: float | None) -> bool:
    return a is not None and b is not None and abs(a - b) > ALIKE_PX
