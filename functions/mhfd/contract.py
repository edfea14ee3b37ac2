"""Parameters, results and errors: all that goes in and comes out. Standard library only.

They cross process and network borders as plain JSON, so each has a `to_dict` and a
`from_dict` that checks every value; results carry a schema number.
"""

from __future__ import annotations

import hashlib
import html
import json
import math
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields, replace
from enum import IntEnum
from functools import cached_property
from typing import Any, Literal, TypeVar, get_args

from mhfd.text import nearest, shown, visible

T = TypeVar("T")

SCHEMA = 1

MEASURE = 3
"""Version of the measure: raised when the same pixels get other numbers (2: data bars are left out; 3: so are flat
margins, content asks for differences down and along, focus_score takes the blurrier axis). Scores of different ones are
not compared."""

Polarity = Literal["dark", "bright", "both"]
Mode = Literal["robust", "paper"]
Unit = Literal["px", "nm"]
Status = Literal["scored", "failed"]
Verdict = Literal["in_focus", "out_of_focus", "astigmatic", "no_content", "cannot_tell", "failed"]
BackendName = Literal["auto", "numpy", "numba", "cupy", "cupy-fft"]
Partition = Literal["auto", "scales", "strips"]

MAX_SCALES = 1024
MAX_EXCLUDED_PX = 2**31
MIN_T_PX, MAX_T_PX = 0.1, 4096.0  # below, one pixel holds the whole Gaussian; above, no tile is as large

ErrorCode = Literal[
    "not_found",  # no such file
    "permission_denied",  # the file is there but may not be read
    "read_failed",  # the disk or share failed while reading
    "empty_file",  # zero bytes
    "not_an_image",  # not a known format
    "truncated",  # the file ends before its pixels do
    "corrupt",  # the header or the pixels do not decode
    "missing_codec",  # the compression or the format needs a package that is not installed, or is broken
    "too_large",  # more pixels than max_pixels
    "zero_size",  # a dimension is zero
    "not_finite",  # NaN or infinite pixels
    "colour",  # real colour, not grey stored as RGB
    "unsupported",  # complex, boolean or otherwise not a grey tile
    "several_tiles",  # one tile was asked for, the file holds more
    "no_pixel_size",  # scales in nm, but the tile does not say how large a pixel is
    "scale_out_of_range",  # scales in nm that are too small or too large for this tile's pixels
    "out_of_memory",  # the tile fits max_pixels but not this machine, or not the memory that was allowed
    "device_failed",  # every GPU that was to score the tile stopped answering
    "too_large_to_send",  # more bytes than one task carries, and the endpoint cannot read the file itself
    "result_too_large",  # its row is larger than an answer may be
    "bad_result",  # its row, as the endpoint sent it, cannot be read or stored
    "worker_lost",  # every worker that had the tile ended
    "queue_too_long",  # no worker was there for it in all the time that it may wait
    "internal",  # a bug in mhfd; the message asks for a report
]

RemarkCode = Literal[
    "data_bar",  # a data bar was left out
    "border",  # flat margins were left out
    "constant_rows",  # the first or the last rows are constant, as after a scan that was broken off
    "repeated_rows",  # rows repeat earlier ones
    "saturated",  # many pixels at the tile's darkest or lightest value
    "lossy",  # the pixels went through JPEG or the like
    "charging",  # bright streaks along the rows
    "identical_frame",  # an earlier tile has the same pixels, as when a camera hands out an old frame again
    "darker_than_neighbours",  # much darker than the tiles around it and before it
]

Doubt = Literal[
    "near_threshold",  # its blur, or for `no_content` its content, lies near the threshold
    "few_tiles",  # only a few tiles to compare with
    "reference_blurred",  # the tiles that it is compared with look blurred themselves
    "most_are_worse",  # about half of the tiles are worse than the reference: it may be blurred itself
    "lossy",  # the pixels went through JPEG or the like
    "by_score",  # no spectrum: only its focus score was compared, with those of its folder
    "nothing_to_compare",  # too few tiles to say anything
    "broken_scan",  # rows that are constant or repeated
    "drowned",  # noise drowns what would tell
    "new_tissue",  # it may be another tissue, not blur
    "too_small",  # too few pixels for its content to be measured
    "unreadable_spectrum",  # of a newer version, or damaged
]

TO_LOOK_AT: tuple[Verdict, ...] = ("out_of_focus", "astigmatic", "failed")
"""Verdicts on tiles that a person should look at, and perhaps take again."""

DEFAULT_BLUR_PX = 1.1
"""Blur against the sharp tiles of a run, px, above which a tile is out of focus."""

IMAGE_SUFFIXES = frozenset({".tif", ".tiff", ".btf", ".tf8", ".png", ".bmp", ".jpg", ".jpeg"})
"""Suffixes, in lower case, of the files in a folder that are tiles."""


class ExitCode(IntEnum):
    """A command's exit code; README.md explains each."""

    OK = 0
    OUT_OF_FOCUS = 1
    USAGE = 2
    FAILED_TILES = 3
    UNAVAILABLE = 69  # from here on as in BSD's sysexits.h
    TEMPORARY = 75
    SIGN_IN = 77
    CONFIG = 78
    INTERRUPTED = 130  # 128 + SIGINT, as shells report it


class MhfdError(Exception):
    """Base of every error that mhfd raises on purpose; a command it ends exits with `exit_code`."""

    exit_code: ExitCode = ExitCode.USAGE


class ParamsError(MhfdError, ValueError):
    """Parameters that cannot be used; the message names the key and the accepted values."""


class ResultError(ParamsError):
    """A row that cannot be read as a result; the message names the key."""


class BackendError(MhfdError):
    """The named backend is not available here; the message says what to install."""


class TileError(MhfdError):
    """One tile cannot be scored. In a batch it becomes one failed row.

    Parameters
    ----------
    code : one of `ErrorCode`, stable, for programs
    message : a sentence for people: what is wrong and, if possible, what to do
    """

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(code, message)
        self.code: ErrorCode = code
        self.message = message

    def __str__(self) -> str:
        return f"{self.message} [{self.code}]"


def _refuse_unknown_keys(what: str, given: dict[str, Any], known: list[str]) -> None:
    for key in given:
        if key not in known:
            raise ParamsError(f"{what} has no key '{key}'; {nearest(str(key), known)}")


@dataclass(frozen=True, kw_only=True)
class FocusParams:
    """The parameters of the measure (docs/measure.md). Frozen; equal parameters have equal `sha256`.

    Attributes
    ----------
    n_scales : number of differences of Gaussians, 1 to 1024
    min_t, max_t : smallest and largest standard deviation of the Gaussian, in `unit`
    saturate : fraction of the darkest and of the lightest pixels that is clipped, 0 to 0.49
    k_noise : a feature's strength must exceed this many standard deviations of the noise at its scale
    polarity : "dark" blobs on light ground (stained tissue), "bright", or "both"
    mode : "robust" (default), or "paper": circular boundary, no noise threshold. The latter is for
        reproduction only: on noisy tiles it counts the noise.
    unit : of min_t and max_t, "px" or "nm" (needs the pixel size)
    max_gpu_bytes : memory one tile may take on a GPU; None means all that is free
    max_host_bytes : working memory one tile may take on the processor, beside its own pixels; None means 2 GiB.
        Larger tiles are done in strips, with the same result.
    exclude_top_px, exclude_bottom_px : rows that are left out at the top and at the bottom. At the bottom, None (the
        default) leaves out the microscope's data bar and flat margins where there are any, 0 nothing.
    """

    n_scales: int = 16
    min_t: float = 1.0
    max_t: float = 17.0
    saturate: float = 0.00175
    k_noise: float = 5.0
    polarity: Polarity = "dark"
    mode: Mode = "robust"
    unit: Unit = "px"
    max_gpu_bytes: int | None = None
    max_host_bytes: int | None = None
    exclude_top_px: int = 0
    exclude_bottom_px: int | None = None

    def __post_init__(self) -> None:
        for name in ("min_t", "max_t", "saturate", "k_noise"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= 1e9:
                raise ParamsError(f"{name} must be a number from -1e9 to 1e9, not {shown(value)}")
            object.__setattr__(self, name, float(value))  # 1 and 1.0 are the same parameters
        for name in ("n_scales", "max_gpu_bytes", "max_host_bytes"):
            value = getattr(self, name)
            if name != "n_scales" and value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ParamsError(f"{name} must be a whole number of at least 1, not {shown(value)}")
        for name in ("exclude_top_px", "exclude_bottom_px"):
            value = getattr(self, name)
            if name == "exclude_bottom_px" and value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_EXCLUDED_PX:
                raise ParamsError(f"{name} must be a whole number from 0 to {MAX_EXCLUDED_PX}, not {shown(value)}")
        if self.n_scales > MAX_SCALES:
            raise ParamsError(f"n_scales must be at most {MAX_SCALES}, not {self.n_scales}")
        if not 0 < self.min_t < self.max_t:
            raise ParamsError(f"min_t and max_t must satisfy 0 < min_t < max_t, not {self.min_t:g} and {self.max_t:g}")
        if self.unit == "px" and not (self.min_t >= MIN_T_PX and self.max_t <= MAX_T_PX):
            raise ParamsError(
                f"min_t and max_t must lie between {MIN_T_PX:g} and {MAX_T_PX:g} px, "
                f"not {self.min_t:g} and {self.max_t:g}"
            )
        if not 0 <= self.saturate <= 0.49:
            raise ParamsError(f"saturate must lie between 0 and 0.49, not {self.saturate:g}")
        if self.k_noise < 0:
            raise ParamsError(f"k_noise must be at least 0, not {self.k_noise:g}")
        for name, allowed in (("polarity", Polarity), ("mode", Mode), ("unit", Unit)):
            if getattr(self, name) not in get_args(allowed):
                choices = ", ".join(f'"{choice}"' for choice in get_args(allowed))
                raise ParamsError(f"{name} must be one of {choices}, not {getattr(self, name)!r}")

    def in_pixels(self, pixel_size_nm: float | None) -> FocusParams:
        """The same parameters with min_t and max_t in pixels of `pixel_size_nm` nanometres.

        Raises
        ------
        TileError
            `unit` is "nm" and the pixel size is unknown ("no_pixel_size"), or puts the scales outside
            `MIN_T_PX` to `MAX_T_PX` ("scale_out_of_range").
        """
        if self.unit == "px":
            return self
        if pixel_size_nm is None:
            raise TileError(
                "no_pixel_size",
                "the scales are in nm but the tile does not say its pixel size: give it (--pixel-size-nm), "
                "or give the scales in pixels",
            )
        try:
            return replace(self, unit="px", min_t=self.min_t / pixel_size_nm, max_t=self.max_t / pixel_size_nm)
        except ParamsError as error:
            raise TileError("scale_out_of_range", f"at {pixel_size_nm:g} nm per pixel, {error}") from error

    @property
    def scales(self) -> list[float]:
        """The n_scales + 1 standard deviations t_1 .. t_{n+1}, in `unit` (paper, section 3)."""
        delta = (self.max_t - self.min_t) / self.n_scales
        return [self.min_t + i * delta for i in range(self.n_scales)] + [self.max_t]

    def to_dict(self) -> dict[str, Any]:
        """A JSON object; keys that 0.1.0 did not have only where they differ from their default: it refuses them."""
        defaults = {each.name: each.default for each in fields(self)}
        first = _FIRST_KEYS | _LIMITS
        return {key: value for key, value in asdict(self).items() if key in first or value != defaults[key]}

    @classmethod
    def from_dict(cls, given: dict[str, Any]) -> FocusParams:
        """Read a JSON object; missing keys take their defaults, unknown keys are refused."""
        _refuse_unknown_keys("FocusParams", given, [f.name for f in fields(cls)])
        return cls(**given)

    @cached_property
    def sha256(self) -> str:
        """Identity of the measure: hex SHA-256 of the keys that can change the result, as canonical JSON."""
        measure = {key: value for key, value in self.to_dict().items() if key not in _LIMITS}
        return hashlib.sha256(json.dumps(measure, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


# Keys of 0.1.0 that can change a result are always in `to_dict` and `sha256`, later keys only when they differ from
# their default: so an older worker takes them, and a new version does not take the same parameters for others.
_FIRST_KEYS = frozenset(("n_scales", "min_t", "max_t", "saturate", "k_noise", "polarity", "mode", "unit"))
_LIMITS = frozenset(("max_gpu_bytes", "max_host_bytes"))  # of memory: they change no result


def page_path(file: str, page: int) -> str:
    """Name of one tile of a file that holds several: "stack.tif#page=2", counted from 0."""
    return f"{file}#page={page}"


def split_page(path: str) -> tuple[str, int]:
    """File and page of a result's path, the inverse of `page_path`; page 0 where none is named."""
    file, mark, page = path.rpartition("#page=")
    return (file, int(page)) if mark and page.isdecimal() else (path, 0)


@dataclass(frozen=True, kw_only=True)
class Acquisition:
    """Format and microscope settings that an image file gives; None for those it does not.

    Attributes
    ----------
    format : container, "tiff", "png", "bmp", "jpeg", "zarr", "mrc", or what a reader calls its own; None for an array
    lossy : True when the pixels went through JPEG, by the file or by their looks: block edges count as structure
    vendor : "zeiss", "fei", "ome", "imagej", ... : whose header the numbers come from
    working_distance_mm, dwell_us, stage_um : millimetres, microseconds, (x, y, z) micrometres
    """

    format: str | None = None
    lossy: bool = False
    vendor: str | None = None
    working_distance_mm: float | None = None
    dwell_us: float | None = None
    stage_um: tuple[float, float, float] | None = None


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why a tile has no measures: a stable code and a sentence."""

    code: ErrorCode
    message: str


@dataclass(frozen=True, kw_only=True)
class Remark:
    """Something about a tile that a person should know: a stable code (docs/results.md) and a sentence."""

    code: RemarkCode
    message: str


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Enough to reproduce a result's numbers."""

    mhfd: str
    params_sha256: str
    backend: str
    device: str
    tile_sha256: str | None = None
    measure: int = MEASURE


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Wall time in milliseconds: reading the file, copying to the device, the kernel, all of it."""

    read: float = 0.0
    copy: float = 0.0
    kernel: float = 0.0
    total: float = 0.0


@dataclass(frozen=True, kw_only=True)
class FocusResult:
    """One tile's result, schema 1. `to_dict` is the public JSON; measures are None when failed.

    Attributes
    ----------
    path : the file, "" for an array; page k of several is "stack.tif#page=k", counted from 0
    shape, dtype : of the whole page
    picture : (top, left, rows, cols) of the part that was scored; None: the whole page
    features : number of local maxima of the difference of Gaussians above the noise (paper, section 3)
    features_per_mpx : features per 10^6 pixels scored
    features_by_scale, scales_px : (n_scales,) counts, and the scale t_i in pixels of each
    focus_score : robust sharpness; higher is sharper; comparable between the tiles of a run
    characteristic_scale_px : mean scale of the features; None without features
    noise : standard deviation of the noise, as a fraction of the tile's saturated range
    content : fraction of the tile with structure above the noise
    anisotropy : 0 for equally fine structure in all directions, towards 1 for one-axis blur; None on noise
    saturated : fraction of the pixels at the detector's limits
    vollath_f4 : Vollath's F4 on the normalised tile (Vollath 1987)
    grey : mean grey level, in the units of the pixels
    spectrum : power by frequency and direction, packed (`mhfd.spectrum.Spectrum.unpack`); None without content
    remarks : what a person should know of the tile
    verdict, confidence : filled in by the client, which knows the tile's run; so are the following
    defocus_um : how far from best focus, by a calibration; its sign is not known
    defocus_interval_um : (low, high) of 95 %
    blur_px : how much wider the tile's point-spread function is than the reference's, as a standard deviation
        (root of the difference of the variances); 0 where it is no wider
    blur_nm : the same where the pixel size is known
    blur_error_px : standard error of blur_px
    blur_by_direction_px : (4,) of the blur along the rows, at 45 degrees, down the columns, at 135 degrees
    blur_map_px : (4, 4) by part of the tile; None where nothing can be said
    worst_block : (row, col) in that map of the most blurred part
    flag_px : the largest `max_blur_px` at which the tile would still be called out of focus; None where none would
    reference : which tiles it was compared with
    doubts : why the confidence is not higher, or why there is no verdict; the weightiest first
    """

    path: str
    status: Status
    provenance: Provenance
    error: Failure | None = None
    shape: tuple[int, int] | None = None
    dtype: str | None = None
    picture: tuple[int, int, int, int] | None = None
    pixel_size_nm: float | None = None
    features: int | None = None
    features_per_mpx: float | None = None
    features_by_scale: tuple[int, ...] | None = None
    scales_px: tuple[float, ...] | None = None
    focus_score: float | None = None
    characteristic_scale_px: float | None = None
    noise: float | None = None
    content: float | None = None
    anisotropy: float | None = None
    saturated: float | None = None
    vollath_f4: float | None = None
    grey: float | None = None
    spectrum: str | None = None
    verdict: Verdict | None = None
    confidence: float | None = None
    defocus_um: float | None = None
    defocus_interval_um: tuple[float, float] | None = None
    blur_px: float | None = None
    blur_nm: float | None = None
    blur_error_px: float | None = None
    blur_by_direction_px: tuple[float | None, ...] | None = None
    blur_map_px: tuple[tuple[float | None, ...], ...] | None = None
    worst_block: tuple[int, int] | None = None
    flag_px: float | None = None
    reference: str | None = None
    doubts: tuple[str, ...] = ()
    acquisition: Acquisition = field(default_factory=Acquisition)
    remarks: tuple[Remark, ...] = ()
    timing_ms: Timing = field(default_factory=Timing)

    @classmethod
    def failed(cls, path: str, code: ErrorCode, message: str, provenance: Provenance) -> FocusResult:
        """The row of a tile that was not scored."""
        error = Failure(code=code, message=storable(message))
        return cls(path=path, status="failed", error=error, verdict="failed", provenance=provenance)

    def to_dict(self) -> dict[str, Any]:
        """The result as plain JSON types, every key present, schema number first."""
        return {"schema": SCHEMA, **_plain_fields(self)}

    @classmethod
    def from_dict(cls, given: object) -> FocusResult:
        """Read what `to_dict` wrote, in this version or another: missing keys are null, unknown ones are ignored.

        Raises
        ------
        ResultError
            another schema number, no path, status or provenance, or a value of the wrong type; the message names
            the key.
        """
        return read_result(given)

    def __repr__(self) -> str:
        where = self.path or "array"
        if self.error is not None:
            return f"FocusResult({where}: failed, {self.error.message} [{self.error.code}])"
        verdict = f", {self.verdict}" if self.verdict else ""
        return (
            f"FocusResult({where}: focus_score {_short(self.focus_score)}, {self.features} features "
            f"({_short(self.features_per_mpx)}/Mpx), noise {_short(self.noise)}, "
            f"content {_short(self.content)}{verdict})"
        )

    def _repr_html_(self) -> str:
        """A small table for notebooks."""
        rows: list[tuple[str, str]] = [("tile", self.path or "array"), ("status", self.status)]
        if self.error is not None:
            rows += [("error", f"{self.error.message} [{self.error.code}]")]
        else:
            shape = " x ".join(map(str, self.shape or ()))
            rows += [("size", f"{shape} {self.dtype}")]
            rows += [("verdict", self.verdict)] if self.verdict else []
            rows += [
                (name.replace("_", " "), _short(getattr(self, name)))
                for name in (
                    "focus_score", "features", "features_per_mpx", "characteristic_scale_px",
                    "noise", "content", "anisotropy", "saturated", "vollath_f4",
                )
            ]  # fmt: skip
        cells = "".join(
            f"<tr><th style='text-align:left'>{html.escape(name)}</th>"
            f"<td style='text-align:left'>{html.escape(visible(value))}</td></tr>"
            for name, value in rows
        )
        return f"<table>{cells}</table>"


# --- Reading results ----------------------------------------------------------------------------------------------
# They come from endpoints and files, of other versions, perhaps damaged: every field is looked at.

_MAX_COUNT = 2**53  # what a double, and so any program that reads JSON, holds exactly
_MAX_TEXT = 65_536
_LARGEST = sys.float_info.max


def read_result(given: object) -> FocusResult:
    """`FocusResult.from_dict`."""
    row = _object(given, "a result")
    if row.get("schema") != SCHEMA:
        raise ResultError(
            f"a result of schema {shown(row.get('schema'))} cannot be read; this mhfd reads schema {SCHEMA}"
        )
    status = _one_of(row, "status", Status)
    if status is None:
        raise ResultError("a result has a status")
    about = _object(row.get("provenance"), "provenance")
    return FocusResult(
        path=_needed(row, "path"),
        status=status,
        provenance=Provenance(
            mhfd=_needed(about, "mhfd"),
            params_sha256=_needed(about, "params_sha256"),
            backend=_text(about, "backend") or "",
            device=_text(about, "device") or "",
            tile_sha256=_text(about, "tile_sha256"),
            measure=_count(about, "measure") or 1,
        ),
        error=_failure(row, status),
        shape=_pair(row, "shape"),
        dtype=_text(row, "dtype"),
        picture=_picture(row),
        pixel_size_nm=_number(row, "pixel_size_nm"),
        features=_count(row, "features"),
        features_per_mpx=_number(row, "features_per_mpx"),
        features_by_scale=_list(row, "features_by_scale", _count),
        scales_px=_list(row, "scales_px", _number),
        focus_score=_number(row, "focus_score"),
        characteristic_scale_px=_number(row, "characteristic_scale_px"),
        noise=_number(row, "noise"),
        content=_number(row, "content"),
        anisotropy=_number(row, "anisotropy"),
        saturated=_number(row, "saturated"),
        vollath_f4=_number(row, "vollath_f4"),
        grey=_number(row, "grey"),
        spectrum=_text(row, "spectrum"),
        verdict=_verdict(row),
        confidence=_number(row, "confidence"),
        defocus_um=_number(row, "defocus_um"),
        defocus_interval_um=_interval(row),
        blur_px=_number(row, "blur_px"),
        blur_nm=_number(row, "blur_nm"),
        blur_error_px=_number(row, "blur_error_px"),
        blur_by_direction_px=_numbers(row, "blur_by_direction_px"),
        blur_map_px=_list(row, "blur_map_px", _numbers),
        worst_block=_pair(row, "worst_block"),
        flag_px=_number(row, "flag_px"),
        reference=_text(row, "reference"),
        doubts=_list(row, "doubts", _text) or (),
        acquisition=read_acquisition(row.get("acquisition")),
        remarks=_list(row, "remarks", _remark) or (),
        timing_ms=_timing(row),
    )


def _failure(row: dict[str, Any], status: Status) -> Failure | None:
    if row.get("error") is None:
        if status == "failed":
            raise ResultError("a failed result has an error")
        return None
    error = _object(row["error"], "error")
    code: Any = _needed(error, "code")  # a newer worker may have codes that this version does not know
    return Failure(code=code, message=_text(error, "message") or "")


def read_acquisition(told: object) -> Acquisition:
    """The settings in a JSON object or null; missing keys are null, unknown ones are ignored; or `ResultError`."""
    given = _object({} if told is None else told, "acquisition")
    if not isinstance(lossy := given.get("lossy"), bool | None):
        raise ResultError(f"lossy must be true or false, not {shown(lossy)}")
    stage_um = _list(given, "stage_um", _number)
    if stage_um is not None and len(stage_um) != 3:
        raise ResultError(f"stage_um must be three numbers, not {shown(given['stage_um'])}")
    return Acquisition(
        format=_text(given, "format"),
        lossy=bool(lossy),
        vendor=_text(given, "vendor"),
        working_distance_mm=_number(given, "working_distance_mm"),
        dwell_us=_number(given, "dwell_us"),
        stage_um=stage_um,
    )


def _timing(row: dict[str, Any]) -> Timing:
    given = _object(row.get("timing_ms") or {}, "timing_ms")
    return Timing(**{name: _number(given, name) or 0.0 for name in Timing.__dataclass_fields__})


def _object(given: object, what: str) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise ResultError(f"{what} must be an object, not {shown(given)}")
    return given


def _needed(given: dict[str, Any], key: str) -> str:
    if (value := _text(given, key)) is None:
        raise ResultError(f"a result has a {key}")
    return value


def _text(given: dict[str, Any], key: str) -> str | None:
    value = given.get(key)
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > _MAX_TEXT:
        raise ResultError(f"{key} must be a string of at most {_MAX_TEXT} characters, not {shown(value)}")
    return storable(value)


def storable(text: str) -> str:
    """The text without what databases and UTF-8 refuse: null characters, and halves of surrogate pairs."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode() if not _is_storable(text) else text


def _is_storable(text: str) -> bool:
    if "\0" in text:
        return False
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _number(given: dict[str, Any], key: str) -> float | None:
    value = given.get(key)
    if value is None or (type(value) is float and math.isfinite(value)):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= _LARGEST:
        raise ResultError(f"{key} must be a finite number, not {shown(value)}")
    return float(value)


def _count(given: dict[str, Any], key: str) -> int | None:
    value = given.get(key)
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():  # 3127.0, as some programs write it
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MAX_COUNT:
        raise ResultError(f"{key} must be a whole number from 0 to 2^53, not {shown(value)}")
    return value


def _list(given: dict[str, Any], key: str, read: Callable[[dict[str, Any], str], T | None]) -> tuple[T, ...] | None:
    value = given.get(key)
    if value is None:
        return None
    if not isinstance(value, list | tuple):
        raise ResultError(f"{key} must be a list, not {shown(value)}")
    # Nearly always, and quick.
    if read is _number and all(type(each) is float and math.isfinite(each) for each in value):
        return tuple(value)
    if read is _count and all(type(each) is int and 0 <= each <= _MAX_COUNT for each in value):
        return tuple(value)
    found = [read({key: each}, key) for each in value]
    if any(each is None for each in found):
        raise ResultError(f"{key} has a null in it")
    return tuple(each for each in found if each is not None)


def _numbers(given: dict[str, Any], key: str) -> tuple[float | None, ...] | None:
    """Numbers, some of which may be null."""
    value = given.get(key)
    if value is None:
        return None
    if not isinstance(value, list | tuple):
        raise ResultError(f"{key} must be a list, not {shown(value)}")
    return tuple(_number({key: each}, key) for each in value)


def _pair(row: dict[str, Any], key: str) -> tuple[int, int] | None:
    pair = _list(row, key, _count)
    if pair is None:
        return None
    if len(pair) != 2:
        raise ResultError(f"{key} must be two whole numbers, not {shown(row[key])}")
    return pair[0], pair[1]


def _interval(row: dict[str, Any]) -> tuple[float, float] | None:
    ends = _list(row, "defocus_interval_um", _number)
    if ends is None:
        return None
    if len(ends) != 2:
        raise ResultError(f"defocus_interval_um must be two numbers, not {shown(row['defocus_interval_um'])}")
    return ends[0], ends[1]


def _picture(row: dict[str, Any]) -> tuple[int, int, int, int] | None:
    picture = _list(row, "picture", _count)
    if picture is None:
        return None
    if len(picture) != 4:
        raise ResultError(f"picture must be four whole numbers, not {shown(row['picture'])}")
    return picture[0], picture[1], picture[2], picture[3]


def _remark(given: dict[str, Any], key: str) -> Remark | None:
    if given[key] is None:
        return None
    remark = _object(given[key], "a remark")
    code: Any = _needed(remark, "code")  # a newer worker may have codes that this version does not know
    return Remark(code=code, message=_text(remark, "message") or "")


def _verdict(row: dict[str, Any]) -> Verdict | None:
    """None for one that this version does not know: verdicts are made anew from the measures."""
    verdict: Any = _text(row, "verdict")
    return verdict if verdict in get_args(Verdict) else None


def _one_of(row: dict[str, Any], key: str, allowed: Any) -> Any:
    value = row.get(key)
    if value is not None and value not in get_args(allowed):
        raise ResultError(f"{key} must be one of {', '.join(get_args(allowed))}, not {shown(value)}")
    return value


_LISTS = (tuple, list)
_TOLD = (Acquisition, Failure, Provenance, Remark, Timing)


def _plain(value: Any) -> Any:
    """Dataclasses to dicts, tuples to lists, non-finite numbers to None (JSON has none)."""
    kind = type(value)  # first what nearly all are: each result has a hundred values
    if kind is float or isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or kind is str or kind is int:
        return value
    if isinstance(value, _LISTS):
        return [inner if type(inner) is int else _plain(inner) for inner in value]
    return _plain_fields(value) if isinstance(value, _TOLD) else value


def _plain_fields(value: Any) -> dict[str, Any]:
    found: dict[str, Any] = vars(value).copy()  # `asdict` copies all of it, and is several times as slow
    for key, inner in found.items():
        if inner is not None and type(inner) is not str and type(inner) is not int:
            found[key] = _plain(inner)
    return found


def _short(value: float | int | None) -> str:
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.4g}"
