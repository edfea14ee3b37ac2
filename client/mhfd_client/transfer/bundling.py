"""Which files of a transfer go in bundles, and what becomes of the bundles: none is left behind, here or there.

Transfer spends about the same time on a small file as on one of some megabytes, so small files of which many wait go as
few large ones. They are not unpacked: a worker reads a tile where it lies in the tar (`mhfd.images.Member`), so nothing
has to be written or removed at the endpoint but one file, and no other function has to be registered.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING

from mhfd_client.transfer.bundle import Bundle, Shelf, is_bundle
from mhfd_client.transfer.protocol import Json, Outgoing, TransferRefusedError
from mhfd_client.transfer.staging import BUNDLES, Staging
from mhfd_client.transfer.task import TransferTask

if TYPE_CHECKING:
    from mhfd_client.config import TransferEntry
    from mhfd_client.transfer.service import Item, Service

log = logging.getLogger(__name__)

FAILURES = 2  # of transfers with bundles in succession: then files go alone
PASSING = ("EXPIRED", "CANCELED")  # ends of a task that say nothing of bundles


class Bundling:
    """The bundles of one run, here and at the destination."""

    def __init__(self, entry: TransferEntry, staging: Staging) -> None:
        self._entry = entry
        self._staging = staging
        self._shelf = None if staging.bundle_folder is None else Shelf(staging.bundle_folder)
        self._off = "" if entry.bundle_below_bytes else "bundle_below_bytes is 0"
        self._reachable = False  # the source collection has the folder
        self._failures = 0
        self._returned = 0  # files that the endpoint could not read
        self._there: set[str] | None = None  # bundles that may be at the destination; None: not looked yet
        self._at_most = entry.bundle_disk_bytes // (entry.active_tasks + 1)  # one more has ended and is not stored yet
        self._ended: list[str] = []

    def prepare(self, service: Service, task: TransferTask) -> None:
        """Put small files of a task that was not submitted yet into bundles, or find those of an earlier process.

        Raises
        ------
        TransferUnreachableError
            The source collection does not answer.
        """
        self._returned += sum(each.returned for each in task.files.values())
        if self._returned >= self._entry.bundle_from and not self._off:
            self._turn_off("the endpoint does not read bundles: it needs mhfd 0.4 or newer, and a sound file system")
        if self._shelf is not None:
            begun = self._shelf.has(task.ticket)
            found = self._shelf.load(task.ticket) if begun else None
            if found is None and (begun or not task.resumed):
                small = self._small(task)
                found = self._pack(service, self._shelf, task, small) if small else []
            task.bundles = {self._staging.bundle_tail(each.file.name): each for each in found or ()}
        task.prepared = True

    def _small(self, task: TransferTask) -> dict[str, Outgoing]:
        small: dict[str, Outgoing] = {}
        left = self._at_most
        for tail, each in task.files.items():
            if not each.returned and each.size <= min(left, self._entry.bundle_below_bytes):
                small[tail] = each
                left -= each.size
        return small if not self._off and len(small) >= self._entry.bundle_from else {}

    def _pack(self, service: Service, shelf: Shelf, task: TransferTask, small: dict[str, Outgoing]) -> list[Bundle]:
        try:
            self._check(service, shelf)
            size = sum(each.size for each in small.values())
            return shelf.pack(task.ticket, {tail: each.file for tail, each in small.items()}, size)
        except (OSError, TransferRefusedError) as error:
            self._turn_off(f"no bundles can be made in {shelf.folder}: {error}")
            return []

    def _check(self, service: Service, shelf: Shelf) -> None:
        """Whether the source collection has the folder, once."""
        if self._reachable:
            return
        if (where := self._staging.bundle_source(shelf.folder)) is None:
            raise TransferRefusedError("it is not below transfer.local_root")
        shelf.make()
        service.look(self._staging.source_collection, where, interactive=False)
        self._reachable = True

    def _turn_off(self, why: str) -> None:
        log.warning("small files go one by one from now on, which is slow; %s", why)
        self._off = why

    def items(self, task: TransferTask) -> list[Item]:
        """The files and bundles of a task, as the service takes them."""
        from mhfd_client.transfer.service import Item

        staging = self._staging
        alone = [Item(str(staging.source(each)), staging.destination(tail)) for tail, each in task.alone.items()]
        return alone + [
            Item(str(staging.bundle_source(each.file)), staging.destination(tail), each.sha256)
            for tail, each in task.bundles.items()
        ]

    def place(self, task: TransferTask, tail: str) -> Json:
        """Where a worker finds a file that arrived, as `score_paths` takes it."""
        for where, bundle in task.bundles.items():
            if part := bundle.parts.get(tail):
                return {**self._staging.place(where), "offset": part.offset, "size": part.size, "sha256": part.sha256}
        return self._staging.place(tail)

    def ended(self, task: TransferTask) -> None:
        """Transfer needs these bundles no longer; what arrived is removed once no tile needs it."""
        self._ended.append(task.ticket)
        if task.bundles and self._there is not None:
            self._there |= task.bundles.keys()
        if not task.bundles or task.full or task.fatal in PASSING:
            return
        self._failures = 0 if task.arrived & task.bundles.keys() else self._failures + 1
        if self._failures >= FAILURES:
            self._turn_off(f"Globus does not move bundles ({task.why})")

    def stored(self) -> None:
        """The ledger knows how each task fared that has ended: it is not asked for again."""
        while self._ended and self._shelf is not None:
            self._shelf.remove(self._ended.pop())

    def tidy(self, tickets: Collection[str]) -> None:
        """Remove bundles here that no task under way needs, by their tickets."""
        if self._shelf is not None:
            for ticket in self._shelf.tickets():
                if ticket not in tickets:
                    self._shelf.remove(ticket)

    def idle(self, service: Service, busy: Iterable[str], used: Callable[[], Iterable[Json]]) -> list[str]:
        """The tails of bundles at the destination that no tile needs.

        Parameters
        ----------
        busy : tails of bundles that are on their way, or of which a file is not in the ledger yet
        used : the places that the ledger has
        """
        if self._shelf is None:
            return []
        if self._there is None:
            folder = self._staging.destination(BUNDLES)
            names = service.names(self._staging.destination_collection, folder)
            self._there = {self._staging.bundle_tail(name) for name in names if is_bundle(name)}
        if idle := self._there.difference(busy):
            idle.difference_update(self._staging.tail_at(place) for place in used())
        return sorted(idle)

    def removed(self, tails: Iterable[str]) -> None:
        """These are removed at the destination."""
        if self._there is not None:
            self._there.difference_update(tails)

    def close(self) -> None:
        if self._shelf is not None:
            self._shelf.close()
