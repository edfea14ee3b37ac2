"""One tile in one figure: its features at their scales, how many there are of each, its spectrum, its numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from mhfd.contract import FocusParams, FocusResult, ParamsError, TileError, split_page
from mhfd.extras import needed
from mhfd.images import DEFAULT_MAX_PIXELS
from mhfd.kernel.measures import FeatureList
from mhfd.kernel.pixels import Pixels, thinned
from mhfd.scoring.api import measured
from mhfd.scoring.tile import Source
from mhfd.show.marks import word
from mhfd.spectrum import FREQUENCIES, Spectrum, bin_sizes
from mhfd.text import counted, visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from mhfd.show.figure import Drawn

SHOWN_PX = 2048
"""Longest side of the pixels that are drawn; of a larger tile every n-th."""

WHOLE_PX = 512
"""A tile up to this side is drawn with more than one dot a pixel."""

DIRECTIONS = ("along the rows", "45°", "down the columns", "135°")
FEATURE = "#f4632a"
TICKS = (0.05, 0.1, 0.2, 0.4)
"""Of the frequencies."""


def plot(
    tile: Source | FocusResult,
    params: FocusParams | None = None,
    backend: str = "auto",
    *,
    devices: Sequence[int] | None = None,
    pixel_size_nm: float | None = None,
    page: int | None = None,
    max_pixels: int = DEFAULT_MAX_PIXELS,
) -> Drawn:
    """Draw a tile with its features: a circle round each, as wide as the blob that answers most at its scale.

    Beside it the features by scale and the power spectrum. A notebook shows the figure; `.savefig("tile.png")` writes
    it. Needs the extra `notebook`.

    Parameters
    ----------
    tile : a file or an array, as `mhfd.score` takes it; or a result, whose verdict and blur are then told too
    params, backend, devices, pixel_size_nm, page, max_pixels : as in `mhfd.score`

    Raises
    ------
    TileError
        the tile cannot be scored.
    ParamsError
        a value is wrong, or the result is that of an array.
    MissingExtraError
        matplotlib is not installed.
    """
    needed("matplotlib", "notebook", "a plot")
    from mhfd.show.figure import new_figure

    source: Source
    known: FocusResult | None = None
    if isinstance(tile, FocusResult):
        known = tile
        source, page = _file_of(tile, page)
    else:
        source = tile
    loaded, row, features = measured(
        source, params, backend, devices=devices, pixel_size_nm=pixel_size_nm, page=page, max_pixels=max_pixels
    )
    row = row if known is None else _with_verdict(row, known)
    figure = new_figure(9, 5)
    panels = figure.add_gridspec(2, 2, width_ratios=(1.6, 1))
    picture, scales, power = (figure.add_subplot(each) for each in (panels[:, 0], panels[0, 1], panels[1, 1]))
    _draw_tile(picture, loaded.tile.pixels, loaded.params, features)
    _draw_scales(scales, row)
    _draw_spectrum(power, row)
    figure.suptitle("\n".join(caption(row)), fontsize=10, x=0.01, ha="left", parse_math=False)
    return figure


def caption(row: FocusResult) -> tuple[str, str]:
    """A tile's name and size; its verdict and numbers."""
    rows, cols = row.shape or (0, 0)
    size = f"{rows} x {cols} px" + (f" of {row.pixel_size_nm:g} nm" if row.pixel_size_nm else "")
    numbers = [f"focus score {row.focus_score or 0:.2f}", counted(row.features or 0, "feature")]
    if row.noise is not None:
        numbers.append(f"noise {row.noise:.3f}")
    if row.blur_px is not None:
        numbers.insert(0, f"blur {row.blur_px:.1f} px" + (f" ({row.blur_nm:.0f} nm)" if row.blur_nm else ""))
    if row.verdict:
        numbers.insert(0, word(row.verdict))
    return f"{visible(row.path or 'array')}, {size}", ", ".join(numbers)


def _file_of(row: FocusResult, page: int | None) -> tuple[str, int | None]:
    if row.error is not None:
        raise TileError(row.error.code, row.error.message)
    if not row.path:
        raise ParamsError("this is the result of an array, which it does not hold: plot the array itself")
    file, named = split_page(row.path)
    return file, named if file != row.path else page


def _with_verdict(row: FocusResult, known: FocusResult) -> FocusResult:
    """A tile just measured, with what only its run can tell."""
    return replace(row, verdict=known.verdict, blur_px=known.blur_px, blur_nm=known.blur_nm)


def _draw_tile(axes: Axes, pixels: Pixels, params: FocusParams, features: FeatureList) -> None:
    from matplotlib.collections import EllipseCollection

    rows, cols = pixels.shape
    every = math.ceil(max(rows, cols) / SHOWN_PX)
    grey = thinned(pixels, every)
    low, high = np.quantile(grey, (params.saturate, 1 - params.saturate))
    # A pixel's middle is at its whole number, so the picture begins half a pixel before the first.
    smooth = "nearest" if max(grey.shape) <= WHOLE_PX else "antialiased"  # blur is judged on pixels as they are
    axes.imshow(grey, "gray", vmin=low, vmax=high, extent=(-0.5, cols - 0.5, rows - 0.5, -0.5), interpolation=smooth)
    widths = 2 * features.radii_px
    axes.add_collection(
        EllipseCollection(
            widths,
            widths,
            np.zeros(len(features)),
            units="xy",
            offsets=np.column_stack([features.cols, features.rows]),
            offset_transform=axes.transData,
            facecolors="none",
            edgecolors=FEATURE,
            linewidths=0.6,
        )
    )
    axes.set(xticks=[], yticks=[], xlim=(-0.5, cols - 0.5), ylim=(rows - 0.5, -0.5))
    if every > 1:
        axes.set_xlabel(f"1 of {every} pixels each way is drawn", fontsize=8)


def _draw_scales(axes: Axes, row: FocusResult) -> None:
    from mhfd.show.figure import LINE, plain

    scales = row.scales_px or ()
    width = 0.8 * (scales[1] - scales[0]) if len(scales) > 1 else 0.8
    axes.bar(scales, row.features_by_scale or (), width, color=LINE)
    if row.characteristic_scale_px is not None:
        axes.axvline(row.characteristic_scale_px, color=FEATURE, linewidth=1)
    axes.set(xlabel="scale, px (line: their mean)", ylabel="features")
    plain(axes)


def _draw_spectrum(axes: Axes, row: FocusResult) -> None:
    from mhfd.show.figure import LINE, SOFT, plain

    if row.spectrum is None:
        axes.text(0.5, 0.5, "no spectrum: too little content", ha="center", color=SOFT, fontsize=8)
        axes.set_axis_off()
        return
    spectrum, weights = Spectrum.unpack(row.spectrum), bin_sizes()
    for direction, power, style in zip(DIRECTIONS, spectrum.by_direction, ("-", "--", "-.", ":"), strict=True):
        axes.plot(FREQUENCIES, power, style, color=LINE, linewidth=1, label=direction)
    noise = (weights * spectrum.noise()).sum(0) / weights.sum(0)
    axes.plot(FREQUENCIES, noise, color=SOFT, linewidth=1, label="noise")
    axes.set(xscale="log", yscale="log", xlabel="frequency, cycles a pixel", ylabel="power")
    axes.set_xticks(TICKS, [f"{each:g}" for each in TICKS])
    axes.set_xticks([], minor=True)
    axes.legend(fontsize=7, frameon=False)
    plain(axes)
