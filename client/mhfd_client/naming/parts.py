"""Split paths, read numbers."""

from __future__ import annotations


def split(path: str) -> tuple[str, str]:
    """Folder and name; pathlib would take most of the time spent on a name."""
    folder, _, name = path.rpartition("/")
    return folder, name


def number(digits: str | None) -> int | None:
    """The number; None if there is none, or more than nine digits (a date and time, an id)."""
    if digits is None or not digits.isdecimal():
        return None
    digits = digits.lstrip("0") or "0"
    return int(digits) if len(digits) <= 9 else None
