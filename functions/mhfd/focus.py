"""Best focus from a few frames: the hook for an auto-focus loop."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mhfd.contract import FocusParams, ParamsError, TileError
from mhfd.judge.focal import Interval, Reason, measure_series
from mhfd.scoring.api import score_many
from mhfd.scoring.tile import Source


@dataclass(frozen=True)
class BestFocus:
    """Where frames of one field are sharpest. Distances have the unit of the working distances that were given.

    A loop asks `value`: a number, or None, and then `reason`. For "not_bracketed" it moves the series towards
    `sharper`; for "flat" and "unsure" it takes larger steps or a higher dose; otherwise a person has to look.

    Attributes
    ----------
    value : distance of best focus; None where the frames do not tell it
    interval : (low, high) of 95 %
    bracketed : best focus lies between the outer frames
    sharper : +1 or -1, the side on which best focus lies, where it is not bracketed; else 0
    k : px per unit, how fast the point-spread function widens, with its 95 % interval
    slope : px^2 per unit, change of its variance along the series, the same
    astigmatism : best focus along the rows minus down the columns, and at 45 minus at 135 degrees, the same
    reason, declined : why there is no value, as a code and as a sentence
    """

    value: float | None
    interval: tuple[float, float] | None
    bracketed: bool
    sharper: int
    k: Interval | None
    slope: Interval | None
    astigmatism: tuple[Interval | None, Interval | None]
    reason: Reason | None
    declined: str | None


def best_focus(
    frames: Sequence[Source],
    working_distances: Sequence[float],
    params: FocusParams | None = None,
    backend: str = "auto",
    *,
    pixel_size_nm: float | None = None,
) -> BestFocus:
    """Best focus from three or more frames of one field at different working distances.

    Parameters
    ----------
    frames : arrays of shape (rows, cols), or files of one page; all taken alike
    working_distances : of each frame, in one unit
    params, backend, pixel_size_nm : as in `mhfd.score`

    Raises
    ------
    TileError
        a frame cannot be scored.
    ParamsError
        distances are missing or not finite.
    """
    distances = [float(each) for each in working_distances]
    if len(distances) != len(frames):
        raise ParamsError(f"there are {len(frames)} frames and {len(distances)} working distances: give one for each")
    if not all(map(math.isfinite, distances)):
        raise ParamsError("working distances must be finite numbers")
    rows = score_many(frames, params, backend, pixel_size_nm=pixel_size_nm)
    for row in rows:
        if row.error is not None:
            raise TileError(row.error.code, row.error.message)
    if len(rows) != len(frames):
        raise ParamsError("a frame is one image: a file with several pages has no one working distance")
    fit = measure_series(rows, distances).fit
    outside = fit.reason == "not_bracketed" and fit.slope is not None
    return BestFocus(
        value=fit.best.value if fit.best else None,
        interval=(fit.best.low, fit.best.high) if fit.best else None,
        bracketed=fit.best is not None,
        sharper=int(math.copysign(1, -fit.slope.value)) if outside and fit.slope else 0,
        k=fit.k,
        slope=fit.slope,
        astigmatism=fit.astigmatism,
        reason=fit.reason,
        declined=fit.declined,
    )
