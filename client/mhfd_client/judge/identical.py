"""A tile with exactly the pixels of an earlier one: a camera or a grabber handed out an old frame again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from mhfd.contract import FocusResult, Remark
from mhfd.text import visible


def identical_frame(earlier: str) -> Remark:
    """The remark on a tile whose pixels are those of another, named here."""
    return Remark(
        code="identical_frame",
        message=f"its pixels are exactly those of {visible(earlier)}: look whether an old frame was written again",
    )


def with_identical_frames(results: Iterable[FocusResult]) -> list[FocusResult]:
    """The results, in the order given, with a remark on each whose pixels an earlier one of another path has."""
    first: dict[str, str] = {}
    found = []
    for row in results:
        sha256 = row.provenance.tile_sha256
        if row.status == "scored" and sha256 is not None and not _is_constant(row):
            earlier = first.setdefault(sha256, row.path)
            if earlier != row.path:
                row = replace(row, remarks=(*row.remarks, identical_frame(earlier)))
        found.append(row)
    return found


def _is_constant(row: FocusResult) -> bool:
    """True for pixels that are all the same: two empty tiles may well be alike."""
    return row.content == 0 and row.features == 0 and row.vollath_f4 == 0
