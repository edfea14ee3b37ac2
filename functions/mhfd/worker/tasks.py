"""Score the tiles of a task: pixels, or files by path."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeGuard

from mhfd.contract import BackendError, FocusParams, FocusResult, ParamsError, TileError
from mhfd.extras import MissingExtraError
from mhfd.images import Member, Tile
from mhfd.images.inline import declared_bytes, decode_tile
from mhfd.readers import reading
from mhfd.readers.reading import count_tiles, read_only_tile
from mhfd.scoring import stream
from mhfd.scoring.tile import Job, Pages, Scorer, file_job
from mhfd.text import shown
from mhfd.worker import device, limits
from mhfd.worker.places import readable_path, writable_path
from mhfd.worker.rows import Keeper

Answer = dict[str, Any]

SCHEMA = 1

_PART_KEYS = {"offset", "size", "sha256"}
_PATH_KEYS = {"path", "collection", "page", "name"} | _PART_KEYS
MAX_PAGE = 2**31
MAX_OFFSET = 2**63 - 1


def score_inline(tiles: object, params: object = None) -> Answer:
    """Score tiles whose pixels are in the task.

    Parameters
    ----------
    tiles : list of objects from `mhfd.images.inline.encode_tile`; together they unpack to a bounded size (`limits`)
    params : keys of `FocusParams`, None for the defaults

    Returns
    -------
    {"schema", "rows", "rows_file", "count", "worker"}, one row per tile, in order, its path the tile's "name"; or
    {"schema", "error"}
    """
    return answered(lambda: _scored(_inline_jobs(_listed(tiles, "tiles")), params))


def score_paths(paths: object, params: object = None) -> Answer:
    """Score files that this worker can read.

    Parameters
    ----------
    paths : list of paths, or of {"path", "collection", "page", "name", "offset", "size", "sha256"}: with a collection,
        below its mount; all pages of a file unless one is named; "name" replaces "path" as the row's path; the last
        three, together, say where in a larger file the image file lies, in bytes, and the digest of its bytes
    params : keys of `FocusParams`, None for the defaults

    Returns
    -------
    As `score_inline`; a file of n pages has n rows, called "name#page=k".
    """

    def work() -> Answer:
        given = _listed(paths, "paths")
        return _scored([(_path_jobs(given), len(given))], params, _data_folders(given))

    return answered(work)


def answered(work: Callable[[], Answer]) -> Answer:
    """The answer of `work`, or an error answer if the request or this worker is at fault."""
    device.leave_if_failed()
    try:
        return work()
    except ParamsError as error:
        return refusal("bad_params", str(error))
    except BackendError as error:
        return refusal("no_backend", f"this worker cannot score: {error}")
    except MissingExtraError as error:
        return refusal("not_installed", str(error))
    except OSError as error:  # tiles' errors are failed rows; this one is from writing rows
        full = errno.errorcode.get(error.errno or 0) in ("ENOSPC", "EDQUOT")
        advice = "make room, or name another folder" if full else "name another folder, or change its permissions"
        return refusal("cannot_write", f"the rows cannot be written ({error}); {advice}")


def refusal(code: str, message: str) -> Answer:
    return {"schema": SCHEMA, "error": {"code": code, "message": message}}


def parameters(given: object) -> FocusParams:
    if given is not None and not isinstance(given, dict):
        raise ParamsError(f"params must be an object with the keys of FocusParams, or null, not {shown(given)}")
    try:
        return FocusParams.from_dict(given or {})
    except ParamsError:
        raise
    except (ValueError, RecursionError, TypeError) as error:  # a value that no message can show
        raise ParamsError(f"params has a value that FocusParams does not take ({error}); correct it") from error


def results(params: FocusParams, jobs: Iterable[Job], at_most: int | None = None) -> Generator[FocusResult, None, None]:
    """Score tiles on this worker's device, in order, a few at a time.

    Parameters
    ----------
    at_most : number of tiles, if known: cores without a tile of their own then help with another's
    """
    threads = device.threads_here()
    workers = max(1, min(threads, at_most or threads))
    backend = device.backend_with(max(1, threads // workers))
    scorer = Scorer(params, backend)
    if backend.lanes:
        rows = stream.in_batches(scorer, jobs, workers)
    elif workers == 1:
        rows = stream.in_this_thread(scorer, jobs)
    else:
        rows = stream.in_threads(scorer, jobs, workers)
    for result in rows:
        if result.error is not None and result.error.code == "device_failed":
            device.device_failed()
        yield result


def _scored(groups: Iterable[tuple[Iterable[Job], int]], params: object, folders: Sequence[Path] = ()) -> Answer:
    """Score groups of tiles, each with its number of files, one after the other."""
    wanted = parameters(params)
    with Keeper(folders) as keeper:
        for jobs, count in groups:
            for result in results(wanted, jobs, count):
                keeper.add(result)
    rows, spool = keeper.rows, keeper.spool
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


def _inline_jobs(tiles: list[Any]) -> Iterator[tuple[list[Job], int]]:
    """Jobs in groups that are scored one after the other, so that the unpacked tiles at one time are bounded.

    Their sizes are known from their headers. When all tiles together are too large, those beyond the limit fail.
    """
    most_pixels = limits.max_pixels()
    left = limits.INLINE_BYTES_PER_PIXEL * most_pixels
    group: list[Job] = []
    size = 0
    for tile in tiles:
        name = tile.get("name") if isinstance(tile, dict) else None
        nbytes = declared_bytes(tile)
        if nbytes <= left:
            left -= nbytes
            read: Callable[[], Tile] = partial(decode_tile, tile, max_pixels=most_pixels)
        else:
            most = limits.INLINE_BYTES_PER_PIXEL * most_pixels
            message = f"the tiles of this task unpack to more than {most} bytes together: send fewer in one task"
            read, nbytes = partial(_fail, TileError("too_large", message)), 0
        if group and size + nbytes > limits.INLINE_BYTES_AT_ONCE:
            yield group, len(group)
            group, size = [], 0
        group.append(Job(read, name if isinstance(name, str) else ""))
        size += nbytes
    if group:
        yield group, len(group)


def _path_jobs(paths: list[Any]) -> Iterator[Job]:
    """Jobs whose paths are looked up by the thread that reads: a shared file system may take its time over links."""
    for given in paths:
        try:
            asked = _path_item(given)
        except TileError as error:
            yield Job(partial(_fail, error), _shown(given))
            continue
        read = partial(read_page, asked)
        if asked.page is None:
            yield file_job(asked.name or asked.path, partial(read_only, asked), read)
        elif asked.name:
            yield Job(partial(read, asked.page), asked.name)
        else:
            yield Job(partial(_page_job, asked, asked.page), asked.path)


def _page_job(asked: Asked, page: int) -> Tile | Pages:
    where = asked.where()
    if count_tiles(where) == 1:
        return read_tile(where, page)
    return Pages(asked.path, partial(read_tile, where), [page])


def read_page(asked: Asked, page: int) -> Tile:
    return read_tile(asked.where(), page)


def read_tile(path: str | Member, page: int) -> Tile:
    """One tile of a file, if it is no larger than this worker scores."""
    with _limit_told():
        return reading.read_tile(path, page, max_pixels=limits.max_pixels())


def read_only(asked: Asked) -> Tile | int:
    where = asked.where()
    with _limit_told():
        return read_only_tile(where, max_pixels=limits.max_pixels())


@contextmanager
def _limit_told() -> Iterator[None]:
    """With what sets the limit of this worker, where a tile is larger."""
    try:
        yield
    except TileError as error:
        if error.code != "too_large":
            raise
        message = f"{error.message}; on an endpoint MHFD_MAX_PIXELS sets it, in user_environment.yaml"
        raise TileError("too_large", message) from error


@dataclass(frozen=True)
class Asked:
    """One entry of `paths`.

    Attributes
    ----------
    part : (offset, size, sha256) of the image file within the file; None: it is the file
    """

    path: str
    collection: str | None = None
    page: int | None = None
    name: str | None = None
    part: tuple[int, int, str] | None = None

    def where(self) -> str | Member:
        """The file on this machine, if this worker may read it."""
        path = readable_path(self.path, self.collection)
        return path if self.part is None else Member(path, *self.part)


def _path_item(given: object) -> Asked:
    item = {"path": given} if isinstance(given, str) else given
    if not isinstance(item, dict) or not isinstance(item.get("path"), str) or not item["path"]:
        raise TileError("unsupported", f'a file is a path, or an object with a "path", not {shown(given, 80)}')
    if extra := set(item) - _PATH_KEYS:
        known = ", ".join(sorted(_PATH_KEYS))
        raise TileError("unsupported", f"{item['path']}: unknown keys {shown(extra, 200)}; known ones are {known}")
    page = item.get("page")
    if page is not None and (isinstance(page, bool) or not isinstance(page, int) or not 0 <= page <= MAX_PAGE):
        raise TileError("unsupported", f"{item['path']}: page must be a whole number from 0, not {shown(page)}")
    for key in ("collection", "name"):
        if not isinstance(item.get(key), str | None):
            raise TileError("unsupported", f"{item['path']}: {key} must be a string, not {shown(item[key])}")
    name = item.get("name") or None
    return Asked(item["path"], item.get("collection") or None, page, name, _part(item))


def _part(item: dict[str, Any]) -> tuple[int, int, str] | None:
    if not _PART_KEYS & set(item):
        return None
    offset, size, sha256 = (item.get(key) for key in ("offset", "size", "sha256"))
    if not (_is_count(offset) and _is_count(size) and isinstance(sha256, str)):
        told = "offset and size must be whole numbers from 0, sha256 a text, and all three be given"
        raise TileError("unsupported", f"{item['path']}: {told}, not {shown([offset, size, sha256], 200)}")
    if size > (most := limits.INLINE_BYTES_PER_PIXEL * limits.max_pixels()):  # it is read into memory whole
        message = f"{item['path']}: an image file of {size} bytes inside another is larger than {most}: send it alone"
        raise TileError("too_large", message)
    return offset, size, sha256


def _is_count(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_OFFSET


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
            asked = _path_item(item)
            folder = Path(writable_path(str(Path(readable_path(asked.path, asked.collection)).parent)))
        except TileError:
            continue
        if folder.is_absolute() and os.path.isdir(folder) and os.access(folder, os.W_OK):  # noqa: PTH112 - never raises
            return [folder]
    return []


def _fail(error: TileError) -> Tile:
    raise error
