"""What is compared: the results in a dataset, a ledger, or a file of `mhfd score`, `mhfd export`, as `Verdict`s."""

from __future__ import annotations

import csv
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path, PurePath
from typing import Any

from mhfd.contract import ExitCode, FocusResult, MhfdError, ResultError
from mhfd.extras import needed
from mhfd.judge import setting_of
from mhfd.lines import read_lines
from mhfd.worker.find import OURS
from mhfd_client.judge.run import judge_run
from mhfd_client.ledger import Ledger, LedgerError, Run, State, open_ledger
from mhfd_client.rescore.compare import MEASURES, Verdict

log = logging.getLogger(__name__)

SQLITE = b"SQLite format 3\0"
SUCCESS, PARTS, VERDICTS = "_SUCCESS.json", "part-*.parquet", "verdicts-*.parquet"
AT_ONCE = 8192
LOOKED_AT = 100_000  # rows in which the first tile of the other side is looked for
FAILED: tuple[State, ...] = ("failed",)


class SourceError(MhfdError):
    """There are no results to compare; the message says what there is."""

    exit_code = ExitCode.CONFIG


@dataclass(frozen=True)
class Source:
    """One side of a comparison.

    Attributes
    ----------
    name : for people
    rows : its results, as a new stream
    """

    name: str
    rows: Callable[[], Iterator[Verdict]]


def open_source(given: str, ledger: str) -> Source:
    """The results that a word of the command line means.

    Parameters
    ----------
    given : a job's folder; a run's, with one job in it; a run of the ledger, by its folder or number; a ledger's file,
        with # and a run where it is not the last; or a file of results: .json, .jsonl, .csv, .parquet
    ledger : where runs are looked up

    Raises
    ------
    SourceError
        It is none of these.
    """
    path, _, run = given.partition("#")
    if Path(given).is_dir() and any(Path(given).glob(PARTS)):
        return _dataset(Path(given))
    if Path(path).is_file() and _is_ledger(Path(path)):
        return _of_ledger(path, run or None, given)
    if Path(given).is_file():
        return Source(given, lambda: _of_file(Path(given)))
    if _has_run(ledger, given):
        return _of_ledger(ledger, given, given)
    jobs = sorted(each.parent for each in Path(given, OURS).glob(f"*/{SUCCESS}"))
    if len(jobs) == 1:
        return _dataset(jobs[0])
    if jobs:
        raise SourceError(f"{given} has several jobs: name one of {', '.join(map(str, jobs))}")
    raise SourceError(f"no results in {given}: name a job's folder, a run of the ledger, or a file of results")


def aligned(before: Source, after: Source) -> tuple[Iterator[Verdict], Iterator[Verdict]]:
    """Both streams, with names below the same folder: `mhfd score run` says run/t.tif, a dataset t.tif.

    The first tile of the one is looked for in the other by the end of its name.
    """
    first, rows = _peeked(before.rows())
    if first is None:
        return rows, after.rows()
    name, best = PurePath(first.path).name, ("", "")
    for other in islice(after.rows(), LOOKED_AT):
        if PurePath(other.path).name != name:
            continue
        found = _prefixes(first.path, other.path)
        if best == ("", "") or len(found[0]) < len(best[0]):
            best = found
        if not all(found):  # one name is the end of the other
            break
    return _without(rows, best[0]), _without(after.rows(), best[1])


def _peeked(rows: Iterator[Verdict]) -> tuple[Verdict | None, Iterator[Verdict]]:
    first = next(rows, None)
    return first, rows if first is None else chain([first], rows)


def _prefixes(a: str, b: str) -> tuple[str, str]:
    """What stands before the part that both names end with."""
    left, right = a.replace("\\", "/").split("/"), b.replace("\\", "/").split("/")
    same = 0
    while same < min(len(left), len(right)) and left[-1 - same] == right[-1 - same]:
        same += 1
    return "".join(f"{part}/" for part in left[: len(left) - same]), "".join(
        f"{part}/" for part in right[: len(right) - same]
    )


def _without(rows: Iterator[Verdict], prefix: str) -> Iterator[Verdict]:
    if not prefix:
        return rows
    return (replace(row, path=row.path.replace("\\", "/").removeprefix(prefix)) for row in rows)


# --- Datasets -----------------------------------------------------------------------------------------------------


def _dataset(folder: Path) -> Source:
    return Source(str(folder), lambda: _of_dataset(folder))


def _of_dataset(folder: Path) -> Iterator[Verdict]:
    """Parts and verdicts are in the same order, row by row."""
    needed("pyarrow", "parquet", "a dataset")
    judged = chain.from_iterable(map(_table_rows, sorted(folder.glob(VERDICTS))))
    for part in sorted(folder.glob(PARTS)):
        for row in _table_rows(part):
            said = next(judged, {})
            if said and said["path"] != row["path"]:
                raise SourceError(f"in {folder} verdicts and parts do not belong together: run `mhfd rescore` again")
            yield of_columns({**row, **said})


def _table_rows(file: Path) -> Iterator[Mapping[str, Any]]:
    parquet = needed("pyarrow.parquet", "parquet", "a dataset")
    with file.open("rb") as content, parquet.ParquetFile(content) as opened:
        wanted = [name for name in opened.schema_arrow.names if name in _COLUMNS]
        for batch in opened.iter_batches(AT_ONCE, columns=wanted):
            yield from batch.to_pylist()


_COLUMNS = frozenset((
    "path", "status", "verdict", *MEASURES, "blur_px", "flag_px", "reference", "rows", "cols", "height", "width",
    "pixel_size_nm", "dwell_us", "vendor", "mhfd", "measure", "params_sha256", "tile_sha256", "error_code",
))  # fmt: skip


def of_columns(row: Mapping[str, Any]) -> Verdict:
    """A row of a table of results: of a part, or as `mhfd export` and `mhfd score --csv` write it."""
    sha256, nm = row.get("tile_sha256"), row.get("pixel_size_nm")
    size = row.get("rows", row.get("height")), row.get("cols", row.get("width"))
    return Verdict(
        path=str(row["path"]),
        verdict=row.get("verdict") or ("failed" if row.get("status") == "failed" else None),
        measures=tuple(row.get(name) for name in MEASURES),
        blur_px=row.get("blur_px"),
        flag_px=row.get("flag_px"),
        reference=row.get("reference"),
        setting=(*size, nm, row.get("dwell_us"), row.get("vendor")),
        version=(row.get("mhfd"), row.get("measure")),
        params_sha256=row.get("params_sha256"),
        tile_sha256=sha256.hex() if isinstance(sha256, bytes) else sha256,
        error_code=row.get("error_code"),
    )


# --- Ledgers ------------------------------------------------------------------------------------------------------


def _is_ledger(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(SQLITE)) == SQLITE


def _has_run(where: str, which: str) -> bool:
    if "://" not in where and not Path(where).exists():
        return False
    try:
        with open_ledger(where, readonly=True) as ledger:
            _run(ledger, which)
    except LedgerError:
        return False
    return True


def _run(ledger: Ledger, which: str | None) -> Run:
    return ledger.find_run(int(which) if which is not None and which.isdecimal() else which)


def _of_ledger(where: str, which: str | None, name: str) -> Source:
    def rows() -> Iterator[Verdict]:
        with open_ledger(where, readonly=True) as ledger:
            run = _run(ledger, which)
            for tile in judge_run(ledger, run.run_id):
                yield replace(of_result(tile.result), path=tile.name)
            for row in ledger.rows(run.run_id, states=FAILED):
                yield Verdict(path=row.name, verdict="failed", error_code=row.error_code)

    return Source(name, rows)


def of_result(result: FocusResult) -> Verdict:
    """A result as mhfd has it."""
    setting = setting_of(result)
    return Verdict(
        path=result.path,
        verdict=result.verdict,
        measures=tuple(getattr(result, name) for name in MEASURES),
        blur_px=result.blur_px,
        flag_px=result.flag_px,
        reference=result.reference,
        setting=setting[:5],
        version=(result.provenance.mhfd, result.provenance.measure),
        params_sha256=result.provenance.params_sha256,
        tile_sha256=result.provenance.tile_sha256,
        error_code=None if result.error is None else result.error.code,
    )


# --- Files --------------------------------------------------------------------------------------------------------


def _of_file(path: Path) -> Iterator[Verdict]:
    """Rows of a file of results; a row that is none is passed over."""
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        return map(of_columns, _table_rows(path))
    if suffix == ".csv":
        return map(of_columns, _csv_rows(path))
    if suffix == ".jsonl":
        return _of_json(read_lines(path))
    try:
        given = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SourceError(f"{path} holds no results ({error}): name .json, .jsonl, .csv or .parquet") from error
    return _of_json(iter(given if isinstance(given, list) else [given]))


def _of_json(rows: Iterator[Any]) -> Iterator[Verdict]:
    for row in rows:
        try:
            yield of_result(FocusResult.from_dict(row))
        except ResultError as error:  # noqa: PERF203 - one bad row does not stop the others
            log.warning("a row is no result, and is passed over: %s", error)


def _csv_rows(path: Path) -> Iterator[Mapping[str, Any]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        if "path" not in (reader.fieldnames or ()):
            raise SourceError(f"{path} has no column 'path': name a table of `mhfd score --csv` or `mhfd export`")
        for row in reader:
            yield {key: _number(key, value) for key, value in row.items() if key is not None}


_NUMBERS = frozenset((*MEASURES, "blur_px", "flag_px", "height", "width", "pixel_size_nm", "measure"))


def _number(column: str, text: str | None) -> str | float | None:
    """A cell of a table; the ' in front of what would be a formula goes."""
    if not text:
        return None
    if column not in _NUMBERS:
        return text.removeprefix("'")
    try:
        return float(text)
    except ValueError:
        return None
