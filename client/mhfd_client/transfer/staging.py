"""Where files are, in three tongues: in the source collection, in the destination collection, and to the workers."""

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
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class Staging:
    """Names of the files of one run.

    A copy is ``<destination_root>/<run>/<generation>/<path>``: an acquired-again tile gets a copy of its own, so that
    none is written to while a worker may be reading it. Two microscopes that share a destination, with runs of the
    same name, do not meet: the run's folder ends with a hash of where it comes from.

    Attributes
    ----------
    tail : of a copy, generation and path: what is the same in all tongues
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
        self._local_root = Path(os.path.abspath(entry.local_root or root))  # noqa: PTH100 - links stay as they are
        self._destination_root = entry.destination_root
        self._endpoint_root = entry.endpoint_root
        origin = hashlib.sha256("\n".join([self.source_collection, str(root), run]).encode()).hexdigest()
        self._run = f"{run if _PLAIN.fullmatch(run) else 'run'}-{origin[:12]}"

    @property
    def label(self) -> str:
        """What the run's tasks are called in Globus's lists, 128 characters at most."""
        return f"mhfd {self._run}"

    @property
    def source_folder(self) -> str:
        """The folder with the files, in the source collection."""
        return self._source_root if self._source_root is not None else gcp_path(self._local_root)

    @property
    def destination_folder(self) -> str:
        """The folder for the copies, in the destination collection; it need not be there."""
        return _join(self._destination_root, self._run)

    @property
    def needs_home(self) -> bool:
        """Workers find copies by their place in the collection, and nobody has said yet where ``/~/`` is in it."""
        return self._endpoint_root is None and self._destination_root.startswith(HOME[:-1])

    def know_home(self, home: str) -> None:
        """Say where ``/~/`` is in the destination collection."""
        self._destination_root = _join(home, self._destination_root[len(HOME) - 1 :])

    def source(self, outgoing: Outgoing) -> str | None:
        """The file in the source collection; None when it is not below `local_root`."""
        try:
            inside = Path(os.path.abspath(outgoing.file)).relative_to(self._local_root)  # noqa: PTH100
        except ValueError:
            return None
        return _join(self.source_folder, inside.as_posix())

    def tail(self, outgoing: Outgoing) -> str:
        return f"{outgoing.generation}/{outgoing.path}"

    def destination(self, tail: str) -> str:
        return _join(self.destination_folder, tail)

    def tail_of(self, destination: str) -> str | None:
        """The tail of a copy, however the service writes what comes before; None: it is no copy of this run."""
        _, found, tail = destination.partition(f"/{self._run}/")
        return tail if found else None

    def place(self, tail: str) -> Json:
        """The copy as `score_paths` takes it."""
        if self._endpoint_root is not None:
            return {"path": _join(self._endpoint_root, f"{self._run}/{tail}")}
        return {"collection": self.destination_collection, "path": self.destination(tail).lstrip("/")}

    def copy_at(self, place: Json) -> str | None:
        """The copy in the destination collection, of a `place`; None: it is no copy of this run."""
        tail = self.tail_of(f"/{place.get('path', '')}")
        return None if tail is None or ".." in tail.split("/") else self.destination(tail)


def _join(folder: str, path: str) -> str:
    """Both have slashes only; ``/~/`` stays in front."""
    return str(PurePosixPath(folder) / path.lstrip("/"))
