"""All tiles of a run in a few numbers each, as columns: what the page's map and chart are drawn from."""

from __future__ import annotations

import struct
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

VERDICTS = (
    "later", "todo", "in_focus", "out_of_focus", "astigmatic", "no_content", "cannot_tell", "failed", "missing",
)  # fmt: skip
"""Verdicts are sent as an index into this list."""

INDEX = {verdict: i for i, verdict in enumerate(VERDICTS)}

LATER = INDEX["later"]
"""Of a place without a tile: not taken yet, or the tile there was taken again, so that another stands for it."""

MISSING_FROM = 2**31
"""Numbers of missing tiles, which the ledger has no row of, begin here."""

FLAGGED = ("out_of_focus", "astigmatic", "failed")
COMPARED = ("in_focus", "out_of_focus", "astigmatic")
"""Verdicts that a threshold can change into each other."""

NOWHERE = 65_535
"""Section or place of a tile that has none that fits."""

VERSION = 1
_HEADER = struct.Struct("<4sIIIQII")
_LEAST = 1024

SENT = (
    ("n", "<u4"), ("section", "<u2"), ("position", "<u2"), ("verdict", "u1"), ("blur_px", "<f4"), ("flag_px", "<f4"),
    ("focus_score", "<f4"), ("defocus_um", "<f4"),
)  # fmt: skip
"""The columns of `Columns.packed`."""

TABLE = np.dtype([*SENT, ("time_s", "<f8"), ("remarks", "<u2"), ("mtime_ns", "<i8")])
Table = NDArray[np.void]

SAME = 5e-5
"""Numbers that differ by less are sent alike: `Row.listed` rounds them."""


@dataclass(frozen=True)
class Row:
    """One tile; the fields are in the order of `TABLE`.

    Attributes
    ----------
    n : its number in the ledger
    verdict : one of `VERDICTS`
    flag_px : the largest threshold at which it is flagged; None where none changes its verdict
    defocus_um : None where the instrument is not calibrated
    time_s : when its result came, Unix seconds
    mtime_ns : of its file
    """

    n: int
    section: int
    position: int
    verdict: str
    blur_px: float | None = None
    flag_px: float | None = None
    focus_score: float | None = None
    defocus_um: float | None = None
    time_s: float | None = None
    remarks: int = 0
    mtime_ns: int = 0

    def listed(self) -> list[Any]:
        """As the event `tiles` has it."""
        return [
            self.n, self.section, self.position, INDEX[self.verdict], _short(self.blur_px), _short(self.flag_px),
            _short(self.focus_score), None if self.time_s is None else round(self.time_s, 2), self.remarks,
            _short(self.defocus_um),
        ]  # fmt: skip


class Columns:
    """The tiles of a run, by number; one thread writes, any may read."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._index: dict[int, int] = {}
        self._table = np.zeros(_LEAST, TABLE)

    def __len__(self) -> int:
        return len(self._index)

    def __contains__(self, n: int) -> bool:
        return n in self._index

    @property
    def _now(self) -> Table:
        """The part of the table that is filled."""
        return self._table[: len(self._index)]

    # --- writing

    def put(self, row: Row) -> bool:
        """Add a tile, or change what is known of it; True if that is anything new."""
        with self._lock:
            i = self._index.get(row.n)
            if i is None:
                i = self._index[row.n] = len(self._index)
                if i == len(self._table):
                    self._table = np.concatenate([self._table, np.zeros(len(self._table), TABLE)])
            elif _row(self._table[i]).listed() == row.listed():
                return False
            self._table[i] = _record(row)
            return True

    def fill(self, rows: Sequence[Row]) -> None:
        """Put these, each of another number, in place of all."""
        self.load(np.array([_record(row) for row in rows], TABLE))

    def load(self, table: Table) -> None:
        """Put these, each of another number, in place of all.

        Parameters
        ----------
        table : (tiles,) of `TABLE`
        """
        with self._lock:
            self._index = {n: i for i, n in enumerate(table["n"].tolist())}
            self._table = np.concatenate([table, np.zeros(max(_LEAST, len(table)), TABLE)])

    def change(self, numbers: Sequence[int], values: Mapping[str, ArrayLike]) -> list[int]:
        """Change columns of many tiles at once, all of which are known; the numbers of those that became others.

        Parameters
        ----------
        values : by the name of a column, one for each tile
        """
        with self._lock:
            at = np.array([self._index[n] for n in numbers], np.intp)
            before, after = self._table[at], self._table[at]
            for name, column in values.items():
                after[name] = column
            changed = np.zeros(len(at), bool)
            for name in values:
                changed |= ~np.isclose(before[name], after[name], rtol=0, atol=SAME, equal_nan=True)
            self._table[at[changed]] = after[changed]
            return [int(n) for n in after["n"][changed]]

    # --- reading

    def row(self, n: int) -> Row | None:
        """What is known of a tile."""
        with self._lock:
            i = self._index.get(n)
            return None if i is None else _row(self._table[i])

    def rows(self, ns: Iterable[int]) -> Iterator[Row]:
        """Those of these tiles that are known."""
        return (row for n in ns if (row := self.row(n)) is not None)

    def packed(self, seq: int, *, after: int = 0) -> bytes:
        """A header of 32 bytes, then the columns, in the order in which the tiles were taken.

        The header: "MHFD", uint32 version, uint32 number of tiles, uint32 0, uint64 `seq`, uint32 0, uint32 0; all
        little-endian. The columns: uint32 n, uint16 section, uint16 position, uint8 verdict, float32 blur_px, flag_px,
        focus_score, defocus_um; NaN where unknown.

        Parameters
        ----------
        seq : of the last event that is in it
        after : only tiles with a higher number
        """
        with self._lock:
            now = self._now
            kept = now[(now["verdict"] != LATER) & (now["n"] > after)]
        kept = kept[np.lexsort((kept["n"], kept["mtime_ns"], kept["section"]))]
        header = _HEADER.pack(b"MHFD", VERSION, len(kept), 0, seq, 0, 0)
        return b"".join([header, *(kept[name].tobytes() for name, _ in SENT)])

    def counts(self) -> dict[str, int]:
        """Tiles by verdict."""
        with self._lock:
            found = np.bincount(self._now["verdict"], minlength=len(VERDICTS))
        return {verdict: int(n) for verdict, n in zip(VERDICTS, found, strict=True)}

    def flagged_above(self, max_blur_px: float) -> int:
        """Tiles that the judge calls out of focus or astigmatic at a threshold."""
        with self._lock:
            now = self._now
            above = _is_one_of(now, COMPARED) & (now["flag_px"].astype(np.float64) > max_blur_px)
        return int(np.count_nonzero(above))

    def of_verdicts(self, verdicts: Sequence[str]) -> list[int]:
        """The numbers of the tiles with one of these verdicts."""
        with self._lock:
            now = self._now
            return [int(n) for n in now["n"][_is_one_of(now, verdicts)]]

    def scored(self) -> set[int]:
        """The numbers of the tiles that have measures."""
        with self._lock:
            now = self._now
            return set(now["n"][np.isfinite(now["time_s"]) & ~_is_one_of(now, ("later", "failed"))].tolist())

    def at(self, position: int) -> list[Row]:
        """The tiles at one place, by section; the last taken of each section."""
        rows = sorted(self._where("position", position), key=lambda row: (row.mtime_ns, row.n))
        return sorted({row.section: row for row in rows}.values(), key=lambda row: row.section)

    def of_section(self, section: int) -> list[Row]:
        """The tiles of a section."""
        return self._where("section", section)

    def _where(self, name: str, value: int) -> list[Row]:
        with self._lock:
            now = self._now
            here = now[(now[name] == value) & (now["verdict"] != LATER)]
        return [_row(each) for each in here]

    def sections(self) -> tuple[int, int] | None:
        """The lowest and the highest section that has a tile."""
        with self._lock:
            known = self._now["section"]
            known = known[known != NOWHERE]
        return (int(known.min()), int(known.max())) if len(known) else None

    def newest_at(self, time_s: float) -> int | None:
        """The tile whose result came last up to a time."""
        with self._lock:
            now = self._now
            before = np.flatnonzero(now["time_s"] <= time_s)
            return int(now["n"][before[now["time_s"][before].argmax()]]) if len(before) else None

    def usual_blur(self) -> float | None:
        """The median blur of the tiles in focus, px."""
        with self._lock:
            now = self._now
            sharp = now["blur_px"][now["verdict"] == INDEX["in_focus"]]
        sharp = sharp[np.isfinite(sharp)]
        return float(np.median(sharp)) if len(sharp) else None


def _is_one_of(table: Table, verdicts: Sequence[str]) -> NDArray[np.bool_]:
    return np.isin(table["verdict"], [INDEX[each] for each in verdicts])


def _record(row: Row) -> tuple[Any, ...]:
    return (
        row.n, row.section, row.position, INDEX[row.verdict], _nan(row.blur_px), _nan(row.flag_px),
        _nan(row.focus_score), _nan(row.defocus_um), _nan(row.time_s), row.remarks, row.mtime_ns,
    )  # fmt: skip


def _row(record: np.void) -> Row:
    n, section, position, verdict, blur_px, flag_px, focus_score, defocus_um, time_s, remarks, mtime_ns = record.item()
    return Row(
        n, section, position, VERDICTS[verdict], _known(blur_px), _known(flag_px), _known(focus_score),
        _known(defocus_um), _known(time_s), remarks, mtime_ns,
    )  # fmt: skip


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _nan(value: float | None) -> float:
    return np.nan if value is None else value


def _known(value: float) -> float | None:
    return value if np.isfinite(value) else None
