"""The notebooks run, and are shipped as they ran."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest

from notebooks import EXAMPLES, execute, outputs, pictures, texts

NOTEBOOKS = sorted(file.name for file in EXAMPLES.glob("*.ipynb"))
MOST_BYTES = 300_000
ELSEWHERE = re.compile(r"/(tmp|home|root|work|Users|mnt|opt)/|[A-Za-z]:\\\\?\w|[\w.]+@[\w.]+\.\w+")
"""A path of the machine, or an address."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a notebook runs: with a configuration of its own, and none of the user's."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    (tmp_path / "config.toml").touch()
    monkeypatch.setenv("MHFD_CONFIG", str(tmp_path / "config.toml"))
    monkeypatch.setenv("MHFD_SETTLE_S", "0.1")
    monkeypatch.setenv("MHFD_BACKEND", "numpy")  # the workers need not compile
    monkeypatch.delenv("MPLBACKEND", raising=False)  # the kernel shows pictures in the notebook
    (tmp_path / "here").mkdir()
    return tmp_path / "here"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tiles_are_scored_here(folder: Path) -> None:
    found = execute("score_here.ipynb", folder)
    assert pictures(found) == 3
    said = texts(found)
    assert "30 tiles: " in said
    assert "out of focus" in said


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_run_is_analysed_from_its_ledger(folder: Path) -> None:
    found = execute("analyse_run.ipynb", folder)
    assert pictures(found) == 2
    said = texts(found)
    assert "36 tiles: " in said  # the cell that follows
    assert "accept" in said
    assert "(36, True)" in said
    assert (folder / "scores.parquet").is_file()


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_what_is_shipped_has_run(name: str) -> None:
    notebook = nbformat.read(EXAMPLES / name, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    found = outputs(notebook)
    assert found
    assert not [output for output in found if output.output_type == "error"]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_what_is_shipped_is_small_and_tells_of_no_machine(name: str) -> None:
    assert (EXAMPLES / name).stat().st_size < MOST_BYTES
    assert ELSEWHERE.findall(texts(outputs(nbformat.read(EXAMPLES / name, as_version=4)))) == []
