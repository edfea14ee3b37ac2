"""Recording scans: which files are there, changed or gone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from mhfd_client.ledger.core import POSITION, Core, joined, listed, numbers_of, parted
from mhfd_client.ledger.database import Record
from mhfd_client.ledger.model import Known, SeenFile, unchanged
from mhfd_client.naming.position import Position

Found = tuple[SeenFile, Position | None]

_NEW = (
    f"INSERT INTO tile (run_id, folder_id, name, generation, size, mtime_ns, ctime_ns, seen_at, changed_at, state_at, "
    f"{', '.join(POSITION)}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)

# The newest of one file: not superseded, or by a file of another name.
_NEWEST = (
    "(t.superseded_by IS NULL OR EXISTS (SELECT 1 FROM tile AS s WHERE s.tile_id = t.superseded_by "
    "AND (s.folder_id <> t.folder_id OR s.name <> t.name)))"
)


class Files(Core):
    """The part of `Ledger` that scans work with."""

    def folder(self, run_id: int, folder: str) -> dict[str, Known]:
        """The files directly in a folder ("" is the root) by name, each in its newest generation."""
        found = self._ask(
            "SELECT t.name, t.size, t.mtime_ns, t.ctime_ns, t.state, t.gone_at FROM folder AS f "
            "JOIN tile AS t ON t.folder_id = f.folder_id "
            f"WHERE f.run_id = ? AND f.path = ? AND t.page = 0 AND {_NEWEST}",
            run_id, folder,
        )  # fmt: skip
        return {
            name: Known(size, mtime_ns, state, gone is not None, ctime_ns)
            for name, size, mtime_ns, ctime_ns, state, gone in found
        }

    def folders(self, run_id: int) -> list[str]:
        """All folders that hold a file, as far as the ledger knows."""
        found = self._ask(
            "SELECT f.path FROM folder AS f WHERE f.run_id = ? AND EXISTS (SELECT 1 FROM tile AS t "
            "WHERE t.folder_id = f.folder_id AND t.gone_at IS NULL AND t.superseded_by IS NULL) ORDER BY f.path",
            run_id,
        )
        return [path for (path,) in found]

    def see(self, run_id: int, files: Sequence[Found], now: float) -> None:
        """Record files: new, changed or back.

        A file that changes while its tile is in state seen is still being written: its row is updated. One that
        changes later was taken again: it gets a new generation in state seen, which supersedes all pages of the old.
        """
        folders: dict[str, dict[str, Found]] = {}
        for found in files:
            folder, name = parted(found[0].path)
            folders.setdefault(folder, {})[name] = found
        with self.transaction():
            for folder, named in folders.items():
                self._see_folder(run_id, self._folder_id(run_id, folder), named, now)

    def supersede_earlier(self, run_id: int, folder: str, taken: Callable[[str], str]) -> int:
        """Of a folder's tiles at the same position, have the one taken last supersede the others; how many.

        Parameters
        ----------
        taken : path -> when, as text that sorts; "" if its name has no time: such tiles are left alone
        """
        with self.transaction():
            folder_id = self._folder_id(run_id, folder)
            places: dict[tuple[int | None, ...], list[tuple[str, str, int]]] = {}
            for name, tile_id, *place in self._ask(
                f"SELECT name, tile_id, {', '.join(POSITION)} FROM tile "
                "WHERE folder_id = ? AND page = 0 AND superseded_by IS NULL",
                folder_id,
            ):
                if (when := taken(joined(folder, name))) and any(each is not None for each in place):
                    places.setdefault(tuple(place), []).append((when, name, tile_id))
            earlier = [
                (max(tiles)[2], folder_id, name) for tiles in places.values() for _, name, _ in sorted(tiles)[:-1]
            ]
            self._many(
                "UPDATE tile SET superseded_by = ? WHERE folder_id = ? AND name = ? AND superseded_by IS NULL", earlier
            )
            return len(earlier)

    def mark_gone(self, run_id: int, paths: Iterable[str], now: float) -> None:
        """Mark files as gone. Results are kept; a tile without one waits for its file to return."""
        with self.transaction():
            for folder, names in _by_folder(paths).items():
                self._do(
                    "UPDATE tile SET gone_at = ? WHERE folder_id = ? AND name IN @texts AND gone_at IS NULL "
                    "AND superseded_by IS NULL",
                    now, self._folder_id(run_id, folder), listed(names),
                )  # fmt: skip

    def _folder_id(self, run_id: int, folder: str) -> int:
        known = self._ask("SELECT folder_id FROM folder WHERE run_id = ? AND path = ?", run_id, folder)
        if not known:
            self._do("INSERT INTO folder (run_id, path) VALUES (?, ?)", run_id, folder)
            return self._folder_id(run_id, folder)
        return int(known[0][0])

    def _see_folder(self, run_id: int, folder_id: int, named: dict[str, Found], now: float) -> None:
        known = {
            name: record
            for name, *record in self._ask(
                "SELECT t.name, t.tile_id, t.generation, t.state, t.size, t.mtime_ns, t.ctime_ns FROM tile AS t "
                f"WHERE t.folder_id = ? AND t.name IN @texts AND t.page = 0 AND {_NEWEST}",
                folder_id, listed(named),
            )
        }  # fmt: skip
        new, touched, back = [], [], []
        again: list[Record] = []
        for name, (file, position) in named.items():
            tile_id, generation, state, *times = known.get(name, (None, 0, None))
            row = (run_id, folder_id, name, generation + 1, file.size, file.mtime_ns, file.ctime_ns, now, now, now)
            if times and unchanged(SeenFile(file.path, *times), file):
                back.append(name)
            elif state == "seen":
                touched.append((file.size, file.mtime_ns, file.ctime_ns, now, *numbers_of(position), tile_id))
            else:
                new.append((*row, *numbers_of(position)))
                if generation:
                    again.append((folder_id, name, generation + 1, folder_id, name, generation))
        self._many(_NEW, new)
        self._many(
            "UPDATE tile SET superseded_by = (SELECT s.tile_id FROM tile AS s WHERE s.folder_id = ? AND s.name = ? "
            "AND s.page = 0 AND s.generation = ?) WHERE folder_id = ? AND name = ? AND generation = ?",
            again,
        )
        self._many(
            "UPDATE tile SET size = ?, mtime_ns = ?, ctime_ns = ?, changed_at = ?, gone_at = NULL, stalled_at = NULL, "
            f"accepted = 0, {', '.join(f'{each} = ?' for each in POSITION)} WHERE tile_id = ?",
            touched,
        )
        self._many(
            "UPDATE tile SET gone_at = NULL WHERE folder_id = ? AND name = ? AND gone_at IS NOT NULL "
            "AND superseded_by IS NULL",
            [(folder_id, name) for name in back],
        )


def _by_folder(paths: Iterable[str]) -> dict[str, list[str]]:
    folders: dict[str, list[str]] = {}
    for path in paths:
        folder, name = parted(path)
        folders.setdefault(folder, []).append(name)
    return folders
