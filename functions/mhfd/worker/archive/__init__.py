"""Score archived runs where they lie: a manifest, shards of it scored into parts, and a finished dataset.

    <run>/.mhfd/<job>/manifest.parquet     the tiles, in the order of their names
                      part-00000.parquet   results of a shard: the first 65,536 tiles, ...
                      spectra-00000.parquet
                      verdicts-00000.parquet when all is scored, for 131,072 tiles or more
                      summary.json, _SUCCESS.json

A manifest never changes once it lies there, and a valid part means that its shard is done: parts say in their footers
which manifest, parameters and version they belong to, and come into their place by a rename. So nothing is locked, a
shard may be scored twice at once, and any process may be killed at any moment. docs/archives.md has the columns.
"""

from __future__ import annotations

from mhfd.worker.archive.control import control_run
from mhfd.worker.archive.finish import finish_run
from mhfd.worker.archive.parts import rows_of
from mhfd.worker.archive.plan import plan_run
from mhfd.worker.archive.shard import score_shard
from mhfd.worker.archive.wave import next_wave

__all__ = ["control_run", "finish_run", "next_wave", "plan_run", "rows_of", "score_shard"]
