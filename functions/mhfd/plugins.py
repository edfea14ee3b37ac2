"""What other packages add to mhfd: the entry points of a group. Standard library only.

Looking through the installed packages takes some 50 ms, so this is asked only where a name is none of ours.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from mhfd.contract import ExitCode, MhfdError

if TYPE_CHECKING:
    from importlib.metadata import Distribution, EntryPoint

log = logging.getLogger(__name__)

Group = Literal["mhfd.readers", "mhfd.layouts"]


class PluginError(MhfdError):
    """A package that adds something to mhfd cannot be used; the message says which, and why."""

    exit_code = ExitCode.CONFIG


@dataclass(frozen=True)
class Plugin:
    """One entry point.

    Attributes
    ----------
    name : as the package calls it: of a reader its suffix without the dot, of a layout its name
    package : that brings it, with its version
    """

    name: str
    package: str
    entry: EntryPoint

    def made(self, needs: tuple[str, ...]) -> Any:
        """The object, made once where the entry point names a class.

        Parameters
        ----------
        needs : attributes that it must have

        Raises
        ------
        PluginError
            Its package cannot be imported, or the object is none of its kind.
        """
        found = _loaded(self.entry)
        if isinstance(found, Exception):
            raise PluginError(f"{self._told} cannot be loaded ({_reason(found)}): update or uninstall it") from found
        if lacking := [each for each in needs if not hasattr(found, each)]:
            raise PluginError(
                f"{self._told} has no {' or '.join(lacking)}, so it cannot be used: update or uninstall it"
            )
        return found

    @property
    def _told(self) -> str:
        return f"{self.entry.value} of the package {self.package}"


@cache
def plugins(group: Group) -> Mapping[str, Plugin]:
    """The entry points of a group by name. Of two with one name, the one that Python would import counts."""
    from importlib import metadata  # 30 ms, and most commands do without

    found: dict[str, Plugin] = {}
    for package in metadata.distributions():
        for entry in _entries(package):
            if entry.group == group:
                found.setdefault(entry.name, Plugin(entry.name, f"{package.name} {package.version}", entry))
    return MappingProxyType(found)


def _entries(package: Distribution) -> list[EntryPoint]:
    try:
        return list(package.entry_points)
    except Exception as error:  # what a package has written there is its own fault, and must not stop others
        log.debug("the entry points of %r cannot be read: %s", package, error)
        return []


@cache
def _loaded(entry: EntryPoint) -> Any:
    """The object, or the error of its package: also of the latter there is no use in trying again."""
    try:
        found = entry.load()
        return found() if isinstance(found, type) else found
    # A package of somebody else's runs here, which may raise anything, or end the process.
    except (Exception, SystemExit) as error:
        log.debug("%s cannot be loaded", entry.value, exc_info=True)
        return error if isinstance(error, Exception) else PluginError("it ends the process")


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
