"""Numbers in headers: None where the key is missing, NaN where it is there and cannot be read.

The difference matters: a missing key may be replaced by another one, an unreadable key never.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

UNREADABLE = math.nan

# Case counts: Mm is no mm.
_NM = {
    "m": 1e9, "cm": 1e7, "mm": 1e6, "\u00b5m": 1e3, "\u03bcm": 1e3, "um": 1e3, "nm": 1.0, "\u00c5": 0.1, "\u212b": 0.1,
    "pm": 1e-3, "fm": 1e-6, "in": 2.54e7,
}  # fmt: skip
_WORDS_NM = {
    "meter": 1e9, "metre": 1e9, "centimeter": 1e7, "centimetre": 1e7, "millimeter": 1e6, "millimetre": 1e6,
    "micron": 1e3, "micrometer": 1e3, "micrometre": 1e3, "nanometer": 1.0, "nanometre": 1.0, "angstrom": 0.1,
    "\u00e5ngstr\u00f6m": 0.1, "picometer": 1e-3, "picometre": 1e-3, "inch": 2.54e7,
}  # fmt: skip
_US = {"s": 1e6, "ms": 1e3, "\u00b5s": 1.0, "\u03bcs": 1.0, "us": 1.0, "ns": 1e-3}


def nm_per(unit: str) -> float | None:
    """Nanometres in one `unit`; None if it is no unit of length."""
    return _NM.get(unit, _WORDS_NM.get(unit.casefold().removesuffix("s")))


def us_per(unit: str) -> float | None:
    """Microseconds in one `unit`; None if it is no unit of time."""
    return _US.get(unit)


def number(value: Any, scale: float | None = 1.0) -> float | None:
    """`value` times `scale`; a scale of None stands for an unknown unit."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float | str) or scale is None:
        return UNREADABLE
    try:
        found = float(value) * scale
    except (ValueError, OverflowError):
        return UNREADABLE
    return found if math.isfinite(found) else UNREADABLE


def positive(value: Any, scale: float | None = 1.0) -> float | None:
    """As `number`; zero and less are unreadable."""
    found = number(value, scale)
    return found if found is None or found > 0 else UNREADABLE


def quantity(text: str | None, per: Callable[[str], float | None]) -> float | None:
    """A number and its unit, "5.2 mm", as `per` converts the unit."""
    if text is None:
        return None
    value, _, unit = " ".join(text.split()).partition(" ")
    return number(value, per(unit))


def within(value: float | None, low: float, high: float) -> float | None:
    """`value`, or None if it is missing, unreadable or not in [low, high]."""
    return value if value is not None and low <= value <= high else None


def alike(values: list[float]) -> bool:
    """True if all are readable and equal, but for rounding."""
    return not any(map(math.isnan, values)) and max(values) <= 1.01 * min(values)


def square(x_nm: float | None, y_nm: float | None) -> float | None:
    """One pixel size from two: the geometric mean, which keeps the area and so features per area.

    A tilted sample makes the sides differ by some ten per cent; a factor of two is a wrong header, and
    so is a size outside 1 pm to 1 mm.
    """
    x, y = y_nm if x_nm is None else x_nm, x_nm if y_nm is None else y_nm
    if x is None or y is None:
        return None
    if not (x > 0 and y > 0 and 0.5 < x / y < 2):
        return UNREADABLE
    size = math.sqrt(x * y)
    return size if 1e-3 <= size <= 1e6 else UNREADABLE


def place(x: float | None, y: float | None, z: float | None) -> tuple[float, float, float] | None:
    """(x, y, z) in micrometres, at most 1 m from the origin; z is 0 if only x and y are known."""
    if x is None and y is None:
        return None
    x, y, z = (within(each, -1e6, 1e6) for each in (x, y, 0.0 if z is None else z))
    return (UNREADABLE,) * 3 if x is None or y is None or z is None else (x, y, z)
