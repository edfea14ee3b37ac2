"""A judgement in a few words: for alerts, tables and reports."""

from __future__ import annotations

from mhfd.contract import FocusResult

DIRECTIONS = (
    "along the rows: astigmatism, or drift or vibration during the scan",
    "at 45 degrees: astigmatism",
    "down the columns: astigmatism, or drift or vibration during the scan",
    "at 135 degrees: astigmatism",
)
"""Of the blur (`mhfd.spectrum.DIRECTIONS_DEG`). What shakes a scan acts along its axes; astigmatism has any."""

_DOWN = ("top", "", "bottom")
_ALONG = ("left", "", "right")


def blur_in_words(row: FocusResult) -> str:
    """How blurred, and where it is worst: "blur 2.9 px (13 nm), most at the right"; "" where that is not known.

    Of an astigmatic tile that in its worst direction, and which one that is.
    """
    if row.blur_px is None:
        return ""
    blur_px, direction = row.blur_px, ""
    if row.verdict == "astigmatic" and row.blur_by_direction_px:
        known = [(each or 0.0, angle) for each, angle in zip(row.blur_by_direction_px, DIRECTIONS, strict=False)]
        blur_px, direction = max(known)
    size = f"blur {blur_px:.1f} px"
    if row.pixel_size_nm is not None:
        size += f" ({blur_px * row.pixel_size_nm:.0f} nm)"
    where = f"most at the {region(row)}" if region(row) else ""
    return ", ".join(word for word in (size, direction, where) if word)


def region(row: FocusResult) -> str:
    """Where a tile is most blurred: "top left", "right"; "" where it is blurred alike, or not known."""
    if row.worst_block is None or row.blur_map_px is None or row.blur_px is None:
        return ""
    known = [each for line in row.blur_map_px for each in line if each is not None]
    r, c = row.worst_block
    worst = row.blur_map_px[r][c] or 0.0
    if not known or worst**2 < 2 * min(known) ** 2 + 1.0:  # variances add up, widths do not
        return ""
    rows, cols = len(row.blur_map_px), len(row.blur_map_px[0])
    words = (_DOWN[_third(r, rows)], _ALONG[_third(c, cols)])
    return " ".join(word for word in words if word) or "middle"


def _third(index: int, count: int) -> int:
    """0 for the first of the places, 2 for the last, 1 for those between."""
    return 0 if index == 0 else 2 if index == count - 1 else 1
