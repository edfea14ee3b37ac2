"""Paths of files in three places: in the source collection, in the destination collection, and on the workers."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from mhfd_client.transfer.gcp import gcp_path
from mhfd_client.transfer.protocol import Json, Outgoing, TransferRefusedError

if TYPE_CHECKING:
    from mhfd_client.config import TransferEntry

HOME = "/~/"
FOLDER = ".mhfd-bundles"  # for bundles, on this machine
BUNDLES = "bundles"  # the same in the run's folder at the destination
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class Staging:
    """Paths of the files of one run.

    A copy is ``<destination_root>/<run>/<generation>/<path>``: a tile that is acquired again gets its own copy, so that
    none is overwritten while a worker may be reading it. The run's folder ends with a hash of its origin, so that two
    microscopes may share a destination although their runs have the same name.

    Attributes
    ----------
    tail : of a copy, ``<generation>/<path>``: the same in all places
    local_root : the folder on this machine that the source collection has
    bundle_folder : on this machine, for the run's bundles; None: the source collection has none outside the run
    """

    def __init__(self, entry: TransferEntry, *, root: Path, run: str) -> None:
        if entry.source_collection is None or entry.destination_collection is None:
            raise TransferRefusedError(
                "Globus Transfer needs source_collection and destination_collection in the endpoint's transfer table; "
                "both UUIDs are at https://app.globus.org/collections"
            )
        self.source_collection = str(entry.source_collection)
        self.destination_collection = str(entry.destination_collection)
        self._source_root = entry.source_root
        self.local_root = _absolute(entry.local_root or root)
        self._destination_root = entry.destination_root
        self._endpoint_root = entry.endpoint_root
        origin = hashlib.sha256("\n".join([self.source_collection, str(root), run]).encode()).hexdigest()
        self._run = f"{run if _PLAIN.fullmatch(run) else 'run'}-{origin[:12]}"
        self.bundle_folder = self._bundle_folder(entry, _absolute(root))

    @property
    def label(self) -> str:
        """The name of the run's tasks in Globus's lists, 128 characters at most."""
        return f"mhfd {self._run}"

    @property
    def source_folder(self) -> str:
        """The folder with the files, in the source collection."""
        return self._source_root if self._source_root is not None else gcp_path(self.local_root)

    @property
    def destination_folder(self) -> str:
        """The folder for the copies, in the destination collection; it need not exist."""
        return _join(self._destination_root, self._run)

    @property
    def needs_home(self) -> bool:
        """True if workers find copies by their path in the collection, and ``/~/`` in it is not yet known."""
        return self._endpoint_root is None and self._destination_root.startswith(HOME[:-1])

    def know_home(self, home: str) -> None:
        """Set where ``/~/`` is in the destination collection."""
        self._destination_root = _join(home, self._destination_root[len(HOME) - 1 :])

    def source(self, outgoing: Outgoing) -> str | None:
        """The file in the source collection; None when it is not below `local_root`."""
        return self._at_source(outgoing.file)

    def bundle_source(self, file: Path) -> str | None:
        """A bundle, or its folder, in the source collection: Globus Connect Personal has all folders of a machine."""
        return gcp_path(_absolute(file)) if self._source_root is None else self._at_source(file)

    def _at_source(self, file: Path) -> str | None:
        try:
            inside = _absolute(file).relative_to(self.local_root)
        except ValueError:
            return None
        return _join(self.source_folder, inside.as_posix())

    def tail(self, outgoing: Outgoing) -> str:
        return f"{outgoing.generation}/{outgoing.path}"

    def bundle_tail(self, name: str) -> str:
        """The tail of a bundle; a generation is a number, so no file's is the same."""
        return f"{BUNDLES}/{name}"

    def destination(self, tail: str) -> str:
        return _join(self.destination_folder, tail)

    def tail_of(self, destination: str) -> str | None:
        """The tail of a copy, however the service writes what comes before; None if it is not of this run."""
        _, found, tail = destination.partition(f"/{self._run}/")
        return tail if found else None

    def place(self, tail: str) -> Json:
        """The copy as `score_paths` takes it."""
        if self._endpoint_root is not None:
            return {"path": _join(self._endpoint_root, f"{self._run}/{tail}")}
        return {"collection": self.destination_collection, "path": self.destination(tail).lstrip("/")}

    def tail_at(self, place: Json) -> str | None:
        """The tail of what lies at a `place`; None if it is not of this run."""
        return self.tail_of(f"/{place.get('path', '')}")

    def copy_at(self, place: Json) -> str | None:
        """The path in the destination collection of a `place`; None if it is not of this run."""
        tail = self.tail_at(place)
        return None if tail is None or ".." in tail.split("/") else self.destination(tail)

    def _bundle_folder(self, entry: TransferEntry, root: Path) -> Path | None:
        """As configured, else beside the run: the microscope's folder is left as it is."""
        if entry.bundle_folder is not None:
            return _absolute(entry.bundle_folder) / self._run
        above = self.local_root if root != self.local_root else root.parent
        if above == root or (self._source_root is not None and not above.is_relative_to(self.local_root)):
            return None
        return above / FOLDER / self._run


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))  # noqa: PTH100 - links stay as they are


def _join(folder: str, path: str) -> str:
    """Join paths with slashes; a leading ``/~/`` stays."""
    return str(PurePosixPath(folder) / path.lstrip("/"))
