"""Results as CSV, JSON, JSON lines or Parquet: a stream, whatever the size of the run; verdicts are made on reading."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from datetime import datetime, timezone
from itertools import islice
from typing import IO, Any, Literal

from mhfd.contract import ExitCode, MhfdError
from mhfd.extras import install_hint
from mhfd.show.columns import DEFOCUS, MEASURES, ORIGIN_AND_BLUR, SIZE, Kinds, flat_result
from mhfd.show.frames import arrow_schema
from mhfd_client.judge.retakes import Retake, retake_list
from mhfd_client.judge.run import Standard, Tile, judge_run, judged_keys
from mhfd_client.judge.standing import standing_of
from mhfd_client.ledger import Json, Ledger, Run, State, TileRow
from mhfd_client.naming.position import Position
from mhfd_client.views.listing import write_csv, write_json, write_jsonl

Format = Literal["csv", "json", "jsonl", "parquet"]
Fits = Callable[[Mapping[str, Any]], bool]  # a row by column -> whether it is wanted
Judged = tuple[TileRow, Json | None]  # the result with its verdict, as `FocusResult.to_dict()` has it

HAVE_RESULTS: tuple[State, ...] = ("scored", "failed")
ROWS_IN_A_GROUP = 20_000  # of a Parquet file

# First those that `mhfd score --csv` has, in that order; in both, later ones come last.
COLUMNS: Kinds = {
    **MEASURES,
    "state": "string", "generation": "int64", "page": "int64", "section": "int64", "grid": "int64", "row": "int64",
    "col": "int64", "tile": "int64",
    **SIZE,
    "seen_at": "time", "scored_at": "time", "attempts": "int64",
    **ORIGIN_AND_BLUR,
    "decision": "string", "decided_by": "string", "decided_at": "time",
    **DEFOCUS,
}  # fmt: skip


class ExportError(MhfdError):
    """A table cannot be written as asked."""

    exit_code = ExitCode.CONFIG


def export(
    ledger: Ledger,
    run: Run,
    out: IO[bytes],
    form: Format,
    *,
    states: Collection[State] = HAVE_RESULTS,
    since: float | None = None,
    standard: Standard | None = None,
    fits: Fits | None = None,
) -> int:
    """Write the tiles of a run that `chosen` gives; their number. Without a result a tile has no line in JSON."""
    with_decisions = form in ("csv", "parquet")  # results in JSON have none
    rows, decided = chosen(
        ledger, run, states=states, since=since, standard=standard, fits=fits, with_decisions=with_decisions
    )
    counted = _Counted(rows)
    _WRITERS[form](counted, out, decided)
    return counted.n


def chosen(
    ledger: Ledger,
    run: Run,
    *,
    states: Collection[State] = HAVE_RESULTS,
    since: float | None = None,
    standard: Standard | None = None,
    fits: Fits | None = None,
    with_decisions: bool = False,
) -> tuple[Iterator[Judged], Mapping[int, Retake]]:
    """The tiles of a run, each in its newest generation, judged; and what is known of those to take again, by number.

    Parameters
    ----------
    states : only tiles in one of these; without a result they have no measures
    since : only results from this time on (Unix seconds), in the order in which they came
    standard : how the run is judged, if not as its watch does
    fits : only tiles of which this is true, by the columns of the table, as they are judged now
    with_decisions : look up which tiles are to be taken again; without `fits` not everybody needs that
    """
    tiles = judge_run(ledger, run.run_id, standard)
    rows = _with_verdicts(ledger.rows(run.run_id, states=states, since=since), tiles)
    needed = with_decisions or fits is not None
    entries = retake_list(ledger, run.run_id, standing_of(ledger, run.run_id, tiles)) if needed else []
    decided = {each.row.tile_id: each for each in entries}
    if fits is not None:
        rows = ((row, result) for row, result in rows if fits(flat(row, result, decided.get(row.tile_id))))
    return rows, decided


def table_rows(ledger: Ledger, run: Run, standard: Standard | None = None) -> Iterator[dict[str, Any]]:
    """The tiles that have a result, by column, as "csv" and "parquet" hold them."""
    rows, decided = chosen(ledger, run, standard=standard, with_decisions=True)
    return (flat(row, result, decided.get(row.tile_id)) for row, result in rows)


def judged_rows(
    ledger: Ledger, run: Run, rows: Iterable[TileRow], standard: Standard | None = None
) -> Iterator[Judged]:
    """Each row with its result, the verdict filled in; None where there is no result yet."""
    return _with_verdicts(rows, judge_run(ledger, run.run_id, standard))


def _with_verdicts(rows: Iterable[TileRow], tiles: Iterable[Tile]) -> Iterator[Judged]:
    judged = {tile.tile_id: judged_keys(tile.result) for tile in tiles}
    for row in rows:
        if (result := row.result) is None:
            yield row, None
            continue
        verdict = judged.get(row.tile_id, {"remarks": result.get("remarks") or []})
        yield row, {**result, "path": row.name, **verdict}


def flat(row: TileRow, result: Json | None, entry: Retake | None = None) -> dict[str, Any]:
    """One row of a table, by column.

    Parameters
    ----------
    entry : of the list of tiles to take again; None where nobody need decide
    """
    decision = entry and entry.decision
    where = row.position or Position()
    return {
        **dict.fromkeys(COLUMNS),
        **flat_result(result or {}),
        "path": row.name,
        "error_code": row.error_code,
        "error_message": row.error_message,
        "state": row.state,
        "generation": row.generation,
        "page": row.page,
        "section": where.section,
        "grid": where.grid,
        "row": where.row,
        "col": where.col,
        "tile": where.tile,
        "height": row.shape and row.shape[0],
        "width": row.shape and row.shape[1],
        "seen_at": _time(row.seen_at),
        "scored_at": _time(row.scored_at),
        "attempts": row.attempts,
        "tile_sha256": row.tile_sha256,
        "decision": decision.decision if decision else "open" if entry and entry.status == "open" else None,
        "decided_by": decision and decision.who,
        "decided_at": _time(decision.decided_at) if decision else None,
    }


def _write_csv(rows: Iterable[Judged], out: IO[bytes], decided: Mapping[int, Retake]) -> None:
    write_csv(tuple(COLUMNS), (flat(row, result, decided.get(row.tile_id)) for row, result in rows), out)


def _write_jsonl(rows: Iterable[Judged], out: IO[bytes], _decided: Mapping[int, Retake]) -> None:
    write_jsonl((result for _, result in rows if result is not None), out)


def _write_json(rows: Iterable[Judged], out: IO[bytes], _decided: Mapping[int, Retake]) -> None:
    write_json((result for _, result in rows if result is not None), out)


def _write_parquet(rows: Iterable[Judged], out: IO[bytes], decided: Mapping[int, Retake]) -> None:
    try:
        import pyarrow  # type: ignore[import-untyped]
        import pyarrow.parquet  # type: ignore[import-untyped]
    except ImportError as error:
        raise ExportError(f"Parquet needs pyarrow: {install_hint('parquet')}") from error
    schema = arrow_schema({**COLUMNS, "spectrum": "string"})
    rest = (
        {**flat(row, result, decided.get(row.tile_id)), "spectrum": (result or {}).get("spectrum")}
        for row, result in rows
    )
    with pyarrow.parquet.ParquetWriter(out, schema) as writer:
        while group := list(islice(rest, ROWS_IN_A_GROUP)):
            writer.write_batch(pyarrow.RecordBatch.from_pylist(group, schema=schema))


_WRITERS: dict[Format, Callable[[Iterable[Judged], IO[bytes], Mapping[int, Retake]], None]] = {
    "csv": _write_csv,
    "json": _write_json,
    "jsonl": _write_jsonl,
    "parquet": _write_parquet,
}


class _Counted:
    """Passes rows on and counts them."""

    def __init__(self, rows: Iterator[Judged]) -> None:
        self._rows = rows
        self.n = 0

    def __iter__(self) -> Iterator[Judged]:
        for each in self._rows:
            self.n += 1
            yield each


def _time(at: float | None) -> datetime | None:
    return None if at is None else datetime.fromtimestamp(at, timezone.utc)
