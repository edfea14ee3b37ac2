"""`mhfd report`: of a run, of a ledger, of a folder; docs/report.md's commands run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mhfd_client.cli import main
from mhfd_client.simulate import RunPlan, simulate_run
from page_run import Filling, Wafer, open_filling

PAGE = Path(__file__).parents[3] / "docs" / "report.md"
WAFER = Wafer(sections=8, rows=2, cols=2, odd={(7, 1, 1): 4.0}, pictures=False)


@pytest.fixture
def filling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Filling]:
    monkeypatch.chdir(tmp_path)
    made = open_filling(tmp_path, WAFER, "run")
    made.add(WAFER.spots())
    yield made
    made.ledger.close()


def invoke(*args: str | Path) -> Result:
    return CliRunner().invoke(main, ["report", *map(str, args)])


def written(path: str = "report.html") -> str:
    return Path(path).read_text(encoding="utf-8")


@pytest.mark.parametrize("args", [["run", "--ledger", "ledger.db"], ["ledger.db"], ["--ledger", "ledger.db"]])
def test_a_run_is_named_by_its_folder_by_its_ledger_or_not_at_all(filling: Filling, args: list[str]) -> None:
    done = invoke(*args)
    assert done.exit_code == 0, done.output
    assert WAFER.name((7, 1, 1)) in written()
    assert "report.html" in done.stderr


def test_of_a_ledger_with_several_runs_it_says_which(filling: Filling, tmp_path: Path) -> None:
    filling.ledger.open_run(str(tmp_path / "other"), filling.run.params, layout="auto", endpoint="local")
    done = invoke("ledger.db")
    assert done.exit_code == 2
    assert "--run" in done.stderr and str(tmp_path / "other") in done.stderr
    assert not Path("report.html").exists()
    assert invoke("ledger.db", "--run", filling.root).exit_code == 0


def test_a_run_that_the_named_ledger_lacks_is_refused(filling: Filling, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    assert invoke("other", "--ledger", "ledger.db").exit_code == 78


def test_a_folder_without_a_ledger_is_scored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MHFD_LEDGER", "none.db")
    truth = simulate_run(tmp_path / "tiles", RunPlan(sections=4, rows=2, cols=2, tile_px=256))
    done = invoke("tiles", "--out", "out.html")
    assert done.exit_code == 0, done.output
    assert "are scored here" in done.stderr
    again = written("out.html").partition("<h2>Take again")[2].partition("<h2>Map")[0]
    bad = {tile.file for tile in truth if tile.kind == "bad"}
    assert set(re.findall(r"<h3>.*?<bdi>(.*?)</bdi>", again)) == bad
    assert again.count("data:image/png") == 2 * len(bad)


def test_a_folder_without_images_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MHFD_LEDGER", "none.db")
    (tmp_path / "empty").mkdir()
    done = invoke("empty")
    assert (done.exit_code, "no image files" in done.stderr) == (2, True)


def test_a_dash_is_standard_output(filling: Filling) -> None:
    assert invoke("ledger.db", "--out", "-").stdout.startswith("<!DOCTYPE html>")


@pytest.mark.parametrize("line", re.findall(r"^mhfd report .*", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE))
def test_the_commands_of_the_page_run(filling: Filling, monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    if "--figures" in line:
        pytest.skip("docs/figures.md is about these")
    if "--pdf" in line:
        from needs import need

        need("chromium", "chromium")
    monkeypatch.setenv("MHFD_LEDGER", "ledger.db")
    done = invoke(*line.partition("#")[0].split()[2:])
    assert done.exit_code == 0, f"{line}: {done.output}"
