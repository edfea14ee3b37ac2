"""The shipped flow over the loopback: Globus's own clients, real tasks on a real endpoint, real transfers."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import globus_sdk
import pytest

from loopback.broker import wait_until
from loopback.flow_rules import faults_of
from loopback.flow_run import STATE_BYTES
from loopback.flows_service import ended

if TYPE_CHECKING:
    from loopback.flow_run import Run
    from loopback.stack import Loopback

CHECKOUT = Path(__file__).parents[2]
SHIPPED = CHECKOUT / "client" / "mhfd_client" / "schedule" / "flow"
DEFINITION = json.loads((SHIPPED / "definition.json").read_text(encoding="utf-8"))
SCHEMA = json.loads((SHIPPED / "schema.json").read_text(encoding="utf-8"))
DEFINITION_FUNCTIONS = ("plan_run", "next_wave", "score_shard", "finish_run")
END_S = 240.0  # on a machine that does much else
THREADS = {"engine": "ThreadPoolEngine"}


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    folder = tmp_path / "archive"
    folder.mkdir()
    for n in range(9):
        (folder / f"t{n}.tif").write_bytes(b"x")
    return folder


def app() -> globus_sdk.ClientApp:
    return globus_sdk.ClientApp("test", client_id=str(uuid.uuid4()), client_secret="x")


def flow_input(loopback: Loopback, functions: dict[str, str], folder: Path, **more: Any) -> dict[str, Any]:
    return {
        "endpoint_id": loopback.endpoint_id,
        "user_endpoint_config": THREADS,
        "functions": functions,
        "folder": str(folder),
        "pattern": None,
        "params": None,
        "options": {"shard_tiles": 2},
        "wave": {"shards": 2},
        "reference": None,
        "transfer": None,
        **more,
    }


def start(loopback: Loopback, given: dict[str, Any]) -> Run:
    """A run of the shipped flow, by the clients of globus_sdk."""
    service = loopback.flows
    signed_in = app()
    with globus_sdk.FlowsClient(app=signed_in) as flows:
        flow = flows.create_flow("rescore", DEFINITION, SCHEMA)
    with globus_sdk.SpecificFlowClient(flow["id"], app=signed_in) as specific:
        run = specific.run_flow({"input": given})
    signed_in.close()
    return service.runs[run["run_id"]]


def test_the_shipped_flow_is_one_that_globus_takes() -> None:
    assert faults_of(DEFINITION) == []
    assert "NextWave" in DEFINITION["States"]


def test_an_input_that_the_schema_refuses_starts_nothing(
    loopback: Loopback, functions: dict[str, str], archive: Path
) -> None:
    with pytest.raises(globus_sdk.FlowsAPIError) as refused:
        start(loopback, flow_input(loopback, functions, archive, options=[]))
    assert refused.value.http_status == 422 and not loopback.flows.runs


def test_it_plans_scores_all_shards_in_waves_and_finishes(
    loopback: Loopback, functions: dict[str, str], archive: Path
) -> None:
    run = start(loopback, flow_input(loopback, functions, archive))
    document = ended(run, END_S)
    assert document["status"] == "SUCCEEDED", json.dumps(document)
    report = document["details"]["output"]["report"]
    assert (report["tiles"], report["rows"], report["waves"]) == (9, 9, 3)
    assert run.visited.count("Score") == 3  # five shards, two a wave
    assert loopback.flows.compute.submitted == [1, 1, 2, 1, 2, 1, 1, 1, 1]
    again = ended(start(loopback, flow_input(loopback, functions, archive)), END_S)  # all is done
    assert again["details"]["output"]["report"]["waves"] == 0


def test_files_are_copied_first_where_the_input_says_so(
    loopback: Loopback, functions: dict[str, str], archive: Path, tmp_path: Path
) -> None:
    (archive / "deep").mkdir()
    (archive / "deep" / "t9.tif").write_bytes(b"y")
    transfer = {
        "source_endpoint": loopback.transfer.collection(archive),
        "destination_endpoint": loopback.transfer.collection(tmp_path / "facility"),
        "items": [{"source_path": "/", "destination_path": "/run", "recursive": True}],
    }
    given = flow_input(loopback, functions, tmp_path / "facility" / "run", transfer=transfer)
    document = ended(start(loopback, given), END_S)
    assert document["status"] == "SUCCEEDED", json.dumps(document)
    assert document["details"]["output"]["report"]["rows"] == 9
    assert (tmp_path / "facility/run/deep/t9.tif").read_bytes() == b"y"


def test_a_folder_without_tiles_is_nothing_to_do(loopback: Loopback, functions: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    run = start(loopback, flow_input(loopback, functions, tmp_path / "empty"))
    assert ended(run, END_S)["status"] == "SUCCEEDED"
    assert run.visited[-1] == "NothingToDo"


def test_what_a_function_refuses_ends_the_run_with_its_words(
    loopback: Loopback, functions: dict[str, str], tmp_path: Path
) -> None:
    run = start(loopback, flow_input(loopback, functions, tmp_path / "gone"))
    assert ended(run, END_S)["status"] == "FAILED"
    details = run.details["details"]
    assert details["error"] == "bad_params" and "no such folder" in details["cause"]


@pytest.mark.parametrize("name", ["bad.tif", "dies.tif"])
def test_a_shard_that_always_fails_does_not_stop_the_others_and_ends_as_incomplete(
    name: str, loopback: Loopback, functions: dict[str, str], archive: Path
) -> None:
    (archive / name).write_bytes(b"x")
    run = start(loopback, flow_input(loopback, functions, archive))
    assert ended(run, END_S)["status"] == "FAILED"
    assert run.details["details"]["error"] == "incomplete"
    assert run.state["finished"]["details"]["result"][0]["rows"] == 8  # its shard holds two of ten
    (archive / name).unlink()  # as if it were mended


def test_a_killed_run_loses_nothing_and_the_next_one_does_the_rest(
    loopback: Loopback, functions: dict[str, str], archive: Path
) -> None:
    (archive / "slow.tif").write_bytes(b"x")  # of the first shard
    job = archive / ".mhfd" / "job"
    job.mkdir(parents=True)
    (job / "wait").touch()
    given = flow_input(loopback, functions, archive, user_endpoint_config={**THREADS, "workers": 2})
    run = start(loopback, given)
    wait_until(lambda: list(job.glob("part-*")), END_S, "a first part is there")
    before = {path.name: path.stat().st_mtime_ns for path in job.glob("part-*")}
    with globus_sdk.FlowsClient(app=app()) as flows:
        flows.cancel_run(run.id)
    assert run.status == "ENDED"
    (job / "wait").unlink()
    document = ended(start(loopback, given), END_S)
    assert document["details"]["output"]["report"]["rows"] == 10
    after = {path.name: path.stat().st_mtime_ns for path in job.glob("part-*")}
    assert {name: after[name] for name in before} == before


def test_a_cancelled_job_is_not_taken_up(loopback: Loopback, functions: dict[str, str], archive: Path) -> None:
    job = archive / ".mhfd" / "job"
    job.mkdir(parents=True)
    (job / "CANCELLED").touch()
    run = start(loopback, flow_input(loopback, functions, archive))
    assert ended(run, END_S)["details"]["details"]["error"] == "cancelled"
    assert not list(job.glob("part-*"))


def test_an_endpoint_that_is_offline_is_waited_for(
    loopback: Loopback, functions: dict[str, str], archive: Path
) -> None:
    loopback.faults.offline = True
    run = start(loopback, flow_input(loopback, functions, archive))
    wait_until(lambda: loopback.flows.compute.submitted, END_S, "the plan is submitted")
    assert (run.status, run.visited[-1]) == ("ACTIVE", "Plan")
    loopback.faults.offline = False
    assert ended(run, END_S)["status"] == "SUCCEEDED"


def test_an_endpoint_offline_for_a_week_ends_the_run(
    loopback: Loopback, functions: dict[str, str], archive: Path
) -> None:
    loopback.flows.faults.hurry = 1e6
    loopback.faults.offline = True
    run = start(loopback, flow_input(loopback, functions, archive))
    assert ended(run, END_S)["details"]["details"]["error"] == "ActionTimeout"


def test_a_full_wave_keeps_the_state_below_the_limit(
    loopback: Loopback, functions: dict[str, str], tmp_path: Path
) -> None:
    folder = tmp_path / ("long " * 30)
    folder.mkdir()
    for n in range(80):
        (folder / f"t{n}.tif").write_bytes(b"x")
    given = flow_input(loopback, functions, folder, options={"shard_tiles": 1}, wave={"shards": 40})
    run = start(loopback, given)
    assert ended(run, END_S)["status"] == "SUCCEEDED"
    assert run.largest < STATE_BYTES / 2


def test_the_real_functions_score_an_archive_in_waves(loopback: Loopback, tmp_path: Path) -> None:
    """What `mhfd register` registers, on tiles with known content; nothing is done again the second time."""
    pytest.importorskip("pyarrow", reason="results of archives are Parquet files")
    import pyarrow.parquet as pq

    from mhfd.registry import source_of
    from mhfd_client.simulate import RunPlan, simulate_run

    client = loopback.client()
    functions = {name: client.register_source_code(source_of(name), name) for name in DEFINITION_FUNCTIONS}
    simulate_run(tmp_path / "run", RunPlan(sections=1, rows=1, cols=5, tile_px=128))
    given = flow_input(loopback, functions, tmp_path / "run", params={"n_scales": 2, "max_t": 4.0})
    given["options"]["changed_only"] = True
    run = start(loopback, given)
    document = ended(run, END_S)
    assert document["status"] == "SUCCEEDED", json.dumps(document)
    report = document["details"]["output"]["report"]
    assert (report["tiles"], report["rows"], report["failed"], report["waves"]) == (5, 5, 0, 2)
    parts = sorted(Path(report["dataset"]).glob("part-*.parquet"))
    assert sum(pq.read_metadata(part).num_rows for part in parts) == 5
    assert (Path(report["dataset"]) / "_SUCCESS.json").is_file()
    before = {path: path.stat().st_mtime_ns for path in parts}
    again = start(loopback, given)
    assert ended(again, END_S)["status"] == "SUCCEEDED"
    assert again.visited[-1] == "NothingToDo" and "Score" not in again.visited
    assert {path: path.stat().st_mtime_ns for path in parts} == before
