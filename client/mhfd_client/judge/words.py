"""A judgement in a few words: for alerts, tables and reports."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from mhfd.contract import FocusResult

DIRECTIONS = (
    "along the rows: astigmatism, or drift or vibration during the scan",
    "at 45 degrees: astigmatism",
    "down the columns: astigmatism, or drift or vibration during the scan",
    "at 135 degrees: astigmatism",
)
"""Of the blur (`mhfd.spectrum.DIRECTIONS_DEG`). What shakes a scan acts along its axes; astigmatism has any."""


def blur_in_words(row: FocusResult) -> str:
    """How blurred: "blur 2.9 px (13 nm)", "blur 2.9 px at the right"; "" where that is not known.

    Of a tile that is blurred in a part that, of an astigmatic one that in its worst direction.
    """
    if row.blur_px is None:
        return ""
    blur_px, direction, where = row.blur_px, "", region(row)
    if where:
        blur_px = worst_px(row)
    elif row.verdict == "astigmatic" and row.blur_by_direction_px:
        known = [(each or 0.0, angle) for each, angle in zip(row.blur_by_direction_px, DIRECTIONS, strict=False)]
        blur_px, direction = max(known)
        where = direction
    size = f"blur {blur_px:.1f} px"
    if row.pixel_size_nm is not None:
        size += f" ({blur_px * row.pixel_size_nm:.0f} nm)"
    if direction:
        return f"{size} {direction}"
    return f"{size} at the {where}" if where else size


def worst_px(row: FocusResult) -> float:
    """The blur of a tile's most blurred part."""
    if row.worst_block is None or row.blur_map_px is None:
        return row.blur_px or 0.0
    return row.blur_map_px[row.worst_block[0]][row.worst_block[1]] or 0.0


def region(row: FocusResult) -> str:
    """Where a tile is most blurred: "top left", "right", "middle"; "" where it is blurred alike, or not known."""
    if row.worst_block is None or row.blur_map_px is None or row.blur_px is None:
        return ""
    variance = [[None if each is None else each**2 for each in line] for line in row.blur_map_px]  # these add up
    known = [each for line in variance for each in line if each is not None]
    if not known or worst_px(row) ** 2 < 2 * min(known) + 1.0:
        return ""
    across = [list(column) for column in zip(*variance, strict=True)]
    words = (_side(variance, "top", "bottom"), _side(across, "left", "right"))
    return " ".join(word for word in words if word) or "middle"


def _side(lines: Sequence[Sequence[float | None]], first: str, last: str) -> str:
    """Which half of the lines is clearly more blurred; "" if neither is."""
    middle = len(lines) // 2
    halves = [[each for line in part for each in line if each is not None] for part in (lines[:middle], lines[middle:])]
    one, other = (fmean(half) if half else 0.0 for half in halves)
    return first if one > 2 * other + 0.3 else last if other > 2 * one + 0.3 else ""
