"""Find the files of a folder that match a pattern; what cannot be looked at is one remark each."""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import NamedTuple

from mhfd.contract import ParamsError
from mhfd.readers.opening import is_container
from mhfd.worker.places import Roots
from mhfd.worker.remarks import Remarks
from mhfd.worker.sorting import in_order

MAX_PATTERN = 1000
"""Characters."""

OURS = ".mhfd"
"""Our folder beside the data of a run."""

Parts = tuple[str, ...]
At = frozenset[int]
"""The parts of a pattern that the next name may match."""


@dataclass(frozen=True)
class Pattern:
    """A pattern as in `pathlib.Path.glob`: "*", "?" and "[ab]" in a name, "**" for folders to any depth, or none.

    Attributes
    ----------
    parts : one for each name of a path; None is "**"
    """

    parts: tuple[re.Pattern[str] | None, ...]

    @classmethod
    def parse(cls, text: str) -> Pattern:
        """Read a pattern.

        Raises
        ------
        ParamsError
            It is none, or leads out of the folder.
        """
        path = PurePath(text)
        example = "for instance *.tif or **/*.tif"
        if path.anchor or text.startswith(("/", "\\")) or ".." in path.parts:
            raise ParamsError(f"pattern {text[:80]!r} must stay in the folder, {example}")
        if not path.parts or len(text) > MAX_PATTERN:
            raise ParamsError(f"pattern {text[:80]!r} must name files, in at most {MAX_PATTERN} characters, {example}")
        if any("**" in part and part != "**" for part in path.parts):
            raise ParamsError(f'pattern {text[:80]!r}: "**" stands for whole folders, {example}')
        try:
            return cls(tuple(None if part == "**" else _compiled(part) for part in path.parts))
        except re.error as error:
            raise ParamsError(f"pattern {text[:80]!r} cannot be used ({error}), {example}") from error

    @property
    def start(self) -> At:
        return self._with_none(frozenset([0]))

    def matches(self, at: At, name: str) -> bool:
        """True if a file of this name, in a folder where the pattern is `at`, matches it to the end."""
        last = len(self.parts) - 1
        return last in at and self._takes(last, name)

    def inside(self, at: At, name: str, *, link: bool) -> At:
        """Where the pattern is inside a folder of this name; nowhere when nothing in it can match."""
        # As pathlib does, "**" goes into no linked folder, which may lead round in a circle.
        stay = {index for index in at if self.parts[index] is None and not link}
        on = {index + 1 for index in at if self.parts[index] is not None and self._takes(index, name)}
        return self._with_none(frozenset(stay | {index for index in on if index < len(self.parts)}))

    def skips_links(self, at: At) -> bool:
        return any(self.parts[index] is None for index in at)

    def _takes(self, index: int, name: str) -> bool:
        part = self.parts[index]
        return part is None or part.match(os.path.normcase(name)) is not None

    def _with_none(self, at: At) -> At:
        """With the parts after a "**", which may stand for no folder."""
        reached = set(at)
        for index in range(len(self.parts) - 1):
            if index in reached and self.parts[index] is None:
                reached.add(index + 1)
        return frozenset(reached)


def _compiled(part: str) -> re.Pattern[str]:
    return re.compile(fnmatch.translate(os.path.normcase(part)))


class Found(NamedTuple):
    """A file below a folder.

    Attributes
    ----------
    parts : its name below the folder, part by part
    size, mtime_ns : bytes, and time of modification; -1 where they cannot be asked for: reading it will tell why
    """

    parts: Parts
    size: int = -1
    mtime_ns: int = -1


def find(folder: Path, pattern: Pattern, allowed: Roots | None, remarks: Remarks) -> Iterator[Found]:
    """The files of a folder that match, in the order of their names, part by part; one folder is in memory at a time.

    A link that leads out of `allowed` is listed if its name matches, and not looked at: reading it will be refused.
    Our own folders (`OURS`) are left out.
    """
    walk = _Walk(folder, pattern, allowed, remarks)
    open_folders = [walk.inside((), pattern.start, (os.path.realpath(folder),))]
    while open_folders:
        for each in open_folders[-1]:
            if each.go_on is None:
                yield Found((*each.place, each.name), each.size, each.mtime_ns)
                continue
            open_folders.append(walk.inside((*each.place, each.name), *each.go_on))
            break
        else:
            open_folders.pop()


class _Item(NamedTuple):
    """What a folder holds: a file that matches, or a folder to go on in, with where the pattern is there."""

    name: str
    place: Parts
    size: int
    mtime_ns: int
    go_on: tuple[At, Parts] | None


@dataclass(frozen=True)
class _Walk:
    folder: Path
    pattern: Pattern
    allowed: Roots | None
    remarks: Remarks

    def inside(self, place: Parts, at: At, chain: Parts) -> Iterator[_Item]:
        """One folder's items in the order of their names.

        Parameters
        ----------
        chain : the real folders on the way here, so that no link leads round in a circle
        """
        return in_order(self._items(place, at, chain))

    def _items(self, place: Parts, at: At, chain: Parts) -> Iterator[_Item]:
        try:
            with os.scandir(self.folder.joinpath(*place)) as entries:
                for entry in entries:
                    if item := self._item(entry, place, at, chain):
                        yield item
        except OSError as error:
            where = "/".join(place) or str(self.folder)
            message = f"{where}: this folder cannot be listed ({error.strerror}); its files are left out"
            self.remarks.add(_code(error), message)

    def _item(self, entry: os.DirEntry[str], place: Parts, at: At, chain: Parts) -> _Item | None:
        pattern, shown = self.pattern, "/".join((*place, entry.name))
        link = _is(entry.is_symlink)
        if link and self.allowed is not None and not self.allowed.hold(entry.path):
            if pattern.matches(at, entry.name):
                return _Item(entry.name, place, -1, -1, None)
            if pattern.inside(at, entry.name, link=True):
                self.remarks.add("permission_denied", f"{shown} leads out of the folders that tasks may read")
        elif not _is(entry.is_dir) or is_container(entry.name):
            if pattern.matches(at, entry.name):
                return _Item(entry.name, place, *_stamp(entry), None)
        elif entry.name == OURS:
            return None
        elif not link:
            if inside := pattern.inside(at, entry.name, link=False):
                return _Item(entry.name, place, -1, -1, (inside, chain))
        elif inside := pattern.inside(at, entry.name, link=True):
            target = os.path.realpath(entry.path)
            if target not in chain:
                return _Item(entry.name, place, -1, -1, (inside, (*chain, target)))
        elif pattern.skips_links(at):
            self.remarks.add(
                "linked_folder", f'{shown} is a link to a folder, which "**" leaves out: name it by itself'
            )
        return None


def _stamp(entry: os.DirEntry[str]) -> tuple[int, int]:
    try:
        found = entry.stat()
    except OSError:
        return -1, -1
    return found.st_size, found.st_mtime_ns


def _is(ask: Callable[[], bool]) -> bool:
    """The answer of an entry; False where the system has none, as for links in a circle: reading it will tell."""
    try:
        return ask()
    except OSError:
        return False


def _code(error: OSError) -> str:
    if isinstance(error, PermissionError):
        return "permission_denied"
    return "not_found" if isinstance(error, FileNotFoundError | NotADirectoryError) else "read_failed"
