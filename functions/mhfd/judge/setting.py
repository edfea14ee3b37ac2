"""What makes tiles comparable: taken alike, and measured alike."""

from __future__ import annotations

from typing import Any, NamedTuple

from mhfd.contract import FocusResult, ParamsError
from mhfd.text import shown

MOST = 1e9
"""No size or time is larger."""


class Setting(NamedTuple):
    """The settings of an acquisition that change a spectrum's meaning; None where the file does not tell.

    Attributes
    ----------
    rows, cols : of the page, in pixels
    pixel_size_nm, dwell_us : to three digits
    vendor : whose header the file has
    measure : version of the measure
    """

    rows: int
    cols: int
    pixel_size_nm: float | None
    dwell_us: float | None
    vendor: str | None
    measure: int

    def __str__(self) -> str:
        told = [f"{self.rows} x {self.cols} px"]
        told += [f"{self.pixel_size_nm:g} nm/px"] if self.pixel_size_nm is not None else []
        told += [f"{self.dwell_us:g} us"] if self.dwell_us is not None else []
        told += [self.vendor] if self.vendor else []
        return ", ".join([*told, f"measure {self.measure}"])

    @classmethod
    def from_list(cls, given: object) -> Setting:
        """Read what `list(setting)` gave; `ParamsError` if it is something else."""
        kinds = (int, int, float | None, float | None, str | None, int)
        if not isinstance(given, list | tuple) or len(given) != len(kinds):
            raise ParamsError(f"a setting is a list of {len(kinds)} values, not {shown(given)}")
        values: list[Any] = [
            float(each) if isinstance(each, int) and i in (2, 3) else each for i, each in enumerate(given)
        ]
        if not all(isinstance(each, kind) for each, kind in zip(values, kinds, strict=True)):
            raise ParamsError(f"{shown(given)} is no setting: rows, cols, nm a pixel, dwell time, vendor, measure")
        return cls(*values)


def setting_of(result: FocusResult) -> Setting:
    """The setting of a scored tile."""
    rows, cols = result.shape or (0, 0)
    told = result.acquisition
    return Setting(
        rows, cols, _rounded(result.pixel_size_nm), _rounded(told.dwell_us), told.vendor, result.provenance.measure
    )


def _rounded(value: float | None) -> float | None:
    """To three digits: headers tell the last ones differently from tile to tile."""
    if value is None or not abs(value) < MOST:
        return None
    rounded: Any = float(f"{value:.3g}")
    return float(rounded)
