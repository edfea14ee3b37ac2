"""docs/archives.md says what the files hold, and how to read them; all of it is tried here."""

from __future__ import annotations

import glob
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from mhfd.worker.archive.earlier import PASSING
from mhfd.worker.archive.parts import schema
from mhfd.worker.archive.verdicts import VERDICTS

from .conftest import rescored, write_run

PAGE = (Path(__file__).parents[3] / "docs" / "archives.md").read_text(encoding="utf-8")
PROGRAM, READERS = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
WORDS = set(re.findall(r"`([a-z0-9_]+)`", PAGE))


@pytest.fixture
def dataset(tmp_path: Path) -> tuple[str, list[str]]:
    write_run(tmp_path, 5)
    (tmp_path / "bad.tif").write_bytes(b"II*\0")
    answer = rescored(tmp_path, shard_tiles=2)
    return answer["dataset"], [row["path"] for row in answer["results"]]


@pytest.mark.parametrize("line", READERS.splitlines())
def test_other_programs_read_a_dataset_with_one_line(dataset: tuple[str, list[str]], line: str) -> None:
    module = pytest.importorskip(line.split(".")[0])
    job, paths = dataset
    read: Any = eval(line, {module.__name__: module, "glob": glob, "job": job})
    found = [row[0] for row in read.fetchall()] if module.__name__ == "duckdb" else list(read["path"])
    assert sorted(found) == sorted(paths)
    assert module.__name__ == "duckdb" or found == paths


def test_the_program_scores_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("run").mkdir()
    for number in range(2):
        tifffile.imwrite(f"run/{number}.tif", np.random.default_rng(number).integers(0, 255, (64, 64), np.uint8))
    names: dict[str, Any] = {}
    exec(PROGRAM, names)
    assert (names["done"]["complete"], names["done"]["rows"]) == (True, 2)


def test_every_column_is_described() -> None:
    assert {*schema().names, *VERDICTS, *PASSING} <= WORDS
