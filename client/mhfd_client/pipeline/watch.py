"""Folder -> `seen`: the files in the folder are compared with those in the ledger.

Scans find every change. A file that the system reports as closed by its writer is looked at by itself before that.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from mhfd_client.files.foreign import in_words
from mhfd_client.files.names import to_local
from mhfd_client.gate import Gate
from mhfd_client.ledger import Missing, SeenFile
from mhfd_client.naming import Grid, Layout
from mhfd_client.pipeline.context import Context
from mhfd_client.watch import Folder, NotFollowed, Pace, Scanner, ShareAwayError, Unlisted, compare

BATCH = 2000  # files in one transaction
LISTS_EVERY_S = 60.0  # without changes, the microscope's own lists are read this often
MISSING_SHOWN = 10_000
LINKS_TOLD = 3


class WatchStep:
    """The reconciling scan.

    Parameters
    ----------
    closed : the files that were closed since the last call; True if a scan is wanted, too

    Attributes
    ----------
    scans : number completed
    changes : found by the last scan
    last_s : end of the last scan, monotonic
    left_out : what the last scan could not take, by path: a sentence for each folder or file
    foreign : number of files of formats that mhfd does not read, in the last scan
    """

    name = "watch"

    def __init__(
        self,
        context: Context,
        scanner: Scanner,
        gate: Gate,
        layout: Layout,
        *,
        closed: Callable[[], tuple[list[Path], bool]] = lambda: ([], True),
    ) -> None:
        self._context = context
        self._run = context.run
        self._ledger = context.ledger
        self._board = context.board
        self._scanner = scanner
        self._gate = gate
        self._layout = layout
        self._closed = closed
        self._wanted = True
        self._looked = False  # at single files since the last scan
        self._pace = Pace(context.options.poll_s)
        self._grid: Grid | None = None
        self._listed_unseen: set[str] = set()
        self._lists_s: float | None = None
        self.scans = 0
        self.changes = 0
        self.last_s = 0.0
        self.left_out: dict[str, str] = {}
        self.foreign = 0

    def step(self) -> float:
        files, wanted = self._closed()
        self._wanted |= wanted
        self._look_at(files)
        if (early_s := self._pace.due_in_s(rung=self._wanted)) > 0:  # woken again right after a scan
            return early_s
        self._wanted = False
        begun_s = time.monotonic()
        try:
            changes = self._scan()
        except ShareAwayError as error:
            self._board.put("folder", str(error))
            self._pace.scanned(0.0)
            return self._pace.due_in_s(rung=False)
        self._board.clear("folder", f"{self._run.root} is there again")
        self.last_s = time.monotonic()
        self.changes = changes
        self.scans += 1
        self._look_for_missing(changed=changes > 0 or self._looked)
        self._looked = False
        self._pace.scanned(time.monotonic() - begun_s)
        return self._pace.due_in_s(rung=False)

    def _look_at(self, files: Sequence[Path]) -> None:
        """Take up files that were closed; one that cannot be looked at is left to the next scan."""
        folders: dict[str, list[SeenFile]] = {}
        for file in files:
            if seen := self._scanner.look(file):
                folders.setdefault(seen.path.rpartition("/")[0], []).append(seen)
        for folder, found in folders.items():
            self._take_up(folder, found, closed=True)
            self._looked = True

    def _scan(self) -> int:
        """Scan once; the number of files that differ from the ledger."""
        changes = 0
        met: set[str] = set()
        left_out: dict[str, str] = {}
        links: list[str] = []
        foreign: Counter[str] = Counter()
        for folder in self._scanner.scan():
            if isinstance(folder, NotFollowed):
                links.append(folder.message)
                continue
            met.add(folder.path)
            if isinstance(folder, Unlisted):
                left_out[folder.path] = folder.message
                self._board.put(f"left out {folder.path}", folder.message)
            else:
                foreign.update(folder.foreign)
                changes += self._reconcile(folder) if folder.fresh else 0
        for path in self.left_out.keys() - left_out.keys():
            self._board.clear(f"left out {path}", f"{self._run.root}/{path} is no longer left out")
        self.left_out, self.foreign = left_out, foreign.total()
        self._tell("links", links)
        self._tell("formats", [in_words(foreign)] if foreign else [])
        gone = [known for known in self._ledger.folders(self._run.run_id) if known not in met]
        for path in gone:
            if not any(_inside(path, away) for away in left_out):
                changes += self._reconcile(Folder(path, (), fresh=True))
        return changes

    def _tell(self, matter: str, sentences: Sequence[str]) -> None:
        if not sentences:
            self._board.clear(matter)
            return
        more = f"; and {len(sentences) - LINKS_TOLD} more" if len(sentences) > LINKS_TOLD else ""
        self._board.put(matter, f"left out: {'; '.join(sentences[:LINKS_TOLD])}{more}")

    def _reconcile(self, folder: Folder) -> int:
        found = compare(folder, self._ledger.folder(self._run.run_id, folder.path))
        self._take_up(folder.path, [*found.new, *found.changed, *found.back])
        if found.gone:
            self._ledger.mark_gone(self._run.run_id, found.gone, time.time())
        return len(found.new) + len(found.changed) + len(found.back) + len(found.gone)

    def _take_up(self, folder: str, files: Sequence[SeenFile], *, closed: bool = False) -> None:
        """Record files of a folder, and have the gate look at them."""
        grid = self._grid_of_run()
        for batch in _batches(files):
            placed = [(file, self._layout.position(file.path)) for file in batch]
            self._ledger.see(self._run.run_id, placed, time.time())
            for file, position in placed:
                here = to_local(self._context.root, file.path)
                self._gate.note(here, file)
                if closed:
                    self._gate.closed(here, file)
                if position is not None:
                    grid.add(position)
            self._context.wake("gate")
        if any(self._layout.taken(file.path) for file in files):
            self._ledger.supersede_earlier(self._run.run_id, folder, self._layout.taken)

    def _grid_of_run(self) -> Grid:
        """The grid, read from the ledger once, then kept up to date."""
        if self._grid is None:
            self._grid = Grid()
            for position in self._ledger.positions(self._run.run_id):
                self._grid.add(position)
        return self._grid

    def _look_for_missing(self, *, changed: bool) -> None:
        now_s = time.monotonic()
        if changed:
            self._lists_s = None
        if self._lists_s is not None and now_s < self._lists_s + LISTS_EVERY_S:
            return
        missing = [Missing(None, position, "not in the grid") for position in self._grid_of_run().missing()]
        gained = self._layout.listed(self._context.root)
        if gained is not None:
            self._listed_unseen.update(gained)
            self._listed_unseen = set(self._ledger.unknown(self._run.run_id, self._listed_unseen))
            missing += [
                Missing(name, self._layout.position(name), "listed by the microscope")
                for name in sorted(self._listed_unseen)
            ]
        self._ledger.set_missing(self._run.run_id, missing[:MISSING_SHOWN], time.time())
        self._lists_s = now_s


def _inside(path: str, folder: str) -> bool:
    return not folder or path == folder or path.startswith(f"{folder}/")


def _batches(files: Iterable[SeenFile]) -> Iterator[list[SeenFile]]:
    rest = iter(files)
    while batch := list(islice(rest, BATCH)):
        yield batch
