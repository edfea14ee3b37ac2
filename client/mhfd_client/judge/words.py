"""A judgement in a few words: for alerts, tables and reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from mhfd.contract import TO_LOOK_AT as TO_LOOK_AT
from mhfd.contract import Doubt, FocusResult

DIRECTIONS = ("along the rows", "at 45 degrees", "down the columns", "at 135 degrees")
"""Of the blur, as `mhfd.spectrum.DIRECTIONS_DEG`."""

SCANNERS = frozenset({"fibics", "zeiss", "tescan", "openfibsem", "jeol", "hitachi"})
"""Vendors in headers whose pictures are scanned, row by row."""

LEAST_NEAR = 4
"""Neighbours that tell whether a fault lasts."""

EVEN = 0.6
"""A blur is in all directions where the least is at least so much of the most."""

DOUBTS: Mapping[Doubt, str] = {
    "near_threshold": "it lies near the threshold",
    "few_tiles": "there are few tiles to compare it with",
    "reference_blurred": "the tiles that it is compared with look blurred themselves",
    "most_are_worse": "about half of the tiles are worse than those that it is compared with, which may be blurred too",
    "lossy": "the pixels were compressed with loss, which adds structure",
    "by_score": "it has no spectrum, so only its focus score could be compared with those of its folder",
    "nothing_to_compare": "there is nothing to compare it with: too few tiles of its kind",
    "broken_scan": "the scan was broken off, or rows were written twice",
    "drowned": "noise drowns what would tell how blurred it is",
    "new_tissue": "its structure is unlike that of the tiles before it: it may be another tissue rather than blur",
    "too_small": "it is too small",
    "unreadable_spectrum": "its spectrum cannot be read: it is of a newer mhfd, or damaged",
}
"""Why a verdict is not surer, or why there is none."""


def blur_in_words(row: FocusResult) -> str:
    """How blurred: "blur 2.9 px (13 nm)", "blur 2.9 px at the right"; "" where that is not known.

    Of a tile that is blurred in a part that, of an astigmatic one that in its worst direction.
    """
    blur_px = told_px(row)
    if blur_px is None:
        return ""
    size = _size(row, blur_px)
    if where := region(row):
        return f"{size} at the {where}"
    if row.verdict == "astigmatic" and row.blur_by_direction_px:
        return f"{size} {DIRECTIONS[worst_direction(row)]}: {cause(row)}"
    return size


def told_px(row: FocusResult) -> float | None:
    """The blur that `blur_in_words` tells, by which tiles are put in order; None where it is not known."""
    if row.blur_px is None:
        return None
    if region(row):
        return worst_px(row)
    if row.verdict == "astigmatic" and row.blur_by_direction_px:
        return row.blur_by_direction_px[worst_direction(row)] or 0.0
    return row.blur_px


def blur_in_numbers(row: FocusResult) -> str:
    """For tables: "2.9"; "0.2 (2.1)" of a tile, and of its most blurred part where that stands out; "" if not known."""
    if row.blur_px is None:
        return ""
    return f"{row.blur_px:.1f} ({worst_px(row):.1f})" if region(row) else f"{row.blur_px:.1f}"


def blur_in_full(row: FocusResult, near: Sequence[FocusResult] = ()) -> str:
    """In detail: "blur 2.9 px (13 nm) in all directions", "blur 1.1 px, right half 3.4 px".

    Parameters
    ----------
    near : results of tiles taken shortly before and after
    """
    if row.blur_px is None:
        return ""
    by_direction = row.blur_by_direction_px or ()
    worst, part = worst_direction(row), part_in_words(row)
    most = by_direction[worst] if by_direction else None
    told = _size(row, row.blur_px)
    if row.verdict == "astigmatic" and most is not None:
        across = (worst + 2) % len(DIRECTIONS)
        least = by_direction[across]
        told = f"{_size(row, most)} {DIRECTIONS[worst]}"
        told += "" if least is None else f", {least:.1f} px {DIRECTIONS[across]}"
        return f"{told}: {cause(row, near)}"
    known = [each for each in by_direction if each is not None]
    if row.verdict == "out_of_focus" and not part and most is not None and len(known) == len(DIRECTIONS):
        even = min(known) >= EVEN * most
        told += " in all directions" if even else f", most {DIRECTIONS[worst]} ({most:.1f} px)"
    return f"{told}, {part} {part_px(row):.1f} px" if part else told


def cause(row: FocusResult, near: Sequence[FocusResult] = ()) -> str:
    """What may have blurred a tile in one direction.

    A scan writes one row after the other. So what shakes it shows along its axes, and a shock only in the rows that
    were written meanwhile. Astigmatism has any direction, lies over the whole tile, and lasts until it is corrected.

    Parameters
    ----------
    near : results of tiles taken shortly before and after
    """
    if _in_some_rows(row):
        return "drift or vibration during a part of the scan"
    worst = worst_direction(row)
    on_axis = worst % 2 == 0
    alike = sum(each.verdict == "astigmatic" and worst_direction(each) == worst for each in near)
    sharp = sum(each.verdict == "in_focus" for each in near)
    if len(near) >= LEAST_NEAR and 2 * alike >= len(near):
        what = "astigmatism, or a steady vibration" if on_axis else "astigmatism"
        return f"{what}: {alike} of the {len(near)} tiles around it are blurred the same way"
    if on_axis and len(near) >= LEAST_NEAR and 4 * sharp >= 3 * len(near):
        return (
            "drift or vibration during the scan rather than astigmatism, which would last: "
            f"{sharp} of the {len(near)} tiles around it are sharp"
        )
    if on_axis:
        return "astigmatism, or drift or vibration during the scan"
    scanned = row.acquisition.dwell_us is not None or row.acquisition.vendor in SCANNERS
    return "astigmatism" if scanned else "astigmatism, or drift where a camera took it"


def worst_direction(row: FocusResult) -> int:
    """Which of DIRECTIONS is the most blurred; 0 where that is not known."""
    known = [each or 0.0 for each in row.blur_by_direction_px or (0.0,)]
    return known.index(max(known))


def _in_some_rows(row: FocusResult) -> bool:
    """True where some rows of the map are blurred, each over its whole width, and others are not."""
    lines = [[each**2 for each in line if each is not None] for line in row.blur_map_px or ()]
    if not lines or any(len(line) < 2 or max(line) > 2 * min(line) + 0.3 for line in lines):
        return False
    means = [fmean(line) for line in lines]
    return max(means) > 3 * min(means) + 0.5


def size_in_words(px: float, pixel_size_nm: float | None) -> str:
    """A length in pixels, and in nm where the size of a pixel is known: "2.9 px (13 nm)"."""
    return f"{px:.1f} px" + ("" if pixel_size_nm is None else f" ({px * pixel_size_nm:.0f} nm)")


def _size(row: FocusResult, blur_px: float) -> str:
    return f"blur {size_in_words(blur_px, row.pixel_size_nm)}"


def worst_px(row: FocusResult) -> float:
    """The blur of a tile's most blurred part."""
    if row.worst_block is None or row.blur_map_px is None:
        return row.blur_px or 0.0
    return row.blur_map_px[row.worst_block[0]][row.worst_block[1]] or 0.0


def part_in_words(row: FocusResult) -> str:
    """`region` for a sentence: "right half", "top left quarter"; "" where the tile is blurred alike."""
    where = region(row)
    if not where or row.worst_block is None:
        return ""
    if where != "middle":
        return f"{where} {'quarter' if ' ' in where else 'half'}"
    r, c = row.worst_block
    return "middle" if r in (1, 2) and c in (1, 2) else f"part in row {r + 1}, column {c + 1} of the map"


def part_px(row: FocusResult) -> float:
    """The blur of the part that `part_in_words` names."""
    where = region(row).split()
    if row.blur_map_px is None or not where or "middle" in where:
        return worst_px(row)
    lines = row.blur_map_px
    half = len(lines) // 2
    lines = lines[:half] if "top" in where else lines[half:] if "bottom" in where else lines
    chosen = [line[:half] if "left" in where else line[half:] if "right" in where else line for line in lines]
    return float(fmean(each**2 for line in chosen for each in line if each is not None) ** 0.5)  # variances add up


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
