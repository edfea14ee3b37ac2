"""Where each tile is in its run as its name tells it, for tiles that no ledger has."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath

from mhfd.contract import split_page
from mhfd_client.naming import open_layout
from mhfd_client.naming.position import Position


def sections_of(paths: Sequence[str], root: str | None = None) -> list[int | None]:
    """Of each path its section; None where the name tells none.

    Parameters
    ----------
    root : the folder of the run that all paths are in: what it is itself called tells nothing
    """
    return [position.section if position else None for position in positions_of(paths, root)]


def positions_of(paths: Sequence[str], root: str | None = None) -> list[Position | None]:
    """Of each path its place; None where the name tells none. See `sections_of`."""
    layout = open_layout("auto")
    return [layout.position(_below(split_page(path)[0], root)) for path in paths]


def _below(path: str, root: str | None) -> str:
    named = PurePath(path)
    if root is not None and named.is_relative_to(root):
        named = named.relative_to(root)
    return named.as_posix()
