"""Which layout a folder has."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

from mhfd_client.files.names import is_image_name
from mhfd_client.naming.added import AddedLayout, check_layout
from mhfd_client.naming.auto import MICROSCOPES, AutoLayout
from mhfd_client.naming.pattern import EXAMPLE, RegexLayout
from mhfd_client.naming.plain import PlainLayout
from mhfd_client.naming.protocol import Layout, LayoutError

NAMES: dict[str, Callable[[], Layout]] = {"plain": PlainLayout, **{each.name: each for each in MICROSCOPES}}
_LOOK_AT_IMAGES, _LOOK_AT_ENTRIES = 200, 5000


def open_layout(name: str, *, root: Path | None = None, pattern: str | None = None) -> Layout:
    """The layout of that name.

    Parameters
    ----------
    name : "auto", "plain", "regex", "sbemimage", "atlas", "multisem", or one that another package adds
    root : the run's folder; "auto" looks at its first files. Where they tell nothing, as in a folder that is still
        empty, each file is taken by its own name.
    pattern : the regular expression of "regex"

    Raises
    ------
    LayoutError
        There is no such layout, its package is broken, or the pattern cannot be used.
    """
    if name == "regex":
        if pattern is None:
            raise LayoutError(f"the layout 'regex' needs a pattern, for example {EXAMPLE}")
        return RegexLayout(pattern)
    if pattern is not None:
        raise LayoutError(f"the layout '{name}' takes no pattern; choose 'regex', or leave the pattern out")
    if name == "auto":
        found = detect(root) if root is not None else "plain"
        return AutoLayout() if found == "plain" else NAMES[found]()
    return NAMES[name]() if name in NAMES else AddedLayout(check_layout(name))


def detect(root: Path) -> str:
    """What the folder looks like from its first images: the layout that named at least half of them, or "plain"."""
    images = list(islice(_images(root), _LOOK_AT_IMAGES))
    claimed = {each.name: sum(map(each().claims, images)) for each in MICROSCOPES}
    name, most = max(claimed.items(), key=lambda item: item[1])
    return name if most and 2 * most >= len(images) else "plain"


def _images(root: Path) -> Iterator[str]:
    """Images below the folder, depth first; gives up in good time, a share may hold millions."""
    left, folders = _LOOK_AT_ENTRIES, [""]
    while folders and left > 0:
        folder = folders.pop()
        try:
            with os.scandir(root / folder) as scanned:
                entries = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in islice(scanned, left)]
        except OSError:
            continue  # the run will say so; here it only means that nothing is known
        left -= len(entries)
        for name, is_folder in entries:
            path = f"{folder}/{name}" if folder else name
            if name.startswith("."):
                continue
            if is_folder:
                folders.append(path)
            elif is_image_name(name):
                yield path
