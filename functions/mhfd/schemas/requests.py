"""What the registered functions take, by the names of their arguments. Unknown keys are refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from mhfd.contract import FocusParams

Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class InlineTile:
    """A tile whose pixels are in the task; `mhfd.images.inline.encode_tile` makes it.

    Attributes
    ----------
    name : path of the tile's row
    shape : [rows, cols]
    dtype : of the pixels, little endian, row by row
    codec : how the pixels are packed, without loss; the last two need imagecodecs
    data : the packed pixels as base64
    pixel_size_nm : nanometres per pixel
    acquisition : what the file's header says, as in a result
    picture : [top, left, rows, cols] of what the header calls picture
    """

    shape: tuple[int, int]
    dtype: Literal["uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64"]
    codec: Literal["raw", "zlib", "delta-zlib", "delta-zstd", "jpegls"]
    data: str
    name: str | None = None
    pixel_size_nm: float | None = None
    acquisition: Json | None = None
    picture: tuple[int, int, int, int] | None = None


@dataclass(frozen=True, kw_only=True)
class PathItem:
    """A file that the worker reads.

    Attributes
    ----------
    path : as the worker sees it, or below the root of the collection
    collection : UUID of a Globus collection that the worker has mounted
    page : one tile of a file that holds several, counted from 0; null: all
    name : path of the tile's row, instead of `path`
    """

    path: str
    collection: str | None = None
    page: int | None = None
    name: str | None = None


@dataclass(frozen=True, kw_only=True)
class PlanOptions:
    """How a run is planned.

    Attributes
    ----------
    collection : UUID of the Globus collection in which folder and out are
    out : folder in which our folder `.mhfd` is made; by default the run's
    job : a name for the job, before the number that tells its plan
    shard_tiles : tiles of a shard; 65,536 by default
    sample : a fraction of the tiles, or a whole number of them
    limit : at most so many tiles, the first ones
    changed_only : take over what an earlier job has of files that did not change
    spectra : keep the spectra, which verdicts need; true by default
    dry_run : count, and write nothing
    """

    collection: str | None = None
    out: str | None = None
    job: str | None = None
    shard_tiles: int | None = None
    sample: int | float | None = None
    limit: int | None = None
    changed_only: bool | None = None
    spectra: bool | None = None
    dry_run: bool | None = None


@dataclass(frozen=True, kw_only=True)
class ShardOptions:
    """How a shard is scored.

    Attributes
    ----------
    time_budget_s : seconds after which no further tile is begun
    """

    time_budget_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class FinishOptions:
    """How a run is judged.

    Attributes
    ----------
    max_blur_px : blur above which a tile is out of focus
    min_content : content below which it is empty
    judged_at_once : how many tiles are compared with each other
    processes : that judge, where there are many tiles; at most, and by default, as many as the worker has cores
    """

    max_blur_px: float | None = None
    min_content: float | None = None
    judged_at_once: int | None = None
    processes: int | None = None


@dataclass(frozen=True, kw_only=True)
class WaveOptions:
    """Which tasks a wave has.

    Attributes
    ----------
    shards : at most so many tasks; 40 by default
    time_budget_s : of each
    """

    shards: int | None = None
    time_budget_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class ScoreInline:
    """Arguments of `score_inline`: tiles whose pixels are in the task."""

    tiles: list[InlineTile]
    params: FocusParams | None = None


@dataclass(frozen=True, kw_only=True)
class ScorePaths:
    """Arguments of `score_paths`: files that the worker can read. A file of n pages has n rows."""

    paths: list[str | PathItem]
    params: FocusParams | None = None


@dataclass(frozen=True, kw_only=True)
class PlanRun:
    """Arguments of `plan_run`, which lists the tiles of an archived run in a manifest.

    Attributes
    ----------
    folder : of the run, as the worker sees it, or below the root of the collection
    pattern : as in `pathlib.Path.glob`; null: every image file in the folder and below
    """

    folder: str
    pattern: str | None = None
    params: FocusParams | None = None
    options: PlanOptions | None = None


@dataclass(frozen=True, kw_only=True)
class ScoreShard:
    """Arguments of `score_shard`, which scores some tiles of a manifest.

    Attributes
    ----------
    manifest : its path, as `plan_run` answered it
    first : a multiple of the plan's "shard_tiles"
    count : as many, fewer in the last shard
    params : null, or those of the plan
    """

    manifest: str
    first: int
    count: int
    params: FocusParams | None = None
    options: ShardOptions | None = None


@dataclass(frozen=True, kw_only=True)
class FinishRun:
    """Arguments of `finish_run`, which judges a run whose shards are all scored.

    Attributes
    ----------
    manifest : its path, as `plan_run` answered it
    params : null, or those of the plan
    reference : sharp tiles of an earlier run (`mhfd reference show`), or a list of them
    """

    manifest: str
    params: FocusParams | None = None
    reference: Json | list[Json] | None = None
    options: FinishOptions | None = None


@dataclass(frozen=True, kw_only=True)
class ControlRun:
    """Arguments of `control_run`.

    Attributes
    ----------
    manifest : its path, as `plan_run` answered it
    action : "resume" ends a pause and a cancellation
    """

    manifest: str
    action: Literal["pause", "resume", "cancel", "status"] = "status"


@dataclass(frozen=True, kw_only=True)
class NextWave:
    """Arguments of `next_wave`, which lists shards that are not scored as tasks of Globus Flows.

    Attributes
    ----------
    manifest : its path, as `plan_run` answered it
    score_shard : UUID of the registered function
    """

    manifest: str
    score_shard: str
    options: WaveOptions | None = None


@dataclass(frozen=True, kw_only=True)
class Describe:
    """`describe` takes nothing."""


@dataclass(frozen=True, kw_only=True)
class Warmup:
    """`warmup` takes nothing."""
