"""A base directory of SBEMimage as it is: scored, watched, and scored as an archive."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner, Result

from mhfd.worker import plan_run, score_shard
from mhfd_client.cli import main
from needs import need_module
from phantoms import texture

SLICES = (7, 8)
TILES = {
    f"tiles/g{grid:04}/t{tile:04}/stack_g{grid:04}_t{tile:04}_s{number:05}.tif": (number, grid, tile)
    for number in SLICES
    for grid, tile in ((0, 65), (0, 66), (1, 3))
}
OTHERS = (
    "tiles/rejected/stack_g0000_t0065_s00007_0.tif",
    "overviews/ov000/stack_ov000_s00007.tif",
    "overviews/debris/stack_ov000_s00007_1.tif",
    "workspace/g0000_t0065.png",
    "workspace/reslices/r_g0000_t0065.tif",
)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    rng = np.random.default_rng(2)
    for name in (*TILES, *OTHERS):
        file = tmp_path / "run" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(file, (texture((64, 64), rng) * 30 + 128).clip(0, 255).astype(np.uint8))
    logs = tmp_path / "run" / "meta" / "logs"
    logs.mkdir(parents=True)
    (logs / "imagelist_20260101.txt").write_text("".join(f"{name.replace('/', chr(92))};0;0;0;7\n" for name in TILES))
    (tmp_path / "config.toml").touch()
    monkeypatch.setenv("MHFD_CONFIG", str(tmp_path / "config.toml"))
    monkeypatch.setenv("MHFD_SETTLE_S", "0.1")
    return tmp_path / "run"


def mhfd(*arguments: str | Path) -> Result:
    done = CliRunner().invoke(main, [str(each) for each in arguments])
    assert done.exit_code == 0, done.output
    return done


def test_score_takes_the_tiles_of_the_layout(run: Path) -> None:
    done = mhfd("score", run, "--layout", "sbemimage", "--format", "jsonl")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert {Path(row["path"]).relative_to(run).as_posix() for row in rows} == TILES.keys()
    assert f"{len(OTHERS)} images are no tiles" in done.stderr


def test_a_watch_finds_the_layout_and_every_tiles_place(run: Path) -> None:
    ledger = run.parent / "ledger.db"
    mhfd("watch", run, "--once", "--ledger", ledger)
    table = csv.DictReader(mhfd("export", run, "--ledger", ledger, "--format", "csv").stdout.splitlines())
    places = {row["path"]: (row["section"], row["grid"], row["tile"], row["status"]) for row in table}
    assert places == {name: (*map(str, place), "scored") for name, place in TILES.items()}


def test_an_archive_of_its_tiles_is_named_by_a_pattern(run: Path) -> None:
    need_module("pyarrow")
    plan = plan_run(str(run), "tiles/g*/t*/*.tif", {"n_scales": 2, "max_t": 4.0})
    assert plan["tiles"] == len(TILES)
    assert score_shard(plan["manifest"], 0, plan["tiles"])["scored"] == len(TILES)
