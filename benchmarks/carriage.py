"""What is done to the bytes of a tile on its way from memory to the worker's kernel, and what each step costs.

    python benchmarks/carriage.py [--tile FILE] [--out carriage.csv]

Processor time, so that a busy machine disturbs little. Turn by turn with what the extras `globus` and `endpoint` bring
(pybase64, orjson) and with the standard library in their place. Service, broker and engine, between request and task,
are left out: benchmarks/service.py measures the whole.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import csv
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import tifffile
from globus_compute_sdk.serialize import JSONData
from globus_sdk._internal import orjson_compat
from globus_sdk.transport.encoders import JSONRequestEncoder
from numpy.typing import NDArray

from mhfd import FocusParams
from mhfd.images import inline
from mhfd_client.compute import sdk

FUNCTION = "11111111-1111-4111-8111-111111111111"
WAYS = ("with the extras", "standard library")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tile", type=Path, help="a grey tile; by default noise, 1024 x 1024 px, 8 bit")
    parser.add_argument("--repeats", type=int, default=51)
    parser.add_argument("--out", type=Path, help="every repeat, as CSV")
    given = parser.parse_args()
    noise = np.random.default_rng(1).integers(0, 256, (1024, 1024), np.uint8)
    pixels = noise if given.tile is None else tifffile.imread(given.tile)
    rows = [
        {"repeat": repeat, "way": way, "step": step, "cpu_ms": round(1e3 * cpu_s, 4)}
        for repeat in range(given.repeats + 1)
        for way in WAYS
        for step, cpu_s in timed(pixels, way)
        if repeat  # the first is discarded
    ]
    if given.out:
        with given.out.open("w", newline="") as out:
            writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    print("| step | " + " | ".join(f"{way}, ms" for way in WAYS) + " |\n|---|---|---|")
    for step in dict.fromkeys(row["step"] for row in rows):
        print(f"| {step} | " + " | ".join(f"{cpu_ms(rows, way, step):.2f}" for way in WAYS) + " |")
    ours, plain = (cpu_ms(rows, way) for way in WAYS)
    print(f"\nall steps: {ours:.1f} ms with the extras, {plain:.1f} ms with the standard library: {plain / ours:.2f} x")


def timed(pixels: NDArray[Any], way: str) -> Iterator[tuple[str, float]]:
    """Each step in order, on what the step before made, and its processor time in seconds."""

    def clocked(step: str) -> tuple[str, float]:
        nonlocal began_s
        taken_s, began_s = time.thread_time() - began_s, time.thread_time()
        return step, taken_s

    with contextlib.ExitStack() as swapped:
        if way == "standard library":
            swapped.enter_context(patch.object(inline, "base64", base64))
            swapped.enter_context(patch.object(sdk, "orjson", None))
            swapped.enter_context(patch.object(orjson_compat, "ORJSON_AVAILABLE", False))
        began_s = time.thread_time()
        tile = inline.encode_tile(pixels, "raw")
        yield clocked("client: pixels to text")
        task = sdk.QuickSerializer().serialize({"tiles": [tile], "params": FocusParams().to_dict()})
        yield clocked("client: task")
        body = {"tasks": {FUNCTION: [task]}}
        JSONRequestEncoder().encode("POST", "http://localhost/", None, body, {}).prepare()
        yield clocked("client: request")
        (received,) = JSONData().deserialize(task)["tiles"]
        yield clocked("worker: task")
        inline.decode_tile(received)
        yield clocked("worker: text to pixels")


def cpu_ms(rows: list[dict[str, Any]], way: str, step: str | None = None) -> float:
    """The median of a step's time, or the sum of all steps' medians."""
    steps = dict.fromkeys(row["step"] for row in rows) if step is None else [step]
    return sum(
        statistics.median(row["cpu_ms"] for row in rows if (row["way"], row["step"]) == (way, each)) for each in steps
    )


if __name__ == "__main__":
    main()
