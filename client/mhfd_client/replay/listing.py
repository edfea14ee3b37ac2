"""A microscope's text files that list its tiles: which lines are written after which tile."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from mhfd_client.files.names import is_image_name

Blocks = tuple[tuple[str, int], ...]
"""Pairs: the path of a tile ("" for the lines before the first), and the byte at which its lines end."""

LIST_SUFFIXES = frozenset({".txt", ".csv", ".tsv", ".log", ".mdoc"})
LIST_BYTES = 64 * 2**20  # a larger one is copied, not read

_BETWEEN = re.compile(r"""[;,\t'"<>|*?\r\n]+""")


def read_blocks(run: Path, path: str, tiles: Iterable[str]) -> Blocks:
    """Group the lines of a text file by the tile that they name; () if it names none of the run."""
    file = run / path
    if file.suffix.lower() not in LIST_SUFFIXES or file.stat().st_size > LIST_BYTES:
        return ()
    by_name: dict[str, list[str]] = {}
    for tile in tiles:
        by_name.setdefault(PurePosixPath(tile).name, []).append(tile)
    blocks = [("", 0)]
    for line in file.read_bytes().splitlines(keepends=True):
        last, end = blocks[-1]
        named = _named(line.decode("utf-8", "replace"), PurePosixPath(path).parent, by_name)
        if named is None or named == last:
            blocks[-1] = (last, end + len(line))
        else:
            blocks.append((named, end + len(line)))
    return tuple(blocks) if len(blocks) > 1 else ()


def _named(line: str, folder: PurePosixPath, by_name: Mapping[str, list[str]]) -> str | None:
    """The last tile that a line names, with or without folders, Windows or POSIX."""
    for part in reversed(_BETWEEN.split(line)):
        for text in (part.strip(), *part.split()[-1:]):  # a name may hold spaces, or follow "file = "
            given = PurePosixPath(text.replace("\\", "/"))
            if not is_image_name(given.name):
                continue
            candidates = by_name.get(given.name, [])
            if (beside := str(folder / given)) in candidates:
                return beside
            for path in candidates:
                if f"/{given}".endswith(f"/{path}") or f"/{path}".endswith(f"/{given}"):
                    return path
            if len(candidates) == 1:
                return candidates[0]
    return None
