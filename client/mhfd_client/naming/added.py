"""Layouts that other packages add, by the entry points `mhfd.layouts` (docs/formats.md)."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, get_args

from mhfd.plugins import PluginError, plugins
from mhfd.text import nearest
from mhfd_client.naming.position import Position
from mhfd_client.naming.protocol import LayoutError, LayoutName

log = logging.getLogger(__name__)

NEEDED = ("position",)


def check_layout(name: str) -> str:
    """The name of a layout, ours or another package's; `LayoutError` if there is none of it."""
    if name not in get_args(LayoutName) and name not in plugins("mhfd.layouts"):
        raise LayoutError(f"there is no layout '{name}'; {nearest(name, (*get_args(LayoutName), *names()))}")
    return name


def names() -> Iterator[str]:
    """Of the layouts that packages add and that are ever asked: ours keep their names."""
    return (name for name in plugins("mhfd.layouts") if name not in get_args(LayoutName))


class AddedLayout:
    """A layout of another package, which may do without `taken` and `listed`.

    Whatever it raises on a name costs that tile its position, and no more.

    Raises
    ------
    LayoutError
        Its package cannot be used.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        try:
            self._layout: Any = plugins("mhfd.layouts")[name].made(NEEDED)
        except PluginError as error:
            raise LayoutError(f"the layout '{name}' cannot be used: {error}") from error
        self._told = False

    def position(self, path: str) -> Position | None:
        try:
            found = self._layout.position(path)
        except Exception as error:
            self._tell(path, f"raised {type(error).__name__}: {error}")
            return Position()
        if not isinstance(found, Position | None):
            self._tell(path, f"gave a {type(found).__name__}, not a mhfd_client.naming.Position")
            return Position()
        return found

    def taken(self, path: str) -> str:
        try:
            return str(self._layout.taken(path)) if hasattr(self._layout, "taken") else ""
        except Exception as error:
            self._tell(path, f"raised {type(error).__name__}: {error}")
            return ""

    def listed(self, root: Path) -> Iterable[str] | None:
        try:
            found = self._layout.listed(root) if hasattr(self._layout, "listed") else None
            return None if found is None else list(map(str, found))
        except Exception as error:
            self._tell(str(root), f"raised {type(error).__name__}: {error}")
            return None

    def _tell(self, path: str, what: str) -> None:
        """Once: it may be wrong about every name of a run."""
        if not self._told:
            self._told = True
            log.warning("the layout '%s' %s, for %s; such tiles have no position", self.name, what, path)
