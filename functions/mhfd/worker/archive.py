"""Score an archived run in place: the tiles not yet in its results file, which grows beside the data.

The file is `mhfd-<first 12 digits of params_sha256>.jsonl`. Each line is

    {"schema": 1, "file": {"name", "size", "mtime_ns", "page", "pages"}, "time": ISO 8601 UTC, "row": {...}}

with the tile's name as the row's path, relative to the folder if one is given, so that both can move together.
A tile is identified by its file's name, size and modification time, its page, the parameters and the mhfd version, all
known without reading pixels. A changed file, or one scored by another mhfd, is scored again; a tile whose failure may
have passed (`PASSING`) is tried again once in each call. Of lines with equal row paths the last counts.

A run can be killed at any point and started again: at most a second's work is lost, nothing counts twice. These
lines are as durable as a spool, so they are not spooled as well.
"""

from __future__ import annotations

import math
import os
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, fields
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from mhfd._version import __version__
from mhfd.contract import FocusParams, FocusResult, ParamsError, TileError
from mhfd.lines import Row, append, numbered_lines
from mhfd.scoring.tile import Job
from mhfd.text import shown
from mhfd.worker import device
from mhfd.worker.find import Pattern, find
from mhfd.worker.lock import BusyError, Lock
from mhfd.worker.places import limits, readable_path, writable_path
from mhfd.worker.remarks import Remarks
from mhfd.worker.tasks import SCHEMA, Answer, answered, file_jobs, parameters, refusal, results

PASSING = frozenset(
    {"not_found", "permission_denied", "read_failed", "missing_codec", "out_of_memory", "device_failed", "internal"}
)
"""Codes of failures that the next call tries again."""

FLUSH_ROWS, FLUSH_S = 256, 1.0
SHOWN_FAILURES = 20
FOREVER_S = 1e9

Stamp = tuple[int, int]
"""Size in bytes and modification time in nanoseconds."""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The request to score a run.

    Attributes
    ----------
    folder : all files in it that match `pattern`; or
    paths : these files
    pattern : as in `pathlib.Path.glob`; "**/*.tif" goes into folders
    out : results file (*.jsonl), or folder for it, which is made if need be; by default beside the data
    collection : UUID of the Globus collection in which folder, paths and out are
    limit : most tiles to score in this call
    time_budget_s : seconds after which no further tile is begun
    """

    folder: str | None = None
    paths: tuple[str, ...] | None = None
    pattern: Pattern
    out: str | None = None
    collection: str | None = None
    limit: int | None = None
    time_budget_s: float | None = None

    @classmethod
    def from_dict(cls, given: object) -> Manifest:
        """Read a JSON object; raises `ParamsError` if it is wrong."""
        if not isinstance(given, dict):
            raise ParamsError(f"a manifest is an object, not {type(given).__name__}")
        known = [each.name for each in fields(cls)]
        if extra := set(given) - set(known):
            raise ParamsError(f"a manifest has no key {shown(min(map(str, extra)))}; known keys: {', '.join(known)}")
        for key in ("folder", "pattern", "out", "collection"):
            if not isinstance(value := given.get(key), str | None):
                raise ParamsError(f"{key} must be a string, not {shown(value)}")
            if value == "" and key in ("folder", "out"):
                raise ParamsError(f"{key} is empty: name a folder as the worker sees it")
        folder, paths = given.get("folder"), given.get("paths")
        if (folder is None) == (paths is None):
            raise ParamsError('a manifest names either a "folder" or "paths"')
        if paths is not None and not (
            isinstance(paths, list) and all(isinstance(each, str) and each for each in paths)
        ):
            raise ParamsError("paths must be a list of strings")
        return cls(
            folder=folder,
            paths=None if paths is None else tuple(dict.fromkeys(paths)),
            pattern=Pattern.parse(given.get("pattern") or "*.tif"),
            out=given.get("out"),
            collection=given.get("collection") or None,
            limit=_number(given, "limit", int),
            time_budget_s=_number(given, "time_budget_s", (int, float)),
        )


def score_run(manifest: object, params: object = None) -> Answer:
    """Score those tiles of a run that are not in its results file, and append them to it.

    Parameters
    ----------
    manifest : keys of `Manifest`
    params : keys of `FocusParams`, None for the defaults

    Returns
    -------
    {"schema", "rows": null, "rows_file", "count", "worker", "scored", "failed", "skipped", "remaining", "stopped",
    "failures", "failed_first", "remarks", "by_verdict": null, "seconds"}, or {"schema", "error"}. `scored` and `failed`
    count the tiles of this call, together `count`; `skipped` the files done before, `remaining` those left
    when it `stopped` at "limit" or "time_budget_s": call again until it is 0. `remarks` are {"code", "message"}, one
    for each folder, link or line of the results file that was left out; those beyond the first ones are counted. The
    client adds verdicts.
    """
    start = time.monotonic()
    try:
        return answered(lambda: _run(Manifest.from_dict(manifest), parameters(params), start))
    except BusyError as busy:
        return refusal("busy", str(busy))


def _run(manifest: Manifest, params: FocusParams, start: float) -> Answer:
    remarks = Remarks()
    root = None if manifest.folder is None else _existing(_readable(manifest.folder, manifest.collection))
    rows_file = _rows_file(manifest, params)
    if manifest.out is None:
        _existing(rows_file.parent, ' (it is where the results would go), or name a folder with "out"')
    else:
        rows_file.parent.mkdir(parents=True, exist_ok=True)
    with Lock(rows_file.with_name(f"{rows_file.name}.lock")) as lock:
        done = _read_done(rows_file, params, remarks)
        files = list(_named(manifest) if root is None else _found(manifest, root, remarks))
        todo = [file for file in files if not _complete(file, done)]
        work = _Work(manifest, todo, done, start)
        tally = _Tally()
        writer = _Writer(rows_file, lock)
        with closing(results(params, work.jobs())) as scored:
            for result in scored:
                row = result.to_dict()
                writer.add(work.line(row))
                tally.count(result)
        writer.flush()
    return {
        "schema": SCHEMA,
        "rows": None,
        "rows_file": str(rows_file) if rows_file.exists() else None,
        "count": tally.scored + tally.failed,
        "worker": device.worker(),
        "scored": tally.scored,
        "failed": tally.failed,
        "skipped": len(files) - len(todo),
        "remaining": len(todo) - work.finished,
        "stopped": work.stopped,
        "failures": dict(tally.codes),
        "failed_first": tally.first,
        "remarks": remarks.to_list(),
        "by_verdict": None,
        "seconds": round(time.monotonic() - start, 3),
    }


# --- Files and finished pages -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _File:
    """One file: its name in the results, its path for `file_jobs`, and its present stamp."""

    name: str
    path: str
    stamp: Stamp | None


@dataclass(frozen=True, kw_only=True)
class _Page:
    """One line of the results file."""

    name: str
    stamp: Stamp
    number: int
    pages: int
    made_with: tuple[str, str]
    passing: bool


@dataclass
class _Done:
    """One file's finished pages in the results file."""

    stamp: Stamp
    pages: int
    have: set[int] = field(default_factory=set)


def _named(manifest: Manifest) -> Iterator[_File]:
    """The files that the manifest names."""
    for path in manifest.paths or ():
        yield _File(path, path, _stamp_of(path, manifest.collection))


def _found(manifest: Manifest, root: Path, remarks: Remarks) -> Iterator[_File]:
    """The files of the manifest's folder, `root` on this machine."""
    allowed = limits(manifest.collection)
    for parts in find(root, manifest.pattern, allowed, remarks):
        if parts[-1].startswith("mhfd-"):  # our own files, when the pattern is "*"
            continue
        name = "/".join(parts)
        path = f"{manifest.folder}/{name}"
        yield _File(name, path, _stamp_of(path, manifest.collection))


def _stamp_of(path: str, collection: str | None) -> Stamp | None:
    try:
        found = Path(readable_path(path, collection)).stat()
    except (TileError, OSError):  # scoring it will say why
        return None
    return found.st_size, found.st_mtime_ns


def _read_done(rows_file: Path, params: FocusParams, remarks: Remarks) -> dict[str, _Done]:
    done: dict[str, _Done] = {}
    if not rows_file.exists():
        return done
    made_with = __version__, params.sha256
    for number, line in numbered_lines(rows_file):
        try:
            page = _page_of(line)
        except (KeyError, TypeError, ValueError):  # torn, or a line of something else
            remarks.add("bad_line", f"line {number} of {rows_file.name} is no result and is passed over")
            continue
        if page.made_with != made_with or page.passing:
            continue
        if page.name not in done or done[page.name].stamp != page.stamp:
            done[page.name] = _Done(page.stamp, page.pages)
        done[page.name].have.add(page.number)
    return done


def _page_of(line: Any) -> _Page:
    """What a line of a results file says; raises KeyError, TypeError or ValueError when it is none."""
    file, row = line["file"], line["row"]
    number, pages = file["page"], file["pages"]
    if type(number) is not int or type(pages) is not int or not 0 <= number < pages:
        raise ValueError(f"page {shown(number)} of {shown(pages)}")
    if not isinstance(name := file["name"], str):
        raise ValueError(f"a name {shown(name)}")
    return _Page(
        name=name,
        stamp=(file["size"], file["mtime_ns"]),
        number=number,
        pages=pages,
        made_with=(row["provenance"]["mhfd"], row["provenance"]["params_sha256"]),
        passing=row["error"] is not None and row["error"]["code"] in PASSING,
    )


def _complete(file: _File, done: dict[str, _Done]) -> bool:
    known = done.get(file.name)
    return known is not None and known.stamp == file.stamp and len(known.have) >= known.pages


def _rows_file(manifest: Manifest, params: FocusParams) -> Path:
    name = f"mhfd-{params.sha256[:12]}.jsonl"
    if manifest.out is not None:
        out = manifest.out if Path(manifest.out).suffix == ".jsonl" else f"{manifest.out}/{name}"
        return _writable(out, manifest.collection)
    folder = manifest.folder or _common_folder(manifest.paths or (), manifest.collection)
    try:
        return _writable(f"{folder}/{name}", None if manifest.folder is None else manifest.collection)
    except ParamsError as error:
        raise ParamsError(f'the results may not lie beside the data: {error}; or name a folder with "out"') from error


def _common_folder(paths: Iterable[str], collection: str | None) -> str:
    """The folder that holds all of the files that may be read."""
    folders: list[str] = []
    refused: TileError | None = None
    for path in paths:
        try:
            folders.append(str(Path(readable_path(path, collection)).parent))
        except TileError as error:  # noqa: PERF203 - it will be a failed row
            refused = refused or error
    if refused is not None and not folders:
        raise ParamsError(str(refused)) from refused
    try:
        return os.path.commonpath(folders)
    except ValueError as error:
        raise ParamsError(f'these paths have no folder in common ({error}); give a file with "out"') from error


def _existing(folder: Path, advice: str = "") -> Path:
    if not os.path.isdir(folder):  # noqa: PTH112 - Path.is_dir raises where a folder above may not be entered
        raise ParamsError(f"folder {folder} does not exist on this worker: name it as the worker sees it{advice}")
    return folder


def _readable(path: str, collection: str | None) -> Path:
    try:
        return Path(readable_path(path, collection))
    except TileError as error:
        raise ParamsError(str(error)) from error


def _writable(path: str, collection: str | None) -> Path:
    try:
        return Path(writable_path(path, collection))
    except TileError as error:
        raise ParamsError(str(error)) from error


# --- Scoring ------------------------------------------------------------------------------------------------------


class _Work:
    """Hands out jobs until a limit is reached, and assigns each row to its tile.

    Attributes
    ----------
    finished : files whose pages were all handed out
    stopped : "limit" or "time_budget_s" if it ended before the last tile
    """

    def __init__(self, manifest: Manifest, todo: list[_File], done: dict[str, _Done], start: float) -> None:
        self._manifest, self._todo, self._done = manifest, todo, done
        self._deadline = start + min(FOREVER_S if manifest.time_budget_s is None else manifest.time_budget_s, FOREVER_S)
        self._left = math.inf if manifest.limit is None else manifest.limit
        self._under_way: deque[Row] = deque()
        self.finished = 0
        self.stopped: str | None = None

    def jobs(self) -> Iterator[Job]:
        for file in self._todo:
            if self._enough():
                return
            jobs = file_jobs(file.path, self._manifest.collection, name=file.name)
            known = self._done.get(file.name)
            have = known.have if known is not None and known.stamp == file.stamp else set()
            size, mtime_ns = file.stamp or (None, None)
            for page, job in enumerate(jobs):
                if page in have:
                    continue
                if self._enough():
                    return
                self._left -= 1
                self._under_way.append(
                    {"name": file.name, "size": size, "mtime_ns": mtime_ns, "page": page, "pages": len(jobs)}
                )
                yield job
            self.finished += 1

    def _enough(self) -> bool:
        if self._left <= 0:
            self.stopped = "limit"
        elif time.monotonic() >= self._deadline:
            self.stopped = "time_budget_s"
        return self.stopped is not None

    def line(self, row: Row) -> Row:
        """The line to write for a row: its tile is the one handed out first of those under way."""
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        return {"schema": SCHEMA, "file": self._under_way.popleft(), "time": now, "row": row}


class _Writer:
    """Appends lines every second or so, each time only if the lock is still ours."""

    def __init__(self, path: Path, lock: Lock) -> None:
        self._path, self._lock = path, lock
        self._waiting: list[Row] = []
        self._flushed = time.monotonic()

    def add(self, line: Row) -> None:
        self._waiting.append(line)
        if len(self._waiting) >= FLUSH_ROWS or time.monotonic() - self._flushed >= FLUSH_S:
            self.flush()

    def flush(self) -> None:
        if self._waiting:
            self._lock.check()
            append(self._path, self._waiting)
            self._waiting.clear()
        self._flushed = time.monotonic()


class _Tally:
    def __init__(self) -> None:
        self.scored = self.failed = 0
        self.codes: Counter[str] = Counter()
        self.first: list[dict[str, str]] = []

    def count(self, result: FocusResult) -> None:
        if result.error is None:
            self.scored += 1
            return
        self.failed += 1
        self.codes[result.error.code] += 1
        if len(self.first) < SHOWN_FAILURES:
            self.first.append({"path": result.path[:1000], "code": result.error.code})


def _number(given: dict[str, Any], key: str, kind: type[int] | tuple[type[int], type[float]]) -> Any:
    value = given.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, kind) or not 0 < value < math.inf:
        raise ParamsError(f"{key} must be a positive number, not {shown(value)}")
    return value
