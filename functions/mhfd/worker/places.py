"""A task's paths on this machine: where they lead, and whether a task may read or write there.

A collection is a mounted folder, and its paths stay inside it. Other paths stay inside the folders of MHFD_ROOTS, where
the endpoint sets it. Results go into the folders of MHFD_OUT_ROOTS only, where the endpoint sets that. A path
outside is refused before anybody looks whether it exists, so an answer does not tell.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from mhfd.contract import TileError

READ_ROOTS, WRITE_ROOTS = "MHFD_ROOTS", "MHFD_OUT_ROOTS"

MAX_PATH_BYTES = 4096
"""As on Linux. Resolving a longer path, of many folders and "..", would take long."""


@dataclass(frozen=True)
class Roots:
    """Folders, resolved; a path is inside when it is one of them or leads below one.

    Attributes
    ----------
    folders : resolved; none when no path is inside
    """

    folders: tuple[Path, ...]

    def hold(self, path: str | os.PathLike[str]) -> bool:
        """True if a path leads below one of the folders, links and ".." resolved."""
        # A ".." climbs from where the link before it leads. From outside it would tell, by what it leads to, whether
        # there is a link.
        parts = Path(path).parts
        climbs = (Path(*parts[:at]) for at, part in enumerate(parts) if part == "..")
        return all(self._hold(os.path.realpath(each)) for each in (*climbs, path))

    def _hold(self, resolved: str) -> bool:
        return any(Path(resolved).is_relative_to(folder) for folder in self.folders)


def roots(variable: str) -> Roots | None:
    """The folders that `variable` lists, separated as PATH is; None when it is not set, so nothing is refused."""
    listed = os.environ.get(variable)
    if listed is None:
        return None
    return Roots(tuple(Path(os.path.realpath(each)) for each in _split(listed) if _is_root(each)))


def unusable_roots() -> Iterator[str]:
    """A sentence for each entry of the two settings that is no folder, and so allows nothing."""
    for variable in (READ_ROOTS, WRITE_ROOTS):
        for each in _split(os.environ.get(variable, "")):
            if not _is_root(each):
                yield f"{variable} has {each!r}, which is no absolute path, so it allows nothing: correct it"
            elif not Path(each).is_dir():
                yield f"{variable} has {each!r}, which is no folder here: correct it, or make the folder"


def readable_path(path: str, collection: str | None = None) -> str:
    """The path of a file or folder as this machine sees it.

    Parameters
    ----------
    path : with a collection, relative to its root, with slashes, with or without one in front
    collection : UUID of a Globus collection that GCS_LOCAL_MAPS maps to a folder

    Returns
    -------
    the resolved path, to be opened as it is; unchanged when neither a collection nor MHFD_ROOTS limits it

    Raises
    ------
    TileError
        "not_found" when the collection is not mapped here or no file can have this name, "permission_denied" when the
        path leads out of the collection, or out of MHFD_ROOTS.
    """
    _check_name(path)
    if collection is not None:
        return _in_collection(path, collection)
    allowed = roots(READ_ROOTS)
    return path if allowed is None else _inside(path, allowed, "read", READ_ROOTS)


def writable_path(path: str, collection: str | None = None) -> str:
    """As `readable_path`, for a file or folder to be written: MHFD_OUT_ROOTS limits it, in a collection as well."""
    _check_name(path)
    inside = path if collection is None else _in_collection(path, collection)
    allowed = roots(WRITE_ROOTS)
    return inside if allowed is None else _inside(inside, allowed, "write", WRITE_ROOTS, shown=path)


def limits(collection: str | None = None) -> Roots | None:
    """The folders that the files of a request must be in; None when nothing limits them."""
    return roots(READ_ROOTS) if collection is None else Roots((_mount(collection),))


def _inside(path: str, allowed: Roots, verb: str, variable: str, shown: str | None = None) -> str:
    if not allowed.hold(path):
        raise TileError(
            "permission_denied",
            f"{path if shown is None else shown} is outside the folders that tasks may {verb} on this endpoint: name "
            f"a file inside them, or ask its administrator to add a folder to {variable}",
        )
    return os.path.realpath(path)


def _in_collection(path: str, collection: str) -> str:
    root = _mount(collection)
    # The resolved path is the one opened.
    inside = root / PurePosixPath(path.lstrip("/"))
    if not Roots((root,)).hold(inside):
        raise TileError("permission_denied", f"{path} leads out of collection {collection}; name a file inside it")
    return os.path.realpath(inside)


def _mount(collection: str) -> Path:
    try:
        maps = json.loads(os.environ.get("GCS_LOCAL_MAPS") or "{}")
        mounts = {str(uuid).lower(): str(mount) for uuid, mount in maps.items()}
    except (ValueError, AttributeError) as error:
        raise TileError(
            "not_found",
            'GCS_LOCAL_MAPS on this endpoint must be a JSON object such as {"<collection uuid>": "/mnt/x"} '
            f"({error}); correct it in user_environment.yaml",
        ) from error
    if (mount := mounts.get(collection.lower())) is None:
        raise TileError(
            "not_found",
            f"this endpoint does not know where collection {collection} is mounted; add it to GCS_LOCAL_MAPS in "
            "user_environment.yaml",
        )
    return Path(os.path.realpath(mount))


def _check_name(path: str) -> None:
    try:
        encoded = os.fsencode(path)
        usable = b"\0" not in encoded and len(encoded) < MAX_PATH_BYTES
    except ValueError:  # half of a surrogate pair
        usable = False
    if not usable:
        raise TileError("not_found", f"{path[:1000]!r} cannot be the name of a file; check the path")


def _split(listed: str) -> Iterable[str]:
    return (each for each in listed.split(os.pathsep) if each)


def _is_root(folder: str) -> bool:
    return Path(folder).is_absolute() and "\0" not in folder
