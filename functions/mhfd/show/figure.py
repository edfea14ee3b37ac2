"""A matplotlib figure that a notebook shows as the value of its cell. Only who draws imports this module."""

from __future__ import annotations

import io

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

SOFT, LINE = "#555c66", "#3583c4"


class Drawn(Figure):
    """Shown once and kept by nobody else, unlike a figure of pyplot; `savefig` writes it to a file."""

    def _repr_png_(self) -> bytes:
        drawn, small = io.BytesIO(), io.BytesIO()
        self.savefig(drawn, format="png")
        # The noise of a tile in 256 shades: a third of the bytes in the notebook's file.
        few = Image.open(drawn).convert("RGB").quantize(256, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
        few.save(small, "PNG", optimize=True)
        return small.getvalue()


def new_figure(width: float, height: float) -> Drawn:
    """An empty figure, in inches."""
    return Drawn(figsize=(width, height), layout="constrained")


def plain(axes: Axes) -> None:
    """Only the axes that are read."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    axes.xaxis.label.set_fontsize(8)
    axes.yaxis.label.set_fontsize(8)
