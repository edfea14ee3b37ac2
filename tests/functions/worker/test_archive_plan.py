"""A plan lists the tiles of a run once, in order, the same every time."""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import tifffile

from mhfd.contract import FocusParams
from mhfd.worker import finish_run, plan_run, score_shard
from mhfd.worker.archive import plan as planning
from mhfd.worker.archive.files import unfinished
from mhfd.worker.archive.manifest import Manifest, Tile
from mhfd.worker.sorting import in_order

from .conftest import COLLECTION, QUICK, rescored, results_in, tissue, write_run, write_stack


def planned(folder: Path, pattern: str | None = None, **options: Any) -> dict[str, Any]:
    return plan_run(str(folder), pattern, QUICK, options)


def tiles_in(answer: dict[str, Any]) -> list[Tile]:
    return list(Manifest.open(answer["manifest"]).tiles(0, answer["tiles"]))


def paths_in(answer: dict[str, Any]) -> list[str]:
    return [tile.path for tile in tiles_in(answer)]


def test_a_manifest_lists_every_tile_with_size_and_time(tmp_path: Path) -> None:
    names = write_run(tmp_path, 3)
    answer = planned(tmp_path)
    assert (answer["files"], answer["tiles"], answer["shards"], answer["done"]) == (3, 3, 1, [])
    stats = [(tmp_path / name).stat() for name in names]
    assert answer["bytes"] == sum(each.st_size for each in stats)
    assert tiles_in(answer) == [
        Tile(name, -1, each.st_size, each.st_mtime_ns) for name, each in zip(names, stats, strict=True)
    ]
    assert Path(answer["manifest"]).parent == tmp_path / ".mhfd" / answer["job"]
    assert answer["job"].startswith(FocusParams.from_dict(QUICK).sha256[:8])


def test_the_same_folder_is_the_same_job_and_a_changed_one_another(tmp_path: Path) -> None:
    write_run(tmp_path, 3)
    first, second = planned(tmp_path), planned(tmp_path)
    assert (first["job"], first["manifest_sha256"]) == (second["job"], second["manifest_sha256"])
    os.utime(tmp_path / "t01.tif", ns=(0, 0))
    others = [
        planned(tmp_path), planned(tmp_path, shard_tiles=2), planned(tmp_path, spectra=False),
        planned(tmp_path, limit=2), planned(tmp_path, job="night"),
        plan_run(str(tmp_path), None, QUICK | {"k_noise": 4}),
    ]  # fmt: skip
    assert len({first["job"], *(each["job"] for each in others)}) == 1 + len(others)
    assert others[4]["job"].startswith("night-")


def test_a_manifest_that_is_there_stays_as_it_is(tmp_path: Path) -> None:
    write_run(tmp_path, 2)
    manifest = Path(planned(tmp_path)["manifest"])
    before = manifest.stat().st_mtime_ns, manifest.stat().st_ino
    planned(tmp_path)
    assert (manifest.stat().st_mtime_ns, manifest.stat().st_ino) == before


def test_a_run_that_was_moved_with_its_results_is_not_scored_again(tmp_path: Path) -> None:
    write_run(tmp_path / "run", 2)
    rescored(tmp_path / "run")
    (tmp_path / "run").rename(tmp_path / "moved")
    answer = planned(tmp_path / "moved")
    assert answer["done"] == [0]
    Path(answer["manifest"]).with_name("part-00000.parquet").unlink()
    assert score_shard(answer["manifest"], 0, 2)["scored"] == 2  # from where the tiles are now


def test_every_page_of_a_stack_is_a_tile(tmp_path: Path) -> None:
    write_stack(tmp_path / "a.tif", 3)
    write_stack(tmp_path / "b.tif", 3)
    write_run(tmp_path, 1)
    answer = planned(tmp_path)
    assert paths_in(answer) == [f"{name}#page={page}" for name in ("a.tif", "b.tif") for page in range(3)] + ["t00.tif"]
    assert (answer["files"], answer["tiles"]) == (3, 7)


def test_of_files_of_one_size_only_the_first_is_looked_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_run(tmp_path, 20)
    (tmp_path / "u.tif").write_bytes(b"II*\0")
    looked: list[str] = []
    count = planning.count_tiles
    monkeypatch.setattr(planning, "count_tiles", lambda path: (looked.append(Path(path).name), count(path))[1])
    assert planned(tmp_path)["tiles"] == 21
    assert sorted(looked) == ["t00.tif", "u.tif"]


def test_a_stack_that_was_taken_for_one_tile_is_scored_whole(tmp_path: Path) -> None:
    """It has the size of the file before it, which holds one tile."""
    write_stack(tmp_path / "b.tif", 3)
    write_run(tmp_path, 2)
    (tmp_path / "t00.tif").rename(tmp_path / "a.tif")
    with (tmp_path / "a.tif").open("ab") as file:
        file.write(bytes((tmp_path / "b.tif").stat().st_size - (tmp_path / "a.tif").stat().st_size))
    answer = rescored(tmp_path)
    assert answer["tiles"] == 3
    assert [row["path"] for row in answer["results"]] == ["a.tif", *(f"b.tif#page={k}" for k in range(3)), "t01.tif"]
    assert (answer["rows"], answer["scored"]) == (5, 5)


def test_tiles_are_in_the_order_of_their_names_part_by_part(tmp_path: Path) -> None:
    for name in ("a", "a.b", "B", "a/c", "a-b"):
        (tmp_path / name).mkdir(exist_ok=True)
    for name in ("a/2.tif", "a/c/1.tif", "a.b/1.tif", "B/1.tif", "a-b/1.tif", "a.tif", "z.PNG", "z.txt"):
        (tmp_path / name).write_bytes(b"x")
    assert paths_in(planned(tmp_path)) == [
        "B/1.tif", "a/2.tif", "a/c/1.tif", "a-b/1.tif", "a.b/1.tif", "a.tif", "z.PNG",
    ]  # fmt: skip


def test_our_own_folder_is_no_part_of_a_run(tmp_path: Path) -> None:
    write_run(tmp_path, 1)
    (tmp_path / ".mhfd").mkdir()
    write_run(tmp_path / ".mhfd" / "x", 1)
    assert paths_in(planned(tmp_path, "**/*")) == ["t00.tif"]


def test_more_than_memory_holds_is_sorted_all_the_same() -> None:
    items = [(f"{n * 7919 % 1009:04}",) for n in range(1009)]
    assert list(in_order(items, at_once=100)) == sorted(items)
    assert list(in_order(items[:100], at_once=100)) == sorted(items[:100])
    assert list(in_order([], at_once=100)) == []


def test_a_manifest_of_many_row_groups_is_read_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mhfd.worker.archive.manifest.GROUP_TILES", 4)
    names = write_run(tmp_path, 10)
    manifest = Manifest.open(planned(tmp_path)["manifest"])
    for first, count in ((0, 10), (0, 4), (3, 3), (4, 4), (7, 3), (9, 1), (10, 0)):
        assert [tile.name for tile in manifest.tiles(first, count)] == names[first : first + count]


@pytest.mark.skipif(os.name == "nt", reason="such names are none on Windows")
def test_names_that_are_no_text_are_kept_as_they_are(tmp_path: Path) -> None:
    names = [b"a\xff.tif", b"b\n.tif", b"c#page=1.tif", "d\u0301.tif".encode()]
    for name in names:
        tifffile.imwrite(tmp_path / os.fsdecode(name), tissue())
    answer = rescored(tmp_path)
    assert (answer["scored"], answer["failed"]) == (4, 0)
    assert sorted(os.fsencode(tile.name) for tile in tiles_in(answer)) == sorted(names)
    assert {row["path"] for row in answer["results"]} == {"a?.tif", "b\n.tif", "c#page=1.tif", "d\u0301.tif"}


# Options


def test_a_dry_run_counts_and_writes_nothing(tmp_path: Path) -> None:
    write_run(tmp_path, 3)
    dry = planned(tmp_path, dry_run=True)
    assert not (tmp_path / ".mhfd").exists()
    assert {key: dry[key] for key in ("job", "tiles", "shards", "bytes")} == {
        key: planned(tmp_path)[key] for key in ("job", "tiles", "shards", "bytes")
    }


def test_a_sample_is_the_same_tiles_every_time(tmp_path: Path) -> None:
    names = write_run(tmp_path, 40)
    by_number, by_share = (paths_in(planned(tmp_path, sample=sample)) for sample in (5, 0.25))
    assert len(by_number) == 5
    assert by_number == sorted(by_number)
    assert set(by_number) < set(names)
    assert 2 <= len(by_share) <= 20
    (tmp_path / "a.tif").write_bytes(b"x")
    assert set(paths_in(planned(tmp_path, sample=0.25))) - {"a.tif"} == set(by_share)
    assert paths_in(planned(tmp_path, sample=1.0)) == ["a.tif", *names]


def test_a_limit_takes_the_first_tiles(tmp_path: Path) -> None:
    names = write_run(tmp_path, 4)
    assert paths_in(planned(tmp_path, limit=3)) == names[:3]


def test_results_may_lie_elsewhere(tmp_path: Path) -> None:
    for run in ("a", "b"):
        write_run(tmp_path / run, 1)
    answers = [rescored(tmp_path / run, out=str(tmp_path / "results")) for run in ("a", "b")]
    assert {Path(answer["dataset"]).parent for answer in answers} == {tmp_path / "results" / ".mhfd"}
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["t00.tif"]


def test_runs_alike_do_not_share_results_in_one_folder(tmp_path: Path) -> None:
    """Names, sizes and times of two runs may be equal; their tiles need not be."""
    for run in ("a", "b"):
        write_run(tmp_path / run, 1)
        os.utime(tmp_path / run / "t00.tif", ns=(0, 0))
    first = rescored(tmp_path / "a", out=str(tmp_path), changed_only=True)
    second = rescored(tmp_path / "b", out=str(tmp_path), changed_only=True)
    assert first["job"] != second["job"]
    assert (first["skipped"], second["skipped"]) == (0, 0)


def test_a_run_in_a_collection_stays_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_run(tmp_path / "run", 2)
    monkeypatch.setenv("GCS_LOCAL_MAPS", json.dumps({COLLECTION: str(tmp_path)}))
    answer = rescored("/run", out="results", collection=COLLECTION)
    assert answer["scored"] == 2
    assert Path(answer["dataset"]).parent == tmp_path / "results" / ".mhfd"
    outside = rescored("run", out="../x", collection=COLLECTION)
    assert outside["error"]["code"] == "bad_params"


@pytest.mark.parametrize(
    "options",
    [
        [1], {"colour": 1}, {"limit": 0}, {"limit": 1.5}, {"sample": 1.5}, {"sample": -1}, {"sample": True},
        {"shard_tiles": 0}, {"changed_only": "yes"}, {"job": "../x"}, {"job": ".x"}, {"job": "x" * 65}, {"out": 7},
    ],
)  # fmt: skip
def test_bad_options_are_refused(tmp_path: Path, options: Any) -> None:
    write_run(tmp_path, 1)
    assert plan_run(str(tmp_path), None, QUICK, options)["error"]["code"] == "bad_params"
    assert [path.name for path in tmp_path.iterdir()] == ["t00.tif"]


def test_so_many_shards_that_parts_would_lose_their_order_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "MOST_SHARDS", 2)
    write_run(tmp_path, 5)
    answer = planned(tmp_path, shard_tiles=2)
    assert "take at least 3" in answer["error"]["message"]
    assert list((tmp_path / ".mhfd").iterdir()) == []
    assert planned(tmp_path, shard_tiles=3)["shards"] == 2


def test_a_folder_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    assert planned(tmp_path / "none")["error"]["code"] == "bad_params"
    assert list(tmp_path.iterdir()) == []


def test_an_empty_run_is_complete(tmp_path: Path) -> None:
    answer = rescored(tmp_path)
    assert (answer["complete"], answer["rows"], answer["shards"]) == (True, 0, 0)


def test_without_pyarrow_the_answer_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    error = planned(tmp_path)["error"]
    assert error["code"] == "not_installed"
    assert "pip install" in error["message"]


@pytest.mark.parametrize(
    "wrong", [{"shard_tiles": 0}, {"tiles": "1"}, {"folder": 7}, {"params": {"x": 1}}, {"bytes": -1}]
)
def test_a_manifest_that_was_made_up_is_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    write_run(tmp_path, 1)
    place = Path(planned(tmp_path)["manifest"])
    parquet = importlib.import_module("pyarrow.parquet")
    table = parquet.read_table(place)
    told = json.loads(parquet.read_metadata(place).metadata[b"mhfd"])
    parquet.write_table(table.replace_schema_metadata({"mhfd": json.dumps(told | wrong)}), place)
    assert score_shard(str(place), 0, 1)["error"]["code"] == "bad_params"


def test_results_are_taken_over_only_from_where_tasks_may_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A manifest may have been made up, and would copy what lies elsewhere."""
    write_run(tmp_path / "run", 2)
    write_run(tmp_path / "other", 2)
    there = Path(rescored(tmp_path / "other")["dataset"])
    monkeypatch.setattr(planning, "taken_over", lambda tiles, *_, names, **__: (
        names.append(f"../../other/.mhfd/{there.name}/part-00000.parquet"),
        (tile._replace(part=0, row=number) for number, tile in enumerate(tiles)),
    )[1])  # fmt: skip
    plan = planned(tmp_path / "run", changed_only=True)
    monkeypatch.setenv("MHFD_OUT_ROOTS", str(tmp_path / "run"))
    answer = score_shard(plan["manifest"], 0, 2)
    assert (answer["taken"], answer["scored"]) == (0, 2)


# Changed only


def test_what_did_not_change_is_taken_over(tmp_path: Path) -> None:
    names = write_run(tmp_path, 5)
    before = rescored(tmp_path, shard_tiles=2)
    tifffile.imwrite(tmp_path / names[1], tissue(99))
    os.utime(tmp_path / names[3], ns=(0, 0))
    tifffile.imwrite(tmp_path / "t005.tif", tissue(7))
    write_stack(tmp_path / "z.tif", 2)
    answer = rescored(tmp_path, shard_tiles=3, changed_only=True)
    assert (answer["tiles"], answer["skipped"], answer["taken"], answer["rows"]) == (8, 3, 3, 8)
    old = {row["path"]: row for row in before["results"]}
    new = {row["path"]: row for row in answer["results"]}
    assert list(new) == [tile.path for tile in tiles_in(answer)]
    assert all(new[name] == old[name] for name in (names[0], names[2], names[4]))  # with their times
    whole = {row["path"]: row["provenance"]["tile_sha256"] for row in rescored(tmp_path, job="all")["results"]}
    assert {path: row["provenance"]["tile_sha256"] for path, row in new.items()} == whole


def test_pages_are_taken_over_too(tmp_path: Path) -> None:
    write_stack(tmp_path / "a.tif", 12)
    rescored(tmp_path)
    (tmp_path / "b.tif").write_bytes((tmp_path / "a.tif").read_bytes())
    answer = rescored(tmp_path, changed_only=True)
    assert (answer["tiles"], answer["taken"]) == (24, 12)
    assert [row["path"] for row in answer["results"]] == [f"{x}.tif#page={k}" for x in "ab" for k in range(12)]


def test_other_parameters_or_another_version_are_not_taken_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_run(tmp_path, 2)
    rescored(tmp_path, spectra=False)
    assert rescored(tmp_path, params=QUICK | {"k_noise": 4}, changed_only=True)["taken"] == 0
    assert rescored(tmp_path, changed_only=True)["taken"] == 0  # spectra are wanted, and are not there
    assert rescored(tmp_path, changed_only=True, job="again")["taken"] == 2
    for module in ("manifest", "plan"):
        monkeypatch.setattr(f"mhfd.worker.archive.{module}.__version__", "9.9")
    assert rescored(tmp_path, changed_only=True)["taken"] == 0


def test_a_failure_that_may_have_passed_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_run(tmp_path, 2)
    (tmp_path / "bad.tif").write_bytes(b"II*\0")
    with monkeypatch.context() as away:
        away.setenv("MHFD_MAX_PIXELS", "1")
        assert rescored(tmp_path)["failures"] == {"too_large": 2, "truncated": 1}
    assert rescored(tmp_path, changed_only=True, job="again")["failures"] == {"too_large": 2, "truncated": 1}

    def failing(*_: Any, **__: Any) -> Any:
        raise MemoryError

    with monkeypatch.context() as away:
        away.setattr("mhfd.worker.tasks.read_only_tile", failing)
        assert rescored(tmp_path, params=QUICK | {"k_noise": 4})["failures"] == {"out_of_memory": 3}
    answer = rescored(tmp_path, params=QUICK | {"k_noise": 4}, changed_only=True, job="again")
    assert (answer["taken"], answer["scored"], answer["failures"]) == (0, 2, {"truncated": 1})


def test_a_part_that_is_gone_is_scored_again(tmp_path: Path) -> None:
    write_run(tmp_path, 2)
    first = rescored(tmp_path)
    plan = planned(tmp_path, changed_only=True, job="again")
    assert plan["skipped"] == 2
    Path(first["manifest"]).with_name("part-00000.parquet").unlink()
    answer = score_shard(plan["manifest"], 0, 2)
    assert (answer["taken"], answer["scored"]) == (0, 2)


def test_a_finished_job_can_be_removed_when_another_has_taken_it_over(tmp_path: Path) -> None:
    write_run(tmp_path, 3)
    first = rescored(tmp_path)
    second = rescored(tmp_path, changed_only=True, job="again")
    for path in Path(first["dataset"]).iterdir():
        path.unlink()
    assert finish_run(second["manifest"])["complete"]
    assert len(results_in(Path(second["dataset"]))) == 3


def test_what_a_killed_plan_left_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_run(tmp_path, 1)
    home = Path(planned(tmp_path)["manifest"]).parents[1]
    ours = unfinished(home, "manifest.parquet")
    with monkeypatch.context() as other:
        other.setattr("mhfd.worker.archive.files.os.getpid", lambda: 2**22 + 1)  # beyond the numbers of Linux
        dead = unfinished(home, "manifest.parquet")
    strange = home / "x.tmp"
    for path in (ours, dead, strange):
        path.touch()
    planned(tmp_path)
    assert (ours.exists(), dead.exists(), strange.exists()) == (True, os.name == "nt", True)
    os.utime(strange, (0, 0))
    planned(tmp_path)
    assert not strange.exists()
