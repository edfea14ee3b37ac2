"""Limits of what one task may take: tasks come from outside, and a small one can declare a huge tile."""

from __future__ import annotations

import os

DEFAULT_MAX_PIXELS = 2**28
"""Of one tile: 16384 x 16384. With the kernel's own memory it fits a worker of 4 GB."""

INLINE_BYTES_PER_PIXEL = 4
"""The tiles inside one task may unpack to so many bytes together, for each pixel of `max_pixels`."""

INLINE_BYTES_AT_ONCE = 2**29
"""Tiles inside a task are scored together while they unpack to no more than this, larger ones alone."""


def max_pixels() -> int:
    """Pixels of the largest tile that is scored: MHFD_MAX_PIXELS, else the default."""
    told = os.environ.get("MHFD_MAX_PIXELS", "")
    return int(told) if _is_count(told) else DEFAULT_MAX_PIXELS


def unusable_limit() -> str | None:
    """A sentence if MHFD_MAX_PIXELS is not a number."""
    told = os.environ.get("MHFD_MAX_PIXELS", "")
    if not told or _is_count(told):
        return None
    return f"MHFD_MAX_PIXELS is {told[:40]!r}, not a whole number of pixels, so {DEFAULT_MAX_PIXELS} holds: correct it"


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 20 and int(text) > 0
