"""What goes in and what comes out: parameters, results, errors. Standard library only.

Everything here crosses process and network borders as plain JSON, so each value has a `to_dict`
and a strict `from_dict`: unknown keys are refused, versions are carried.
"""

from __future__ import annotations

import difflib
import hashlib
import html
import json
import math
from dataclasses import asdict, dataclass, field, fields, replace
from enum import IntEnum
from typing import Any, Literal, get_args

SCHEMA = 1

Polarity = Literal["dark", "bright", "both"]
Mode = Literal["robust", "paper"]
Unit = Literal["px", "nm"]
Status = Literal["scored", "failed"]
Verdict = Literal["in_focus", "out_of_focus", "astigmatic", "no_content", "cannot_tell", "failed"]
BackendName = Literal["auto", "numpy", "numba", "cupy", "cupy-fft"]
Partition = Literal["auto", "scales", "strips"]

MAX_SCALES = 1024
MIN_T_PX, MAX_T_PX = 0.1, 4096.0  # below, a Gaussian sampled at whole pixels is none; above, no tile is as large

ErrorCode = Literal[
    "not_found",  # no such file
    "permission_denied",  # the file is there but may not be read
    "read_failed",  # the disk or share failed while reading
    "empty_file",  # zero bytes
    "not_an_image",  # no format we know
    "truncated",  # the file ends before its pixels do
    "corrupt",  # the header or the pixels do not decode
    "missing_codec",  # the compression needs an extra that is not installed
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
    "result_too_large",  # its row is more bytes than an answer carries
    "worker_lost",  # each worker that had the tile ended
    "internal",  # a fault of ours; the message asks for a report
]


IMAGE_SUFFIXES = frozenset({".tif", ".tiff", ".btf", ".tf8", ".png", ".bmp", ".jpg", ".jpeg"})
"""In folders, files with one of these suffixes, in small letters, are tiles."""


class ExitCode(IntEnum):
    """How a command ends; README.md explains each to people."""

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
    """Root of every error mhfd raises on purpose; a command that it ends exits with `exit_code`."""

    exit_code: ExitCode = ExitCode.USAGE


class ParamsError(MhfdError, ValueError):
    """Parameters that cannot be used; the message names the key and the accepted values."""


class BackendError(MhfdError):
    """A backend was named that is not available here; the message says what to install."""


class TileError(MhfdError):
    """One tile cannot be scored. In a batch it becomes one failed row.

    Parameters
    ----------
    code : one of `ErrorCode`, stable, for programs
    message : a sentence for people that says what to do where something can be done
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
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f"; did you mean '{near[0]}'?" if near else f"; known keys: {', '.join(known)}"
            raise ParamsError(f"{what} has no key '{key}'{hint}")


@dataclass(frozen=True, kw_only=True)
class FocusParams:
    """How a tile is measured (docs/measure.md). Frozen; equal parameters have equal `sha256`.

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
    max_gpu_bytes : memory one tile may take on a GPU; None means what is free
    max_host_bytes : working memory one tile may take on the processor, beside its own pixels; None means 2 GiB.
        Larger tiles are done in strips, with the same result.
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

    def __post_init__(self) -> None:
        for name in ("min_t", "max_t", "saturate", "k_noise"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= 1e9:
                raise ParamsError(f"{name} must be a number of reasonable size, not {value!r}")
            object.__setattr__(self, name, float(value))  # 1 and 1.0 are the same parameters
        for name in ("n_scales", "max_gpu_bytes", "max_host_bytes"):
            value = getattr(self, name)
            if name != "n_scales" and value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ParamsError(f"{name} must be a whole number of at least 1, not {value!r}")
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
            raise ParamsError(f"k_noise must not be negative, not {self.k_noise:g}")
        for name, allowed in (("polarity", Polarity), ("mode", Mode), ("unit", Unit)):
            if getattr(self, name) not in get_args(allowed):
                choices = ", ".join(f'"{choice}"' for choice in get_args(allowed))
                raise ParamsError(f"{name} must be one of {choices}, not {getattr(self, name)!r}")

    def in_pixels(self, pixel_size_nm: float | None) -> FocusParams:
        """The same parameters with min_t and max_t in pixels of `pixel_size_nm` nanometres.

        Raises
        ------
        TileError
            `unit` is "nm" and the pixel size is unknown ("no_pixel_size"), or such that the scales are far from
            any structure ("scale_out_of_range").
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
        return asdict(self)

    @classmethod
    def from_dict(cls, given: dict[str, Any]) -> FocusParams:
        """Read a JSON object; missing keys take their defaults, unknown keys are refused."""
        _refuse_unknown_keys("FocusParams", given, [f.name for f in fields(cls)])
        return cls(**given)

    @property
    def sha256(self) -> str:
        """Identity of the measure: hex SHA-256 of what can change the result, as canonical JSON."""
        limits = ("max_gpu_bytes", "max_host_bytes")
        measure = {key: value for key, value in self.to_dict().items() if key not in limits}
        return hashlib.sha256(json.dumps(measure, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def page_path(file: str, page: int) -> str:
    """Name of one tile of a file that holds several: "stack.tif#page=2", counted from 0."""
    return f"{file}#page={page}"


def split_page(path: str) -> tuple[str, int]:
    """File and page of a result's path, the inverse of `page_path`; page 0 where none is named."""
    file, mark, page = path.rpartition("#page=")
    return (file, int(page)) if mark and page.isdecimal() else (path, 0)


@dataclass(frozen=True, kw_only=True)
class Acquisition:
    """What the image file says of itself and of the microscope; None where it is silent.

    Attributes
    ----------
    format : container, "tiff", "png", "bmp" or "jpeg"; None for an array
    lossy : True when the pixels went through JPEG: block edges count as structure
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
class Provenance:
    """What is needed to get the same numbers again."""

    mhfd: str
    params_sha256: str
    backend: str
    device: str
    tile_sha256: str | None = None


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
    features : number of local maxima of the difference of Gaussians above the noise (paper, section 3)
    features_per_mpx : features per 10^6 pixels
    features_by_scale, scales_px : (n_scales,) counts, and the scale t_i in pixels of each
    focus_score : robust sharpness; higher is sharper; comparable between the tiles of a run
    characteristic_scale_px : mean scale of the features; None without features
    noise : standard deviation of the noise, as a fraction of the tile's saturated range
    content : fraction of the tile with structure above the noise
    anisotropy : 0 for equally fine structure in all directions, towards 1 for one-axis blur; None on noise
    saturated : fraction of the pixels at the detector's limits
    vollath_f4 : Vollath's F4 on the normalised tile (Vollath 1987)
    verdict, confidence, defocus_um : filled in by the client, which knows the tile's run
    """

    path: str
    status: Status
    provenance: Provenance
    error: Failure | None = None
    shape: tuple[int, int] | None = None
    dtype: str | None = None
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
    verdict: Verdict | None = None
    confidence: float | None = None
    defocus_um: float | None = None
    acquisition: Acquisition = field(default_factory=Acquisition)
    timing_ms: Timing = field(default_factory=Timing)

    @classmethod
    def failed(cls, path: str, code: ErrorCode, message: str, provenance: Provenance) -> FocusResult:
        """The row of a tile that was not scored."""
        error = Failure(code=code, message=message)
        return cls(path=path, status="failed", error=error, verdict="failed", provenance=provenance)

    def to_dict(self) -> dict[str, Any]:
        """The result as plain JSON types, every key present, schema number first."""
        return {"schema": SCHEMA, **{f.name: _plain(getattr(self, f.name)) for f in fields(self)}}

    @classmethod
    def from_dict(cls, given: dict[str, Any]) -> FocusResult:
        """Read what `to_dict` wrote.

        Raises
        ------
        ParamsError
            another schema number, unknown or missing keys.
        """
        rest = dict(given)
        if (schema := rest.pop("schema", None)) != SCHEMA:
            raise ParamsError(f"a result of schema {schema!r} cannot be read; this mhfd reads schema {SCHEMA}")
        names = [f.name for f in fields(cls)]
        _refuse_unknown_keys("FocusResult", rest, names)
        if missing := [name for name in names if name not in rest]:
            raise ParamsError(f"a result of schema {SCHEMA} has all keys; here lack: {', '.join(missing)}")
        rest["provenance"] = Provenance(**rest["provenance"])
        rest["timing_ms"] = Timing(**rest["timing_ms"])
        if rest["error"] is not None:
            rest["error"] = Failure(**rest["error"])
        acquisition = dict(rest["acquisition"])
        acquisition["stage_um"] = _tuple(acquisition["stage_um"])
        rest["acquisition"] = Acquisition(**acquisition)
        for key in ("shape", "features_by_scale", "scales_px"):
            rest[key] = _tuple(rest[key])
        return cls(**rest)

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
            f"<td style='text-align:left'>{html.escape(value)}</td></tr>"
            for name, value in rows
        )
        return f"<table>{cells}</table>"


def _plain(value: Any) -> Any:
    """Dataclasses to dicts, tuples to lists, non-finite numbers to None (JSON has none)."""
    if isinstance(value, Acquisition | Failure | Provenance | Timing):
        return {key: _plain(inner) for key, inner in asdict(value).items()}
    if isinstance(value, tuple | list):
        return [_plain(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _tuple(value: Any) -> tuple[Any, ...] | None:
    return None if value is None else tuple(value)


def _short(value: float | int | None) -> str:
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.4g}"
