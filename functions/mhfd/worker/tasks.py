"""Score the tiles of a task: pixels, or files by path."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from mhfd.contract import BackendError, FocusParams, FocusResult, ParamsError, TileError, page_path
from mhfd.images import Tile, count_tiles, read_tile
from mhfd.images.inline import decode_tile
from mhfd.scoring import stream
from mhfd.scoring.tile import Job, Scorer
from mhfd.worker import device
from mhfd.worker.places import local_path
from mhfd.worker.rows import Rows, Spool

Answer = dict[str, Any]

SCHEMA = 1

_PATH_KEYS = {"path", "collection", "page", "name"}


def score_inline(tiles: object, params: object = None) -> Answer:
    """Score tiles whose pixels are in the task.

    Parameters
    ----------
    tiles : list of objects from `mhfd.images.inline.encode_tile`
    params : keys of `FocusParams`, None for the defaults

    Returns
    -------
    {"schema", "rows", "rows_file", "count", "worker"}, one row per tile, in order, its path the tile's "name"; or
    {"schema", "error"}
    """
    return answered(lambda: _scored(_listed(tiles, "tiles"), params, _inline_jobs))


def score_paths(paths: object, params: object = None) -> Answer:
    """Score files that this worker can read.

    Parameters
    ----------
    paths : list of paths, or of {"path", "collection", "page", "name"}: with a collection, below its mount; all pages
        of a file unless one is named; "name" replaces "path" as the row's path
    params : keys of `FocusParams`, None for the defaults

    Returns
    -------
    As `score_inline`; a file of n pages has n rows, called "name#page=k".
    """
    return answered(lambda: _scored(_listed(paths, "paths"), params, _path_jobs))


def answered(work: Callable[[], Answer]) -> Answer:
    """The answer of `work`, or an error answer if the request or this worker is at fault."""
    device.leave_if_failed()
    try:
        return work()
    except ParamsError as error:
        return refusal("bad_params", str(error))
    except BackendError as error:
        return refusal("no_backend", f"this worker cannot score: {error}")
    except OSError as error:  # tiles' errors are failed rows; this one is from writing rows
        return refusal("cannot_write", f"the rows cannot be written ({error}); name another folder, or make room")


def refusal(code: str, message: str) -> Answer:
    return {"schema": SCHEMA, "error": {"code": code, "message": message}}


def parameters(given: object) -> FocusParams:
    if given is not None and not isinstance(given, dict):
        raise ParamsError(f"params must be an object with the keys of FocusParams, or null, not {given!r:.40}")
    return FocusParams.from_dict(given or {})


def results(params: FocusParams, jobs: Iterable[Job], at_most: int | None = None) -> Generator[FocusResult, None, None]:
    """Score tiles on this worker's device, in order, a few at a time.

    Parameters
    ----------
    at_most : number of tiles, if known: cores without a tile of their own then help with another's
    """
    threads = device.threads_here()
    workers = max(1, min(threads, at_most or threads))
    backend = device.backend(max(1, threads // workers))
    run = stream.in_batches if backend.lanes else stream.in_threads
    for result in run(Scorer(params, backend), jobs, workers):
        if result.error is not None and result.error.code == "device_failed":
            device.device_failed()
        yield result


def _scored(given: list[Any], params: object, jobs_of: Callable[[list[Any]], Iterable[Job]]) -> Answer:
    spool = Spool()
    with Rows(_data_folders(given)) as rows:
        for result in results(parameters(params), jobs_of(given), len(given)):
            row = result.to_dict()
            rows.add(row)
            spool.add(row)
        spool.flush()
    return {
        "schema": SCHEMA,
        "rows": rows.rows,
        "rows_file": None if rows.path is None else str(rows.path),
        "count": rows.count,
        "worker": device.worker() | ({"spool_error": spool.error} if spool.error else {}),
    }


def _listed(given: object, what: str) -> list[Any]:
    if not isinstance(given, list | tuple):
        raise ParamsError(f"{what} must be a list, not {type(given).__name__}; put a single one into a list too")
    return list(given)


def _inline_jobs(tiles: list[Any]) -> Iterator[Job]:
    for tile in tiles:
        name = tile.get("name") if isinstance(tile, dict) else None
        yield Job(partial(decode_tile, tile), name if isinstance(name, str) else "")


def _path_jobs(paths: list[Any]) -> Iterator[Job]:
    for given in paths:
        try:
            path, collection, page, name = _path_item(given)
        except TileError as error:
            yield Job(partial(_fail, error), _shown(given))
            continue
        yield from file_jobs(path, collection, page, name)


def file_jobs(path: str, collection: str | None = None, page: int | None = None, name: str | None = None) -> list[Job]:
    """Jobs for one file's tiles: all, or the named page; a file that cannot be opened is one job that fails."""
    called = name or path
    try:
        where = local_path(path, collection)
        count = count_tiles(where)
    except TileError as error:
        return [Job(partial(_fail, error), called)]
    if page is not None:
        called = called if name or count == 1 else page_path(called, page)
        return [Job(partial(read_tile, where, page), called)]
    return [
        Job(partial(read_tile, where, each), called if count == 1 else page_path(called, each)) for each in range(count)
    ]


def _path_item(given: object) -> tuple[str, str | None, int | None, str | None]:
    item = {"path": given} if isinstance(given, str) else given
    if not isinstance(item, dict) or not isinstance(item.get("path"), str) or not item["path"]:
        raise TileError("unsupported", f'a file is a path, or an object with a "path", not {given!r:.80}')
    if extra := set(item) - _PATH_KEYS:
        known = ", ".join(sorted(_PATH_KEYS))
        raise TileError(
            "unsupported", f"{item['path']}: unknown keys {sorted(map(str, extra))}; known ones are {known}"
        )
    page = item.get("page")
    if page is not None and (isinstance(page, bool) or not isinstance(page, int) or page < 0):
        raise TileError("unsupported", f"{item['path']}: page must be a whole number from 0, not {page!r:.40}")
    for key in ("collection", "name"):
        if not isinstance(item.get(key), str | None):
            raise TileError("unsupported", f"{item['path']}: {key} must be a string, not {item[key]!r:.40}")
    return item["path"], item.get("collection") or None, page, item.get("name") or None


def _shown(given: object) -> str:
    """Name of a row whose request cannot be read."""
    for key in ("name", "path"):
        if isinstance(given, dict) and isinstance(given.get(key), str):
            return str(given[key])
    return given if isinstance(given, str) else ""


def _data_folders(given: list[Any]) -> list[Path]:
    """The folder of the first file that exists: its owner will look there for rows too many to send."""
    for item in given:
        try:
            path, collection, _, _ = _path_item(item)
            folder = Path(local_path(path, collection)).parent
        except TileError:
            continue
        if folder.is_absolute() and folder.is_dir() and os.access(folder, os.W_OK):
            return [folder]
    return []


def _fail(error: TileError) -> Tile:
    raise error
