"""A list as a table for people, as JSON, JSON lines or CSV: one writer of each for all commands.

The columns of a CSV are called as those of `mhfd export`: `path` is a tile's name, `section`, `grid`, `row`, `col` and
`tile` its place.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Literal

from mhfd.text import cell, json_text, visible
from mhfd_client.files.whole import as_text
from mhfd_client.ledger import Json

Form = Literal["table", "json", "jsonl", "csv"]

PLACE = ("section", "grid", "row", "col", "tile")


@dataclass(frozen=True)
class Listing:
    """A list in all its forms.

    Attributes
    ----------
    rows : an object each, of plain JSON types; "jsonl" takes them one by one
    columns : of the CSV
    lines : the table for people, of all rows; names in it are as they are, and made visible where they leave
    whole : the object that "json" writes, of all rows
    cells : of a row, the values by column
    """

    rows: Iterable[Json]
    columns: Sequence[str]
    lines: Callable[[], Iterable[str]]
    whole: Callable[[list[Json]], object] = lambda rows: rows
    cells: Callable[[Json], Mapping[str, object]] = lambda row: row


def write_listing(listing: Listing, form: Form, out: IO[bytes]) -> None:
    """Write a list in one of its forms."""
    if form == "csv":
        write_csv(listing.columns, map(listing.cells, listing.rows), out)
    elif form == "jsonl":
        write_jsonl(listing.rows, out)
    else:
        with as_text(out) as file:
            if form == "json":
                file.write(json_text(listing.whole(list(listing.rows))) + "\n")
            else:
                file.writelines(f"{visible(line)}\n" for line in listing.lines())


def write_csv(columns: Sequence[str], rows: Iterable[Mapping[str, object]], out: IO[bytes]) -> None:
    """Write a table, row by row; no text in it is a formula."""
    with as_text(out) as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for row in rows:
            writer.writerow(cell(row[column]) for column in columns)


def write_jsonl(rows: Iterable[object], out: IO[bytes]) -> None:
    """Write plain JSON types, an object a line, one by one."""
    with as_text(out) as file:
        for row in rows:
            file.write(json_text(row) + "\n")


def write_json(rows: Iterable[object], out: IO[bytes]) -> None:
    """Write plain JSON types as one array, one by one."""
    with as_text(out) as file:
        between = "["
        for row in rows:
            file.write(between + json_text(row))
            between = ", "
        file.write("[]\n" if between == "[" else "]\n")


def placed(position: Json | None) -> Json:
    """A tile's place, by column."""
    return {key: (position or {}).get(key) for key in PLACE}
