"""Peak memory of scoring one tile, in bytes a pixel.

    python benchmarks/peak_memory.py [--side 4096] [--dtype uint8]

A fresh process imports mhfd and scores a small tile; how much its peak resident size grows with the large one is
the tile's share, the pixels themselves included. Linux and macOS only.
"""

from __future__ import annotations

import argparse
import subprocess
import sys

CHILD = """
import resource, sys
import numpy
import mhfd
side, dtype = int(sys.argv[1]), sys.argv[2]
unit = 1 if sys.platform == "darwin" else 1024
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
mhfd.score(numpy.zeros((64, 64), dtype))
before = peak()
tile = numpy.random.default_rng(0).integers(0, 255, (side, side), numpy.uint8).astype(dtype)
mhfd.score(tile)
print((peak() - before) / tile.size)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=4096, help="of the tile, in px (default: %(default)s)")
    parser.add_argument("--dtype", nargs="+", default=["uint8", "uint16", "float32"], help="pixel types to try")
    args = parser.parse_args()
    print("| tile | pixels | peak memory, bytes/px |\n| --- | --- | --- |")
    for dtype in args.dtype:
        command = [sys.executable, "-c", CHILD, str(args.side), dtype]
        grown = float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
        print(f"| {args.side} x {args.side} | {dtype} | {grown:.1f} |")


if __name__ == "__main__":
    main()
