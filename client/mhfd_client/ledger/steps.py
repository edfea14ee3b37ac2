"""The steps of a tile from seen to submitted, and back after a failure.

Each method moves only the tiles in the state it starts from and leaves the others alone: a step that another process,
or this one before a restart, has done is not done twice.
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterable, Sequence
from itertools import islice
from typing import Literal

from mhfd._version import __version__
from mhfd_client.ledger.core import POSITION, Core, dumps, listed
from mhfd_client.ledger.model import Json, Order, Queue, TileRow

PagePixels = tuple[str | None, tuple[int | None, int | None]]  # tile_sha256 and shape; None for an unreadable page

# Reset when a tile is looked at again. Its attempts are kept.
_FORGET = (
    "tile_sha256 = NULL, pages = 1, height = NULL, width = NULL, identical_to = NULL, ticket = NULL, place = NULL, "
    "stalled_at = NULL"
)
_SAME_FOR_ALL_PAGES = (
    "run_id, folder_id, name, pages, generation, state, accepted, size, mtime_ns, ctime_ns, "
    f"{', '.join(POSITION)}, seen_at, changed_at, state_at, gone_at"
)
_COPIED = "status, features, features_per_mpx, focus_score, noise, content, anisotropy, mhfd, measure, device, json"


class Steps(Core):
    """The part of `Ledger` that the pipeline's steps use."""

    def take(
        self,
        run_id: int,
        queue: Queue,
        limit: int,
        *,
        now: float,
        order: Order = "fresh",
        fresh_s: float = 120.0,
        exclude: Collection[int] = (),
    ) -> list[TileRow]:
        """The next tiles of a queue; those gone or superseded are left out.

        Parameters
        ----------
        queue : a state, where "seen" excludes stalled tiles, and "ready" those with a ticket; or "stalled",
            "sending" (ready, with a ticket), "gone" (vanished before they were submitted). Tiles in "sending" or
            "submitted" are listed even if gone or superseded.
        order : "oldest" or "newest" first; "fresh": those seen within `fresh_s` newest first, then the oldest first
        exclude : ids to leave out
        """
        if order != "fresh":
            return self._queued(run_id, queue, limit, order, exclude, 0.0, 1e300)
        fresh_from = now - fresh_s
        fresh = self._queued(run_id, queue, limit, "newest", exclude, fresh_from, 1e300)
        return fresh + self._queued(run_id, queue, limit - len(fresh), "oldest", exclude, 0.0, fresh_from)

    def _queued(
        self,
        run_id: int,
        queue: Queue,
        limit: int,
        order: Literal["newest", "oldest"],
        exclude: Collection[int],
        seen_from: float,
        seen_before: float,
    ) -> list[TileRow]:
        if limit <= 0:
            return []
        way = "DESC" if order == "newest" else "ASC"
        ids = self._ask(
            "SELECT tile_id FROM tile WHERE run_id = ? AND queue = ? AND seen_at >= ? AND seen_at < ? "
            f"ORDER BY seen_at {way}, tile_id {way} LIMIT ?",
            run_id, queue, seen_from, seen_before, limit + len(exclude),
        )  # fmt: skip
        left_out = set(exclude)
        chosen = list(islice((tile_id for (tile_id,) in ids if tile_id not in left_out), limit))
        rows = {row.tile_id: row for row in self._tiles("t.tile_id IN @ids", listed(chosen))}
        return [rows[tile_id] for tile_id in chosen if tile_id in rows]

    def waiting(self, tile_ids: Collection[int], reason: str, now: float) -> None:
        """Record why tiles are still in state seen."""
        self._do(
            "UPDATE tile SET reason = ? WHERE tile_id IN @ids AND state = 'seen' AND (reason IS NULL OR reason <> ?)",
            reason, listed(tile_ids), reason,
        )  # fmt: skip

    def stalled(self, tile_ids: Collection[int], reason: str, now: float) -> None:
        """Mark tiles as stalled: not waited for until their file changes or a user says so."""
        self._do(
            "UPDATE tile SET reason = ?, stalled_at = ? "
            "WHERE tile_id IN @ids AND state = 'seen' AND stalled_at IS NULL AND superseded_by IS NULL",
            reason, now, listed(tile_ids),
        )  # fmt: skip

    def _finish(self, tile_id: int, pages: Sequence[PagePixels], constant: Collection[int], now: float) -> list[int]:
        """`Ledger.finish` without the failed pages' results; the ids of the pages, none if the tile is not waiting."""
        with self.transaction():
            found = self._ask(
                "SELECT run_id, folder_id, name, generation FROM tile "
                "WHERE tile_id = ? AND state = 'seen' AND superseded_by IS NULL",
                tile_id,
            )
            if not found:
                return []
            (first, shape), *others = pages
            self._do(
                "UPDATE tile SET state = 'ready', reason = NULL, stalled_at = NULL, state_at = ?, pages = ?, "
                "tile_sha256 = ?, height = ?, width = ? WHERE tile_id = ?",
                now, len(pages), first, *shape, tile_id,
            )  # fmt: skip
            self._many(
                f"INSERT INTO tile (page, tile_sha256, height, width, {_SAME_FOR_ALL_PAGES}) "
                f"SELECT ?, ?, ?, ?, {_SAME_FOR_ALL_PAGES} FROM tile WHERE tile_id = ?",
                [(k, sha256, *shape, tile_id) for k, (sha256, shape) in enumerate(others, 1)],
            )
            ((run_id, folder_id, name, generation),) = found
            ids = [tile_id] if not others else [
                page_id
                for (page_id,) in self._ask(
                    "SELECT tile_id FROM tile WHERE folder_id = ? AND name = ? AND generation = ? ORDER BY page",
                    folder_id, name, generation,
                )
            ]  # fmt: skip
            for page, (sha256, _) in enumerate(pages):
                if sha256 is not None and page not in constant:
                    self._note_identical(ids[page], sha256, (run_id, folder_id, name, page, generation))
            if generation > 1:
                self._copy_known(folder_id, name, generation, now)
            return ids

    def _note_identical(self, tile_id: int, sha256: str, about: tuple[int, int, str, int, int]) -> None:
        """Note with the later of two tiles of different names that they have the same pixels."""
        run_id, folder_id, name, page, generation = about
        before = self._ask(
            "SELECT identical_to FROM tile WHERE folder_id = ? AND name = ? AND page = ? AND generation < ? "
            "AND tile_sha256 = ? ORDER BY generation DESC LIMIT 1",
            folder_id, name, page, generation, sha256,
        ) if generation > 1 else []  # fmt: skip
        if before:  # the file was only touched
            self._do("UPDATE tile SET identical_to = ? WHERE tile_id = ?", before[0][0], tile_id)
            return
        for other_id, known in self._ask(
            "SELECT tile_id, identical_to FROM tile WHERE run_id = ? AND tile_sha256 = ? AND gone_at IS NULL "
            "AND NOT (folder_id = ? AND name = ? AND page = ?) ORDER BY tile_id LIMIT 1",
            run_id, sha256, folder_id, name, page,
        ):  # fmt: skip
            if other_id < tile_id:
                self._do("UPDATE tile SET identical_to = ? WHERE tile_id = ?", other_id, tile_id)
            elif known is None:
                self._do("UPDATE tile SET identical_to = ? WHERE tile_id = ?", tile_id, other_id)

    def _copy_known(self, folder_id: int, name: str, generation: int, now: float) -> None:
        copied = ", ".join(f"r.{each}" for each in _COPIED.split(", "))
        self._do(
            f"INSERT INTO result (tile_id, run_id, scored_at, {_COPIED}) "
            f"SELECT t.tile_id, t.run_id, ?, {copied} FROM tile AS t "
            "JOIN tile AS old ON old.folder_id = t.folder_id AND old.name = t.name AND old.page = t.page "
            "AND old.generation < t.generation AND old.tile_sha256 = t.tile_sha256 "
            "JOIN result AS r ON r.tile_id = old.tile_id AND r.status = 'scored' AND r.mhfd = ? "
            "WHERE t.folder_id = ? AND t.name = ? AND t.generation = ? ON CONFLICT (tile_id) DO NOTHING",
            now, __version__, folder_id, name, generation,
        )  # fmt: skip
        self._do(
            "UPDATE tile SET state = 'scored' WHERE folder_id = ? AND name = ? AND generation = ? AND state = 'ready' "
            "AND EXISTS (SELECT 1 FROM result AS r WHERE r.tile_id = tile.tile_id)",
            folder_id, name, generation,
        )  # fmt: skip

    def sending(self, tile_ids: Collection[int], ticket: str, now: float) -> None:
        """Record a transfer's ticket for tiles; call it before they are sent."""
        self._do(
            "UPDATE tile SET ticket = ?, state_at = ? WHERE tile_id IN @ids AND state = 'ready' AND ticket IS NULL",
            ticket, now, listed(tile_ids),
        )  # fmt: skip

    def tickets(self, run_id: int) -> dict[str, list[TileRow]]:
        """The tiles that transfers have, by ticket; those gone or superseded since included."""
        tickets: dict[str, list[TileRow]] = {}
        for row in self._tiles("t.run_id = ? AND t.queue = 'sending' ORDER BY t.seen_at, t.tile_id", run_id):
            tickets.setdefault(row.ticket or "", []).append(row)
        return tickets

    def unsent(self, tile_ids: Collection[int], now: float) -> None:
        """Make tiles that a transfer did not deliver ready again."""
        self._do(
            "UPDATE tile SET ticket = NULL, state_at = ? WHERE tile_id IN @ids AND state = 'ready'",
            now, listed(tile_ids),
        )  # fmt: skip

    def stage(self, placed: Iterable[tuple[int, Json | None]], now: float) -> None:
        """ready -> staged: the endpoint can read each at its place, or it travels in the task (None)."""
        self._many(
            "UPDATE tile SET state = 'staged', place = ?, ticket = NULL, state_at = ? "
            "WHERE tile_id = ? AND state = 'ready'",
            [(None if place is None else dumps(place), now, tile_id) for tile_id, place in placed],
        )

    def submit(self, tile_ids: Collection[int], endpoint: str, now: float) -> None:
        """staged -> submitted, with a new attempt each."""
        with self.transaction():
            ids = listed(tile_ids)
            self._do(
                "INSERT INTO attempt (tile_id, attempt, endpoint, submitted_at) "
                "SELECT tile_id, attempts + 1, ?, ? FROM tile WHERE tile_id IN @ids AND state = 'staged'",
                endpoint, now, ids,
            )  # fmt: skip
            self._do(
                "UPDATE tile SET state = 'submitted', attempts = attempts + 1, state_at = ? "
                "WHERE tile_id IN @ids AND state = 'staged'",
                now, ids,
            )  # fmt: skip

    def back(self, tile_ids: Collection[int], state: Literal["seen", "ready", "staged"], why: str, now: float) -> None:
        """ready, staged or submitted -> an earlier state; the attempt ends with the reason."""
        earlier = {"seen": "'ready', 'staged', 'submitted'", "ready": "'staged', 'submitted'", "staged": "'submitted'"}
        with self.transaction():
            found = self._ask(
                f"SELECT tile_id FROM tile WHERE tile_id IN @ids AND state IN ({earlier[state]})", listed(tile_ids)
            )
            ids = [tile_id for (tile_id,) in found]
            self._end_attempts([(tile_id, why, None) for tile_id in ids], now)
            if state == "seen":
                self._look_again(ids, why, now)
            else:
                forget = "ticket = NULL" if state == "staged" else "ticket = NULL, place = NULL"
                self._do(
                    f"UPDATE tile SET state = ?, state_at = ?, {forget} WHERE tile_id IN @ids", state, now, listed(ids)
                )

    def to_clean(self, run_id: int, limit: int) -> list[tuple[int, Json]]:
        """The endpoint's copies that are no longer needed: one tile of each file, and the place of its copy.

        The pages of a file share a copy, so all of them must have their result, or have been superseded before they
        were submitted.
        """
        done = "({0}.state IN ('scored', 'failed') OR ({0}.state <> 'submitted' AND {0}.superseded_by IS NOT NULL))"
        found = self._ask(
            f"SELECT t.tile_id, t.place FROM tile AS t WHERE t.run_id = ? AND t.place IS NOT NULL "
            f"AND {done.format('t')} AND NOT EXISTS (SELECT 1 FROM tile AS o WHERE o.folder_id = t.folder_id "
            "AND o.name = t.name AND o.generation = t.generation AND o.page <> t.page "
            f"AND (NOT {done.format('o')} OR (o.page < t.page AND o.place IS NOT NULL))) LIMIT ?",
            run_id, limit,
        )  # fmt: skip
        return [(tile_id, json.loads(place)) for tile_id, place in found]

    def copies(self, run_id: int) -> list[Json]:
        """The places of all copies that the ledger names, needed or listed by `to_clean`."""
        found = self._ask("SELECT DISTINCT place FROM tile WHERE run_id = ? AND place IS NOT NULL", run_id)
        return [json.loads(place) for (place,) in found]

    def cleaned(self, tile_ids: Collection[int]) -> None:
        """Record that these files' copies, listed by `to_clean`, are removed."""
        self._do(
            "UPDATE tile SET place = NULL WHERE tile_id IN (SELECT o.tile_id FROM tile AS t JOIN tile AS o "
            "ON o.folder_id = t.folder_id AND o.name = t.name AND o.generation = t.generation "
            "WHERE t.tile_id IN @ids)",
            listed(tile_ids),
        )

    def retry(
        self,
        run_id: int,
        *,
        failed: bool = False,
        stalled: bool = False,
        codes: Collection[str] | None = None,
        paths: Collection[str] | None = None,
        now: float | None = None,
    ) -> int:
        """Take up failed tiles again, or accept stalled files unfinished; the number of tiles.

        Parameters
        ----------
        codes : only failures with one of these
        paths : only these files, or tiles by their public name
        """
        now = time.time() if now is None else now
        with self.transaction():
            chosen = {
                queue: [row.tile_id for row in self._matching(run_id, queue, codes, paths)]
                for queue, wanted in (("failed", failed), ("stalled", stalled))
                if wanted
            }
            unread = self._unread_pages(chosen.get("failed", []))
            self._look_again(unread, "taken up again", now, accepted=True)
            ids = listed(sorted(set(chosen.get("failed", [])) - set(unread)))
            # Only as far back as needed: a page whose hash is known need not be read again.
            self._do(
                "UPDATE tile SET state = CASE WHEN tile_sha256 IS NULL THEN 'seen' ELSE 'ready' END, state_at = ?, "
                "changed_at = ?, error_code = NULL, error_message = NULL, ticket = NULL, place = NULL, reason = NULL "
                "WHERE tile_id IN @ids",
                now, now, ids,
            )  # fmt: skip
            self._do("DELETE FROM result WHERE tile_id IN @ids", ids)
            self._do(
                "UPDATE tile SET accepted = 1, stalled_at = NULL, changed_at = ? WHERE tile_id IN @ids",
                now, listed(chosen.get("stalled", [])),
            )  # fmt: skip
        return sum(map(len, chosen.values()))

    def _unread_pages(self, tile_ids: Collection[int]) -> list[int]:
        """Those that are pages of a file with several which the gate could not read."""
        found = self._ask(
            "SELECT tile_id FROM tile WHERE tile_id IN @ids AND pages > 1 AND tile_sha256 IS NULL", listed(tile_ids)
        )
        return [tile_id for (tile_id,) in found]

    def _matching(
        self, run_id: int, queue: str, codes: Collection[str] | None, paths: Collection[str] | None
    ) -> list[TileRow]:
        return [
            row
            for row in self._tiles("t.run_id = ? AND t.queue = ? AND t.gone_at IS NULL", run_id, queue)
            if (codes is None or row.error_code in codes or queue == "stalled")
            and (paths is None or row.path in paths or row.name in paths)
        ]

    # --- Shared with results.py -------------------------------------------------------------------------------------

    def _end_attempts(self, ended: Sequence[tuple[int, str, str | None]], now: float) -> None:
        """End attempts: each a tile, the outcome, and its device."""
        self._many(
            "UPDATE attempt SET ended_at = ?, outcome = ?, device = ? WHERE tile_id = ? AND ended_at IS NULL",
            [(now, outcome, device, tile_id) for tile_id, outcome, device in ended],
        )

    def _look_again(self, tile_ids: Collection[int], why: str, now: float, *, accepted: bool = False) -> None:
        """Back to seen. A file with several pages, some maybe with results, gets a new generation as a whole.

        Parameters
        ----------
        accepted : take such a file as it is
        """
        ids = listed(tile_ids)
        # Their attempts have ended, also those of tiles superseded already or below.
        self._do("UPDATE tile SET state = 'staged' WHERE tile_id IN @ids AND state = 'submitted'", ids)
        rows = self._tiles("t.tile_id IN @ids AND t.superseded_by IS NULL ORDER BY t.tile_id", ids)
        single = [row.tile_id for row in rows if row.pages == 1]
        self._do(
            f"UPDATE tile SET state = 'seen', reason = ?, state_at = ?, changed_at = ?, {_FORGET} "
            "WHERE tile_id IN @ids",
            why, now, now, listed(single),
        )  # fmt: skip
        where = ", ".join(POSITION)
        for row in {row.path: row for row in rows if row.tile_id not in single}.values():
            ((new_id, folder_id, name),) = self._ask(
                "INSERT INTO tile (run_id, folder_id, name, generation, reason, accepted, size, mtime_ns, ctime_ns, "
                f"{where}, seen_at, changed_at, state_at) SELECT run_id, folder_id, name, generation + 1, ?, ?, size, "
                f"mtime_ns, ctime_ns, {where}, seen_at, ?, ? FROM tile WHERE tile_id = ? "
                "RETURNING tile_id, folder_id, name",
                why, int(accepted), now, now, row.tile_id,
            )  # fmt: skip
            self._do(
                "UPDATE tile SET superseded_by = ? WHERE folder_id = ? AND name = ? AND generation = ?",
                new_id, folder_id, name, row.generation,
            )  # fmt: skip
