"""Errors of the SDKs, and what an endpoint says of a failed task -> our errors. Imports neither SDK."""

from __future__ import annotations

import re
from typing import Any

from mhfd_client.compute.protocol import (
    ComputeError,
    ComputeSignInError,
    EndpointUnavailableError,
    NotPermittedError,
    PayloadTooLargeError,
    ResultTooLargeError,
    TaskFailedError,
    TaskLostError,
    WorkerDiedError,
    WorkersCannotStartError,
)
from mhfd_client.service.attended import SignInNeededError
from mhfd_client.service.pacing import retry_after_s

_NONE_STARTED = re.compile(r"BadStateException: .* failed due to", re.DOTALL)  # every job that Parsl asked for failed
_WORKER_DIED = re.compile(r"WorkerLost|ManagerLost|BrokenProcessPool|TerminatedWorkerError")


def failure(remote: str) -> TaskFailedError | WorkersCannotStartError:
    """The error for a task that failed on the endpoint; the last line of its traceback is the exception."""
    lines = [line.strip() for line in remote.splitlines() if any(map(str.isalnum, line))]  # not lines of dashes
    last = lines[-1] if lines else "no reason was given"
    if _NONE_STARTED.search(remote):
        return WorkersCannotStartError(
            f"the endpoint runs, its workers do not start ({last}): look at the files in submit_scripts of the "
            "endpoint's folder on that machine, correct worker_init or the virtual environment, and try again"
        )
    if _WORKER_DIED.search(remote):
        return WorkerDiedError(
            f"the worker died while it had the task ({last}); if every task fails so, compare Python, dill and mhfd on "
            "both sides: mhfd doctor"
        )
    if "MaxResultSizeExceeded" in remote:
        return ResultTooLargeError(f"the rows were too large to be sent back ({last})")
    return TaskFailedError(f"the task failed on the endpoint: {last}")


def endpoints_word(error: BaseException) -> str | None:
    """The traceback of a TaskExecutionFailed, recognised without importing the SDK, else None."""
    return getattr(error, "remote_data", None)


def refusal(error: BaseException, name: str) -> ComputeError:
    """The error for a failed request, by the HTTP status and service code that globus_sdk's errors have."""
    if isinstance(error, ComputeError):
        return error
    if isinstance(error, SignInNeededError):
        return ComputeSignInError(str(error))
    status, code = getattr(error, "http_status", None), str(getattr(error, "code", ""))
    reason = f"{type(error).__name__}: {error}"
    if is_too_large(error):
        return PayloadTooLargeError(f"the task for '{name}' is too large for the service ({reason})")
    if code in ("FUNCTION_NOT_PERMITTED", "FUNCTION_NOT_FOUND"):
        return NotPermittedError(
            f"'{name}' does not run this function ({reason}): run `mhfd register` and have the endpoint's "
            "administrator add the printed allowed_functions, then restart it"
        )
    if status == 401:
        return ComputeSignInError(
            f"Globus does not accept this sign-in ({reason}): run `mhfd doctor --endpoint {name}`"
        )
    if status == 403:
        return NotPermittedError(f"you may not use '{name}' ({reason}); ask its administrator")
    if status == 404:
        return EndpointUnavailableError(f"the service does not know '{name}' ({reason}); check its uuid")
    if status is not None and 400 <= status < 500 and status != 429:
        return ComputeError(f"the service refuses the task for '{name}' ({reason})")
    return TaskLostError(f"a request to the service for '{name}' failed ({reason})", after_s=retry_after_s(error))


def is_too_large(error: Any) -> bool:
    """True if the service refuses a request for its size."""
    return getattr(error, "code", None) == "TASK_PAYLOAD_TOO_LARGE" or getattr(error, "http_status", None) == 413
