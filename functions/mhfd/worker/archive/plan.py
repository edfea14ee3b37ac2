"""Plan a run: list its tiles in a manifest, from which shards are scored."""

from __future__ import annotations

import hashlib
import heapq
import os
import re
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

from mhfd._version import __version__
from mhfd.contract import ParamsError, TileError
from mhfd.readers.opening import has_image_suffix, is_container
from mhfd.readers.reading import count_tiles
from mhfd.text import shown
from mhfd.worker import device
from mhfd.worker.archive.earlier import taken_over
from mhfd.worker.archive.files import pyarrow, remove_left_over
from mhfd.worker.archive.job import Job
from mhfd.worker.archive.manifest import GROUP_TILES, MOST_SHARDS, NAME, Manifest, Plan, Tile, Writer
from mhfd.worker.archive.options import flag, number, options_of, text
from mhfd.worker.find import OURS, Found, Pattern, find
from mhfd.worker.places import limits, readable_path, writable_path
from mhfd.worker.remarks import Remarks
from mhfd.worker.tasks import SCHEMA, Answer, answered, parameters

OPTIONS = (
    "collection", "out", "job", "shard_tiles", "sample", "changed_only", "dry_run", "limit", "spectra"
)  # fmt: skip

COUNTED_AT_ONCE = 1024
"""Files; those of one size are looked into only if the first of them holds several tiles."""

KNOWN_SIZES = 2**16
READERS = 16
"""Threads that look into files: they wait for the disk or share."""


def plan_run(folder: object, pattern: object = None, params: object = None, options: object = None) -> Answer:
    """List the tiles of a run in a manifest; the same files, parameters and options are the same job.

    Parameters
    ----------
    folder : of the run, as the worker sees it, or below the root of the collection
    pattern : as in `pathlib.Path.glob`; None: every image file in the folder and below
    params : keys of `FocusParams`, None for the defaults
    options : an object with some of

        =============  ===========================================================================================
        collection     UUID of the Globus collection in which folder and out are
        out            folder in which our folder `.mhfd` is made; by default the run's
        job            a name for the job, before the number that tells its plan
        shard_tiles    tiles of a shard, 65,536 by default
        sample         a fraction of the tiles (0.01), or a number of them (1000): always the same ones
        limit          at most so many tiles, the first ones
        changed_only   take over what an earlier job of the same parameters and version has of files of the same name,
                       size and time; what failed for a reason that may have passed is not taken over
        spectra        keep the spectra, which verdicts need (true by default)
        dry_run        count, and write nothing
        =============  ===========================================================================================

    Returns
    -------
    {"schema", "job", "manifest" (its path), "manifest_sha256", "folder", "files", "tiles", "bytes", "shard_tiles",
    "shards", "done" (numbers of the shards that are scored), "skipped" (of the tiles those that are taken over),
    "state", "remarks", "worker", "seconds"}, or {"schema", "error"}
    """
    start = time.monotonic()
    return answered(lambda: _plan(folder, pattern, params, options, start))


def _plan(folder: object, pattern: object, params: object, options: object, start: float) -> Answer:
    given = options_of(options, OPTIONS)
    run = text({"folder": folder}, "folder")
    if run is None:
        raise ParamsError("folder is missing: name the folder of the run as the worker sees it")
    collection, name, wanted = text(given, "collection"), _name(given), parameters(params)
    chosen = text({"pattern": pattern}, "pattern")
    run = run if collection is not None else os.path.abspath(run)  # noqa: PTH100 - `resolve` follows links
    root = _existing(_readable(run, collection))
    home = _home(given, run, collection)
    dry, remarks = flag(given, "dry_run"), Remarks()
    about = Plan(
        sha256="",
        folder=run,
        collection=collection,
        params=wanted.to_dict(),
        mhfd=__version__,
        shard_tiles=number(given, "shard_tiles", int) or GROUP_TILES,
        spectra=flag(given, "spectra", default=True),
    )
    tiles = tiles_of(files_of(root, chosen, collection, remarks), run, collection)
    tiles = islice(_sampled(tiles, given), number(given, "limit", int))
    pyarrow()
    earlier: list[str] = []
    if flag(given, "changed_only"):
        tiles = taken_over(tiles, home, about, beside=given.get("out") is None, names=earlier)
    if not dry:
        home.mkdir(parents=True, exist_ok=True)
        remove_left_over(home)
    writer = Writer(None if dry else home, about, [name or "", "" if given.get("out") is None else run])
    try:
        plan = writer.write(tiles, earlier)
        if plan.shards > MOST_SHARDS:
            least = -(-plan.tiles // MOST_SHARDS)
            raise ParamsError(
                f"shard_tiles {plan.shard_tiles} would make {plan.shards} shards of {plan.tiles} tiles, more than "
                f"{MOST_SHARDS}: take at least {least}"
            )
        place = home / f"{name or wanted.sha256[:8]}-{plan.sha256[:12]}" / NAME
        manifest = Manifest(place, plan) if dry else _kept(writer, place)
    finally:
        writer.drop()
    job = Job(manifest)
    return {
        "schema": SCHEMA,
        "job": manifest.job,
        "manifest": str(manifest.place),
        "manifest_sha256": plan.sha256,
        "folder": run,
        **{key: getattr(manifest.plan, key) for key in ("files", "tiles", "bytes", "shard_tiles", "shards")},
        "done": sorted(job.all_finished()) if place.parent.is_dir() else [],
        "skipped": manifest.plan.skipped,
        "state": job.state,
        "remarks": remarks.to_list(),
        "worker": device.worker(),
        "seconds": round(time.monotonic() - start, 3),
    }


def _kept(writer: Writer, place: Path) -> Manifest:
    """The manifest in its place: one that is there is left as it is, unless the run was moved."""
    place.parent.mkdir(exist_ok=True)
    remove_left_over(place.parent)
    try:
        found = Manifest.open(str(place))
        if (found.plan.folder, found.plan.collection) == (writer.plan.folder, writer.plan.collection):
            return found
    except ParamsError:  # the usual case: there is none
        pass
    writer.keep(place)
    return Manifest(place, writer.plan)


# --- Files and tiles ----------------------------------------------------------------------------------------------


def files_of(root: Path, pattern: str | None, collection: str | None, remarks: Remarks) -> Iterator[Found]:
    """The files of a run in the order of their names."""
    found = find(root, Pattern.parse(pattern or "**/*"), limits(collection), remarks)
    if pattern is not None:
        return found
    return (each for each in found if has_image_suffix(each.parts[-1]))


def tiles_of(files: Iterable[Found], folder: str, collection: str | None) -> Iterator[Tile]:
    """The tiles of files, in order: one each, unless it is seen to hold several.

    Of the files of one size and suffix the first is looked into, and the others if that holds several: the files of a
    run are mostly alike, and a look into each of 10^8 takes hours. A file that holds several nevertheless is still
    scored as a whole: only the shard's size is another.
    """
    todo = iter(files)
    single: dict[tuple[str, int], bool] = {}
    with closing(_Counter(folder, collection)) as counter:
        while some := list(islice(todo, COUNTED_AT_ONCE)):
            kinds = [_kind(file) for file in some]
            new = {kind: file for kind, file in zip(reversed(kinds), reversed(some), strict=True) if kind not in single}
            first = dict(zip(new.values(), counter.count(new.values()), strict=True))
            single |= {kind: first[file] == 1 for kind, file in new.items()}
            others = [f for f, kind in zip(some, kinds, strict=True) if f not in first and not single[kind]]
            counts = first | dict(zip(others, counter.count(others), strict=True))
            for file in some:
                tile, count = Tile("/".join(file.parts), -1, file.size, file.mtime_ns), counts.get(file, 1)
                yield from [tile] if count == 1 else (tile._replace(page=page) for page in range(count))
            if len(single) > KNOWN_SIZES:
                single.clear()


def _kind(file: Found) -> tuple[str, int]:
    """What files with as many tiles have in common. The size of a folder tells nothing, so each is looked into."""
    suffix = PurePosixPath(file.parts[-1]).suffix
    return (file.parts[-1] if is_container(file.parts[-1]) else suffix), file.size


class _Counter:
    """Counts the tiles of files, several at a time."""

    def __init__(self, folder: str, collection: str | None) -> None:
        self._folder, self._collection = folder, collection
        self._pool = ThreadPoolExecutor(READERS, thread_name_prefix="mhfd-count")

    def count(self, files: Iterable[Found]) -> Iterator[int]:
        return self._pool.map(self._count, files)

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)

    def _count(self, file: Found) -> int:
        """Tiles of a file; one that cannot be opened is one, which will fail and say why."""
        try:
            return count_tiles(readable_path(f"{self._folder}/{'/'.join(file.parts)}", self._collection))
        except TileError:
            return 1


def _sampled(tiles: Iterator[Tile], given: dict[str, Any]) -> Iterator[Tile]:
    wanted = number(given, "sample", (int, float))
    if wanted is None:
        return tiles
    if isinstance(wanted, int):
        chosen = heapq.nsmallest(wanted, enumerate(tiles), key=lambda each: _lot(each[1]))
        return (tile for _, tile in sorted(chosen))
    if wanted > 1:
        raise ParamsError(f"sample is a fraction of the tiles up to 1, or a whole number of them, not {wanted}")
    return (tile for tile in tiles if _lot(tile) < wanted)


def _lot(tile: Tile) -> float:
    """A number from 0 to 1 that only the tile's name decides."""
    return int.from_bytes(hashlib.blake2b(tile.path.encode(), digest_size=8).digest(), "big") / 2**64


# --- Options ------------------------------------------------------------------------------------------------------


def _name(given: dict[str, Any]) -> str | None:
    name = text(given, "job")
    if name is not None and not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}", name):
        raise ParamsError(f"job is a name of up to 64 letters, digits, '.', '_' and '-', not {shown(name)}")
    return name


def _home(given: dict[str, Any], run: str, collection: str | None) -> Path:
    """Our folder."""
    out = text(given, "out")
    try:
        return Path(os.path.abspath(writable_path(f"{out or run}/{OURS}", collection)))  # noqa: PTH100 - as above
    except TileError as error:
        if out is not None:
            raise ParamsError(str(error)) from error
        raise ParamsError(f'the results may not lie beside the data: {error}; or name a folder with "out"') from error


def _readable(path: str, collection: str | None) -> Path:
    try:
        return Path(readable_path(path, collection))
    except TileError as error:
        raise ParamsError(str(error)) from error


def _existing(folder: Path) -> Path:
    if not os.path.isdir(folder):  # noqa: PTH112 - Path.is_dir raises where a folder above may not be entered
        raise ParamsError(f"folder {folder} does not exist on this worker: name it as the worker sees it")
    return folder
