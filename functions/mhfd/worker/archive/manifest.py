"""The tiles of a job, in the order of their names, in a Parquet file of about 12 bytes a tile."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from mhfd._version import __version__
from mhfd.contract import FocusParams, ParamsError, TileError, page_path, storable
from mhfd.text import shown
from mhfd.worker.archive.files import ParquetFile, footer, pyarrow, reading
from mhfd.worker.places import writable_path
from mhfd.worker.tasks import SCHEMA, parameters

NAME = "manifest.parquet"

GROUP_TILES = 2**16
"""Tiles of a row group: what is in memory at one time, and a shard by default."""

MOST_SHARDS = 100_000
"""So that parts have five digits, and the order of their names is theirs."""


class Tile(NamedTuple):
    """A row of the manifest.

    Attributes
    ----------
    name : of the file, below the folder of the run
    page : which of a file's tiles; -1: the file's only one. Should the file hold several after all, it is all of them
    size, mtime_ns : of the file, bytes and nanoseconds; -1 where they cannot be asked for
    part, row : where an earlier job's result of this tile is: number in `Plan.earlier`, and row there; -1: nowhere
    """

    name: str
    page: int = -1
    size: int = -1
    mtime_ns: int = -1
    part: int = -1
    row: int = -1

    @property
    def path(self) -> str:
        """As in its result."""
        return storable(self.name if self.page < 0 else page_path(self.name, self.page))


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What the footer of a manifest says, as JSON.

    Attributes
    ----------
    sha256 : of the tiles and of all that decides their results and parts; so the same plan has the same
    folder : of the run, as requested; in `collection`, if there is one
    params : keys of `FocusParams`
    mhfd : version that planned, and that must score
    shard_tiles : tiles of a shard; the last has fewer
    spectra : whether parts have spectra beside them
    files, tiles, bytes : what the manifest lists
    skipped : tiles whose results earlier jobs have
    earlier : their parts, below the folder of all jobs
    """

    schema: int = SCHEMA
    sha256: str
    folder: str
    collection: str | None
    params: dict[str, Any]
    mhfd: str
    shard_tiles: int
    spectra: bool
    files: int = 0
    tiles: int = 0
    bytes: int = 0
    skipped: int = 0
    earlier: tuple[str, ...] = ()

    @property
    def shards(self) -> int:
        return -(-self.tiles // self.shard_tiles)

    def count(self, shard: int) -> int:
        """Tiles of a shard."""
        return min(self.shard_tiles, self.tiles - shard * self.shard_tiles)

    @cached_property
    def focus_params(self) -> FocusParams:
        return FocusParams.from_dict(self.params)

    def check(self) -> None:
        """Raise `ValueError` where a value is of a wrong type: whoever may write there may have made the file up."""
        numbers = (self.shard_tiles, self.files, self.tiles, self.bytes, self.skipped)
        if not all(type(each) is int and each >= 0 for each in numbers) or not self.shard_tiles:
            raise ValueError("its numbers are none")
        texts = (self.sha256, self.folder, self.mhfd, self.collection or "", *self.earlier)
        if not all(isinstance(each, str) for each in texts) or not isinstance(self.spectra, bool):
            raise ValueError("its names are none")

    def marks(self) -> dict[str, Any]:
        """What tells that a file belongs to this job."""
        return {
            "schema": SCHEMA,
            "manifest_sha256": self.sha256,
            "params_sha256": self.focus_params.sha256,
            "mhfd": self.mhfd,
        }


@dataclass(frozen=True)
class Manifest:
    """A manifest on disk; `place` is resolved, and may be written beside."""

    place: Path
    plan: Plan

    @classmethod
    def open(cls, given: object, params: object = None) -> Manifest:
        """The manifest at a path, as `plan_run` answered it.

        Parameters
        ----------
        params : if told, they must be those that it was planned with

        Raises
        ------
        ParamsError
            It is none, or tasks may not write there, or it was planned with another version or other parameters.
        """
        if not isinstance(given, str) or not given:
            raise ParamsError(f"a manifest is named by its path, as plan_run answers it, not {shown(given)}")
        try:
            place = Path(writable_path(given))
        except TileError as error:
            raise ParamsError(str(error)) from error
        if place.name != NAME or (told := footer(place)) is None:
            raise ParamsError(
                f"{given} is no manifest of mhfd: plan the run again (plan_run), and name what it answers"
            )
        try:
            plan = Plan(**{key: told[key] for key in (each.name for each in fields(Plan)) if key in told})
            plan.check()
            planned = plan.focus_params
        except (TypeError, ValueError) as error:
            raise ParamsError(f"{given} is of another version of mhfd ({error}): plan the run again") from error
        if plan.mhfd != __version__:
            raise ParamsError(
                f"{given} was planned by mhfd {plan.mhfd}, and this worker has {__version__}: plan the run again, or "
                "install that version"
            )
        if params is not None and parameters(params).sha256 != planned.sha256:
            raise ParamsError(
                f"{given} was planned with other parameters: plan the run again with these, or leave them out"
            )
        return cls(place, plan)

    @property
    def folder(self) -> Path:
        """Of the job."""
        return self.place.parent

    @property
    def job(self) -> str:
        return self.folder.name

    def tiles(self, first: int, count: int) -> Iterator[Tile]:
        """Some of the tiles; one row group is in memory at a time."""
        with reading(self.place) as file:
            begin = 0
            for number in range(file.num_row_groups):
                end = begin + file.metadata.row_group(number).num_rows
                here = slice(max(first, begin) - begin, max(0, min(first + count, end) - begin))
                begin = end
                if here.start >= here.stop:
                    continue
                table = file.read_row_group(number).slice(here.start, here.stop - here.start)
                columns = [table[name].to_pylist() for name in Tile._fields]
                names = map(os.fsdecode, columns[0])
                yield from map(Tile, names, *columns[1:])


def identity(tiles: Iterable[Tile], digest: Any) -> None:
    """Take tiles into a digest; where earlier results lie is not part of what is to be done."""
    digest.update(
        "".join(f"{t.name}\0{t.page} {t.size} {t.mtime_ns}\n" for t in tiles).encode("utf-8", "surrogatepass")
    )


class Writer:
    """Writes a manifest as its tiles are found; `None` as the folder: it only counts.

    Parameters
    ----------
    about : of the plan, all that is known before its tiles are
    more : what else tells this plan from others
    """

    def __init__(self, folder: Path | None, about: Plan, more: Iterable[str] = ()) -> None:
        self.plan = about
        self._digest = hashlib.sha256(
            "\n".join(
                [about.mhfd, about.focus_params.sha256, str(about.shard_tiles), str(about.spectra), *more]
            ).encode()
        )
        self._file = None if folder is None else ParquetFile(folder, NAME, _schema(), **_SETTINGS)

    def write(self, tiles: Iterator[Tile], earlier: list[str]) -> Plan:
        """Write all tiles; returns the plan with its numbers.

        Parameters
        ----------
        earlier : parts of earlier jobs; may grow while the tiles come
        """
        found, last = asdict(self.plan), ""
        while group := list(islice(tiles, GROUP_TILES)):
            identity(group, self._digest)
            found["tiles"] += len(group)
            found["skipped"] += sum(tile.part >= 0 for tile in group)
            for tile in group:
                if tile.name != last:  # a file's tiles follow each other
                    last = tile.name
                    found["files"] += 1
                    found["bytes"] += max(0, tile.size)
            if self._file is not None:
                self._file.write(_table(group))
        self.plan = Plan(**found | {"sha256": self._digest.hexdigest(), "earlier": earlier})
        return self.plan

    def keep(self, place: Path) -> None:
        assert self._file is not None  # only counted
        self._file.keep(place, asdict(self.plan))

    def drop(self) -> None:
        if self._file is not None:
            self._file.drop()


_SETTINGS: dict[str, Any] = {
    "use_dictionary": ["page", "size"],
    # Neighbours' names begin alike, and their times lie close together.
    "column_encoding": {
        "name": "DELTA_BYTE_ARRAY",
        "mtime_ns": "DELTA_BINARY_PACKED",
        "part": "DELTA_BINARY_PACKED",
        "row": "DELTA_BINARY_PACKED",
    },
    "write_statistics": False,
    "compression_level": 9,
}


def _schema() -> Any:
    arrow = pyarrow()
    kinds = {
        "name": arrow.binary(), "page": arrow.int32(), "size": arrow.int64(), "mtime_ns": arrow.int64(),
        "part": arrow.int32(), "row": arrow.int32(),
    }  # fmt: skip
    return arrow.schema([arrow.field(name, kind, nullable=False) for name, kind in kinds.items()])


def _table(tiles: list[Tile]) -> Any:
    names, *others = zip(*tiles, strict=True)
    return pyarrow().table([list(map(os.fsencode, names)), *map(list, others)], schema=_schema())
