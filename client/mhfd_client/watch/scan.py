"""One pass over a folder and all below it that misses no file and takes none for gone that is there.

Between scans one number for each folder is kept, a hash of its listing. Where it is the same, as it is for all but the
newest folders of a run, nothing is compared and the ledger is not asked.
"""

from __future__ import annotations

import errno
import fnmatch
import os
import re
import stat
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mhfd.contract import ExitCode, MhfdError
from mhfd.readers.opening import is_container
from mhfd.text import is_unicode
from mhfd_client.files.foreign import foreign_suffix
from mhfd_client.files.links import Folders
from mhfd_client.files.names import for_system, is_away, is_image_name, natural_order, to_relative
from mhfd_client.ledger.model import Known, SeenFile, unchanged

LANDMARKS = 64  # names by which a root is recognised


class ShareAwayError(MhfdError):
    """The watched folder is out of reach; the tiles in it do not count as gone."""

    exit_code = ExitCode.UNAVAILABLE


@dataclass(frozen=True)
class Folder:
    """A folder's contents.

    Attributes
    ----------
    path : relative to the root, "" for the root itself
    files : the tiles directly in it, in no particular order; none when not `fresh`
    fresh : False when the listing is that of the last scan: nothing to compare
    complete : False when a file could not be looked at, or vanished meanwhile: files not listed may yet be there
    foreign : how many files of formats that mhfd does not read are in it, by suffix; also when not `fresh`
    """

    path: str
    files: tuple[SeenFile, ...]
    fresh: bool
    complete: bool = True
    foreign: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Unlisted:
    """A folder that cannot be read now, so that nothing in it counts as gone; or a name that cannot be stored."""

    path: str
    message: str


@dataclass(frozen=True)
class NotFollowed:
    """A folder that is not looked into, or a link to one that is under another name; `message` says which."""

    path: str
    message: str


@dataclass(frozen=True)
class Changes:
    """The differences of a folder from the ledger; files in natural order, names relative to the root.

    Attributes
    ----------
    changed : known, and written since (`ledger.model.unchanged`), gone meanwhile or not
    back : gone before, here again unchanged
    """

    new: tuple[SeenFile, ...] = ()
    changed: tuple[SeenFile, ...] = ()
    gone: tuple[str, ...] = ()
    back: tuple[SeenFile, ...] = ()


def compare(folder: Folder, known: Mapping[str, Known]) -> Changes:
    """Compare a folder with the ledger.

    Parameters
    ----------
    known : the ledger's files of this folder, by file name alone
    """
    if not folder.fresh:
        return Changes()
    new, changed, back = [], [], []
    listed = set()
    for file in folder.files:
        name = file.path.rpartition("/")[2]
        listed.add(name)
        was = known.get(name)
        if was is None:
            new.append(file)
        elif not unchanged(was, file):
            changed.append(file)
        elif was.gone:
            back.append(file)
    lost = [name for name, was in known.items() if not was.gone and name not in listed] if folder.complete else []
    gone = tuple(_join(folder.path, name) for name in sorted(lost, key=natural_order))
    return Changes(_in_order(new), _in_order(changed), gone, _in_order(back))


@dataclass
class _Listing:
    """One folder as read, not yet filtered for tiles; `found` has (name, size, mtime_ns, ctime_ns) of each image."""

    found: list[tuple[str, int, int, int]] = field(default_factory=list)
    folders: list[os.DirEntry[str]] = field(default_factory=list)
    foreign: Counter[str] = field(default_factory=Counter)
    nameless: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    error: OSError | None = None
    vanished: bool = False

    @property
    def complete(self) -> bool:
        return not (self.error or self.vanished)


class Scanner:
    """Scans a folder again and again, with one folder at a time in memory.

    Parameters
    ----------
    root : the watched folder
    is_tile : True for the relative path of a tile of the run, False for an overview, a thumbnail or the like
    exclude : patterns, in which * matches anything, "/" too; one without "/" is for names of files and folders, else
        for their paths relative to the root
    seen_before : tiles were seen here by an earlier process: an empty root is then a share that is not mounted
    """

    def __init__(
        self,
        root: Path,
        *,
        is_tile: Callable[[str], bool],
        exclude: Sequence[str] = (),
        seen_before: bool = False,
    ) -> None:
        self._root, self._is_tile, self._exclude = root.absolute(), is_tile, _Exclude(exclude)
        self._seen_before = seen_before
        self._signatures: dict[str, int | None] = {}  # None: report it whole
        self._device: int | None = None
        self._landmarks: frozenset[str] = frozenset()

    def scan(self) -> Iterator[Folder | Unlisted | NotFollowed]:
        """One pass: the root, then each folder before those in it, in natural order.

        Links to folders are followed; each folder is looked into once, under its own name if it lies below the root.

        A folder counts as reported when the next one is asked for: if the caller fails in between, the next scan
        reports it whole again. A folder that is gone is reported once, at the end, without files. Those gone before
        this process's first scan are for the caller to find, among the ledger's folders.

        Raises
        ------
        ShareAwayError
            The root cannot be listed, or is not the folder it was.
        """
        visited: set[str] = set()
        unread: list[str] = []
        folders = Folders(str(self._root), self._is_walked)
        waiting = [("", folders.root)]
        while waiting:
            path, real = waiting.pop()
            try:
                listing = self._list(path)
            except FileNotFoundError:  # since its parent was listed; the next scan shows if it is gone
                self._still_there()
                unread.append(path)
                continue
            except OSError as error:
                if is_away(error):
                    self._still_there()
                unread.append(path)
                yield Unlisted(path, f"{self._root / path} cannot be listed: {error.strerror or error}")
                continue
            visited.add(path)
            if not listing.complete:  # what could not be looked at may be a folder
                unread.append(path)
            yield from self._tell(path, listing)
            below: list[tuple[str, str]] = []
            for entry in sorted(listing.folders, key=lambda entry: natural_order(entry.name)):
                inner = _join(path, entry.name)
                if is_container(entry.name):
                    yield NotFollowed(inner, f"{inner} is many files that are one input: score it when it is complete")
                    continue
                entered, why_not = folders.enter(entry, inner, real)
                if entered is None:
                    yield NotFollowed(inner, why_not)
                else:
                    below.append((inner, entered))
            waiting += reversed(below)
        for path in [path for path in self._signatures if path not in visited and not _is_below(path, unread)]:
            yield Folder(path, (), fresh=True)
            del self._signatures[path]

    def look(self, file: Path) -> SeenFile | None:
        """One file by itself, as a scan would see it; None for what is no tile of the run, or cannot be looked at now.

        Parameters
        ----------
        file : below the root, by no link to a folder
        """
        path = to_relative(self._root, file)
        if path is None or not is_unicode(path):
            return None
        folder, _, name = path.rpartition("/")
        if not is_image_name(name) or self._exclude.covers(name, path) or not (not folder or self._is_walked(folder)):
            return None
        try:
            state = os.stat(for_system(file))  # noqa: PTH116 - thousands a second
        except OSError:
            return None
        if not stat.S_ISREG(state.st_mode) or not self._is_tile(path):
            return None
        return SeenFile(path, state.st_size, state.st_mtime_ns, state.st_ctime_ns)

    def forget(self) -> None:
        """Report every folder whole in the next scan, as in the first."""
        self._signatures = dict.fromkeys(self._signatures)

    def _is_walked(self, path: str) -> bool:
        """True if a scan looks into the folder of this relative path without following a link."""
        parts = path.split("/")
        names = ((name, "/".join(parts[: k + 1])) for k, name in enumerate(parts))
        return not any(name.startswith(".") or self._exclude.covers(name, at) for name, at in names)

    def _tell(self, path: str, listing: _Listing) -> Iterator[Folder | Unlisted]:
        for name in listing.nameless:
            yield Unlisted(
                _join(path, name), f"{name!r} in {self._root / path} is not valid UTF-8: rename it, or it is left out"
            )
        if listing.error:
            yield Unlisted(path, f"some files in {self._root / path} cannot be looked at: {listing.error}")
        signature = sum(map(hash, listing.found))  # in any order: file systems are free to change it
        if listing.complete and self._signatures.get(path) == signature:
            yield Folder(path, (), fresh=False, foreign=listing.foreign)
            return
        files = (SeenFile(_join(path, name), *times) for name, *times in listing.found)
        yield Folder(
            path,
            tuple(file for file in files if self._is_tile(file.path)),
            fresh=True,
            complete=listing.complete,
            foreign=listing.foreign,
        )
        self._signatures[path] = signature if listing.complete else None

    def _list(self, path: str) -> _Listing:
        listing = _Listing()
        try:
            with os.scandir(self._at(path)) as entries:
                for entry in entries:
                    self._sort_in(path, entry, listing)
        except OSError as error:
            if not path:
                raise ShareAwayError(
                    f"{self._root} cannot be listed ({error.strerror or error}): check the folder, or the share"
                ) from error
            raise
        if not path:
            self._check_root(listing.names)
        return listing

    def _sort_in(self, path: str, entry: os.DirEntry[str], listing: _Listing) -> None:
        name = entry.name
        if not path:
            listing.names.append(name)
        if name.startswith(".") or self._exclude.covers(name, _join(path, name)):
            return
        try:
            is_folder = entry.is_dir()
            if not (is_folder or is_image_name(name)):
                if suffix := foreign_suffix(name):
                    listing.foreign[suffix] += 1
                return
            if not is_unicode(name):
                listing.nameless.append(os.fsencode(name).decode(errors="backslashreplace"))
            elif is_folder:
                listing.folders.append(entry)
            elif stat.S_ISREG((state := entry.stat()).st_mode):
                listing.found.append((name, state.st_size, state.st_mtime_ns, state.st_ctime_ns))
        except FileNotFoundError:
            listing.vanished |= not entry.is_symlink()  # a link that leads nowhere does not count
        except OSError as error:
            if error.errno != errno.ELOOP:  # nor is a link to itself
                listing.error = error

    def _check_root(self, names: list[str]) -> None:
        """Refuse what a share leaves behind when it goes: an empty folder, or another disk in the same place."""
        try:
            device = Path(self._at("")).stat().st_dev
        except OSError as error:
            raise ShareAwayError(f"{self._root} went away: check the folder, or the share") from error
        if self._seen_before and not names:
            raise ShareAwayError(
                f"{self._root} is empty, though there were tiles in it: check that the share or disk is mounted"
            )
        if self._landmarks and device != self._device and self._landmarks.isdisjoint(names):
            raise ShareAwayError(
                f"{self._root} is another disk than before: check what is mounted there, or start the watch again"
            )
        self._device, self._landmarks = device, frozenset(names[:LANDMARKS])
        self._seen_before |= bool(names)

    def _still_there(self) -> None:
        """Check the root again: a folder not found may be on a share that is going."""
        try:
            with os.scandir(self._at("")) as entries:
                self._check_root([entry.name for entry, _ in zip(entries, range(LANDMARKS), strict=False)])
        except OSError as error:
            raise ShareAwayError(f"{self._root} went away ({error.strerror or error}): check the share") from error

    def _at(self, path: str) -> str:
        return for_system(self._root / path)


class _Exclude:
    """The exclude patterns, compiled; on Windows without regard to case."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self._of_names = _compile([each for each in patterns if "/" not in each])
        self._of_paths = _compile([each for each in patterns if "/" in each])

    def covers(self, name: str, path: str) -> bool:
        return bool((self._of_names and self._of_names.match(name)) or (self._of_paths and self._of_paths.match(path)))


def _compile(patterns: Sequence[str]) -> re.Pattern[str] | None:
    flags = re.IGNORECASE if sys.platform == "win32" else 0
    return re.compile("|".join(map(fnmatch.translate, patterns)), flags) if patterns else None


def _in_order(files: list[SeenFile]) -> tuple[SeenFile, ...]:
    return tuple(sorted(files, key=lambda file: natural_order(file.path)))


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _is_below(path: str, folders: Iterable[str]) -> bool:
    return any(not folder or path == folder or path.startswith(f"{folder}/") for folder in folders)
