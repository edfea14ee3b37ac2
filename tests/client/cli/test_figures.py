"""`mhfd report --figures`: from a focal series, a run, a table of times; and what is said where these are missing."""

from __future__ import annotations

import csv
import re
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mhfd_client.bench.race import Summary
from mhfd_client.bench.tables import write_csv
from mhfd_client.cli import main
from mhfd_client.simulate import RunPlan, SeriesPlan, simulate_series
from page_run import Wafer, open_filling
from phantoms import EmTile

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "figures.md").read_text(encoding="utf-8")
ALL = ("figure-1", "figure-2a", "figure-2b", "figure-3a", "figure-3b", "figure-4")

pytest.importorskip("matplotlib")


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("series")
    plan = SeriesPlan(field=RunPlan(sections=1, rows=1, cols=1, tile_px=256), frames=5, step_um=2.0)
    simulate_series(folder, plan)
    return folder


@pytest.fixture
def times(tmp_path: Path) -> Path:
    """A table of figures 3a and 3b, without 4."""
    rows = [
        Summary(figure=figure, contestant="mhfd numpy", device="cpu", side=side, n_scales=n, lap="kernel", runs=2,
                median_ms=1.0 * n, q1_ms=0.9 * n, q3_ms=1.1 * n, ratio=1.0, features=7)
        for figure, side, n in (("3a", 256, 1), ("3a", 256, 2), ("3b", 256, 4), ("3b", 512, 4))
    ]  # type: ignore[arg-type]  # fmt: skip
    write_csv(tmp_path / "summary.csv", rows, Summary)
    return tmp_path / "summary.csv"


def invoke(*args: object) -> Result:
    return CliRunner().invoke(main, ["report", *map(str, args)])


def left_out(result: Result) -> list[str]:
    return re.findall(r"^(figure-\w+) is left out", result.stderr, flags=re.MULTILINE)


def test_a_series_and_a_table_give_their_figures(frames: Path, times: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = invoke("--figures", out, "--series", frames, "--distances", frames / "z.csv", "--bench", times)
    assert result.exit_code == 3, result.output  # there is a table, and it lacks figure 4
    assert left_out(result) == ["figure-4"]
    assert "mhfd bench --figure 4 --out DIR" in result.stderr
    assert sorted(path.name for path in out.iterdir()) == sorted(f"{name}.{kind}" for name in ALL[:5]
                                                                 for kind in ("csv", "png", "svg"))  # fmt: skip
    for name in ALL[:5]:
        assert re.search(rf"^{name}: .*{name}\.svg, \.png, \.csv$", result.stdout, flags=re.MULTILINE)


def test_the_law_that_is_told_is_that_of_calibrate(frames: Path, tmp_path: Path) -> None:
    given = [str(frames), "--distances", str(frames / "z.csv")]
    result = invoke("--figures", tmp_path, "--series", *given)
    assert result.exit_code == 0, result.output
    calibrated = CliRunner().invoke(main, ["calibrate", *given, "--dry-run"])
    law = re.search(r"^ln\(features\).*: (r = .*)$", calibrated.stdout, flags=re.MULTILINE)
    assert law is not None
    assert law[1] in result.stdout
    with (tmp_path / "figure-2b.csv").open(newline="", encoding="utf-8") as file:
        line = next(line for line in csv.DictReader(file) if line["item"] == "features, law")
    assert f"r = {float(line['r']):.4f}" in law[1]


def test_without_data_each_figure_is_named_with_the_command_that_makes_them(tmp_path: Path) -> None:
    result = invoke("--figures", tmp_path / "out")
    assert result.exit_code == 2
    assert left_out(result) == list(ALL)
    for command in ("--series DIR", "--run DIR", "mhfd simulate DIR --series 9", "mhfd bench --figure 3a"):
        assert command in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_run_gives_figure_1(tmp_path: Path) -> None:
    wafer = Wafer(sections=8, rows=2, cols=2, odd={(5, 1, 0): 4.0})
    filling = open_filling(tmp_path, wafer)
    with filling.ledger:
        filling.add(wafer.spots())
    given = ["--figures", tmp_path / "out", "--ledger", tmp_path / "ledger.db"]
    for named in ([filling.root], ["--run", filling.root]):
        result = invoke(*given, *named)
        assert result.exit_code == 0, result.output
        assert "figure-1: features of s0004_r1_c0.tif and of s0005_r1_c0.tif" in result.stdout
    assert invoke(*given, tmp_path / "elsewhere").exit_code == 78


def test_a_run_without_a_bad_tile_has_no_figure_1_and_says_so(tmp_path: Path) -> None:
    filling = open_filling(tmp_path, Wafer(sections=3, rows=2, cols=2))
    with filling.ledger:
        filling.add(filling.wafer.spots())
    result = invoke("--figures", tmp_path / "out", "--ledger", tmp_path / "ledger.db", filling.root)
    assert result.exit_code == 3
    assert "out of focus" in result.stderr.splitlines()[0]


def test_the_real_series_gives_figures_from_its_sharpest_frame(em_tile: EmTile, tmp_path: Path) -> None:
    folder = em_tile("sem-focus-series")
    lines = ["file,working_distance_um"]
    for name, z in (("pert-5000", -18.324), ("base", -13.324), ("pert5000", -8.324)):
        lines.append(f"{next(folder.glob(f'*_{name}.png')).name},{z}")
    (tmp_path / "z.csv").write_text("\n".join(lines))
    result = invoke("--figures", tmp_path / "out", "--series", folder, "--distances", tmp_path / "z.csv")
    assert result.exit_code == 0, result.output
    with (tmp_path / "out" / "figure-2b.csv").open(newline="", encoding="utf-8") as file:
        laws = {line["item"]: float(line["r"]) for line in csv.DictReader(file) if line["r"]}
    assert laws["features, law"] < -0.98
    assert laws["count as published, law"] > 0.9  # the published count goes the wrong way here


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--series", "s"], "go with --figures"),
        (["--bench", str(ROOT / "README.md")], "go with --figures"),
        (["--figures", "out", "--distances", "z.csv"], "goes with --series"),
        (["--figures", "out", "--bench", str(ROOT / "README.md")], "is no table"),
        (["--figures", "out", "--bench", "none.csv"], "none.csv"),
    ],
)
def test_wrong_usage_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, args: list[str], said: str) -> None:
    monkeypatch.chdir(tmp_path)
    result = invoke(*args)
    assert result.exit_code == 2
    assert said in result.stderr
    assert not Path("out").exists() or not any(Path("out").iterdir())


def test_a_frame_that_cannot_be_scored_is_told(frames: Path, tmp_path: Path) -> None:
    for path in frames.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "z0.tif").write_bytes(b"II*\0")
    result = invoke("--figures", tmp_path / "out", "--series", tmp_path, "--distances", tmp_path / "z.csv")
    assert result.exit_code == 3
    assert "failed: " in result.stderr
    assert "z0.tif" in result.stderr
    assert (tmp_path / "out" / "figure-2b.svg").exists()


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, frames: Path, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = invoke("--figures", tmp_path / "out", "--series", frames, "--distances", frames / "z.csv")
    assert result.exit_code == 2
    assert "[notebook]" in result.stderr


def test_the_commands_of_the_page_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: Path) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bench").mkdir()
    times.rename(tmp_path / "bench" / "summary.csv")
    commands = re.findall(r"^mhfd ((?:simulate|report) .*?) *(?:#.*)?$", PAGE, flags=re.MULTILINE)
    assert any(each.startswith("simulate") for each in commands)
    for command in commands:
        words = command.split()
        if "--run" in words:
            continue  # it is run above
        done = CliRunner().invoke(main, [*words, *(["--tile-px", "128"] if words[0] == "simulate" else [])])
        assert done.exit_code in (0, 3), f"{command}: {done.output}"
        assert not done.exception or isinstance(done.exception, SystemExit)
