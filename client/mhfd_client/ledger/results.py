"""Results: stored once, and only if they are of the pixels that the gate saw."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Literal, TypeVar

from mhfd.contract import FocusResult, ParamsError, split_page
from mhfd_client.ledger.core import dumps, listed, parted
from mhfd_client.ledger.model import Json, RecoverReport, TileRow
from mhfd_client.ledger.steps import Steps

T = TypeVar("T")
Scored = tuple[int, FocusResult]
Page = tuple[str, tuple[int, int]] | FocusResult

REPLACED_TIMES = 3
"""Attempts after which a tile that the endpoint sees with other pixels is given up: it reads another file."""

LINES_AT_ONCE = 500

_COLUMNS = (
    "tile_id", "run_id", "scored_at", "status", "features", "features_per_mpx", "focus_score", "noise", "content",
    "anisotropy", "mhfd", "measure", "device", "json",
)  # fmt: skip
_STORE = (
    f"INSERT INTO result ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))}) "
    f"ON CONFLICT (tile_id) DO UPDATE SET {', '.join(f'{each} = excluded.{each}' for each in _COLUMNS[1:])}"
)


class Results(Steps):
    """The part of `Ledger` that keeps results."""

    def finish(self, tile_id: int, pages: Sequence[Page], now: float, *, constant: Collection[int] = ()) -> None:
        """seen -> ready or failed, page by page: the file is complete and has these pages.

        A page that had the same pixels in an earlier generation, scored by this version of mhfd, is scored at once.
        A page with the pixels of an earlier tile of another name is marked so (`TileRow.identical_to`).

        Parameters
        ----------
        pages : of each its `tile_sha256` and shape, or its failed result
        constant : numbers of the pages whose pixels are all the same: those may well be alike
        """
        with self.transaction():
            pixels = [(None, (None, None)) if isinstance(page, FocusResult) else page for page in pages]
            ids = self._finish(tile_id, pixels, constant, now)
            failed = [(i, page) for i, page in zip(ids, pages, strict=False) if isinstance(page, FocusResult)]
            if failed:
                self.store(failed, now)

    def store(self, results: Sequence[Scored], now: float) -> list[int]:
        """-> scored or failed; the ids of the tiles that changed.

        A scored tile never changes; a failed one may still be scored. A result of other pixels than the gate saw is
        not stored: if the tile is in state submitted, its file was replaced meanwhile, and it is looked at again.
        """
        with self.transaction():
            rows = {row.tile_id: row for row in self._tiles("t.tile_id IN @ids", listed([i for i, _ in results]))}
            accepted: dict[int, FocusResult] = {}
            replaced: list[int] = []
            for tile_id, result in results:
                row = rows.get(tile_id)
                fate = "ignored" if row is None else _fate(row, result)
                if fate == "stored":
                    accepted[tile_id] = result
                elif fate == "given up":
                    accepted[tile_id] = _given_up(result)
                elif fate == "replaced":
                    replaced.append(tile_id)
            self._keep([(rows[tile_id], result) for tile_id, result in accepted.items()], now)
            self._end_attempts([(tile_id, "the file was replaced meanwhile", None) for tile_id in replaced], now)
            self._look_again(replaced, "replaced", now)
        return list(accepted)

    def _keep(self, stored: Sequence[tuple[TileRow, FocusResult]], now: float) -> None:
        self._many(_STORE, [_record(row, result, now) for row, result in stored])
        self._many(
            "UPDATE tile SET state = ?, reason = NULL, stalled_at = NULL, ticket = NULL, error_code = ?, "
            "error_message = ?, state_at = ? WHERE tile_id = ?",
            [(r.status, r.error and r.error.code, r.error and r.error.message, now, row.tile_id) for row, r in stored],
        )
        self._end_attempts([(row.tile_id, r.status, r.provenance.device) for row, r in stored], now)

    def recover(self, run_id: int, lines: Iterable[Json], now: float) -> RecoverReport:
        """Take results from an endpoint's spool (`mhfd.worker.rows.read_spool`), or from rows alone.

        A line goes to the tiles with its pixels (by their hash) that have no score yet: to the one of its name if
        there is one, else to all.
        """
        ((params_sha256,),) = self._ask("SELECT params_sha256 FROM run WHERE run_id = ?", run_id)
        total: Counter[str] = Counter()
        for batch in _batches(lines, LINES_AT_ONCE):
            found: list[FocusResult] = []
            for line in batch:
                kind, result = _spooled(line, params_sha256)
                if result is None:
                    total[kind] += 1
                else:
                    found.append(result)
            total.update(self._recover(run_id, found, now))
        return RecoverReport(**total)

    def _recover(self, run_id: int, found: Sequence[FocusResult], now: float) -> Counter[str]:
        counts: Counter[str] = Counter()
        with self.transaction():
            hashes = listed(sorted({str(each.provenance.tile_sha256) for each in found}))
            lacking: dict[str | None, dict[str, TileRow]] = {}
            for row in self._tiles("t.tile_sha256 IN @texts AND t.state <> 'scored' AND t.run_id = ?", hashes, run_id):
                lacking.setdefault(row.tile_sha256, {})[row.name] = row
            stored: list[Scored] = []
            left: list[FocusResult] = []
            for result in found:
                tiles = lacking.get(result.provenance.tile_sha256, {})
                names = [result.path] if result.path in tiles else list(tiles)
                stored += [(tiles.pop(name).tile_id, replace(result, path=name)) for name in names]
                if not names:
                    left.append(result)
            counts["stored"] = len(self.store(stored, now))
            for result in left:
                counts["known" if self._is_known(run_id, result) else "unmatched"] += 1
        return counts

    def _is_known(self, run_id: int, result: FocusResult) -> bool:
        path, page = split_page(result.path)
        return bool(
            self._ask(
                "SELECT 1 FROM tile AS t JOIN folder AS f ON f.folder_id = t.folder_id WHERE f.run_id = ? "
                "AND f.path = ? AND t.name = ? AND t.page = ? AND t.state = 'scored' AND t.tile_sha256 = ?",
                run_id, *parted(path), page, result.provenance.tile_sha256,
            )
        )  # fmt: skip


def _fate(row: TileRow, result: FocusResult) -> Literal["stored", "ignored", "replaced", "given up"]:
    if row.state == "scored":
        return "ignored"
    if result.status == "failed":
        return "ignored" if row.state == "failed" else "stored"
    if row.tile_sha256 == result.provenance.tile_sha256:
        return "stored"
    if row.state != "submitted":  # the late answer to an earlier attempt
        return "ignored"
    return "given up" if row.attempts >= REPLACED_TIMES else "replaced"


def _given_up(result: FocusResult) -> FocusResult:
    message = (
        f"the endpoint read other pixels than this machine, {REPLACED_TIMES} times; see whether both read the same "
        "file (the endpoint's `data` or `transfer` in the configuration), then `mhfd retry --failed`"
    )
    return FocusResult.failed(result.path, "read_failed", message, replace(result.provenance, tile_sha256=None))


def _record(row: TileRow, result: FocusResult, now: float) -> tuple[object, ...]:
    measures = (
        result.features, result.features_per_mpx, result.focus_score, result.noise, result.content, result.anisotropy
    )  # fmt: skip
    about = result.provenance
    return (
        row.tile_id, row.run_id, now, result.status, *measures, about.mhfd, about.measure, about.device,
        dumps(result.to_dict())
    )  # fmt: skip


def _spooled(line: Json, params_sha256: str) -> tuple[str, FocusResult | None]:
    """The scored result of a line; without one, the count that the line adds to."""
    try:
        result = FocusResult.from_dict(line.get("row", line))
    except (ParamsError, TypeError, KeyError, AttributeError):
        return "unreadable", None
    if result.status == "failed":
        return "failed", None
    if result.provenance.params_sha256 != params_sha256:
        return "unmatched", None
    return "", result


def _batches(values: Iterable[T], size: int) -> Iterator[list[T]]:
    rest = iter(values)
    while batch := list(islice(rest, size)):
        yield batch
