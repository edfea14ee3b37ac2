"""Rows as a table of pandas, Polars or Arrow; each is loaded when it is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from mhfd.extras import needed
from mhfd.show.columns import Kinds

Row = Mapping[str, Any]

_PANDAS = {"string": "string", "int64": "Int64", "double": "float64", "time": "datetime64[us, UTC]"}


def pandas_frame(rows: Iterable[Row], columns: Kinds) -> Any:
    """A `pandas.DataFrame`; unknown numbers are missing values, whole numbers stay whole."""
    pandas = needed("pandas", "notebook", "a pandas table")
    listed = list(rows)
    return pandas.DataFrame(
        {
            name: pandas.Series([row[name] for row in listed], dtype=_PANDAS[kind], name=name)
            for name, kind in columns.items()
        }
    )


def polars_frame(rows: Iterable[Row], columns: Kinds) -> Any:
    """A `polars.DataFrame`."""
    polars = needed("polars", "polars", "a Polars table")
    kinds = {
        "string": polars.String, "int64": polars.Int64, "double": polars.Float64,
        "time": polars.Datetime("us", "UTC"),
    }  # fmt: skip
    listed = list(rows)
    return polars.DataFrame(
        {name: [row[name] for row in listed] for name in columns},
        schema={name: kinds[kind] for name, kind in columns.items()},
    )


def arrow_table(rows: Iterable[Row], columns: Kinds) -> Any:
    """A `pyarrow.Table`."""
    pyarrow = needed("pyarrow", "parquet", "an Arrow table")
    return pyarrow.Table.from_pylist([dict(row) for row in rows], schema=arrow_schema(columns))


def arrow_schema(columns: Kinds) -> Any:
    """The types of the columns as a `pyarrow.Schema`."""
    pyarrow = needed("pyarrow", "parquet", "an Arrow table")
    types = {
        "string": pyarrow.string(), "int64": pyarrow.int64(), "double": pyarrow.float64(),
        "time": pyarrow.timestamp("us", "UTC"),
    }  # fmt: skip
    return pyarrow.schema([(name, types[kind]) for name, kind in columns.items()])
