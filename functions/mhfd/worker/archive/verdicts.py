"""Judge the tiles of a job whose shards are all scored: a file of verdicts for each stretch of shards.

Tiles are compared with each other so many at a time, in the order of their names, and with the sharp ones of those
before. A stretch begins with the tiles just before it, so stretches are judged side by side, each in a process of its
own, and their number changes nothing. A valid file means that its stretch is judged.
"""

from __future__ import annotations

import hashlib
import json
import logging
import subprocess
import sys
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

from mhfd.contract import FocusResult
from mhfd.judge import Reference, Setting, VerdictRule, judge, references_of
from mhfd.worker.archive.files import ParquetFile, footer, pyarrow
from mhfd.worker.archive.job import Job
from mhfd.worker.archive.manifest import Manifest
from mhfd.worker.archive.parts import results_of

log = logging.getLogger(__name__)

STRETCH_TILES = 2**17
"""A stretch has at least so many, of whole shards: a minute of judging."""

BLURRED = frozenset(("reference_blurred", "most_are_worse"))
"""Doubts of tiles that those after them are not compared with."""

VERDICTS = (
    "verdict", "confidence", "blur_px", "blur_nm", "blur_error_px", "flag_px", "worst_block", "blur_by_direction_px",
    "blur_map_px", "reference", "doubts",
)  # fmt: skip
"""Keys of a result that judging fills in, and so columns of the verdicts beside the path; the map is flat, by rows."""

_SETTINGS: dict[str, Any] = {
    "use_dictionary": ["verdict", "reference"],
    "column_encoding": {"path": "DELTA_BYTE_ARRAY"},
    "write_statistics": False,
}


@dataclass(frozen=True)
class Judging:
    """How a job's tiles are judged.

    Attributes
    ----------
    references : of earlier runs
    at_once : tiles that are compared with each other
    stretch_tiles : that a stretch has at least
    """

    job: Job
    rule: VerdictRule
    references: tuple[Reference, ...]
    at_once: int
    stretch_tiles: int = STRETCH_TILES

    def run(self, processes: int) -> dict[str, int]:
        """Judge what is not judged yet; numbers by verdict, of all."""
        stretches = list(self._stretches())
        if processes > 1 and len(stretches) > 1:
            with ThreadPoolExecutor(processes) as pool:  # the threads wait
                found = list(pool.map(self._judged_apart, stretches))
        else:
            found = [self.judged(shards) for shards in stretches]
        return dict(sorted(sum(map(Counter, found), Counter[str]()).items()))

    def judged(self, shards: range) -> dict[str, int]:
        """Judge a stretch, unless it is; its numbers by verdict."""
        place, marks = self.job.verdicts(self._number(shards)), self._marks(shards)
        about = footer(place) if place.exists() else None
        if about is not None and marks.items() <= about.items():
            return dict(about["by_verdict"])
        counts, file = Counter[str](), ParquetFile(self.job.folder, place.name, _schema(), **_SETTINGS)
        try:
            for rows in self._rows(shards):
                counts.update(row.verdict or "" for row in rows)
                file.write(_table(rows))
            file.keep(place, {**marks, "by_verdict": dict(counts)})
        finally:
            file.drop()
        return dict(counts)

    def _rows(self, shards: range) -> Iterator[list[FocusResult]]:
        """Judged results, so many at a time."""
        earlier = dict[Setting, Reference]()

        def judged(some: Iterable[FocusResult]) -> list[FocusResult]:
            rows = judge(list(some), self.rule, references=[*self.references, *earlier.values()])
            sure = [row for row in rows if not BLURRED & set(row.doubts)]
            earlier.update({each.setting: each for each in references_of(sure, name="earlier tiles of this run")})
            return rows

        if shards.start:
            judged(deque(self._results(range(shards.start - 1, shards.start)), maxlen=self.at_once))
        results = self._results(shards)
        while some := list(islice(results, self.at_once)):
            yield judged(some)

    def _results(self, shards: range) -> Iterator[FocusResult]:
        for shard in shards:
            yield from results_of(
                self.job.part(shard), self.job.spectra(shard) if self.job.manifest.plan.spectra else None
            )

    def _stretches(self) -> Iterator[range]:
        every = self._every()
        for first in range(0, self.job.manifest.plan.shards, every):
            yield range(first, min(first + every, self.job.manifest.plan.shards))

    def _every(self) -> int:
        return -(-self.stretch_tiles // self.job.manifest.plan.shard_tiles)

    def _number(self, shards: range) -> int:
        return shards.start // self._every()

    def _marks(self, shards: range) -> dict[str, Any]:
        """What the verdicts of a stretch follow from."""
        parts = [self.job.part(shard).stat() for shard in range(max(0, shards.start - 1), shards.stop)]
        asked = [
            asdict(self.rule), [each.to_dict() for each in self.references], self.at_once,
            [(each.st_size, each.st_mtime_ns) for each in parts],
        ]  # fmt: skip
        return {
            **self.job.manifest.plan.marks(),
            "first_shard": shards.start,
            "shards": len(shards),
            "judged_by": hashlib.sha256(json.dumps(asked).encode()).hexdigest(),
        }

    # --- In a process of its own --------------------------------------------------------------------------------------

    def _judged_apart(self, shards: range) -> dict[str, int]:
        """As `judged`; where the process fails, here, so that its error is told or mended."""
        given = {
            "manifest": str(self.job.manifest.place),
            "rule": asdict(self.rule),
            "references": [each.to_dict() for each in self.references],
            "at_once": self.at_once,
            "stretch_tiles": self.stretch_tiles,
            "shards": [shards.start, shards.stop],
        }
        done = subprocess.run(
            [sys.executable, "-m", __name__], input=json.dumps(given).encode(), capture_output=True, check=False
        )
        if done.returncode:
            log.warning("judged here, since a process for it failed: %s", done.stderr.decode(errors="replace")[-2000:])
        return self.judged(shards)  # quick: it is there now

    @classmethod
    def given(cls, given: dict[str, Any]) -> tuple[Judging, range]:
        judging = cls(
            Job(Manifest.open(given["manifest"])),
            VerdictRule(**given["rule"]),
            tuple(Reference.from_dict(each) for each in given["references"]),
            given["at_once"],
            given["stretch_tiles"],
        )
        return judging, range(*given["shards"])


def _schema() -> Any:
    a = pyarrow()
    text, single = a.string(), a.float32()
    lists = {"worst_block": a.int32(), "blur_by_direction_px": single, "blur_map_px": single, "doubts": text}
    kinds = {name: a.list_(lists[name]) if name in lists else single for name in VERDICTS}
    return a.schema({"path": text, **kinds, "verdict": text, "reference": text})


def _table(judged: list[FocusResult]) -> Any:
    columns = {name: [getattr(row, name) for row in judged] for name in ("path", *VERDICTS)}
    columns["blur_map_px"] = [
        None if each is None else [x for line in each for x in line] for each in columns["blur_map_px"]
    ]
    return pyarrow().table(columns, schema=_schema())


if __name__ == "__main__":
    judging, shards = Judging.given(json.load(sys.stdin))
    judging.judged(shards)
