"""The file or folder that a mistyped path probably means."""

from __future__ import annotations

import os
from collections.abc import Iterable
from difflib import SequenceMatcher, get_close_matches
from itertools import islice
from pathlib import Path, PurePath

LOOKED_AT = 10_000
"""Names of one folder that are compared, at most: some hold millions."""

ALIKE = 0.6


def is_missing(path: str | Path) -> bool:
    """True if there is no such file or folder; False where that cannot be told, as behind a closed folder."""
    try:
        Path(path).stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except (OSError, ValueError):
        return False
    return False


def did_you_mean(path: str | Path, *, folder: bool = False) -> str:
    """The end of a message about a missing path: "; did you mean run?", or "" where nothing is similar.

    Parameters
    ----------
    folder : only a folder can be meant
    """
    near = _near(Path(path), folder)
    return f"; did you mean {near}?" if near else ""


def nearest_folder(folder: str, known: Iterable[str]) -> str | None:
    """The folder among those known whose last name is similar; of several, the most similar as a whole."""

    def likeness(other: str) -> tuple[float, float]:
        names = PurePath(folder).name, PurePath(other).name
        return SequenceMatcher(None, *names).ratio(), SequenceMatcher(None, folder, other).ratio()

    best = max(known, key=likeness, default=None)
    return best if best is not None and likeness(best)[0] >= ALIKE else None


def _near(path: Path, folder: bool) -> Path | None:
    """The path with its first missing name replaced by a similar one; only if that exists."""
    first = path
    while first.parent != first and is_missing(first.parent):
        first = first.parent
    for name in get_close_matches(first.name, _names(first.parent), n=3, cutoff=ALIKE):
        found = first.parent / name / path.relative_to(first)
        if found.is_dir() if folder else found.exists():
            return found
    return None


def _names(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return [entry.name for entry in islice(entries, LOOKED_AT)]
    except OSError:
        return []
