"""The results of a shard as typed columns of a Parquet file, and back.

The numbers of the measure have six digits and more that mean nothing, so they are kept as float32, and read back as
the shortest decimals that are those. What files say (sizes of pixels, positions) keeps every digit. The spectra lie in
a file of their own, row by row beside the results.
"""

from __future__ import annotations

import base64
import binascii
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from mhfd.contract import SCHEMA, FocusResult, storable
from mhfd.worker.archive.files import ParquetFile, pyarrow, reading
from mhfd.worker.archive.manifest import Tile

Row = dict[str, Any]

GROUP_ROWS = 2**14
"""Rows of a row group: what is in memory at one time."""

SINGLE = (
    "focus_score", "features_per_mpx", "characteristic_scale_px", "noise", "content", "anisotropy", "saturated",
    "vollath_f4", "grey",
)  # fmt: skip
"""Results that are kept as float32."""

TIMES = ("read", "copy", "kernel", "total")

SPECTRUM_PREFIX = "1:"
"""Of the spectra that become bytes; others stay text (`mhfd.spectrum.Spectrum.pack`)."""


@dataclass(frozen=True)
class Column:
    """A column of a part.

    Attributes
    ----------
    kind : of the values
    of : the value in a result
    repeats : whether a dictionary of its values is short
    """

    kind: Any
    of: Callable[[FocusResult], Any]
    repeats: bool = False


@cache
def _columns() -> dict[str, Column]:
    a = pyarrow()
    text, whole, single, double = a.string(), a.int32(), a.float32(), a.float64()

    def same(name: str, kind: Any, *, repeats: bool = False) -> tuple[str, Column]:
        return name, Column(kind, lambda row: getattr(row, name), repeats)

    def time(name: str) -> tuple[str, Column]:
        return f"{name}_ms", Column(single, lambda row: getattr(row.timing_ms, name))

    return dict([
        ("path", Column(text, lambda row: storable(row.path))),
        same("status", text, repeats=True),
        ("error_code", Column(text, lambda row: row.error and row.error.code, True)),
        ("error_message", Column(text, lambda row: row.error and storable(row.error.message))),
        ("rows", Column(whole, lambda row: row.shape and row.shape[0], True)),
        ("cols", Column(whole, lambda row: row.shape and row.shape[1], True)),
        same("dtype", text, repeats=True),
        same("picture", a.list_(whole)),
        same("pixel_size_nm", double, repeats=True),
        same("features", whole),
        *(same(name, single) for name in SINGLE),
        same("features_by_scale", a.list_(whole)),
        same("scales_px", a.list_(double)),
        ("remarks", Column(a.list_(a.struct([("code", text), ("message", text)])), lambda row: [
            {"code": each.code, "message": storable(each.message)} for each in row.remarks
        ])),
        ("format", Column(text, lambda row: row.acquisition.format, True)),
        ("lossy", Column(a.bool_(), lambda row: row.acquisition.lossy)),
        ("vendor", Column(text, lambda row: row.acquisition.vendor, True)),
        ("working_distance_mm", Column(double, lambda row: row.acquisition.working_distance_mm, True)),
        ("dwell_us", Column(double, lambda row: row.acquisition.dwell_us, True)),
        ("stage_um", Column(a.list_(double), lambda row: row.acquisition.stage_um)),
        ("mhfd", Column(text, lambda row: row.provenance.mhfd, True)),
        ("params_sha256", Column(text, lambda row: row.provenance.params_sha256, True)),
        ("backend", Column(text, lambda row: row.provenance.backend, True)),
        ("device", Column(text, lambda row: row.provenance.device, True)),
        ("measure", Column(whole, lambda row: row.provenance.measure, True)),
        ("tile_sha256", Column(a.binary(), lambda row: _bytes(row.provenance.tile_sha256))),
        *(time(name) for name in TIMES),
    ])  # fmt: skip


STAMP = ("size", "mtime_ns")
"""Columns beside those of the result: of the file, as the manifest has them."""


@cache
def schema() -> Any:
    """`pyarrow.Schema` of a part."""
    a = pyarrow()
    return a.schema([(name, each.kind) for name, each in _columns().items()] + [(name, a.int64()) for name in STAMP])


@cache
def _spectra_schema() -> Any:
    a = pyarrow()
    return a.schema([("path", a.string()), ("spectrum", a.binary())])


@dataclass
class Tally:
    """What a file of results holds, by number; it stands in its footer."""

    scored: int = 0
    failed: int = 0
    failures: Counter[str] = field(default_factory=Counter)

    def count(self, code: str | None, tiles: int = 1) -> None:
        if code is None:
            self.scored += tiles
        else:
            self.failed += tiles
            self.failures[code] += tiles

    def add(self, other: Mapping[str, Any]) -> None:
        self.scored += int(other["scored"])
        self.failed += int(other["failed"])
        self.failures.update(other["failures"])

    def to_dict(self) -> dict[str, Any]:
        """{"rows", "scored", "failed", "failures"}."""
        rows = self.scored + self.failed
        return {
            "rows": rows,
            "scored": self.scored,
            "failed": self.failed,
            "failures": dict(sorted(self.failures.items())),
        }


class PartWriter:
    """Writes results, and their spectra where they are wanted, into new files of a folder."""

    def __init__(self, folder: Path, name: str, *, spectra: bool) -> None:
        single = [*SINGLE, *(f"{each}_ms" for each in TIMES)]
        self._rows = ParquetFile(
            folder,
            name,
            schema(),
            use_dictionary=[name for name, each in _columns().items() if each.repeats] + ["size"],
            column_encoding={"path": "DELTA_BYTE_ARRAY", "mtime_ns": "DELTA_BINARY_PACKED"}
            | dict.fromkeys(single, "BYTE_STREAM_SPLIT"),
            compression_level=6,
        )
        self._spectra = (
            ParquetFile(
                folder,
                f"spectra-{name}",
                _spectra_schema(),
                use_dictionary=False,
                column_encoding={"path": "DELTA_BYTE_ARRAY"},
                write_statistics=False,
            )
            if spectra
            else None
        )
        self._waiting: list[tuple[FocusResult, Tile]] = []
        self._tables: list[tuple[Any, Any]] = []
        self._held = 0
        self.tally = Tally()

    def add(self, result: FocusResult, tile: Tile) -> None:
        """One result, of a tile of the manifest."""
        self.tally.count(None if result.error is None else result.error.code)
        self._waiting.append((result, tile))
        self._held += 1
        if self._held >= GROUP_ROWS:
            self._write()

    def take(self, rows: Any, spectra: Any) -> None:
        """Results as they stand in another part: a `pyarrow.Table` of them, and one of their spectra."""
        self._pack()
        for code, tiles in Counter(rows["error_code"].to_pylist()).items():
            self.tally.count(code, tiles)
        self._tables.append((rows, spectra))
        self._held += len(rows)
        if self._held >= GROUP_ROWS:
            self._write()

    def keep(self, rows_to: Path, spectra_to: Path, footer: Mapping[str, Any]) -> None:
        """Put both files into their places, the spectra first: results without them would count as done."""
        self._write()
        about = {**footer, **self.tally.to_dict()}
        if self._spectra is not None:
            self._spectra.keep(spectra_to, about)
        self._rows.keep(rows_to, about)

    def drop(self) -> None:
        self._rows.drop()
        if self._spectra is not None:
            self._spectra.drop()

    def _pack(self) -> None:
        """Make columns of the results that wait."""
        if self._waiting:
            self._tables.append((table_of(self._waiting), spectra_of([row for row, _ in self._waiting])))
            self._waiting = []

    def _write(self) -> None:
        self._pack()
        if self._held:
            rows, spectra = zip(*self._tables, strict=True)
            self._rows.write(pyarrow().concat_tables(rows))
            if self._spectra is not None:
                self._spectra.write(pyarrow().concat_tables(spectra))
        self._tables, self._held = [], 0


def table_of(results: Sequence[tuple[FocusResult, Tile]]) -> Any:
    """Results and their tiles as a `pyarrow.Table` of `schema()`."""
    columns = [[each.of(row) for row, _ in results] for each in _columns().values()]
    columns += [[getattr(tile, name) for _, tile in results] for name in STAMP]
    return pyarrow().table(
        [pyarrow().array(values, kind) for values, kind in zip(columns, schema().types, strict=True)], schema=schema()
    )


def spectra_of(results: Iterable[FocusResult]) -> Any:
    """The spectra of results as a `pyarrow.Table`."""
    rows = list(results)
    paths, spectra = [storable(row.path) for row in rows], [_packed(row.spectrum) for row in rows]
    return pyarrow().table([paths, spectra], schema=_spectra_schema())


# --- Reading ------------------------------------------------------------------------------------------------------


def rows_of(part: Path, spectra: Path | None = None) -> Iterator[Row]:
    """`results_of` as plain JSON types, as `FocusResult.to_dict` gives them."""
    return (result.to_dict() for result in results_of(part, spectra))


def results_of(part: Path, spectra: Path | None = None) -> Iterator[FocusResult]:
    """The results of a part; the measure's numbers are those of float32 (`SINGLE`, and the times).

    Parameters
    ----------
    spectra : file of the spectra; None leaves them out
    """
    beside: Iterator[Any] = itertools.repeat(None)
    if spectra is not None:
        beside = (value for batch in _batches(spectra) for value in batch["spectrum"].to_pylist())
    for batch in _batches(part):
        columns = {name: batch[name].to_pylist() for name in batch.schema.names}
        for name, kind in zip(batch.schema.names, batch.schema.types, strict=True):
            if kind == pyarrow().float32():
                columns[name] = _shortest(batch[name])
        # The spectra come second: `zip` ends with the columns before it asks for one more.
        for values, spectrum in zip(zip(*columns.values(), strict=True), beside, strict=False):
            yield _result(dict(zip(columns, values, strict=True)), spectrum)


def _batches(path: Path) -> Iterator[Any]:
    with reading(path) as file:
        yield from file.iter_batches(batch_size=1024)


def _shortest(column: Any) -> list[float | None]:
    """Single numbers as the shortest decimals that are those: 7.31, not 7.309999942779541."""
    return [None if each is None else float(str(each)) for each in _singles(column)]


def _singles(column: Any) -> list[Any]:
    values = column.to_numpy(zero_copy_only=False)
    return [None if missing else value for value, missing in zip(values, column.is_null().to_pylist(), strict=True)]


def _result(of: Row, spectrum: bytes | None) -> FocusResult:
    failed = of["error_code"] is not None
    return FocusResult.from_dict({
        "schema": SCHEMA,
        **{name: of[name] for name in (
            "path", "status", "dtype", "picture", "pixel_size_nm", "features", "features_by_scale", "scales_px",
            "remarks", *SINGLE,
        )},
        "error": {"code": of["error_code"], "message": of["error_message"]} if failed else None,
        "verdict": "failed" if failed else None,
        "shape": None if of["rows"] is None else [of["rows"], of["cols"]],
        "spectrum": _unpacked(spectrum),
        "acquisition": {
            name: of[name] for name in ("format", "lossy", "vendor", "working_distance_mm", "dwell_us", "stage_um")
        },
        "provenance": {
            **{name: of[name] for name in ("mhfd", "params_sha256", "backend", "device", "measure")},
            "tile_sha256": None if of["tile_sha256"] is None else of["tile_sha256"].hex(),
        },
        "timing_ms": {name: of[f"{name}_ms"] for name in TIMES},
    })  # fmt: skip


def _bytes(sha256: str | None) -> bytes | None:
    return None if sha256 is None else bytes.fromhex(sha256)


def _packed(spectrum: str | None) -> bytes | None:
    """As bytes: three quarters of the text, and they can be compressed."""
    if spectrum is None:
        return None
    if spectrum.startswith(SPECTRUM_PREFIX):
        try:
            return SPECTRUM_PREFIX.encode() + base64.b64decode(spectrum[len(SPECTRUM_PREFIX) :], validate=True)
        except binascii.Error:
            pass
    return b"text" + spectrum.encode()


def _unpacked(spectrum: bytes | None) -> str | None:
    if spectrum is None:
        return None
    if spectrum.startswith(prefix := SPECTRUM_PREFIX.encode()):
        return SPECTRUM_PREFIX + base64.b64encode(spectrum[len(prefix) :]).decode()
    return spectrum.removeprefix(b"text").decode()
