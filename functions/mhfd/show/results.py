"""`Results`: the list that many scored tiles come in, with tables and a plot."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, SupportsIndex, overload

from mhfd.contract import TO_LOOK_AT, FocusResult
from mhfd.show.columns import RESULT_COLUMNS, flat_result

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Results(list[FocusResult]):
    """A list of results, which pandas, Polars, Arrow, matplotlib and a notebook can show.

    Slices and sums are `Results` too. The columns of the tables are those of `mhfd export`, as far as they come from
    a result alone.
    """

    @property
    def flagged(self) -> Results:
        """The tiles to look at: out of focus, astigmatic, failed."""
        return Results(row for row in self if row.verdict in TO_LOOK_AT)

    def to_pandas(self) -> Any:
        """A `pandas.DataFrame`, a row a tile; needs the extra `notebook`.

        Raises
        ------
        MissingExtraError
            pandas is not installed; so with the others.
        """
        from mhfd.show.frames import pandas_frame

        return pandas_frame(self._rows(), RESULT_COLUMNS)

    def to_polars(self) -> Any:
        """A `polars.DataFrame`; needs the extra `polars`."""
        from mhfd.show.frames import polars_frame

        return polars_frame(self._rows(), RESULT_COLUMNS)

    def to_arrow(self) -> Any:
        """A `pyarrow.Table`; needs the extra `parquet`."""
        from mhfd.show.frames import arrow_table

        return arrow_table(self._rows(), RESULT_COLUMNS)

    def plot(self) -> Figure:
        """Blur by tile in the order of the list, or the focus score where no blur is known; needs `notebook`."""
        from mhfd.show.strip import plot_results

        return plot_results(self)

    def _rows(self) -> Iterator[dict[str, Any]]:
        return (flat_result(row.to_dict()) for row in self)

    def _repr_html_(self) -> str:
        """A small table for notebooks."""
        from mhfd.show.table import results_html

        return results_html(self)

    @overload
    def __getitem__(self, index: SupportsIndex, /) -> FocusResult: ...
    @overload
    def __getitem__(self, index: slice, /) -> Results: ...
    def __getitem__(self, index: SupportsIndex | slice, /) -> FocusResult | Results:
        found = super().__getitem__(index)
        return Results(found) if isinstance(found, list) else found

    def __add__(self, other: list[FocusResult], /) -> Results:  # type: ignore[override]  # `list` adds other lists too
        return Results(super().__add__(other))

    def copy(self) -> Results:
        return Results(self)
