"""Errors of the endpoint and the service are classified, and nobody is asked to sign in from the background."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any
from uuid import uuid4

import pytest

from mhfd_client.compute.failures import failure, refusal
from mhfd_client.compute.globus import GlobusCompute, _Task
from mhfd_client.compute.protocol import (
    ComputeError,
    ComputeSignInError,
    EndpointUnavailableError,
    NotPermittedError,
    PayloadTooLargeError,
    ResultTooLargeError,
    TaskLostError,
    WorkerDiedError,
    WorkersCannotStartError,
)
from mhfd_client.compute.reports import Reports
from mhfd_client.config import GlobusEndpoint

# ---------------------------------------------------------------------------------------------------------- tasks


def test_reason_is_the_last_line_of_the_traceback() -> None:
    assert "KeyError: 'x'" in str(failure("Traceback ...\n  File ...\nKeyError: 'x'\n"))


def test_rule_of_dashes_is_no_reason() -> None:
    assert "no more blocks" in str(failure("Traceback ...\nToo many failures: no more blocks\n----------\n\n"))


def test_silence_is_told() -> None:
    assert "no reason was given" in str(failure("\n"))


def test_workers_that_cannot_start_are_no_fault_of_the_task() -> None:
    error = failure(
        "Traceback ...\nparsl.executors.errors.BadStateException: Executor GlobusComputeEngine-HighThroughputExecutor "
        "failed due to: Error 1:\n\tJob is marked as MISSING since the workers failed to register to the executor.\n"
        "\tEXIT CODE: 3\n\tSTDERR: block-0.sh: line 1: /nonexistent/bin/activate: No such file\n\n\n-----\n"
    )
    assert isinstance(error, WorkersCannotStartError)
    assert "its workers do not start" in str(error)
    assert "/nonexistent/bin/activate: No such file" in str(error)


@pytest.mark.parametrize("name", ["WorkerLost", "ManagerLost", "BrokenProcessPool"])
def test_dead_workers_are_known(name: str) -> None:
    error = failure(f"Traceback ...\nparsl.executors.errors.{name}: Task failure due to loss of worker 0")
    assert isinstance(error, WorkerDiedError)
    assert "compare Python, dill and mhfd" in str(error)


def test_result_that_is_too_large_is_known() -> None:
    assert isinstance(failure("MaxResultSizeExceeded: 11000000 > 10485760"), ResultTooLargeError)


# ------------------------------------------------------------------------------------------------------- requests


def refused(status: int | None, code: str = "", **headers: str) -> ComputeError:
    error: Any = RuntimeError("the service said no")
    error.http_status, error.code, error.headers = status, code, headers
    return refusal(error, "dgx")


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (413, "", PayloadTooLargeError),
        (400, "TASK_PAYLOAD_TOO_LARGE", PayloadTooLargeError),
        (403, "FUNCTION_NOT_PERMITTED", NotPermittedError),
        (403, "", NotPermittedError),
        (401, "", ComputeSignInError),
        (404, "", EndpointUnavailableError),
        (422, "", ComputeError),
        (429, "", TaskLostError),
        (503, "", TaskLostError),
        (None, "", TaskLostError),
    ],
)
def test_refusals_are_told_apart(status: int | None, code: str, kind: type[ComputeError]) -> None:
    assert type(refused(status, code)) is kind


def test_retry_after_is_obeyed() -> None:
    error = refused(429, **{"Retry-After": "7"})
    assert isinstance(error, TaskLostError)
    assert error.after_s == 7


def test_retry_after_that_is_a_date_is_left_to_our_own_pause() -> None:
    error = refused(503, **{"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"})
    assert isinstance(error, TaskLostError)
    assert error.after_s == 0


# ---------------------------------------------------------------------------------------------------- the SDK's side


@pytest.fixture
def sdk() -> Any:
    pytest.importorskip("globus_compute_sdk")
    from mhfd_client.compute import sdk

    return sdk


def test_encrypted_result_stream_goes_through_the_port_that_firewalls_pass(sdk: Any) -> None:
    url = "amqps://user:p%40ss@amqps.funcx.org:5671/%2F?heartbeat=60"
    assert sdk._through_port(url, 443) == "amqps://user:p%40ss@amqps.funcx.org:443/%2F?heartbeat=60"


def test_plain_result_stream_stays_as_it_is(sdk: Any) -> None:
    assert sdk._through_port("amqp://guest:guest@127.0.0.1:5672/", 443) == "amqp://guest:guest@127.0.0.1:5672/"


def test_service_without_result_is_out_of_reach_not_refused() -> None:
    assert isinstance(refusal(ConnectionError("no route to host"), str(uuid4())), TaskLostError)


# ------------------------------------------------------------------------------------------------------------ chasing


class Service:
    """The service's word on one task that is late, and on the endpoint that has it."""

    def __init__(self, online: bool, details: dict[str, object]) -> None:
        self.online, self.details = online, details

    def get_endpoint_status(self, endpoint: object) -> dict[str, Any]:
        return {"status": "online" if self.online else "offline", "details": self.details}

    def get_task(self, task_id: object) -> dict[str, Any]:
        return {"task_id": task_id, "pending": True, "status": "pending"}


def chased(monkeypatch: pytest.MonkeyPatch, *, online: bool = True, answered: bool = False, **details: object) -> bool:
    """Whether a late task is given up, when this is the endpoint's status and it has or has not answered before."""
    compute = GlobusCompute("dgx", GlobusEndpoint(uuid=uuid4()))
    monkeypatch.setattr(compute, "connect", lambda **_: None)
    monkeypatch.setattr(compute, "_client", lambda: Service(online, details))
    compute._reports = Reports(lambda: Service(online, details), str(uuid4()))
    if answered:
        compute._reports.staff.answered()
    task = _Task(Future(), task_id=str(uuid4()))
    compute._tasks[task.reply] = task
    compute._chase(task)
    return task.reply.done()


def test_a_late_task_of_an_endpoint_that_works_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    assert chased(monkeypatch, answered=True, total_workers=4, outstanding_tasks=1)
    assert chased(monkeypatch, answered=True), "the status may have no numbers"


def test_a_task_that_the_workers_do_not_have_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    assert chased(monkeypatch, total_workers=4, outstanding_tasks=0)


def test_no_task_is_lost_before_a_worker_has_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not chased(monkeypatch, total_workers=4, outstanding_tasks=1)
    assert not chased(monkeypatch)


def test_a_task_whose_job_waits_in_a_batch_queue_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not chased(monkeypatch, total_workers=0, outstanding_tasks=3)
    assert not chased(monkeypatch, answered=True, total_workers=0, outstanding_tasks=3)


def test_a_task_of_an_endpoint_that_is_offline_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not chased(monkeypatch, online=False, total_workers=0)
