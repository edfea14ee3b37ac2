"""A task's paths on this machine: a collection is a mounted folder, and its paths stay inside it."""

from __future__ import annotations

import json
import os
from pathlib import Path, PurePosixPath

from mhfd.contract import TileError


def local_path(path: str, collection: str | None = None) -> str:
    """The path as this machine sees it.

    Parameters
    ----------
    path : used unchanged; with a collection, relative to its root, with slashes, with or without one in front
    collection : UUID of a Globus collection that GCS_LOCAL_MAPS maps to a folder

    Raises
    ------
    TileError
        "not_found" when the collection is not mapped here, "permission_denied" when the path leads out of it.
    """
    if collection is None:
        return path
    mount = _mount(collection)
    try:
        # Resolved, because ".." and links can lead out; the resolved path is the one opened.
        root = Path(os.path.realpath(mount))
        inside = Path(os.path.realpath(root / PurePosixPath(path.lstrip("/"))))
    except (OSError, ValueError) as error:  # a null character, links in a circle
        raise TileError("not_found", f"{path!r} cannot be the name of a file ({error}); check the path") from error
    if not inside.is_relative_to(root):
        raise TileError("permission_denied", f"{path} leads out of collection {collection}; name a file inside it")
    return str(inside)


def _mount(collection: str) -> str:
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
    return mount
