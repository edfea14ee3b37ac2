"""Which reader a file has: by its suffix, or where that tells nothing by a look at its beginning.

None stands for TIFF, PNG, BMP and JPEG, which `mhfd.images` reads, and for files that nobody reads. A name with one of
their suffixes costs no more than a look at the suffix.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

from mhfd.contract import IMAGE_SUFFIXES
from mhfd.plugins import PluginError, plugins
from mhfd.readers.protocol import Reader

_NEEDED = ("name", "folders", "open")


@dataclass(frozen=True)
class Known:
    """A suffix, and who reads it.

    Attributes
    ----------
    package : with its version; for our own readers the package that they need
    reader : makes it, or raises `PluginError`
    extra : of mhfd that brings what our own readers need
    """

    suffix: str
    package: str
    reader: Callable[[], Reader]
    extra: str = ""


@cache
def _zarr() -> Reader:
    from mhfd.readers.zarr import ZarrReader

    return ZarrReader()


@cache
def _mrc() -> Reader:
    from mhfd.readers.mrc import MrcReader

    return MrcReader()


BUILT_IN: dict[str, Known] = {
    each.suffix: each
    for each in (
        Known(".zarr", "zarr", _zarr, "zarr"),
        *(Known(suffix, "mrcfile", _mrc, "mrc") for suffix in (".mrc", ".mrcs", ".st", ".rec")),
    )
}


@cache
def known() -> Mapping[str, Known]:
    """Who reads which suffix, without those that `mhfd.images` reads. A package's reader takes the place of ours."""
    added = (
        Known(f".{name.lower()}", each.package, lambda each=each: each.made(_NEEDED))  # type: ignore[misc]
        for name, each in plugins("mhfd.readers").items()
    )
    return MappingProxyType(BUILT_IN | {each.suffix: each for each in added if each.suffix not in IMAGE_SUFFIXES})


def overruled() -> Iterator[str]:
    """A sentence for each reader of a package that is never asked."""
    for name, each in plugins("mhfd.readers").items():
        if f".{name.lower()}" in IMAGE_SUFFIXES:
            yield f"{each.package} adds a reader of .{name.lower()}, which mhfd reads itself"


def suffix_of(path: str) -> str:
    """The suffix in lower case, with its dot; "" without. A separator at the end, as shells add it, does not count."""
    name = path.rstrip("/\\")
    dot = name.rfind(".")
    return "" if dot < 0 else name[dot:].lower()


def has_image_suffix(name: str) -> bool:
    """True for the name of a file that may be tiles, in a format of ours or of another package."""
    suffix = name[name.rfind(".") :].lower()
    return suffix in IMAGE_SUFFIXES or suffix in BUILT_IN or suffix in known()


def reader_of(path: str) -> Reader | None:
    """The reader of a file; None where `mhfd.images` has to read it.

    Raises
    ------
    PluginError
        The package that reads such files cannot be used.
    """
    if path[path.rfind(".") :].lower() in IMAGE_SUFFIXES:
        return None
    if (found := known().get(suffix_of(path))) is not None:
        return found.reader()
    return _by_looking(path)


def is_container(path: str) -> bool:
    """True for a folder that is one input by its name: images are not looked for in it."""
    if "." not in path or (suffix := suffix_of(path)) in IMAGE_SUFFIXES:
        return False
    try:
        found = known().get(suffix)
        return found is not None and found.reader().folders
    except PluginError:  # told when its files are read
        return False


def is_one_input(path: str) -> bool:
    """As `is_container`, for a folder that somebody names: where its name tells nothing, by what is in it."""
    return is_container(path) or (suffix_of(path) not in known() and _looks_like_zarr(path))


def _by_looking(path: str) -> Reader | None:
    if _looks_like_zarr(path):
        return _zarr()
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - names stay strings
            head = file.read(212)
    except (OSError, ValueError):  # a folder, or a file that cannot be read: `mhfd.images` says what is wrong
        return None
    return _mrc() if head[208:212] in (b"MAP ", b"MAP\0") else None


def _looks_like_zarr(path: str) -> bool:
    return any(os.path.isfile(os.path.join(path, name)) for name in ("zarr.json", ".zgroup", ".zarray"))  # noqa: PTH113, PTH118


def problem(of: Known) -> str | None:
    """Why a package's reader cannot be used; None if it can."""
    try:
        of.reader()
    except PluginError as error:
        return str(error)
    return None
