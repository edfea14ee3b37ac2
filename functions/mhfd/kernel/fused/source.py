"""Constants and record types that the CUDA source shares with its callers."""

from __future__ import annotations

from functools import cache
from itertools import product
from pathlib import Path

import numpy as np

from mhfd.kernel import measures, power
from mhfd.kernel.plan import HALF_WIDTH, MAX_LEVEL, interpolators
from mhfd.robust import NORMAL_MEDIAN
from mhfd.spectrum import BLOCK_PX, CELLS

BLOCK = measures.CONTENT_BLOCK_PX
SMOOTH_COLS, SMOOTH_ROWS, SMOOTH_GROUPS, SMOOTH_TAPS = 128, 8, 3, 16
PAIR_COLS, PAIR_THREADS, PAIR_GROUPS = 128, 160, 2
PAIRS = (*product((4, 5, 6), repeat=2), (5, 8), (5, 9), (10, 6), (6, 7))  # taps of two steps that one launch does
MERGE_SIDE, MERGE_GROUPS = 64, 8
CHUNK_ROWS, CHUNK_COLS = 32, 256
COARSE_BINS, FINE_BITS = 2048, 17
PEAK_ROWS, WIDTH = 8, 256
BANKS = 32  # of shared memory
SHARED_BYTES = 48 * 1024  # of shared memory that every device grants a block
PAIR_SHARED_BYTES = 53 * 1024  # what a pair asks for beyond that; three blocks of it fit a multiprocessor of 164 KiB
LAGS, SHADES, MEDIANS = 12, 3, 5
SUMS = LAGS + SHADES  # of a chunk
SPECTRUM_SIZE = power.KEPT + 2  # numbers of a block

CONSTANTS: dict[str, float] = {
    "BLOCK": BLOCK, "SMOOTH_COLS": SMOOTH_COLS, "SMOOTH_ROWS": SMOOTH_ROWS, "SMOOTH_GROUPS": SMOOTH_GROUPS,
    "PAIR_COLS": PAIR_COLS, "PAIR_THREADS": PAIR_THREADS, "PAIR_GROUPS": PAIR_GROUPS,
    "MERGE_SIDE": MERGE_SIDE, "MERGE_GROUPS": MERGE_GROUPS, "HALF_WIDTH": HALF_WIDTH, "MAX_LEVEL": MAX_LEVEL,
    "CHUNK_ROWS": CHUNK_ROWS, "CHUNK_COLS": CHUNK_COLS, "COARSE_BINS": COARSE_BINS, "FINE_BITS": FINE_BITS,
    "PEAK_ROWS": PEAK_ROWS, "LAGS": LAGS, "SHADES": SHADES,
    **{f"LAG_{k}": lag for k, lag in enumerate(measures.LINE_LAGS)},
    "NORMAL_MEDIAN": NORMAL_MEDIAN, "MEAN_MARGIN": measures.MEAN_MARGIN, "MIN_NOISE": measures.MIN_NOISE,
    "MIN_STEP": measures.MIN_STEP, "MIN_RESPONSE": measures.MIN_RESPONSE,
    "TEXTURE_ANISOTROPY": measures.TEXTURE_ANISOTROPY, "SPECTRUM_BLOCK": BLOCK_PX, "SPECTRUM_CELLS": CELLS,
    "SPECTRUM_KEPT": power.KEPT, "SPECTRUM_SIZE": SPECTRUM_SIZE, "SPECTRUM_THREADS": WIDTH,
    "CONTENT_RATIO": power.CONTENT_RATIO, "CONTENT_POWER": power.CONTENT_POWER,
}  # fmt: skip
"""Constants that the CUDA source shares with this module, `measures` and `power`."""

STATE = np.dtype(
    [
        ("keys", "u8", 4), ("ranks", "i8", 4), ("counts", "i8", 4), ("low", "f8"), ("high", "f8"), ("saturated", "f8"),
        ("mean", "f8"), ("bins", "i8", MEDIANS), ("left", "i8", MEDIANS), ("medians", "f8", MEDIANS),
        ("variance", "f8"), ("slope", "f8"), ("grey", "f8"), ("covariances", "f8", LAGS),
    ]
)  # fmt: skip
"""`State` of common.cu."""

PARTS = "common", "grey", "noise", "spectrum", "cascade", "pair", "features", "maximum"
"""Files of the CUDA source, compiled as one text in this order."""

FEATURE = np.dtype([("row", "i4"), ("col", "i4"), ("scale", "i4"), ("strength", "f4")])
"""`Feature` of features.cu."""


def ceil_div(a: int, b: int) -> int:
    return -(-a // b)


@cache
def source() -> str:
    """Text of the CUDA source with its constants, ready to compile."""
    defines = "".join(f"#define {name} {value!r}\n" for name, value in CONSTANTS.items())
    # Of all levels, one after the other: where the compiler knows the index, a weight costs no instruction.
    weights = [weight for level in range(1, MAX_LEVEL + 1) for weight in interpolators(level).ravel().tolist()]
    defines += f"__constant__ float INTERPOLATORS[] = {{{', '.join(f'{weight!r}f' for weight in weights)}}};\n"
    folder = Path(__file__).with_name("cuda")
    parts = [(folder / f"{part}.cu").read_text(encoding="utf-8") for part in PARTS]
    return "\n".join([defines, *parts, *(f"PAIR({first}, {second})" for first, second in PAIRS)]) + "\n"
