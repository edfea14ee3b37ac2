"""All figures that there are data for; those left out are named, with what makes their data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mhfd_client.judge.calibration import FocalSeries
from mhfd_client.ledger import Ledger, Run
from mhfd_client.views.figures.drawn import Drawn, write
from mhfd_client.views.figures.features import NoPairError, figure_1, pair_of_run, pair_of_series
from mhfd_client.views.figures.focal import figure_2a, figure_2b
from mhfd_client.views.figures.speed import Time, figure_3a, figure_3b, figure_4

SERIES = (
    "a focal series: --series DIR, and --distances FILE where the headers tell no distance "
    "(`mhfd simulate DIR --series 9` makes one to try)"
)


@dataclass(frozen=True)
class Written:
    """A figure in its files."""

    name: str
    says: str
    files: Sequence[Path]


@dataclass(frozen=True)
class LeftOut:
    """A figure that is not drawn.

    Attributes
    ----------
    why : what it needs, and which command makes that; or what is wrong with what was given
    given : True where there were data
    """

    name: str
    why: str
    given: bool = False


def write_figures(
    folder: Path,
    *,
    series: FocalSeries | None = None,
    run: tuple[Ledger, Run] | None = None,
    times: Sequence[Time] = (),
) -> Iterator[Written | LeftOut]:
    """Write each figure as SVG, PNG and CSV, and tell it when that is done; or why it is left out.

    Parameters
    ----------
    series : for figures 2a and 2b, and for figure 1 where there is no run
    run : for figure 1, and its ledger
    times : for figures 3a, 3b and 4

    Raises
    ------
    OSError
        A file cannot be written.
    """
    steps: tuple[Callable[[], Drawn | LeftOut], ...] = (
        lambda: _figure_1(series, run),
        lambda: _of_series("2a", figure_2a, series),
        lambda: _of_series("2b", figure_2b, series),
        lambda: _of_times("3a", figure_3a, times),
        lambda: _of_times("3b", figure_3b, times),
        lambda: _of_times("4", figure_4, times),
    )
    for step in steps:
        figure = step()
        yield figure if isinstance(figure, LeftOut) else Written(figure.name, figure.says, write(figure, folder))


def _figure_1(series: FocalSeries | None, run: tuple[Ledger, Run] | None) -> Drawn | LeftOut:
    try:
        if run is not None:
            return figure_1(pair_of_run(*run))
        if series is not None:
            return figure_1(pair_of_series(series))
        return LeftOut("figure-1", f"it needs a run with a tile out of focus: --run DIR; or {SERIES}")
    except NoPairError as error:
        return LeftOut("figure-1", str(error), given=True)


def _of_series(number: str, draw: Callable[[FocalSeries], Drawn], series: FocalSeries | None) -> Drawn | LeftOut:
    name = f"figure-{number}"
    if series is None:
        return LeftOut(name, f"it needs {SERIES}")
    if not series.rows:
        return LeftOut(name, "no frame of the series could be scored", given=True)
    return draw(series)


def _of_times(number: str, draw: Callable[[Sequence[Time]], Drawn | None], times: Sequence[Time]) -> Drawn | LeftOut:
    how = f"`mhfd bench --figure {number} --out DIR` measures it, then --bench {Path('DIR') / 'summary.csv'}"
    return draw(times) or LeftOut(f"figure-{number}", how, given=bool(times))
