"""For a folder of unknown layout: each file by its own name."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from itertools import chain
from pathlib import Path

from mhfd_client.naming.atlas import AtlasLayout
from mhfd_client.naming.multisem import MultiSemLayout
from mhfd_client.naming.plain import PlainLayout
from mhfd_client.naming.position import Position
from mhfd_client.naming.sbemimage import SbemImageLayout

Microscope = SbemImageLayout | AtlasLayout | MultiSemLayout
MICROSCOPES: tuple[type[Microscope], ...] = (SbemImageLayout, AtlasLayout, MultiSemLayout)

POSITIONS = 16_384
"""Names whose position is remembered: each is asked for by the scan, by the look at a closed file, and to store it."""


class AutoLayout:
    """For a folder whose layout is not known yet: each file by its own name.

    An image that no microscope's program named is a tile, as in a plain folder.
    """

    name = "auto"

    def __init__(self) -> None:
        self._microscopes = [each() for each in MICROSCOPES]
        self._seen: set[Microscope] = set()  # those that named a file: only their lists are searched for
        self._plain = PlainLayout()
        self.position: Callable[[str], Position | None] = lru_cache(POSITIONS)(self._position)

    def _position(self, path: str) -> Position | None:
        for each in self._microscopes:
            if each.claims(path):
                self._seen.add(each)
                return each.position(path)
        return self._plain.position(path)

    def taken(self, path: str) -> str:
        return next((taken for each in self._microscopes if (taken := each.taken(path))), "")

    def listed(self, root: Path) -> Iterable[str] | None:
        lists = [found for each in self._seen if (found := each.listed(root)) is not None]
        return chain.from_iterable(lists) if lists else None
