"""What a focal series taught about the instrument, as a curve: how blur grows with the distance from best focus."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mhfd.text import counted
from mhfd_client.judge.calibration import Calibration

WIDTH_PX, HEIGHT_PX, GUTTER_PX, FOOT_PX = 360, 200, 40, 36
BLUR_TOP_PX = 4.0
"""Blur at the right end of the curve."""

POINTS = 40


@dataclass(frozen=True)
class Curve:
    """Places are in pixels of the drawing.

    Attributes
    ----------
    words : what was learned
    line, band : points of the curve, and of its 95 % interval
    limit : x and y where the threshold is reached; None where that is not on the drawing
    limit_um : the defocus there
    x_ticks, y_ticks : place and text
    """

    words: str
    setting: str
    line: str
    band: str
    limit: tuple[float, float] | None
    limit_um: float
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]


def draw_curve(calibration: Calibration, max_blur_px: float) -> Curve:
    """The curve of one setting."""
    found = calibration.px_per_um
    right_um = BLUR_TOP_PX / found.value

    def place(um: float, px: float) -> tuple[float, float]:
        x = GUTTER_PX + (WIDTH_PX - GUTTER_PX) * um / right_um
        return round(x, 1), round((HEIGHT_PX - FOOT_PX) * (1 - min(max(px, 0.0), BLUR_TOP_PX) / BLUR_TOP_PX), 1)

    ums = [right_um * k / POINTS for k in range(POINTS + 1)]
    band = [place(um, found.high * um) for um in ums] + [place(um, found.low * um) for um in reversed(ums)]
    limit_um = max_blur_px / found.value
    frames = calibration.details.get("frames")
    of = f", of {counted(frames, 'frame')}" if isinstance(frames, int) else ""
    best = calibration.best_um
    return Curve(
        f"{found.value:.3g} px of blur a um out of focus (95 %: {found.low:.3g} to {found.high:.3g}){of}; "
        f"best focus was {best.value:.4g} um (95 %: {best.low:.4g} to {best.high:.4g})",
        str(calibration.setting),
        _points(place(um, found.value * um) for um in ums),
        _points(band),
        place(limit_um, max_blur_px) if max_blur_px < BLUR_TOP_PX else None,
        limit_um,
        tuple((place(right_um * k / 4, 0)[0], f"{right_um * k / 4:.3g}") for k in range(5)),
        tuple((place(0, k)[1], str(k)) for k in range(int(BLUR_TOP_PX) + 1)),
    )


def _points(points: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{x},{y}" for x, y in points)
