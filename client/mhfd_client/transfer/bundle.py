"""Bundles on disk: small files in an uncompressed tar, where a worker reads each in its place.

The bundles of a ticket have a folder of their own, so that an earlier process's are found by the ticket:

    <folder>/<ticket>/                  made before anything is written
    <folder>/<ticket>/<ticket>-0.tar    the files, one after another, by their paths at the endpoint
    <folder>/<ticket>/index.json        written last, in one step: where in which bundle each file lies, and digests

A folder without index is of a process that was killed while it packed: Transfer was told nothing of it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from mhfd_client.transfer.protocol import Json

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

log = logging.getLogger(__name__)

BUNDLE_BYTES = 256_000_000  # of one tar: a transfer moves a few at a time, and a damaged one goes alone again
FREE_BYTES = 1_000_000_000  # on the disk, left for others
CHUNK_BYTES = 2**20

_INDEX = "index.json"
_TICKET = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_BUNDLE = re.compile(rf"{_TICKET.pattern}-\d+\.tar")


@dataclass(frozen=True)
class Part:
    """A file in a bundle, in bytes; the keys of a place of `score_paths`."""

    offset: int
    size: int
    sha256: str


@dataclass(frozen=True)
class Bundle:
    """A tar.

    Attributes
    ----------
    sha256 : of the tar
    parts : by the tail of each file (see `Staging`)
    """

    file: Path
    sha256: str
    parts: Mapping[str, Part]


def is_bundle(name: str) -> bool:
    """True for the file names that `Shelf` gives to bundles."""
    return _BUNDLE.fullmatch(name) is not None


class Shelf:
    """The folder of a run's bundles.

    Parameters
    ----------
    folder : made when it is needed, removed when it is empty; files of others in it are left alone
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def has(self, ticket: str) -> bool:
        """True if bundles of this ticket were begun."""
        return (self.folder / ticket).is_dir()

    def make(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)

    def pack(self, ticket: str, files: Mapping[str, Path], at_most: int) -> list[Bundle]:
        """Write files into bundles; those that cannot be read, or change meanwhile, are left out.

        Parameters
        ----------
        files : by tail
        at_most : bytes of all bundles

        Raises
        ------
        OSError
            They cannot be written, or there is no room; nothing is left of them.
        """
        self.remove(ticket)
        folder = self.folder / ticket
        folder.mkdir(parents=True)
        try:
            if shutil.disk_usage(folder).free < at_most + FREE_BYTES:
                raise OSError(f"less than {(at_most + FREE_BYTES) / 1e9:.1f} GB are free")
            bundles = list(_bundles(folder / ticket, files))
            _write_index(folder, bundles)
        except BaseException:
            self.remove(ticket)
            raise
        return bundles

    def load(self, ticket: str) -> list[Bundle] | None:
        """The bundles that an earlier process made for the ticket; None if it was killed before they were complete."""
        folder = self.folder / ticket
        try:
            listed = json.loads((folder / _INDEX).read_text(encoding="utf-8"))
            return [
                Bundle(folder / name, each["sha256"], {tail: Part(**part) for tail, part in each["parts"].items()})
                for name, each in listed.items()
            ]
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            log.warning("%s cannot be read (%s); its files are sent again", folder / _INDEX, error)
            return None

    def tickets(self) -> Iterator[str]:
        """The tickets that have bundles here."""
        with suppress(OSError):
            yield from sorted(each.name for each in self.folder.iterdir() if _TICKET.fullmatch(each.name))

    def remove(self, ticket: str) -> None:
        """Remove a ticket's bundles: only files with the names that this module gives."""
        folder = self.folder / ticket
        try:
            for each in list(folder.iterdir()):
                if is_bundle(each.name) or each.name in (_INDEX, f"{_INDEX}.new"):
                    each.unlink()
            folder.rmdir()
        except FileNotFoundError:
            pass
        except OSError as error:
            log.warning("%s is not removed: %s", folder, error)

    def close(self) -> None:
        """Remove the folder, and the one above it, if they are empty."""
        with suppress(OSError):
            self.folder.rmdir()
            self.folder.parent.rmdir()


def _bundles(stem: Path, files: Mapping[str, Path]) -> Iterator[Bundle]:
    waiting = list(files.items())
    for number in range(len(waiting)):
        if not waiting:
            return
        file = stem.with_name(f"{stem.name}-{number}.tar")
        with file.open("wb") as raw:
            digest = _Digest(raw)
            with tarfile.open(fileobj=digest, mode="w", format=tarfile.PAX_FORMAT, encoding="utf-8") as tar:
                parts = dict(_fill(tar, waiting))
        if parts:
            yield Bundle(file, digest.sha256.hexdigest(), parts)
        else:
            file.unlink()


def _fill(tar: tarfile.TarFile, waiting: list[tuple[str, Path]]) -> Iterator[tuple[str, Part]]:
    """Move files from `waiting` into a tar until it is full."""
    while waiting and tar.offset < BUNDLE_BYTES:
        tail, path = waiting.pop(0)
        try:
            data = path.read_bytes()  # whole: it is small, and a file that shrinks would spoil the tar
        except OSError as error:
            log.info("%s goes alone, not in a bundle: %s", path, error)
            continue
        about = tarfile.TarInfo(tail)
        about.size = len(data)
        tar.addfile(about, BytesIO(data))
        filled = tarfile.BLOCKSIZE * -(-len(data) // tarfile.BLOCKSIZE)
        yield tail, Part(tar.offset - filled, len(data), hashlib.sha256(data).hexdigest())


class _Digest(BytesIO):
    """A file that is written, and its digest; nothing stays in memory."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__()
        self._file = file
        self.sha256 = hashlib.sha256()

    def write(self, data: ReadableBuffer) -> int:
        self.sha256.update(data)
        return self._file.write(data)

    def tell(self) -> int:
        return self._file.tell()


def _write_index(folder: Path, bundles: Sequence[Bundle]) -> None:
    listed: dict[str, Json] = {
        each.file.name: {"sha256": each.sha256, "parts": {tail: asdict(part) for tail, part in each.parts.items()}}
        for each in bundles
    }
    draft = folder / f"{_INDEX}.new"
    with draft.open("w", encoding="utf-8") as file:
        json.dump(listed, file)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(folder / _INDEX)
