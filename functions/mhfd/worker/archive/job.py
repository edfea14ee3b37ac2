"""The files of a job: its parts, the pieces of unfinished ones, and what asks it to stop."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from mhfd.worker.archive.files import footer
from mhfd.worker.archive.manifest import Manifest

State = Literal["running", "paused", "cancelled"]

STOPS: dict[State, str] = {"cancelled": "CANCELLED", "paused": "PAUSED"}
"""Files in the job's folder that stop it; the first that is there counts."""


class Piece(NamedTuple):
    """Results of so many tiles of the manifest, from `first` on."""

    first: int
    tiles: int
    rows: Path
    spectra: Path


@dataclass(frozen=True)
class Job:
    manifest: Manifest

    @property
    def folder(self) -> Path:
        return self.manifest.folder

    def part(self, shard: int) -> Path:
        return self.folder / f"part-{shard:05}.parquet"

    def spectra(self, shard: int) -> Path:
        return self.folder / f"spectra-{shard:05}.parquet"

    def verdicts(self, stretch: int) -> Path:
        return self.folder / f"verdicts-{stretch:05}.parquet"

    @property
    def success(self) -> Path:
        """It is there when the dataset is complete."""
        return self.folder / "_SUCCESS.json"

    def finished(self, shard: int) -> dict[str, Any] | None:
        """The footer of a shard's part, if that is valid: the shard is done."""
        first, count = shard * self.manifest.plan.shard_tiles, self.manifest.plan.count(shard)
        return self._valid(self.part(shard), self.spectra(shard), first, count)

    def all_finished(self) -> dict[int, dict[str, Any]]:
        """The footers of all valid parts by shard."""
        found = ((shard, self.finished(shard)) for shard in range(self.manifest.plan.shards))
        return {shard: about for shard, about in found if about is not None}

    def piece(self, shard: int, first: int, tiles: int) -> Piece:
        name = f"{shard:05}-{first}-{tiles}.parquet"
        return Piece(first, tiles, self.folder / f"piece-{name}", self.folder / f"piece-spectra-{name}")

    def pieces(self, shard: int) -> list[Piece]:
        """The valid pieces of a shard that follow each other from its beginning."""
        found: dict[int, Piece] = {}
        for piece in self._all_pieces(shard):
            longer = piece.first not in found or found[piece.first].tiles < piece.tiles
            if longer and self._valid(piece.rows, piece.spectra, piece.first, piece.tiles) is not None:
                found[piece.first] = piece
        at, line = shard * self.manifest.plan.shard_tiles, list[Piece]()
        while at in found:
            line.append(found[at])
            at += found[at].tiles
        return line

    def remove_pieces(self, shard: int) -> None:
        for piece in self._all_pieces(shard):
            piece.rows.unlink(missing_ok=True)
            piece.spectra.unlink(missing_ok=True)

    def _all_pieces(self, shard: int) -> Iterator[Piece]:
        for path in list(self.folder.glob(f"piece-{shard:05}-*.parquet")):
            if numbers := re.fullmatch(r"piece-\d+-(\d+)-(\d+)\.parquet", path.name):
                yield self.piece(shard, int(numbers[1]), int(numbers[2]))

    def _valid(self, rows: Path, spectra: Path, first: int, count: int) -> dict[str, Any] | None:
        wanted = {**self.manifest.plan.marks(), "first": first, "count": count}
        for path in (spectra, rows) if self.manifest.plan.spectra else (rows,):
            about = footer(path) if path.exists() else None
            if about is None or any(about.get(key) != value for key, value in wanted.items()):
                return None
        return about

    @property
    def state(self) -> State:
        return next((state for state, name in STOPS.items() if (self.folder / name).exists()), "running")
