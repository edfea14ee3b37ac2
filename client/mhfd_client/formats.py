"""Which files and layouts of names this installation reads, and which packages bring them: for `mhfd doctor`."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping, Sequence
from typing import get_args

from mhfd.contract import IMAGE_SUFFIXES
from mhfd.extras import install_hint
from mhfd.plugins import plugins
from mhfd.readers.opening import Known, known, overruled, problem
from mhfd_client.naming.added import AddedLayout
from mhfd_client.naming.protocol import LayoutError, LayoutName

Told = tuple[str, list[tuple[str, str]]]
"""A sentence about all that works; of each thing that does not, what is wrong and what to do."""


def readers() -> Told:
    """The suffixes that are read."""
    found: dict[str, list[str]] = {"mhfd": sorted(IMAGE_SUFFIXES)}
    problems = [(sentence, "uninstall it, or ask its makers for another suffix") for sentence in overruled()]
    for each in known().values():
        if reason := problem(each):
            problems.append((f"{each.suffix}: {reason}", f"until then {each.suffix} files are failed tiles"))
        else:
            found.setdefault(_brought_by(each), []).append(each.suffix)
    return _listed(found, " "), problems


def layouts() -> Told:
    """The layouts that can be chosen."""
    found: dict[str, list[str]] = {"mhfd": list(get_args(LayoutName))}
    problems = []
    for name, each in plugins("mhfd.layouts").items():
        if name in get_args(LayoutName):
            problems.append((f"{each.package} adds a layout '{name}', as mhfd has", "uninstall it"))
        elif reason := _reason(name):
            problems.append((reason, f"until then '{name}' cannot be chosen"))
        else:
            found.setdefault(each.package, []).append(name)
    return _listed(found, ", "), problems


def _listed(found: Mapping[str, Sequence[str]], comma: str) -> str:
    return "; ".join(f"{comma.join(each)} by {package}" for package, each in found.items())


def _brought_by(known: Known) -> str:
    if not known.extra:
        return known.package
    try:
        return f"{known.package} {importlib.metadata.version(known.package)}"
    except importlib.metadata.PackageNotFoundError:
        return f"{known.package}, which is not installed ({install_hint(known.extra)})"


def _reason(name: str) -> str | None:
    try:
        AddedLayout(name)
    except LayoutError as error:
        return str(error)
    return None
