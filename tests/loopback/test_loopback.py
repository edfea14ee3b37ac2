"""The equipment itself: the unmodified SDK and endpoint work on it, and its faults do what they should."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import Future, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from globus_compute_sdk import Executor

    from loopback.stack import Loopback

RESULT_S = 240.0  # the first task of an engine takes 2 s (threads), 12 s (processes), more on a busy machine
THREADS = {"engine": "ThreadPoolEngine"}
PROCESSES = {"engine": "GlobusComputeEngine"}
REFUSED_IN_THREAD = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
# The SDK's thread for submissions ends with the exception that it also gives to the futures.

FUNCTIONS = {
    "double": "def double(x):\n    return 2 * x\n",
    "length": "def length(text):\n    return len(text)\n",
    "fail": "def fail():\n    raise ValueError('no such tile')\n",
    "nap": "def nap(seconds):\n    import time\n    time.sleep(seconds)\n    return seconds\n",
    "home": "def home():\n    from pathlib import Path\n    return [str(Path.home()), str(Path.cwd())]\n",
    "run_once": (  # says where it runs, and stays there the first time
        "def run_once(path):\n    import os, pathlib, time\n    mark = pathlib.Path(path)\n"
        "    first = not mark.exists()\n    mark.write_text(str(os.getpid()))\n"
        "    time.sleep(600 if first else 0)\n    return 'again'\n"
    ),
}


@pytest.fixture
def functions(loopback: Loopback) -> dict[str, str]:
    """Name of each function above -> its UUID, registered from source."""
    client = loopback.client()
    return {name: client.register_source_code(source, name) for name, source in FUNCTIONS.items()}


def call(executor: Executor, function: str, *args: Any) -> Future[Any]:
    future: Future[Any] = executor.submit_to_registered_function(function, args)
    return future


def poll(fact: Any, timeout_s: float = 60.0) -> None:
    from loopback.broker import wait_until

    wait_until(fact, timeout_s, "what the test waits for")


# ------------------------------------------------------------------------------------------------------- in good order


@pytest.mark.parametrize("engine", [THREADS, PROCESSES], ids=["threads", "processes"])
def test_function_from_source_runs(loopback: Loopback, functions: dict[str, str], engine: dict[str, str]) -> None:
    executor = loopback.executor(user_endpoint_config=engine)
    assert call(executor, functions["double"], 21).result(RESULT_S) == 42


def test_pickled_function_runs(loopback: Loopback) -> None:
    namespace: dict[str, Any] = {"__name__": "__main__"}  # as in a notebook: sent by value
    exec("def triple(x):\n    return 3 * x\n", namespace)
    executor = loopback.executor(user_endpoint_config=THREADS)
    future = executor.submit(namespace["triple"], 4)  # type: ignore[no-untyped-call]
    assert future.result(RESULT_S) == 12


def test_twenty_tasks_in_few_requests(loopback: Loopback, functions: dict[str, str]) -> None:
    executor = loopback.executor(user_endpoint_config=PROCESSES)
    futures = [call(executor, functions["double"], number) for number in range(20)]
    assert [future.result(RESULT_S) for future in futures] == [2 * number for number in range(20)]
    assert loopback.stats.count("submit") < 20


def test_exception_comes_back(loopback: Loopback, functions: dict[str, str]) -> None:
    from globus_compute_sdk.errors import TaskExecutionFailed

    executor = loopback.executor(user_endpoint_config=THREADS)
    with pytest.raises(TaskExecutionFailed, match="no such tile"):
        call(executor, functions["fail"]).result(RESULT_S)


def test_argument_of_a_mebibyte(loopback: Loopback, functions: dict[str, str]) -> None:
    executor = loopback.executor(user_endpoint_config=THREADS)
    assert call(executor, functions["length"], "x" * 2**20).result(RESULT_S) == 2**20


def test_tasks_see_no_home_but_the_temporary_one(loopback: Loopback, functions: dict[str, str]) -> None:
    executor = loopback.executor(user_endpoint_config=THREADS)
    home, folder = call(executor, functions["home"]).result(RESULT_S)
    assert home == str(loopback.endpoint.home)
    assert Path(folder).is_relative_to(loopback.endpoint.home)


def test_statistics_hold_the_requests_of_a_kind(loopback: Loopback) -> None:
    client = loopback.client()
    for _ in range(3):
        client.get_endpoint_status(loopback.endpoint_id)
    assert loopback.stats.count("status", status=200) == 3
    assert loopback.stats.most_within(10.0) >= 3


# ------------------------------------------------------------------------------------------------------------ refusals


@REFUSED_IN_THREAD
def test_submission_above_ten_megabytes_is_refused(loopback: Loopback, functions: dict[str, str]) -> None:
    from globus_sdk import GlobusAPIError

    executor = loopback.executor(user_endpoint_config=THREADS)
    with pytest.raises(GlobusAPIError) as refused:
        call(executor, functions["length"], "x" * 10_000_000).result(RESULT_S)
    assert (refused.value.http_status, refused.value.code) == (413, "TASK_PAYLOAD_TOO_LARGE")


@REFUSED_IN_THREAD
def test_function_that_the_endpoint_does_not_allow_is_refused(
    loopback: Loopback, functions: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from globus_sdk import GlobusAPIError

    registration = loopback.service.cloud.endpoint(loopback.endpoint_id).registration
    monkeypatch.setitem(registration, "allowed_functions", [functions["double"]])
    executor = loopback.executor(user_endpoint_config=THREADS)
    assert call(executor, functions["double"], 1).result(RESULT_S) == 2
    with pytest.raises(GlobusAPIError) as refused:
        call(executor, functions["length"], "abc").result(RESULT_S)
    assert (refused.value.http_status, refused.value.code) == (403, "FUNCTION_NOT_PERMITTED")


def test_sdk_waits_as_429_says_and_tries_again(loopback: Loopback, functions: dict[str, str]) -> None:
    loopback.faults.refuse(429, times=2, retry_after_s=1)
    executor = loopback.executor(user_endpoint_config=THREADS)
    assert call(executor, functions["double"], 1).result(RESULT_S) == 2
    first, second, third = loopback.stats.of("submit")
    assert (first.status, second.status, third.status) == (429, 429, 200)
    assert third.at_s - first.at_s >= 2.0


def test_rate_limit_refuses_the_request_above_it(loopback: Loopback) -> None:
    loopback.faults.requests_per_10_s = 2
    answers = [_get(loopback, "/v2/get_amqp_result_connection_url") for _ in range(3)]
    assert [status for status, _ in answers] == [200, 200, 429]
    assert 1 <= int(answers[-1][1] or 0) <= 10


def test_server_error_is_retried(loopback: Loopback) -> None:
    client = loopback.client()
    loopback.faults.refuse(503, times=1, kind="status")
    assert client.get_endpoint_status(loopback.endpoint_id)["status"] == "online"
    assert [request.status for request in loopback.stats.of("status")] == [503, 200]


def test_expired_token_is_replaced(loopback: Loopback) -> None:
    client = loopback.client()
    client.get_endpoint_status(loopback.endpoint_id)
    loopback.service.expire_tokens()
    assert client.get_endpoint_status(loopback.endpoint_id)["status"] == "online"
    assert loopback.stats.count("status", status=401) == 1


def test_latency_is_added_to_each_request(loopback: Loopback) -> None:
    client = loopback.client()
    loopback.faults.latency_s = 0.2
    began_s = time.monotonic()
    client.get_endpoint_status(loopback.endpoint_id)
    assert time.monotonic() - began_s >= 0.2


def test_service_keeps_its_state_over_a_restart(loopback: Loopback, functions: dict[str, str]) -> None:
    loopback.service.stop()
    loopback.service.start()
    executor = loopback.executor(user_endpoint_config=THREADS)
    assert call(executor, functions["double"], 4).result(RESULT_S) == 8


# ------------------------------------------------------------------------------------------------------ what gets lost


def test_offline_endpoint_leaves_the_future_pending(loopback: Loopback, functions: dict[str, str]) -> None:
    loopback.faults.offline = True
    executor = loopback.executor(user_endpoint_config=THREADS)
    future = call(executor, functions["double"], 5)
    poll(lambda: loopback.stats.count("submit") == 1)
    assert loopback.client().get_endpoint_status(loopback.endpoint_id)["status"] == "offline"
    assert wait([future], timeout=1.5).not_done  # a task takes half a second when all is well
    loopback.faults.offline = False
    assert future.result(RESULT_S) == 10


def test_stopped_endpoint_is_offline_and_does_what_waited(loopback: Loopback, functions: dict[str, str]) -> None:
    loopback.endpoint.stop()
    poll(lambda: not loopback.online())
    executor = loopback.executor(user_endpoint_config=THREADS)
    future = call(executor, functions["double"], 6)
    poll(lambda: loopback.stats.count("submit") == 1)
    loopback.start_endpoint()
    assert future.result(RESULT_S) == 12


def test_withheld_result_is_known_to_who_asks(loopback: Loopback, functions: dict[str, str]) -> None:
    loopback.faults.withhold_results = True
    executor = loopback.executor(user_endpoint_config=THREADS)
    future = call(executor, functions["double"], 7)
    client = loopback.client()
    poll(lambda: getattr(future, "task_id", None) is not None)
    poll(lambda: client.get_task(future.task_id)["status"] == "success")  # type: ignore[attr-defined]
    assert not future.done()
    loopback.faults.withhold_results = False
    assert future.result(RESULT_S) == 14


def test_lost_result_is_had_by_reloading_the_group(loopback: Loopback, functions: dict[str, str]) -> None:
    loopback.faults.lose_results = 1
    executor = loopback.executor(user_endpoint_config=THREADS)
    call(executor, functions["double"], 8)
    poll(lambda: loopback.faults.lose_results == 0)
    group = executor.task_group_id
    loopback.close_executors()
    (future,) = loopback.executor(task_group_id=group).reload_tasks()
    assert future.result(RESULT_S) == 16


def test_duplicated_result_does_no_harm(loopback: Loopback, functions: dict[str, str]) -> None:
    loopback.faults.duplicate_results = 1
    executor = loopback.executor(user_endpoint_config=THREADS)
    assert call(executor, functions["double"], 9).result(RESULT_S) == 18
    assert call(executor, functions["double"], 10).result(RESULT_S) == 20


def test_cut_result_stream_is_joined_again(loopback: Loopback, functions: dict[str, str]) -> None:
    executor = loopback.executor(user_endpoint_config=THREADS)
    assert call(executor, functions["double"], 1).result(RESULT_S) == 2
    loopback.service.relay.cut()
    assert call(executor, functions["double"], 2).result(RESULT_S) == 4  # the SDK comes back within 10 s


def test_results_outlive_the_broker(loopback: Loopback, functions: dict[str, str]) -> None:
    executor = loopback.executor(user_endpoint_config={**THREADS, "workers": 3})
    futures = [call(executor, functions["nap"], seconds) for seconds in (0.1, 2.0, 2.1)]
    assert futures[0].result(RESULT_S) == 0.1
    group = executor.task_group_id
    loopback.broker.stop()
    loopback.close_executors()  # the client gives up as well
    loopback.broker.start()
    reloaded = list(loopback.executor(task_group_id=group).reload_tasks())
    assert sorted(future.result(RESULT_S) for future in reloaded) == [0.1, 2.0, 2.1]


def test_killed_worker_fails_its_task_only(loopback: Loopback, functions: dict[str, str], tmp_path: Path) -> None:
    from globus_compute_sdk.errors import TaskExecutionFailed

    executor = loopback.executor(user_endpoint_config=PROCESSES)
    mark = tmp_path / "pid"
    future = call(executor, functions["run_once"], str(mark))
    poll(lambda: mark.exists() and mark.read_text() != "", RESULT_S)
    assert [process.pid for process in loopback.endpoint.processes("worker")] == [int(mark.read_text())]
    assert loopback.endpoint.kill_part("worker") == 1
    with pytest.raises(TaskExecutionFailed, match="WorkerLost"):
        future.result(RESULT_S)
    assert call(executor, functions["double"], 3).result(RESULT_S) == 6


def test_after_a_killed_user_endpoint_the_next_task_runs(
    loopback: Loopback, functions: dict[str, str], tmp_path: Path
) -> None:
    executor = loopback.executor(user_endpoint_config=THREADS)
    mark = tmp_path / "pid"
    lost = call(executor, functions["run_once"], str(mark))
    poll(mark.exists, RESULT_S)
    assert loopback.endpoint.kill_part("user") >= 1
    assert call(executor, functions["double"], 11).result(RESULT_S) == 22
    assert (
        not lost.done() or lost.result() == "again"
    )  # run again only when not yet acknowledged: the first half second


def test_killed_core_endpoint_starts_again(loopback: Loopback, functions: dict[str, str]) -> None:
    before = loopback.endpoint_id
    assert loopback.endpoint.kill_part("core") == 1
    loopback.endpoint.kill()
    loopback.start_endpoint()
    assert loopback.endpoint_id == before
    executor = loopback.executor(user_endpoint_config=THREADS)
    assert call(executor, functions["double"], 12).result(RESULT_S) == 24


# ------------------------------------------------------------------------------------------------------------ processes


def test_second_broker_does_not_mind_the_first(loopback: Loopback, tmp_path: Path) -> None:
    from loopback.broker import Broker

    second = Broker(tmp_path / "second")
    second.start()
    try:
        assert second.port != loopback.broker.port
    finally:
        second.kill()
    assert loopback.broker.running()
    assert not second.running()


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's child subreapers")
def test_guarded_command_dies_with_its_parent(tmp_path: Path) -> None:
    psutil = pytest.importorskip("psutil")
    pids = tmp_path / "pids"
    command = f"setsid sleep 600 & echo $! >> {pids}; sleep 600 & echo $! >> {pids}; echo $$ >> {pids}; wait"
    script = (
        "import os, time\nfrom pathlib import Path\nfrom loopback.guard import Guarded\n"
        f"Guarded(['sh', '-c', {command!r}], log=Path({str(tmp_path / 'log')!r}), cwd=Path('/'), env=os.environ)\n"
        "time.sleep(600)\n"
    )
    tests = str(Path(__file__).parents[1])
    parent = subprocess.Popen([sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": tests})
    poll(lambda: pids.exists() and len(pids.read_text().splitlines()) == 3)
    processes = [psutil.Process(int(pid)) for pid in pids.read_text().split()]
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    assert psutil.wait_procs(processes, timeout=10)[1] == []


def _get(loopback: Loopback, path: str) -> tuple[int, str | None]:
    """Status and Retry-After of a request made once, without the SDK's retries."""
    connection = http.client.HTTPConnection("127.0.0.1", loopback.service.port)
    try:
        connection.request("GET", path, headers={"Authorization": "Bearer any"})
        answer = connection.getresponse()
        return answer.status, answer.getheader("Retry-After")
    finally:
        connection.close()
