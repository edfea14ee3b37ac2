"""Finding single tiles: by name, by place, and what was taken before."""

from __future__ import annotations

from collections.abc import Iterator

from mhfd_client.ledger.core import POSITION, Core, joined, listed, numbers_of, parted
from mhfd_client.ledger.model import TileRow, public_name
from mhfd_client.naming.position import Position

ROWS_AT_ONCE = 10_000


class Lookup(Core):
    """The part of `Ledger` that finds single tiles."""

    def pages(self, run_id: int, path: str) -> list[TileRow]:
        """The newest generation of a file, page by page; empty if the run has no such file.

        Parameters
        ----------
        path : relative to the run's root
        """
        folder, name = parted(path)
        known = self._ask("SELECT folder_id FROM folder WHERE run_id = ? AND path = ?", run_id, folder)
        if not known:
            return []
        return self._tiles(
            "t.folder_id = ? AND t.name = ? AND t.generation = "
            "(SELECT MAX(o.generation) FROM tile AS o WHERE o.folder_id = t.folder_id AND o.name = t.name) "
            "ORDER BY t.page",
            known[0][0], name,
        )  # fmt: skip

    def earlier_takes(self, row: TileRow) -> list[TileRow]:
        """What a tile superseded, the newest first: earlier generations of its file, or other files at its place."""
        found: list[TileRow] = []
        newer = [row]
        while newer:
            newer = self._tiles(
                "t.run_id = ? AND t.page = ? AND t.superseded_by IN @ids ORDER BY t.tile_id DESC",
                row.run_id, row.page, listed([self._first_page(each) for each in newer]),
            )  # fmt: skip
            found += newer
        return found

    def _first_page(self, row: TileRow) -> int:
        if row.page == 0:
            return row.tile_id
        ((tile_id,),) = self._ask(
            "SELECT o.tile_id FROM tile AS o JOIN tile AS t ON o.folder_id = t.folder_id AND o.name = t.name "
            "AND o.generation = t.generation WHERE t.tile_id = ? AND o.page = 0",
            row.tile_id,
        )
        return int(tile_id)

    def same_place(self, row: TileRow, limit: int) -> list[TileRow]:
        """The scored tiles at a tile's place in earlier sections, the nearest section first, one a section.

        Of several at one place the file written last counts. A section with several tiles whose place is not known is
        left out.

        Parameters
        ----------
        limit : tiles that are looked at
        """
        if row.position is None or row.position.section is None:
            return []
        section, *place = numbers_of(row.position)
        alike = " AND ".join(f"COALESCE(t.{name}, -1) = ?" for name in POSITION[1:])
        found = self._tiles(
            f"t.run_id = ? AND t.section < ? AND {alike} AND t.state = 'scored' AND t.superseded_by IS NULL "
            "ORDER BY t.section DESC, t.tile_id LIMIT ?",
            row.run_id, section, *(-1 if each is None else each for each in place), limit,
        )  # fmt: skip
        by_section: dict[int | None, list[TileRow]] = {}
        for each in found:
            by_section.setdefault((each.position or Position()).section, []).append(each)
        chosen = []
        for tiles in by_section.values():
            of_page = tiles if len(tiles) == 1 else [each for each in tiles if each.page == row.page]
            if len(of_page) == 1 or any(each is not None for each in place):
                chosen += sorted(of_page, key=lambda each: each.mtime_ns)[-1:]
        return chosen

    def names(self, run_id: int) -> Iterator[str]:
        """The public names of a run's tiles, each in its newest generation."""
        last = 0
        while page := self._ask(
            "SELECT t.tile_id, f.path, t.name, t.page, t.pages FROM tile AS t JOIN folder AS f "
            "ON f.folder_id = t.folder_id WHERE t.run_id = ? AND t.tile_id > ? AND t.superseded_by IS NULL "
            "ORDER BY t.tile_id LIMIT ?",
            run_id, last, ROWS_AT_ONCE,
        ):  # fmt: skip
            last = page[-1][0]
            for _, folder, name, number, pages in page:
                yield public_name(joined(folder, name), number, pages)
