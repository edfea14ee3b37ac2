"""A task reads and writes inside the folders that the endpoint allows, and learns nothing of what lies outside."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tifffile

from mhfd.images.inline import encode_tile
from mhfd.worker import control_run, describe, finish_run, plan_run, rows, score_inline, score_paths, score_shard
from mhfd.worker.places import MAX_PATH_BYTES

from .conftest import COLLECTION, QUICK, codes, paths_of, rescored, tissue, write_run

Answer = dict[str, Any]


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The one folder that tasks may read and write, with two tiles; beside it lies "beyond", with a secret one."""
    folder, outside = tmp_path / "inside", tmp_path / "beyond"
    write_run(folder, 2)
    outside.mkdir()
    tifffile.imwrite(outside / "secret.tif", tissue())
    monkeypatch.setenv("MHFD_ROOTS", str(folder))
    monkeypatch.setenv("MHFD_OUT_ROOTS", str(folder))
    return folder


def link(at: Path, to: Path) -> None:
    try:
        at.symlink_to(to, target_is_directory=to.is_dir())
    except OSError:
        pytest.skip("no symbolic links")


def alike(ask: Callable[[str], Answer], there: str, missing: str) -> Answer:
    """The answer about a file that is there; that about a missing one must differ in the name only."""
    found, not_found = (_without_times(ask(name)) for name in (there, missing))
    assert json.dumps(found).replace(there, "NAME") == json.dumps(not_found).replace(missing, "NAME")
    return found


def _without_times(answer: Answer) -> Answer:
    answer = {key: value for key, value in answer.items() if key not in ("seconds", "worker")}
    for row in answer.get("rows") or []:
        row.pop("timing_ms")
    return answer


def test_a_file_inside_is_scored(inside: Path) -> None:
    given = [str(inside / "t00.tif"), str(inside / "a" / ".." / "t01.tif"), str(inside / ".." / "inside" / "t00.tif")]
    (inside / "a").mkdir()
    answer = score_paths(given, QUICK)
    assert codes(answer) == [None] * 3
    assert paths_of(answer) == given


@pytest.mark.parametrize("place", ["{outside}/{name}", "{inside}/../beyond/{name}", "{inside}/way/{name}"])
def test_outside_a_file_that_is_there_is_refused_as_one_that_is_not(inside: Path, place: str) -> None:
    outside = inside.parent / "beyond"
    link(inside / "way", outside)
    where = place.format(inside=inside, outside=outside, name="{name}")

    def ask(name: str) -> Answer:
        return score_paths([where.format(name=name)], QUICK)

    assert codes(alike(ask, "secret.tif", "nosuch.tif")) == ["permission_denied"]
    assert codes(alike(ask, "secret.tif", "secret.tif/x")) == ["permission_denied"]


def test_a_link_to_a_file_outside_is_refused_whether_or_not_it_leads_anywhere(inside: Path) -> None:
    link(inside / "real.tif", inside.parent / "beyond" / "secret.tif")
    link(inside / "dead.tif", inside.parent / "beyond" / "nosuch.tif")
    answer = alike(lambda name: score_paths([str(inside / name)], QUICK), "real.tif", "dead.tif")
    assert codes(answer) == ["permission_denied"]


def test_a_link_outside_cannot_be_probed_by_climbing_out_of_it(inside: Path) -> None:
    outside = inside.parent / "beyond"
    (outside / "deep" / "deeper").mkdir(parents=True)
    link(outside / "shortcut", outside / "deep" / "deeper")

    def ask(name: str) -> Answer:
        return score_paths([f"{outside}/{name}/../../inside/t00.tif"], QUICK)

    assert codes(alike(ask, "shortcut", "nosuch")) == ["permission_denied"]


def test_a_link_that_leads_inside_is_followed(inside: Path) -> None:
    link(inside.parent / "alias", inside)
    assert codes(score_paths([str(inside.parent / "alias" / "t00.tif")], QUICK)) == [None]


def test_a_root_may_itself_be_a_link(inside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link(inside.parent / "alias", inside)
    monkeypatch.setenv("MHFD_ROOTS", str(inside.parent / "alias"))
    assert codes(score_paths([str(inside / "t00.tif"), str(inside.parent / "beyond/secret.tif")], QUICK)) == [
        None, "permission_denied",
    ]  # fmt: skip


def test_a_folder_whose_name_begins_like_a_root_is_outside(inside: Path) -> None:
    write_run(inside.parent / "inside2", 1)
    assert codes(score_paths([str(inside.parent / "inside2" / "t00.tif")], QUICK)) == ["permission_denied"]


def test_several_roots_are_separated_as_in_path(inside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outside = inside.parent / "beyond"
    monkeypatch.setenv("MHFD_ROOTS", os.pathsep.join([str(inside), "", str(outside)]))
    assert codes(score_paths([str(inside / "t00.tif"), str(outside / "secret.tif")], QUICK)) == [None, None]


@pytest.mark.parametrize("value", ["", os.pathsep, ".", "relative"])
def test_no_root_means_no_file(inside: Path, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("MHFD_ROOTS", value)
    monkeypatch.chdir(inside)
    assert codes(score_paths([str(inside / "t00.tif"), "t00.tif"], QUICK)) == ["permission_denied"] * 2
    assert rescored(inside)["error"]["code"] == "bad_params"


def test_pixels_in_the_task_need_no_root(inside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MHFD_ROOTS", "")
    monkeypatch.setenv("MHFD_OUT_ROOTS", "")
    assert codes(score_inline([encode_tile(tissue())], QUICK)) == [None]


def test_not_set_means_every_file(inside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MHFD_ROOTS")
    monkeypatch.delenv("MHFD_OUT_ROOTS")
    assert codes(score_paths([str(inside.parent / "beyond" / "secret.tif")], QUICK)) == [None]
    assert rescored(inside)["scored"] == 2


def test_a_collection_is_a_root_of_its_own(inside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outside = inside.parent / "beyond"
    monkeypatch.setenv("MHFD_ROOTS", "")
    monkeypatch.setenv("GCS_LOCAL_MAPS", json.dumps({COLLECTION: str(outside)}))

    def ask(name: str) -> Answer:
        return score_paths([{"path": name, "collection": COLLECTION}], QUICK)

    assert codes(ask("secret.tif")) == [None]
    assert codes(alike(ask, "../inside/t00.tif", "../inside/nosuch.tif")) == ["permission_denied"]
    run = rescored("/", collection=COLLECTION, out="/")
    assert run["error"]["code"] == "bad_params"  # tasks may read a collection, and write where MHFD_OUT_ROOTS says
    monkeypatch.setenv("MHFD_OUT_ROOTS", str(outside))
    assert rescored("/", collection=COLLECTION)["scored"] == 1


# Archived runs


@pytest.mark.parametrize("key", ["folder", "out"])
def test_a_run_outside_is_refused_whether_or_not_it_is_there(inside: Path, key: str) -> None:
    outside = inside.parent / "beyond"

    def ask(name: str) -> Answer:
        return rescored(**{"folder": inside, key: str(outside.parent / name)})

    assert alike(ask, "beyond", "nosuch")["error"]["code"] == "bad_params"
    assert alike(ask, "beyond/secret.tif", "beyond/nosuch.tif")["error"]["code"] == "bad_params"
    assert sorted(path.name for path in outside.parent.iterdir()) == ["beyond", "inside"]
    assert [path.name for path in outside.iterdir()] == ["secret.tif"]


def test_nothing_is_written_into_a_folder_outside(inside: Path) -> None:
    outside = inside.parent / "beyond"
    link(inside / "way", outside)
    link(inside / ".mhfd", outside)
    for answer in (rescored(inside), rescored(inside, out=str(outside)), rescored(inside, out=str(inside / "way"))):
        assert "MHFD_OUT_ROOTS" in answer["error"]["message"]
    assert [path.name for path in outside.iterdir()] == ["secret.tif"]


def test_a_manifest_outside_is_refused_whether_or_not_it_is_there(inside: Path) -> None:
    """Whoever can put a manifest somewhere does not choose where results are written."""
    run = rescored(inside)
    job = Path(run["manifest"]).parent
    outside = inside.parent / "beyond" / ".mhfd" / "job"
    shutil.copytree(job, outside)
    before = sorted(path.name for path in outside.iterdir())
    (outside / "part-00000.parquet").unlink()
    for call in (finish_run, control_run, lambda manifest: score_shard(manifest, 0, 2)):
        answer = alike(lambda name, call=call: call(str(outside.with_name(name) / "manifest.parquet")), "job", "nosuch")
        assert answer["error"]["code"] == "bad_params"
    assert sorted(path.name for path in outside.iterdir()) == [each for each in before if each != "part-00000.parquet"]


def test_a_manifest_that_was_made_up_reads_nothing_outside(inside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It lies where tasks may write, so anyone may have written it; what it names is looked at all the same."""
    monkeypatch.delenv("MHFD_ROOTS")
    plan = plan_run(str(inside.parent / "beyond"), None, QUICK, {"out": str(inside)})
    monkeypatch.setenv("MHFD_ROOTS", str(inside))
    assert score_shard(plan["manifest"], 0, 1)["failures"] == {"permission_denied": 1}


def test_results_beside_data_that_may_only_be_read_need_another_place(
    inside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MHFD_OUT_ROOTS", str(inside.parent / "results"))
    refused = rescored(inside)["error"]
    assert (refused["code"], '"out"' in refused["message"]) == ("bad_params", True)
    answer = rescored(inside, out=str(inside.parent / "results" / "run 1"))
    assert answer["scored"] == 2
    assert Path(answer["dataset"]).parent == inside.parent / "results" / "run 1" / ".mhfd"
    assert sorted(path.name for path in inside.iterdir()) == ["t00.tif", "t01.tif"]


def test_what_a_pattern_finds_behind_a_link_that_leads_out_stays_hidden(inside: Path) -> None:
    outside = inside.parent / "beyond"
    link(inside / "way", outside)
    link(inside / "dead", outside / "nosuch")
    link(inside / "real.tif", outside / "secret.tif")
    link(inside / "gone.tif", outside / "nosuch.tif")
    run = rescored(inside)
    assert (run["scored"], run["failures"]) == (2, {"permission_denied": 2})
    for pattern in ("*/*", "**/*", "way/*", "way/secret.tif", "dead/secret.tif", "way/nosuch.tif"):
        answer = rescored(inside, pattern)
        assert "secret" not in json.dumps(answer)
    real, dead = (rescored(inside, f"{at}/*.tif") for at in ("way", "dead"))
    assert [each["code"] for each in real["remarks"]] == ["permission_denied"]
    assert real["remarks"][0]["message"].replace("way", "dead") == dead["remarks"][0]["message"]
    assert (real["rows"], dead["rows"]) == (0, 0)


def test_rows_too_many_to_send_lie_beside_data_only_where_tasks_may_write(
    inside: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(rows, "MAX_RESULT_BYTES", 10)
    monkeypatch.setattr("mhfd.worker.rows.tempfile.gettempdir", lambda: str(tmp_path / "tmp"))
    assert Path(score_paths([str(inside / "t00.tif")], QUICK)["rows_file"]).parent == inside
    monkeypatch.setenv("MHFD_OUT_ROOTS", "")
    assert Path(score_paths([str(inside / "t00.tif")], QUICK)["rows_file"]).parent == tmp_path / "tmp"
    monkeypatch.setenv("MHFD_RESULT_DIR", str(tmp_path / "operator's"))
    assert Path(score_paths([str(inside / "t00.tif")], QUICK)["rows_file"]).parent == tmp_path / "operator's"


@pytest.mark.parametrize("name", ["a\0b", "\ud800", "x" * MAX_PATH_BYTES, "../" * 2000])
def test_what_can_be_no_name_is_said_alike_everywhere(inside: Path, name: str) -> None:
    for path in (f"{inside}/{name}", f"{inside.parent}/beyond/{name}"):
        assert codes(score_paths([path], QUICK)) == ["not_found"]
        for answer in (rescored(path), rescored(inside, out=path), control_run(path)):
            assert answer["error"]["code"] == "bad_params"


# What is told of them


def test_the_worker_names_its_roots(inside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert describe()["roots"] == {"read": [str(inside)], "write": [str(inside)]}
    monkeypatch.setenv("MHFD_ROOTS", "")
    monkeypatch.delenv("MHFD_OUT_ROOTS")
    assert describe()["roots"] == {"read": [], "write": None}


def test_an_entry_that_is_no_folder_is_a_problem(inside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MHFD_ROOTS", os.pathsep.join([str(inside), "~/em", str(inside / "nosuch")]))
    monkeypatch.setenv("MHFD_MAX_PIXELS", "many")
    problems = "; ".join(describe()["problems"])
    assert "'~/em'" in problems and "nosuch" in problems and "MHFD_MAX_PIXELS" in problems
