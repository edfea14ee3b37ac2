"""Two results of the same tiles: what changed, and why."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from mhfd_client.cli import main
from mhfd_client.rescore.compare import Reason, Tally, Verdict, changes, why
from mhfd_client.rescore.sources import of_columns

TILE = Verdict(
    path="t", verdict="in_focus", measures=(7.0, 3000.0, 0.02, 0.9, 0.1), blur_px=0.4, flag_px=0.6, reference="r",
    setting=(64, 64, 4.0, 1.0, "zeiss"), version=("1.0", 3), params_sha256="p", tile_sha256="s",
)  # fmt: skip
BLURRED = replace(TILE, verdict="out_of_focus")


@pytest.mark.parametrize(
    ("after", "reasons"),
    [
        (replace(BLURRED, tile_sha256="other"), ["pixels"]),
        (replace(BLURRED, params_sha256="other"), ["parameters"]),
        (replace(BLURRED, version=("1.1", 3)), ["version"]),
        (replace(BLURRED, version=("1.0", 4)), ["version"]),
        (replace(BLURRED, setting=(64, 64, 5.0, 1.0, "zeiss")), ["setting"]),
        (replace(BLURRED, measures=(7.1, 3000.0, 0.02, 0.9, 0.1)), ["numbers"]),
        (replace(BLURRED, error_code="truncated"), ["numbers"]),
        (replace(BLURRED, reference="another run"), ["reference"]),
        (replace(BLURRED, verdict="cannot_tell", blur_px=None, flag_px=None, reference=None), ["reference"]),
        (replace(BLURRED, blur_px=1.4, flag_px=1.6), ["reference"]),
        (BLURRED, ["threshold"]),
        (replace(BLURRED, flag_px=None), ["unknown"]),
        (replace(BLURRED, params_sha256="q", measures=(1.0,) * 5, blur_px=2.0), ["parameters", "numbers"]),
    ],
)
def test_the_reasons_are_what_differs(after: Verdict, reasons: list[Reason]) -> None:
    assert list(why(TILE, after)) == reasons


def test_what_a_side_does_not_tell_is_no_reason() -> None:
    bare = Verdict(path="t", verdict="out_of_focus")
    assert why(TILE, bare) == ("unknown",)


def test_numbers_that_another_processor_rounds_differently_are_the_same() -> None:
    rounded = replace(BLURRED, measures=(np.float32(7.0000004).item(), 3000.0, 0.02, 0.9, 0.1))
    assert why(TILE, rounded) == ("threshold",)


def verdicts(names: list[int], verdict: str) -> Iterator[Verdict]:
    return (replace(TILE, path=f"t{name}", verdict=verdict) for name in names)


@given(st.permutations(range(12)), st.permutations(range(12)), st.sets(st.integers(0, 11)), st.sets(st.integers(0, 11)))
def test_every_tile_is_compared_once_in_whatever_order(
    a: list[int], b: list[int], no_a: set[int], no_b: set[int]
) -> None:
    left, right = [x for x in a if x not in no_a], [x for x in b if x not in no_b]
    tally = Tally()
    found = list(changes(verdicts(left, "in_focus"), verdicts(right, "out_of_focus"), tally))
    both = set(left) & set(right)
    assert {each.path for each in found if each.reasons} == {f"t{x}" for x in both}
    assert (tally.both, tally.changed) == (len(both), len(both))
    assert (tally.only_before, tally.only_after) == (len(left) - len(both), len(right) - len(both))
    assert len(found) == len(set(left) | set(right))


def test_tiles_in_the_same_order_are_not_kept() -> None:
    """A million tiles pass through, of which the slower side is never more than one ahead."""
    alive = 0

    def counted(n: int, step: int) -> Iterator[Verdict]:
        nonlocal alive
        for k in range(n):
            alive += step
            assert abs(alive) <= 1
            yield replace(TILE, path=str(k))

    assert list(changes(counted(1000, 1), counted(1000, -1), Tally())) == []


def test_a_table_without_numbers_is_read() -> None:
    assert of_columns({"path": "a", "status": "failed"}) == Verdict(
        path="a", verdict="failed", setting=(None,) * 5, version=(None, None)
    )


# --- The command --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of eight tiles, in two sections, and what `mhfd` makes of it: files, a ledger, a dataset."""
    folder = tmp_path_factory.mktemp("compare")
    with pytest.MonkeyPatch.context() as patch:
        _environment(patch, folder)
        rng = np.random.default_rng(1)
        for k in range(8):
            file = folder / "run" / f"s{k // 4:04d}" / f"t{k % 4}.tif"
            file.parent.mkdir(parents=True, exist_ok=True)
            tifffile.imwrite(file, rng.integers(0, 255, (48, 48), np.uint8))
        assert invoke("score", "run", "--json", out=folder / "run.json").exit_code == 0
        assert invoke("score", "run", "--csv", "run.csv").exit_code == 0
        assert invoke("watch", "run", "--once").exit_code == 0
        assert invoke("export", "run", "--format", "parquet", "--out", "run.parquet").exit_code == 0
        assert invoke("export", "run", "--format", "jsonl", "--out", "run.jsonl").exit_code == 0
        assert invoke("rescore", "run", "--shard-tiles", "3").exit_code == 0
    return folder


def _environment(patch: pytest.MonkeyPatch, folder: Path) -> None:
    patch.chdir(folder)
    patch.setenv("MHFD_CONFIG", "")
    patch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
    patch.setenv("XDG_DATA_HOME", str(folder / "data"))
    patch.setenv("MHFD_LEDGER", str(folder / "ledger.db"))
    patch.setenv("MHFD_SETTLE_S", "0.1")


def invoke(*words: object, out: Path | None = None) -> Result:
    result = CliRunner().invoke(main, [str(word) for word in words])
    if out is not None:
        out.write_text(result.stdout)
    return result


@pytest.fixture
def folder(scored: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    _environment(monkeypatch, scored)
    return scored


def dataset(folder: Path) -> Path:
    (success,) = (folder / "run" / ".mhfd").glob("*/_SUCCESS.json")
    return success.parent


@pytest.mark.parametrize("one", ["run.json", "run.csv", "run.jsonl", "run.parquet", "run", "1", "ledger.db#1"])
def test_a_dataset_says_what_every_other_form_says(folder: Path, one: str) -> None:
    result = invoke("compare", one, dataset(folder), "--json", "--fail-on-change")
    told = json.loads(result.stdout)
    assert (told["tiles"], told["changed"], told["only_before"], told["only_after"]) == (8, 0, 0, 0)
    assert (result.exit_code, told["changes"]) == (0, [])


def changed(folder: Path, name: str, change: Callable[[dict[str, object]], None]) -> Path:
    rows = json.loads((folder / "run.json").read_text())
    for row in rows:
        change(row)
    (folder / name).write_text(json.dumps(rows))
    return folder / name


def test_a_changed_verdict_is_told_with_its_reason(folder: Path) -> None:
    def blur(row: dict[str, object]) -> None:
        if str(row["path"]).endswith("s0001/t2.tif"):
            row |= {"verdict": "out_of_focus", "focus_score": 0.5}

    other = changed(folder, "other.json", blur)
    result = invoke("compare", "run.json", other, "--fail-on-change")
    assert result.exit_code == 1
    assert "s0001/t2.tif: no_content -> out_of_focus (numbers)" in result.stdout
    assert "8 tiles in both run.json and" in result.stdout
    assert "  why: numbers 1" in result.stdout
    assert invoke("compare", "run.json", other).exit_code == 0


def test_a_file_name_that_is_a_formula_is_none_in_the_table(folder: Path) -> None:
    def rename(row: dict[str, object]) -> None:
        row |= {"path": f"=cmd\x1b{row['path']}"}

    one, other = changed(folder, "one.json", rename), folder / "none.json"
    other.write_text("[]")
    result = invoke("compare", one, other, "--format", "csv")
    rows = list(csv.DictReader(result.stdout.splitlines()))
    assert len(rows) == 8
    assert all(row["path"].startswith("'=cmd\\x1b") for row in rows)
    assert "\x1b" not in invoke("compare", one, other).stdout


def test_of_several_jobs_one_has_to_be_named(folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    for name in ("a", "b"):
        shutil.copytree(dataset(folder), run / ".mhfd" / name)
    result = invoke("compare", run, "run.json")
    assert result.exit_code == 78
    assert "has several jobs" in result.stderr
    assert invoke("compare", run / ".mhfd" / "a", run / ".mhfd" / "b", "--fail-on-change").exit_code == 0


@pytest.mark.parametrize("what", ["nowhere", "empty.json", "table.csv"])
def test_what_holds_no_results_is_refused(folder: Path, what: str) -> None:
    (folder / "empty.json").write_text("not json")
    (folder / "table.csv").write_text("a,b\n1,2\n")
    assert invoke("compare", what, "run.json").exit_code == 78


def test_a_row_that_is_no_result_is_passed_over(folder: Path) -> None:
    rows = json.loads((folder / "run.json").read_text())
    (folder / "torn.json").write_text(json.dumps([*rows, {"schema": 1}]))
    result = invoke("compare", "run.json", "torn.json", "--json", "--fail-on-change")
    assert (result.exit_code, json.loads(result.stdout)["tiles"]) == (0, 8)
