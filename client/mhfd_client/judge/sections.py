"""The section of each tile as its name tells it, for tiles that no ledger has."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath

from mhfd.contract import split_page
from mhfd_client.naming import open_layout


def sections_of(paths: Sequence[str]) -> list[int | None]:
    """Of each path its section; None where the name tells none."""
    layout = open_layout("auto")
    found = [layout.position(PurePath(split_page(path)[0]).as_posix()) for path in paths]
    return [position.section if position else None for position in found]
