"""`mhfd explain`: its lines, its JSON, its picture, its refusals; docs/explain.md shows what it prints."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner, Result

from hostile import NAMES
from mhfd.contract import FocusParams, FocusResult
from mhfd.text import is_unicode, visible
from mhfd_client.cli import main
from mhfd_client.ledger import Decision, Ledger, SeenFile, open_ledger
from mhfd_client.naming.position import Position
from phantoms import as_uint8, texture
from spectra import ABOUT, row, spectrum

PAGE = (Path(__file__).parents[3] / "docs" / "explain.md").read_text(encoding="utf-8")
RIGHT_HALF = np.array([[0.0, 0.0, 3.4, 3.4]] * 4)


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """A run in the folder `run`: twelve sections of four tiles; s0011_r1_c0.tif is blurred in its right half."""
    rng = np.random.default_rng(4)
    where = tmp_path / "ledger.db"
    (tmp_path / "run").mkdir()
    with open_ledger(where) as found:
        run_id = found.open_run(str(tmp_path / "run"), FocusParams(), layout="auto", endpoint="local").run_id
        for n in range(48):
            position = Position(section=n // 4, row=n % 4 // 2, col=n % 2)
            name = f"s{position.section:04}_r{position.row}_c{position.col}.tif"
            result = row(spectrum(rng, RIGHT_HALF if n == 46 else rng.uniform(0, 0.5)), name)
            put(found, name, result, position, n)
        bad = found.pages(run_id, "s0011_r1_c0.tif")[0]
        found.decide(run_id, Decision(bad.tile_id, "retake", "ada", 1.8e9))
    return where


def put(ledger: Ledger, name: str, result: FocusResult, position: Position | None = None, n: int = 100) -> None:
    run_id = ledger.find_run().run_id
    ledger.see(run_id, [(SeenFile(name, 10, n + 1), position)], float(n))
    (tile,) = ledger.take(run_id, "seen", 9, now=0)
    ledger.finish(tile.tile_id, [(f"pixels {n}", (4, 4))], float(n))
    ledger.store([(tile.tile_id, replace(result, provenance=replace(ABOUT, tile_sha256=f"pixels {n}")))], float(n))


def invoke(ledger: Path | None, *args: str | Path) -> Result:
    where = [] if ledger is None else ["--ledger", str(ledger)]
    return CliRunner().invoke(main, ["explain", *where, *map(str, args)])


def test_the_page_shows_what_is_printed(ledger: Path) -> None:
    shown = re.search(r"```\n\$ mhfd explain (\S+)\n(.*?)```", PAGE, flags=re.DOTALL)
    assert shown is not None
    result = invoke(ledger, shown[1])
    assert result.exit_code == 0, result.output
    when = r"\d{4}-\d\d-\d\d \d\d:\d\d"  # in local time
    printed = [line.rstrip() for line in re.sub(when, "WHEN", result.stdout).splitlines()]
    assert printed == [line.rstrip() for line in re.sub(when, "WHEN", shown[2]).splitlines()]


def test_the_page_lists_every_key(ledger: Path) -> None:
    found = json.loads(invoke(ledger, "s0011_r1_c0.tif", "--json").stdout)
    for key in [*found, *found["history"][0], *found["decisions"][0]]:
        assert f"`{key}`" in PAGE, key


def test_the_lines_are_at_most_six_and_fit_a_narrow_terminal_with_the_map(
    ledger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    told, _, table = invoke(ledger, "s0011_r1_c0.tif").stdout.partition("blur by part")
    assert 2 <= len(told.splitlines()) <= 6
    rows = table.splitlines()[1:]
    assert [len(line.split()) for line in rows] == [4] * 4
    assert table.count("[") == 2  # the heading's, and the worst part's


def test_a_wrong_name_suggests_the_nearest(ledger: Path) -> None:
    result = invoke(ledger, "s0011_r1_c9.tif")
    assert result.exit_code == 2
    assert "no tile s0011_r1_c9.tif; did you mean s0011_r1_c" in result.stderr
    result = invoke(ledger, ledger.parent)
    assert result.exit_code == 2
    assert "is a folder" in result.stderr


def test_a_run_that_is_named_is_looked_at_alone(ledger: Path, tmp_path: Path) -> None:
    assert invoke(ledger, "s0011_r1_c0.tif", "--run", tmp_path / "run").exit_code == 0
    result = invoke(ledger, "s0011_r1_c0.tif", "--run", tmp_path / "rum")
    assert result.exit_code == 78
    assert "did you mean" in result.stderr


@pytest.fixture
def tile(tmp_path: Path, rng: np.random.Generator) -> Path:
    file = tmp_path / "run" / "tile.tif"
    file.parent.mkdir(exist_ok=True)
    tifffile.imwrite(file, as_uint8(texture((256, 256), rng)))
    return file


def test_a_file_is_explained_where_there_is_no_ledger(
    tile: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MHFD_LEDGER", str(tmp_path / "none.db"))
    result = invoke(None, tile)
    assert result.exit_code == 0, result.output
    assert "nothing to compare it with" in result.stdout
    assert not (tmp_path / "none.db").exists()
    assert invoke(tmp_path / "none.db", tile).exit_code == 78  # a ledger that is named has to be there
    assert invoke(None, tmp_path / "none.tif").exit_code == 78


def test_a_file_that_the_ledger_does_not_have_is_explained(ledger: Path, tile: Path) -> None:
    result = invoke(ledger, tile)
    assert result.exit_code == 0
    assert result.stdout.startswith(f"{tile}: cannot tell")


@pytest.mark.parametrize("name", ["out.png", "out.svg", "out.html"])
def test_a_picture_is_written(ledger: Path, tile: Path, tmp_path: Path, name: str) -> None:
    result = invoke(ledger, tile, "--picture", tmp_path / name, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["tile"] == str(tile)
    assert (tmp_path / name).stat().st_size > 1000


def test_a_picture_that_cannot_be_made_is_refused_but_the_tile_explained(ledger: Path, tmp_path: Path) -> None:
    assert invoke(ledger, "s0011_r1_c0.tif", "--picture", "out.gif").exit_code == 2
    result = invoke(ledger, "s0011_r1_c0.tif", "--picture", tmp_path / "out.png")
    assert result.exit_code == 3  # the ledger has it, the disk does not
    assert "no picture without the file" in result.stderr
    assert "right half" in result.stdout
    assert not (tmp_path / "out.png").exists()


def test_names_of_strangers_are_inert(ledger: Path) -> None:
    names = [name for name in NAMES if name and "/" not in name and is_unicode(name)]
    with open_ledger(ledger) as found:
        for n, name in enumerate(names, 100):
            put(found, name, row(None, content=0.01), n=n)
    for name in names:
        result = invoke(ledger, "--", name)
        assert result.exit_code == 0, result.output
        assert result.stdout.startswith(f"{visible(name)}: no content")
        assert len(result.stdout.splitlines()) == 1
    assert json.loads(invoke(ledger, "--json", "--", names[-1]).stdout)["tile"] == names[-1]
    assert "\x1b" not in invoke(ledger, "no\x1b[2Jtile").output
