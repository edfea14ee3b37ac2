"""`mhfd schedule --with globus` against Flows and Timers on this machine, by the unmodified clients."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result

from loopback.broker import wait_until
from loopback.flows_service import ended
from mhfd_client.cli import main

if TYPE_CHECKING:
    from loopback.stack import Loopback

END_S = 240.0  # on a machine that does much else


@pytest.fixture
def configured(
    loopback: Loopback,
    functions: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """A configuration with the endpoint "here"; the folder it is in, with an archive of three tiles."""
    (tmp_path / "archive").mkdir()
    for n in range(3):
        (tmp_path / "archive" / f"t{n}.tif").write_bytes(b"x")
    listed = ", ".join(f'{name} = "{name_of}"' for name, name_of in functions.items())
    (tmp_path / "config.toml").write_text(
        f'[endpoints.here]\nuuid = "{loopback.endpoint_id}"\nfunctions = {{{listed}}}\n'
        'user_endpoint_config = {engine = "ThreadPoolEngine"}\n'
        f'data = [{{local_root = "{tmp_path}", root = "{tmp_path}"}}]\n'
    )
    monkeypatch.setenv("MHFD_CONFIG", str(tmp_path / "config.toml"))
    assert loopback.flows.running()
    return tmp_path


def schedule(command: str, *arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["schedule", command, "--with", "globus", *map(str, arguments)])


def install(folder: Path, *options: str | Path) -> Result:
    result = schedule("install", folder / "archive", "--endpoint", "here", *options)
    assert result.exit_code == 0, result.output
    return result


def state(loopback: Loopback) -> tuple[set[str], set[str]]:
    return set(loopback.flows.flows), set(loopback.flows.timers)


def test_a_second_time_nothing_is_changed(configured: Path, loopback: Loopback) -> None:
    install(configured)
    before = state(loopback)
    assert [len(each) for each in before] == [1, 1]
    assert "up to date" in install(configured).stdout
    assert state(loopback) == before
    assert loopback.flows.stats.count("update_flow") == loopback.flows.stats.count("delete_job") == 0


def test_another_time_replaces_the_timer_and_keeps_the_flow(configured: Path, loopback: Loopback) -> None:
    install(configured)
    (flows, timers) = state(loopback)
    install(configured, "--every", "6h", "--at", "07:30")
    assert state(loopback)[0] == flows and not timers & state(loopback)[1]
    (timer,) = loopback.flows.timers.values()
    assert timer.interval == timedelta(hours=6)
    assert timer.start.astimezone().strftime("%M") == "30"


def test_a_flow_of_an_older_version_is_changed_in_place(configured: Path, loopback: Loopback) -> None:
    install(configured)
    before = state(loopback)
    (flow,) = loopback.flows.flows.values()
    shipped = flow["definition"]
    flow["definition"] = {**shipped, "Comment": "an older one"}
    install(configured)
    assert state(loopback) == before
    assert next(iter(loopback.flows.flows.values()))["definition"] == shipped


def test_the_timer_runs_the_flow_and_show_tells_of_it(configured: Path, loopback: Loopback) -> None:
    install(configured)
    lines = schedule("show").stdout.splitlines()
    assert lines[0] == "mhfd-rescore: on" and lines[2:] == ["last run: none yet", "last result: none yet"]
    loopback.flows.faults.ahead = timedelta(days=1)
    (timer,) = loopback.flows.timers.values()
    wait_for(lambda: bool(timer.runs))
    assert ended(timer.runs[0][1], END_S)["status"] == "SUCCEEDED"
    assert len(list((configured / "archive/.mhfd/job").glob("part-*"))) == 2
    shown = json.loads(schedule("show", "--json").stdout)
    assert (shown["state"], shown["last_result"]) == ("on", "succeeded")
    assert shown["last_run"] and shown["next_run"]


def test_a_run_that_failed_is_told_with_its_reason(configured: Path, loopback: Loopback) -> None:
    install(configured)
    for tile in (configured / "archive").iterdir():
        tile.unlink()
    (configured / "archive").rmdir()
    loopback.flows.faults.ahead = timedelta(days=1)
    (timer,) = loopback.flows.timers.values()
    wait_for(lambda: bool(timer.runs))
    ended(timer.runs[0][1], END_S)
    said = schedule("show").stdout
    assert "last result: failed: bad_params" in said and "no such folder" in said


@pytest.mark.parametrize("strategy", ["JSONData", "DillDataBase64"])
def test_an_endpoint_that_takes_json_only_runs_the_flow_or_says_why_not(
    strategy: str, configured: Path, loopback: Loopback
) -> None:
    """If the real action provider sends pickles to an endpoint with our list of serializers, this is what one sees."""
    file = configured / "config.toml"
    file.write_text(file.read_text().replace('"ThreadPoolEngine"', '"ThreadPoolEngine", only_json = true'))
    loopback.flows.compute.strategy = strategy
    install(configured)
    loopback.flows.faults.ahead = timedelta(days=1)
    (timer,) = loopback.flows.timers.values()
    wait_for(lambda: bool(timer.runs))
    document = ended(timer.runs[0][1], END_S)
    if strategy == "JSONData":
        assert document["status"] == "SUCCEEDED", json.dumps(document)
    else:
        assert document["status"] == "FAILED" and document["details"]["details"]["state"] == "Plan"
        assert "DillDataBase64 disabled by current configuration" in schedule("show").stdout


def test_a_dry_run_changes_nothing(configured: Path, loopback: Loopback) -> None:
    said = install(configured, "--dry-run").stdout
    assert "would make the flow" in said and "would set the timer mhfd-rescore, every day at 02:00" in said
    assert str(configured / "archive") in said
    assert state(loopback) == (set(), set())
    install(configured)
    before = state(loopback)
    assert "would delete the timer" in schedule("remove", "--dry-run").stdout
    assert state(loopback) == before


def test_the_flow_goes_with_the_last_timer(configured: Path, loopback: Loopback) -> None:
    install(configured, "--name", "a")
    install(configured, "--name", "b")
    assert [len(each) for each in state(loopback)] == [1, 2]
    schedule("remove", "--name", "a")
    assert [len(each) for each in state(loopback)] == [1, 1]
    assert "and the flow" not in schedule("remove", "--name", "b").stdout
    assert state(loopback) == (set(), set())
    assert schedule("remove").stdout == "mhfd-rescore is not installed.\n"
    assert schedule("show").stdout == "mhfd-rescore: not installed\n"


def test_two_timers_of_a_name_become_one(configured: Path, loopback: Loopback) -> None:
    """As an installation leaves them that is killed before it removes the old one."""
    install(configured)
    (timer,) = loopback.flows.timers.values()
    loopback.flows.timers["copy"] = type(timer)(timer.name, timer.flow, {}, timer.start, timer.interval, id="copy")
    install(configured)
    assert set(loopback.flows.timers) == {timer.id}


def test_a_copy_comes_before_the_scoring(configured: Path, loopback: Loopback) -> None:
    source = loopback.transfer.collection(configured / "archive")
    destination = loopback.transfer.collection(configured / "facility", consent=True)
    options = ["--copy", f"{source}:/", f"{destination}:/run", "--consent", destination]
    (configured / "facility" / "run").mkdir(parents=True)
    result = schedule("install", configured / "facility" / "run", "--endpoint", "here", *options)
    assert result.exit_code == 0, result.output
    loopback.flows.faults.ahead = timedelta(days=1)
    (timer,) = loopback.flows.timers.values()
    wait_for(lambda: bool(timer.runs))
    document = ended(timer.runs[0][1], END_S)
    assert document["status"] == "SUCCEEDED", json.dumps(document)
    assert document["details"]["output"]["report"]["rows"] == 3


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--endpoint", "local"], "Globus cannot reach this machine"),
        ([], "name it with --endpoint"),
        (["--endpoint", "here,there"], "one endpoint"),
        (["--endpoint", "here", "--copy", "x", "y"], "COLLECTION:/folder"),
        (["--endpoint", "here", "/another"], "--name"),
    ],
)
def test_what_a_flow_cannot_do_is_refused(options: list[str], said: str, configured: Path, loopback: Loopback) -> None:
    result = schedule("install", configured / "archive", *options)
    assert result.exit_code == 2 and said in result.stderr
    assert state(loopback) == (set(), set())


def test_an_endpoint_whose_functions_are_older_says_what_to_run(configured: Path, loopback: Loopback) -> None:
    file = configured / "config.toml"
    file.write_text(file.read_text().replace("next_wave", "score_run"))
    result = schedule("install", configured / "archive", "--endpoint", "here")
    assert result.exit_code == 2 and "next_wave: run `mhfd register`" in result.stderr


@pytest.mark.parametrize(("status", "code"), [(401, 77), (422, 69)])
def test_a_service_that_refuses_is_an_exit_code(status: int, code: int, configured: Path, loopback: Loopback) -> None:
    loopback.flows.faults.refuse(status, times=20, kind="create_flow")
    result = schedule("install", configured / "archive", "--endpoint", "here")
    assert result.exit_code == code and result.stderr.startswith("Error: Globus")
    assert loopback.flows.timers == {}


def test_a_run_that_is_at_work_at_the_next_time_is_not_doubled(configured: Path, loopback: Loopback) -> None:
    install(configured)
    loopback.faults.offline = True
    (timer,) = loopback.flows.timers.values()
    for day in (1, 2, 3):
        loopback.flows.faults.ahead = timedelta(days=day)
        wait_for(lambda day=day: timer.next_run > timer.start + timedelta(days=day - 1))  # type: ignore[misc]
    assert len(timer.runs) == 1
    loopback.faults.offline = False
    assert ended(timer.runs[0][1], END_S)["status"] == "SUCCEEDED"


def wait_for(condition: Callable[[], bool]) -> None:
    wait_until(condition, END_S, "the timer has run")


def test_names_in_the_input_are_uuids(configured: Path, loopback: Loopback) -> None:
    install(configured)
    (timer,) = loopback.flows.timers.values()
    given = timer.body["body"]["input"]
    assert uuid.UUID(given["endpoint_id"]) == uuid.UUID(loopback.endpoint_id)
    assert given["options"]["changed_only"] is True
    assert timer.body["activity_notification_policy"] == {"status": ["INACTIVE", "FAILED", "SUCCEEDED"]}
