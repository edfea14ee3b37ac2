"""What a watch said of tiles, so that the next one need not say it twice, and others can read it."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from mhfd_client.ledger.core import Core, dumps, listed
from mhfd_client.ledger.model import Json


@dataclass(frozen=True)
class Said:
    """What was said last of a tile.

    Attributes
    ----------
    verdict : as in a result
    said_at : Unix seconds
    tile_sha256 : of the pixels that were judged; None for a tile that failed
    details : the judged keys of the result, what was said before, or the message of a failed tile
    """

    tile_id: int
    verdict: str
    said_at: float
    tile_sha256: str | None
    details: Json


class Judgements(Core):
    """The part of `Ledger` that remembers what was said."""

    def say(self, run_id: int, said: Iterable[Said]) -> None:
        """Store what was said of tiles, in place of what was said before."""
        self._many(
            "INSERT INTO said (tile_id, run_id, verdict, said_at, tile_sha256, json) VALUES (?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (tile_id) DO UPDATE SET verdict = excluded.verdict, said_at = excluded.said_at, "
            "tile_sha256 = excluded.tile_sha256, json = excluded.json",
            [
                (each.tile_id, run_id, each.verdict, each.said_at, each.tile_sha256, dumps(each.details))
                for each in said
            ],
        )

    def said(
        self,
        run_id: int,
        *,
        verdicts: Collection[str] | None = None,
        limit: int | None = None,
        generations: bool = False,
    ) -> list[Said]:
        """What was said of the newest generation of each tile, the last first.

        Parameters
        ----------
        verdicts : only tiles with one of these
        generations : of superseded tiles, too
        """
        which, values = ("", ()) if verdicts is None else (" AND s.verdict IN @texts", (listed(sorted(verdicts)),))
        newest = "" if generations else " AND t.superseded_by IS NULL"
        found = self._ask(
            "SELECT s.tile_id, s.verdict, s.said_at, s.tile_sha256, s.json FROM said AS s "
            f"JOIN tile AS t ON t.tile_id = s.tile_id WHERE s.run_id = ?{newest}"
            f"{which} ORDER BY s.said_at DESC, s.tile_id DESC LIMIT ?",
            run_id, *values, 2**62 if limit is None else limit,
        )  # fmt: skip
        return [Said(tile_id, verdict, at, sha256, json.loads(text)) for tile_id, verdict, at, sha256, text in found]

    def set_verdicts(self, run_id: int, verdicts: Json, now: float) -> None:
        """Store the numbers of tiles by verdict, as of a judgement of the whole run."""
        self._note(run_id, "verdicts", verdicts, now)

    def verdicts(self, run_id: int) -> tuple[Json, float] | None:
        """What `set_verdicts` stored, and when; None if nothing was."""
        return self._noted(run_id, "verdicts")
