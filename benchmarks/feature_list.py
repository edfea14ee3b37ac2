"""What the host does for a tile that a GPU has measured: time of its numbers and of its list of features.

    python benchmarks/feature_list.py [--features 16000] [--repeats 200]

Arrays stand in for what the device returns: features in the order in which the blocks of threads of `peaks` may write
them, numbers of a tile of 1024 x 1024 px. Processor time, the least and the median; in turn with the list sorted by
row and column, as it was once.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from time import process_time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mhfd.contract import FocusParams
from mhfd.kernel.fused.layout import Extent
from mhfd.kernel.fused.numbers import Numbers, all_measures, feature_list
from mhfd.kernel.fused.source import FEATURE, PEAK_ROWS, STATE, WIDTH
from mhfd.kernel.power import KEPT
from mhfd.spectrum import CELLS

SIDE = 1024
PARAMS = FocusParams()


def features(count: int, rng: np.random.Generator) -> NDArray[Any]:
    rows, cols = np.divmod(rng.choice(SIDE * SIDE, count, replace=False), SIDE)
    order = np.lexsort((rng.random(count), cols // WIDTH, rows // PEAK_ROWS))
    found = np.zeros(count, FEATURE)
    found["row"], found["col"], found["scale"] = rows[order], cols[order], rng.integers(0, PARAMS.n_scales, count)
    return found


def numbers(rng: np.random.Generator) -> Numbers:
    extent = Extent.of((SIDE, SIDE), np.dtype(np.uint8), PARAMS)
    return Numbers(
        extent,
        np.ones(1, STATE)[0],
        np.ones(PARAMS.n_scales, np.uint32),
        0.5 + 0.1 * rng.standard_normal(extent.blocks),
        np.ones((CELLS, CELLS, KEPT + 1)),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--features", type=int, default=16000, help="(default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=200, help="(default: %(default)s)")
    args = parser.parse_args()
    rng = np.random.default_rng(1)
    found, one = features(args.features, rng), numbers(rng)
    work: dict[str, Callable[[], object]] = {
        "sorted by row and column": lambda: found[np.lexsort((found["col"], found["row"]))],
        "list of features, sorted": lambda: feature_list(found, PARAMS),
        "numbers": lambda: all_measures([one]),
    }
    spent: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(args.repeats):
        for name, do in work.items():
            start = process_time()
            do()
            spent[name].append(1e3 * (process_time() - start))
    print("| what | least, ms | median, ms |")
    print("| --- | --- | --- |")
    for name, times in spent.items():
        print(f"| {name} | {min(times):.3f} | {statistics.median(times):.3f} |")


if __name__ == "__main__":
    main()
