"""A run of any length, in a ledger: the results of a few tiles, again and again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import cycle, islice

from mhfd.contract import FocusResult
from mhfd_client.ledger import Ledger, Run, SeenFile
from mhfd_client.naming.position import Position

SECTION_TILES = 100


def fill(ledger: Ledger, run: Run, results: Sequence[FocusResult], tiles: int) -> None:
    """Store so many tiles with these results, in sections of `SECTION_TILES`."""
    sources = cycle(results)
    for start in range(0, tiles, 2000):
        numbers = range(start, min(tiles, start + 2000))
        files = [
            (
                SeenFile(f"s{n // SECTION_TILES:05}_r0_c{n % SECTION_TILES}.tif", 10, n + 1),
                Position(section=n // SECTION_TILES, row=0, col=n % SECTION_TILES),
            )
            for n in numbers
        ]
        ledger.see(run.run_id, files, float(start))
        with ledger.transaction():
            stored = []
            waiting = ledger.take(run.run_id, "seen", 2000, now=0.0, order="oldest")
            for tile, result in zip(waiting, islice(sources, len(waiting)), strict=True):
                pixels = f"{tile.tile_id}"
                ledger.finish(tile.tile_id, [(pixels, result.shape or (1, 1))], float(start))
                about = replace(result.provenance, tile_sha256=pixels)
                stored.append((tile.tile_id, replace(result, path=tile.path, provenance=about)))
            ledger.store(stored, float(start))
