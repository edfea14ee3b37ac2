"""Packages of somebody else's, as pip would leave them in a folder that Python looks through."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from mhfd import plugins
from mhfd.readers import opening


def installed(
    folder: Path, name: str, sources: Mapping[str, str], entry_points: Mapping[str, Mapping[str, str]]
) -> Path:
    """The folder, with a package in it.

    Parameters
    ----------
    sources : module -> its text
    entry_points : group -> name -> what it points to
    """
    about = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", encoding="utf-8")
    groups = (
        "\n".join([f"[{group}]", *(f"{key} = {value}" for key, value in points.items())])
        for group, points in entry_points.items()
    )
    (about / "entry_points.txt").write_text("\n\n".join(groups), encoding="utf-8")
    for module, text in sources.items():
        (folder / f"{module}.py").write_text(text, encoding="utf-8")
    return folder


@contextmanager
def found_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Within the block Python finds the packages of this folder, too."""
    modules = set(sys.modules)
    with monkeypatch.context() as changed:
        changed.syspath_prepend(folder)
        _forget()
        try:
            yield
        finally:
            for module in set(sys.modules) - modules:
                if getattr(sys.modules[module], "__file__", None) and str(folder) in str(sys.modules[module].__file__):
                    del sys.modules[module]
    _forget()


def _forget() -> None:
    for known in (plugins.plugins, plugins._loaded, opening.known):
        known.cache_clear()
