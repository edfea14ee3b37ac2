"""How figures look: one column of a journal wide, told apart without colour too, the same bytes for the same numbers.

matplotlib is loaded when a figure is drawn.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from mhfd.contract import ParamsError
from mhfd.extras import install_hint
from mhfd_client.views.marks import INKS, MARKS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

Kind = Literal["png", "svg", "pdf"]

COLUMN_MM = 85.0
MM_PER_INCH = 25.4
DOTS_PER_INCH = 300

BLUE, VERMILION, VIOLET, GREY, YELLOW = (
    MARKS[verdict].colours[0] for verdict in ("in_focus", "out_of_focus", "astigmatic", "no_content", "cannot_tell")
)
INK, SOFT, LINE, PAPER = (INKS[name][0] for name in ("ink", "soft", "line", "raised"))
COLOURS = (BLUE, VERMILION, VIOLET, GREY, YELLOW, INK)
"""As on the page: the colour-blind tell them apart."""

MARKERS = "o^sDvPX"
DASHES = ("-", "--", "-.", ":")
RAMP = ("#E8F0F7", "#9DC1DF", "#3F7FB5", "#0B2E57", PAPER)
HATCHES = ("", "", "////", "", "xxxx")
"""Fillings, told apart in grey by lightness and pattern."""

_LOOK: Any = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # matplotlib brings it along
    "font.size": 7,
    "axes.titlesize": 7,
    "legend.fontsize": 6.5,
    "legend.frameon": False,
    "axes.linewidth": 0.6,
    "axes.edgecolor": SOFT,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.formatter.useoffset": False,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "text.color": INK,
    "lines.linewidth": 1.0,
    "lines.markersize": 3.5,
    "grid.color": LINE,
    "grid.linewidth": 0.5,
    "hatch.linewidth": 0.5,
    "text.parse_math": False,  # names come from files
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "mhfd",
}
_METADATA: dict[Kind, dict[str, Any]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}


def check_matplotlib() -> None:
    """Find out before any work that nothing can be drawn.

    Raises
    ------
    ParamsError
        matplotlib is not installed; the message says how to get it.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise ParamsError(f"matplotlib draws the pictures: {install_hint('notebook')}") from None


@contextmanager
def styled() -> Generator[None, None, None]:
    """Within, whatever is drawn or saved looks like a figure of ours."""
    import matplotlib

    with matplotlib.rc_context(), warnings.catch_warnings():
        matplotlib.rcdefaults()  # a user's own matplotlibrc does not count
        matplotlib.rcParams.update(_LOOK)
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # shown as a box
        yield


def canvas(height_mm: float, width_mm: float = COLUMN_MM) -> Figure:
    """An empty figure."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width_mm / MM_PER_INCH, height_mm / MM_PER_INCH), layout="constrained")


def saved(figure: Figure, kind: Kind) -> bytes:
    """The file of a figure."""
    buffer = io.BytesIO()
    with styled():
        figure.savefig(buffer, format=kind, dpi=DOTS_PER_INCH, metadata=_METADATA[kind])
    return buffer.getvalue()


def legend_below(axes: Axes, columns: int = 1) -> None:
    """The legend under the plot, where it hides nothing; long names have room there."""
    axes.figure.legend(*axes.get_legend_handles_labels(), loc="outside lower left", ncols=columns)


def plain_ticks(axis: Axis, *, subs: tuple[float, ...] = (1.0,)) -> None:
    """Numbers like 0.2 and 500 on a logarithmic axis.

    Parameters
    ----------
    subs : of each decade, those that are numbered
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(subs=subs))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.12g}"))
    axis.set_minor_formatter(NullFormatter())


def minus(text: str) -> str:
    """With the sign that the axes have."""
    return text.replace("-", "\u2212")
