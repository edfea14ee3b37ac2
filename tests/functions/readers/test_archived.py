"""Zarr arrays and stacks in an archived run: each of their tiles is a row of the dataset."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile

from mhfd.worker import plan_run, score_shard
from needs import need_module
from phantoms import texture

QUICK = {"n_scales": 2, "max_t": 4.0}


def test_every_tile_of_every_format_is_in_the_parts(tmp_path: Path, rng: np.random.Generator) -> None:
    zarr, mrcfile = need_module("zarr"), need_module("mrcfile")
    parquet = need_module("pyarrow.parquet")
    pixels = np.stack([(texture((128, 128), rng) * 30 + 128).clip(0, 255) for _ in range(2)]).astype(np.uint8)
    tifffile.imwrite(tmp_path / "one.tif", pixels[0])
    for name in ("a.zarr", "b.zarr", "s/c.zarr"):  # of one size, with one, two and eight tiles
        planes, chunk = {"a.zarr": (pixels[:1], 128), "b.zarr": (pixels, 128)}.get(name, (pixels, 64))
        zarr.create_array(tmp_path / name, data=planes, chunks=(1, chunk, chunk))
    with mrcfile.new(tmp_path / "s" / "d.mrc") as file:
        file.set_data(pixels.astype(np.int16))
    plan = plan_run(str(tmp_path), None, QUICK)
    assert (plan["files"], plan["tiles"], plan["shards"]) == (5, 1 + 1 + 2 + 8 + 2, 1)
    answer = score_shard(plan["manifest"], 0, plan["tiles"], QUICK)
    assert (answer["scored"], answer["failed"]) == (plan["tiles"], 0)
    table = parquet.read_table(answer["part"])
    names = ["a.zarr", "one.tif"]
    for name, count in (("b.zarr", 2), ("s/c.zarr", 8), ("s/d.mrc", 2)):
        names += [f"{name}#page={page}" for page in range(count)]
    assert sorted(table.column("path").to_pylist()) == sorted(names)
