"""Markers: files that a microscope writes beside a tile when the tile is finished."""

from __future__ import annotations

import re
from pathlib import Path

from mhfd.contract import ExitCode, MhfdError

_PLACE = re.compile(r"\{(name|stem)\}")


class MarkerError(MhfdError):
    """The pattern of a marker is not valid."""

    exit_code = ExitCode.CONFIG


def check_marker(pattern: str) -> str:
    """The pattern, if it names a file for each tile: "{name}.done" is t.tif.done for t.tif, "{stem}.ok" is t.ok.

    Raises
    ------
    MarkerError
        It has neither {name} nor {stem} in it, or leads to another folder.
    """
    if not _PLACE.search(pattern) or re.search(r"[/\\]", pattern):
        raise MarkerError(
            "a marker is the name of a file beside the tile's, with {name} or {stem} in it, like {name}.done or "
            f"{{stem}}.ok, not {pattern!r}"
        )
    return pattern


def marker_of(file: Path, pattern: str) -> Path:
    """The marker of a file."""
    return file.with_name(_PLACE.sub(lambda place: str(getattr(file, place[1])), pattern))
