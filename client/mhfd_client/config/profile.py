"""How one microscope is watched."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, Field, PositiveInt, ValidationInfo, WithJsonSchema, field_validator

from mhfd.contract import DEFAULT_BLUR_PX, FocusParams, MhfdError
from mhfd_client.config.address import parse_listen
from mhfd_client.config.alerts import AlertSettings
from mhfd_client.config.base import Frozen, HerePath, Json, Seconds, SecondsOrZero
from mhfd_client.files.markers import check_marker
from mhfd_client.files.order import Order
from mhfd_client.naming.added import check_layout
from mhfd_client.naming.pattern import compile_pattern
from mhfd_client.naming.protocol import LayoutName

# Editors complete ours; other packages may add some.
_LAYOUTS: Json = {"anyOf": [{"enum": list(get_args(LayoutName))}, {"type": "string"}]}

EXAMPLE_PATTERN = r"s(?P<section>\d+)_r(?P<row>\d+)_c(?P<col>\d+)\.tif"


def _measure(given: Json) -> Json:
    FocusParams.from_dict(given)
    return given


def _pattern(pattern: str) -> str:
    _as_value_error(compile_pattern, pattern)
    return pattern


def _layout(name: str) -> str:
    _as_value_error(check_layout, name)
    return name


def _listen(address: str) -> str:
    _as_value_error(parse_listen, address)
    return address


def _as_value_error(check: Callable[[str], object], value: str) -> None:
    """Raise ValueError, which pydantic collects."""
    try:
        check(value)
    except MhfdError as error:
        raise ValueError(str(error)) from error


def _marker(marker: str) -> str:
    _as_value_error(check_marker, marker)
    return marker


class Verdict(Frozen):
    """When a tile is called out of focus. A change takes effect on tiles that are scored already.

    Attributes
    ----------
    max_blur_px : a tile is out of focus when its point-spread function is wider than that of the run's sharp tiles by
        more than this, as a standard deviation in pixels; more than the sharp tiles differ among each other
    min_content : a tile with a smaller fraction of content shows nothing to focus on
    """

    max_blur_px: float = Field(default=DEFAULT_BLUR_PX, gt=0, le=100)
    min_content: float = Field(default=0.05, ge=0, le=1)


class Profile(Frozen):
    r"""How a folder is watched, and where its tiles are scored.

    Attributes
    ----------
    endpoint : where tiles are scored: local, a name under [endpoints], or a UUID
    layout : layout of the file names; "auto" detects it
    pattern : with layout "regex": a regular expression with the groups section, grid, row, col, tile, or some of them
    params : how tiles are measured, the keys of docs/measure.md
    verdict : when a tile is out of focus
    alerts : what is told, where, and how often
    instrument : whose sharp tiles of earlier runs a new run is compared with; by default the profile's name
    folder : the folder that `mhfd watch` watches when none is given
    poll_s : seconds between two scans of the folder
    settle_s : a file is finished when it has not changed for this many seconds, or when its writer was seen to close it
    stall_s : an unfinished file that has not changed for this many seconds is listed as stalled
    marker : file that the microscope writes beside a finished tile: {name}.done is t.tif.done, {stem}.ok is t.ok
    exclude : patterns of files and folders that are not tiles
    order : which tiles go first: "fresh" those of the last `fresh_s` seconds, then the oldest; "newest"; "oldest"
    fresh_s : see `order`
    listen : address at which the microscope reports finished tiles
    fallback : "local" scores here while the endpoint is offline, "none" waits; by default as the endpoint says
    ledger_gone : "end" ends the watch when its ledger was deleted or replaced, "recreate" begins a new one
    log_dir : folder for log files
    log_days : log files are kept for this many days
    """

    endpoint: str = Field(default="local", min_length=1)
    layout: Annotated[str, AfterValidator(_layout), WithJsonSchema(_LAYOUTS)] = "auto"
    pattern: Annotated[str, AfterValidator(_pattern)] | None = Field(
        default=None, validate_default=True, examples=[EXAMPLE_PATTERN]
    )
    params: Annotated[Json, AfterValidator(_measure)] = Field(default={}, examples=[{"n_scales": 16}])
    verdict: Verdict = Verdict()
    alerts: AlertSettings = AlertSettings()
    instrument: str | None = Field(default=None, min_length=1, max_length=200, examples=["sem1"])
    folder: HerePath | None = Field(default=None, examples=["D:\\em"])
    poll_s: Seconds = 5.0
    settle_s: SecondsOrZero = 2.0
    stall_s: Seconds = 600.0
    marker: Annotated[str, AfterValidator(_marker)] | None = Field(default=None, examples=["{name}.done"])
    exclude: tuple[str, ...] = Field(default=(), examples=[["*_preview.tif", "overviews"]])
    order: Order = "fresh"
    fresh_s: SecondsOrZero = 120.0
    listen: Annotated[str, AfterValidator(_listen)] | None = Field(default=None, examples=["127.0.0.1:8765"])
    fallback: Literal["local", "none"] | None = Field(default=None, examples=["local"])
    ledger_gone: Literal["end", "recreate"] = "end"
    log_dir: HerePath | None = Field(default=None, examples=["logs"])
    log_days: PositiveInt = 14

    @field_validator("pattern")
    @classmethod
    def _with_regex(cls, pattern: str | None, info: ValidationInfo) -> str | None:
        layout = info.data.get("layout")  # absent when it is not valid
        if layout == "regex" and pattern is None:
            raise ValueError(f"layout \"regex\" needs a pattern, such as pattern = '{EXAMPLE_PATTERN}'")
        if layout not in ("regex", None) and pattern is not None:
            raise ValueError(f'a pattern is for layout "regex", not "{layout}": change layout, or drop pattern')
        return pattern
