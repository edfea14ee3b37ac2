"""What all layouts share: the Protocol, the error, and how names are taken apart."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal, Protocol

from mhfd.contract import ExitCode, MhfdError
from mhfd_client.naming.position import Position

LayoutName = Literal["auto", "plain", "regex", "sbemimage", "atlas", "multisem"]
"""Ours that a person may choose; "auto" looks at the folder. Other packages add some: `added.py`."""


class LayoutError(MhfdError):
    """The layout cannot be used; the message says what is wrong and shows what would be right."""

    exit_code = ExitCode.CONFIG


class Layout(Protocol):
    """How one kind of microscope names its files. A path is relative to the run's root, with "/" on every platform."""

    name: str

    def position(self, path: str) -> Position | None:
        """Where the tile lies; None for an image that is no tile of the run (overview, thumbnail, preview)."""

    def taken(self, path: str) -> str:
        """When it was taken, "" where the name is silent: of two tiles of one position the greater is the later."""

    def listed(self, root: Path) -> Iterable[str] | None:
        """Tiles that the microscope's own lists have gained since the last call (the first call: all of them).

        A name may come twice; a line that is still being written comes next time. None: there is no such list.
        """
