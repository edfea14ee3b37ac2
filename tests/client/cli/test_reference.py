"""`mhfd reference`: what is kept is listed, shown, set and forgotten."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from mhfd.contract import FocusParams
from mhfd.judge import Reference
from mhfd_client.cli import main
from mhfd_client.ledger import SeenFile, open_ledger
from spectra import ABOUT, run

SETTING = "1024 x 1024 px, 4 nm/px, measure"


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """A ledger with a run of 20 sharp tiles in the folder `sharp`, and one of 3 in `few`."""
    where = tmp_path / "ledger.db"
    rng = np.random.default_rng(1)
    with open_ledger(where) as found:
        for name, n in (("sharp", 20), ("few", 3)):
            (tmp_path / name).mkdir()
            opened = found.open_run(str(tmp_path / name), FocusParams(), layout="auto", endpoint="local")
            for k, result in enumerate(run(rng, np.zeros(n))):
                about = replace(ABOUT, tile_sha256=f"{name}{k}")
                found.see(opened.run_id, [(SeenFile(result.path, 10, k + 1), None)], float(k))
                (tile,) = found.take(opened.run_id, "seen", 9, now=0)
                found.finish(tile.tile_id, [(str(about.tile_sha256), (4, 4))], float(k))
                found.store([(tile.tile_id, replace(result, provenance=about))], float(k))
    return where


def invoke(ledger: Path, *args: str | Path) -> Result:
    return CliRunner().invoke(main, ["reference", *map(str, args), "--ledger", str(ledger)])


@pytest.fixture
def kept(ledger: Path) -> Path:
    """The ledger, in which `sem1` has the tiles of `sharp`."""
    result = invoke(ledger, "set", "sem1", ledger.parent / "sharp")
    assert result.exit_code == 0, result.output
    return ledger


def test_nothing_is_listed_before_something_is_kept(ledger: Path) -> None:
    result = invoke(ledger, "list")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "nothing is kept yet" in result.stderr
    result = invoke(ledger, "list", "--json")
    assert (result.exit_code, json.loads(result.stdout)) == (0, [])


def test_what_is_set_is_told_and_listed(ledger: Path) -> None:
    told = invoke(ledger, "set", "sem1", ledger.parent / "sharp").stdout
    assert told.startswith(f"sem1: {SETTING}")
    assert invoke(ledger, "list").stdout == told


def test_the_list_is_json(kept: Path) -> None:
    (entry,) = json.loads(invoke(kept, "list", "--json").stdout)
    assert entry["instrument"] == "sem1"
    assert entry["setting"].startswith(SETTING)
    assert entry["tiles"] >= 8
    assert set(entry) == {"instrument", "setting", "tiles", "kept_at", "run_id"}


def test_show_has_the_numbers(kept: Path) -> None:
    (entry,) = json.loads(invoke(kept, "show", "sem1").stdout)
    assert Reference.from_dict(entry["reference"]).tiles == entry["tiles"]


def test_show_of_an_unknown_name_says_what_there_is(ledger: Path) -> None:
    result = invoke(ledger, "show", "sem1")
    assert result.exit_code == 78
    assert "there is none yet" in result.stderr
    invoke(ledger, "set", "sem1", ledger.parent / "sharp")
    result = invoke(ledger, "show", "sem2")
    assert result.exit_code == 78
    assert "there is: sem1" in result.stderr


def test_a_run_with_too_few_tiles_is_not_set(ledger: Path) -> None:
    result = invoke(ledger, "set", "sem1", ledger.parent / "few")
    assert result.exit_code == 78
    assert "too few sharp tiles" in result.stderr
    assert json.loads(invoke(ledger, "list", "--json").stdout) == []


def test_by_default_the_last_run_is_set(ledger: Path) -> None:
    assert "few" in invoke(ledger, "set", "sem1").stderr


def test_a_folder_that_is_no_run_is_not_set(ledger: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    result = invoke(ledger, "set", "sem1", tmp_path / "other")
    assert result.exit_code in (2, 78)
    assert "other" in result.stderr


def test_what_is_forgotten_is_gone(kept: Path) -> None:
    result = invoke(kept, "forget", "sem1")
    assert (result.exit_code, result.stdout) == (0, "1 reference of sem1 forgotten\n")
    assert json.loads(invoke(kept, "list", "--json").stdout) == []
    result = invoke(kept, "forget", "sem1")
    assert result.exit_code == 78
    assert "no such reference of 'sem1'" in result.stderr


def test_one_setting_is_forgotten(kept: Path) -> None:
    result = invoke(kept, "forget", "sem1", "--setting", "512 x 512 px")
    assert result.exit_code == 78
    (entry,) = json.loads(invoke(kept, "list", "--json").stdout)
    assert invoke(kept, "forget", "sem1", "--setting", entry["setting"]).exit_code == 0


def test_a_ledger_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    result = invoke(tmp_path / "gone.db", "list")
    assert result.exit_code == 78
    assert "gone.db" in result.stderr
    assert not (tmp_path / "gone.db").exists()
