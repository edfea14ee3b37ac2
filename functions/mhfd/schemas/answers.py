"""What the registered functions answer. Each answer has `schema`, 1; instead of one there may be a refusal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from mhfd.contract import FocusResult

Json = dict[str, Any]
Counts = dict[str, int]
State = Literal["running", "paused", "cancelled", "finished"]


@dataclass(frozen=True, kw_only=True)
class Told:
    """A code for programs and a sentence for people."""

    code: str
    message: str


@dataclass(frozen=True, kw_only=True)
class Refused:
    """Why nothing was scored.

    Attributes
    ----------
    code : "bad_params": the request is wrong; "no_backend": this worker cannot score; "cannot_write": the rows cannot
        be written; "not_installed": no mhfd on this endpoint, or not what archives need
    message : what to do
    """

    code: Literal["bad_params", "no_backend", "cannot_write", "not_installed"]
    message: str


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """The answer where nothing was scored: the request or this worker is at fault."""

    schema: Literal[1] = 1
    error: Refused


@dataclass(frozen=True, kw_only=True)
class Worker:
    """Who answered.

    Attributes
    ----------
    cores : those it keeps to, as Linux lists them
    spool_error : there only where rows could not be kept in MHFD_SPOOL_DIR
    """

    host: str
    pid: int
    mhfd: str
    python: str
    backend: str
    device: str
    device_uuid: str | None
    cores: str | None
    spool_error: str | None = None


@dataclass(frozen=True, kw_only=True)
class Rows:
    """A row a tile, in order.

    Attributes
    ----------
    rows : null where they are too many for an answer
    rows_file : then the file on the endpoint that has them, a JSON row a line
    count : number of rows
    """

    schema: Literal[1] = 1
    rows: list[FocusResult] | None
    rows_file: str | None
    count: int
    worker: Worker


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A job on an archived run.

    Attributes
    ----------
    manifest : its path, for the other functions
    bytes : of the files
    done : numbers of the shards that are scored
    skipped : of the tiles, those whose results earlier jobs have
    remarks : what was left out, and why
    """

    schema: Literal[1] = 1
    job: str
    manifest: str
    manifest_sha256: str
    folder: str
    files: int
    tiles: int
    bytes: int
    shard_tiles: int
    shards: int
    done: list[int]
    skipped: int
    state: State
    remarks: list[Told]
    worker: Worker
    seconds: float


@dataclass(frozen=True, kw_only=True)
class ShardScored:
    """A shard, or as much of it as the time allowed.

    Attributes
    ----------
    part : path of its results
    scored, failed, failures : of the part's results, or of those kept so far; `failures` by error code
    already : the part was there
    taken : results of this call that earlier jobs had
    remaining : tiles that are still to be scored; the next call goes on from there
    stopped : why it ended before the last tile
    """

    schema: Literal[1] = 1
    part: str
    shard: int
    first: int
    count: int
    scored: int
    failed: int
    failures: Counts
    already: bool
    taken: int
    remaining: int
    stopped: Literal["time_budget_s", "paused", "cancelled"] | None
    worker: Worker
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Finished:
    """The dataset, if it is complete; nothing is judged while shards are missing.

    Attributes
    ----------
    missing : numbers of the shards that are not scored
    failures : by error code
    by_verdict : numbers of tiles
    dataset : folder of the parts
    success : path of `_SUCCESS.json`
    summary : what `summary.json` says; {} while shards are missing
    """

    schema: Literal[1] = 1
    complete: bool
    missing: list[int]
    rows: int
    scored: int
    failed: int
    failures: Counts
    by_verdict: Counts
    dataset: str
    success: str | None
    summary: Json
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a job is.

    Attributes
    ----------
    done : number of shards that are scored
    rows, scored, failed : tiles in them
    """

    schema: Literal[1] = 1
    job: str
    state: State
    tiles: int
    shards: int
    done: int
    rows: int
    scored: int
    failed: int


@dataclass(frozen=True, kw_only=True)
class WaveTask:
    """A task as Globus Flows hands it to Globus Compute."""

    function_id: str
    kwargs: Json


@dataclass(frozen=True, kw_only=True)
class Wave:
    """Shards that are to be scored, as tasks.

    Attributes
    ----------
    missing : number of shards without a valid part
    stored : tiles whose results are kept
    """

    schema: Literal[1] = 1
    job: str
    state: State
    missing: int
    stored: int
    tasks: list[WaveTask]


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """A GPU of the node."""

    number: int
    name: str
    uuid: str
    free_bytes: int | None
    total_bytes: int | None


@dataclass(frozen=True, kw_only=True)
class Scratch:
    """Where results go that are too many for an answer."""

    path: str
    free_bytes: int


@dataclass(frozen=True, kw_only=True)
class Roots:
    """Folders that tasks may use; null where nothing is refused."""

    read: list[str] | None
    write: list[str] | None


@dataclass(frozen=True, kw_only=True)
class Environment:
    """What this worker scores with."""

    backend: str | None
    device: str | None
    device_uuid: str | None
    threads: int | None
    cores: str | None
    cuda_visible_devices: str | None
    worker_rank: str | None
    worker_count: str | None


@dataclass(frozen=True, kw_only=True)
class Description:
    """Versions (null: not installed), GPUs, memory, scratch space of a worker.

    Attributes
    ----------
    gpus : all of the node; this worker's is `env.device_uuid`
    problems : sentences: what could not be told, or is set wrongly
    """

    schema: Literal[1] = 1
    mhfd: str
    python: str
    executable: str
    platform: str | None
    host: str | None
    pid: int
    cpu_count: int | None
    numpy: str | None
    scipy: str | None
    tifffile: str | None
    imagecodecs: str | None
    numba: str | None
    cupy: str | None
    dill: str | None
    globus_compute_sdk: str | None
    globus_compute_endpoint: str | None
    codecs: list[str]
    gpus: list[Gpu]
    scratch: Scratch | None
    roots: Roots
    max_pixels: int
    env: Environment
    problems: list[str]


@dataclass(frozen=True, kw_only=True)
class Warm:
    """The probe tile, scored: its features are known.

    Attributes
    ----------
    first_ms : of the first tile of each pixel type, compiling included
    warm_ms : the best of a few more
    """

    schema: Literal[1] = 1
    ok: bool
    features: int | None
    expected: int
    row: FocusResult
    first_ms: float
    warm_ms: float
    worker: Worker
