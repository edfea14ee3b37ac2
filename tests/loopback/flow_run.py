"""A run of a flow: its states, one after the other, in a thread.

Time runs faster by `hurry` in Wait states and in an Action's WaitTime. An action is asked for its status every
`POLL_S`; the real service waits longer each time, up to ten minutes. Of a state's log only its names are kept.
"""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any, Protocol

from loopback.flow_state import Json, StateError, fill, holds, look, put

POLL_S = 0.05
STATE_BYTES = 200_000  # docs.globus.org/api/flows/limits
DEFAULT_WAIT_S = 300
MOST_STATES = 10_000


class UnableToRunError(Exception):
    """An action refused its input: ActionUnableToRun."""


class ActionProvider(Protocol):
    """What an ActionUrl leads to."""

    def run(self, body: Json) -> str:
        """Begin an action; its id. Raises `UnableToRunError`."""

    def status(self, action: str) -> Json:
        """``{"status": "ACTIVE" | "SUCCEEDED" | "FAILED", "details": ...}``"""


class FailedError(Exception):
    def __init__(self, error: str, cause: Any) -> None:
        super().__init__(f"{error}: {cause}")
        self.error = error
        self.cause = cause


class Run:
    """One run, begun at once.

    Attributes
    ----------
    visited : names of the states, in order
    largest : bytes of the largest state so far
    """

    def __init__(self, flow: Json, body: Json, about: Json, providers: Callable[[str], ActionProvider], hurry: float):
        self.id = str(uuid.uuid4())
        self.flow = flow
        self.about = about
        self.state: Json = body
        self.status = "ACTIVE"
        self.details: Json = {"code": "FlowStarting", "description": "The Flow is starting execution"}
        self.visited: list[str] = []
        self.largest = 0
        self.started = _now()
        self.completed: str | None = None
        self._providers = providers
        self._hurry = hurry
        self._cancelled = threading.Event()
        self.thread = threading.Thread(target=self._work, name=f"flow-{self.id[:8]}", daemon=True)
        self.thread.start()

    def cancel(self) -> None:
        """End it where it is; what its action began goes on, as at the real service."""
        self._cancelled.set()
        self.thread.join()

    def document(self) -> Json:
        return {
            "run_id": self.id,
            "action_id": self.id,
            "flow_id": self.flow["id"],
            "flow_title": self.flow["title"],
            "status": self.status,
            "display_status": self.status,
            "start_time": self.started,
            "completion_time": self.completed,
            "details": self.details,
            **self.about,
        }

    def _work(self) -> None:
        try:
            self._walk()
            self._end("SUCCEEDED", {"code": "FlowSucceeded", "output": self.state})
        except FailedError as error:
            about = {"error": error.error, "cause": error.cause, "state": self.visited[-1], "output": self.state}
            self._end("FAILED", {"code": "FlowFailed", "description": str(error), "details": about})
        except _CancelledError:
            self._end("ENDED", {"code": "FlowCanceled", "description": "The run was canceled"})

    def _end(self, status: str, details: Json) -> None:
        self.details, self.completed = details, _now()
        self.status = status  # last: who sees it reads the rest

    def _walk(self) -> None:
        states, name = self.flow["definition"]["States"], self.flow["definition"]["StartAt"]
        while name is not None:
            self.visited.append(name)
            if len(self.visited) > MOST_STATES:
                raise FailedError("States.Runtime", "The run went through too many states")
            try:
                name = getattr(self, f"_{states[name]['Type'].lower()}")(states[name])
            except StateError as error:
                raise FailedError("States.Runtime", str(error)) from error
            size = len(json.dumps(self.state))
            self.largest = max(self.largest, size)
            if size > STATE_BYTES:
                raise FailedError("States.DataLimitExceeded", f"The state has {size} bytes, the limit is {STATE_BYTES}")
            if self._cancelled.is_set():
                raise _CancelledError

    # --- States: each is done, and names the next one; None at the end

    def _action(self, state: Json) -> str | None:
        body = fill(state["Parameters"], self.state) if "Parameters" in state else look(self.state, state["InputPath"])
        try:
            result = self._act(state, body)
        except FailedError as error:
            for catch in state.get("Catch", ()):
                if {error.error, "States.ALL"} & set(catch["ErrorEquals"]):
                    self.state = put(self.state, catch.get("ResultPath"), error.cause)
                    return str(catch["Next"])
            raise
        self.state = put(self.state, state.get("ResultPath"), result)
        return state.get("Next")

    def _act(self, state: Json, body: Json) -> Json:
        provider = self._providers(state["ActionUrl"])
        try:
            action = provider.run(body)
        except UnableToRunError as error:
            raise FailedError("ActionUnableToRun", str(error)) from error
        deadline = time.monotonic() + state.get("WaitTime", DEFAULT_WAIT_S) / self._hurry
        while (answer := provider.status(action))["status"] == "ACTIVE":
            if time.monotonic() > deadline:
                raise FailedError("ActionTimeout", answer)
            self._pause(POLL_S)
        if answer["status"] == "FAILED" and state.get("ExceptionOnActionFailure", True):
            raise FailedError("ActionFailedException", answer)
        return {"action_id": action, **answer}

    def _expressioneval(self, state: Json) -> str | None:
        self.state = put(self.state, state["ResultPath"], fill(state["Parameters"], self.state))
        return state.get("Next")

    def _pass(self, state: Json) -> str | None:
        if "Parameters" in state:
            self.state = put(self.state, state.get("ResultPath"), fill(state["Parameters"], self.state))
        elif "Result" in state:
            self.state = put(self.state, state.get("ResultPath"), state["Result"])
        return state.get("Next")

    def _choice(self, state: Json) -> str:
        for rule in state["Choices"]:
            if holds(rule, self.state):
                return str(rule["Next"])
        if "Default" not in state:
            raise FailedError("States.NoChoiceMatched", "No rule holds, and there is no Default")
        return str(state["Default"])

    def _wait(self, state: Json) -> str:
        seconds = state["Seconds"] if "Seconds" in state else look(self.state, state["SecondsPath"])
        self._pause(seconds / self._hurry)
        return str(state["Next"])

    def _fail(self, state: Json) -> str:
        error = state["Error"] if "Error" in state else look(self.state, state["ErrorPath"])
        raise FailedError(error, state["Cause"] if "Cause" in state else look(self.state, state["CausePath"]))

    def _pause(self, seconds: float) -> None:
        if self._cancelled.wait(seconds):
            raise _CancelledError


class _CancelledError(Exception):
    pass


def _now() -> str:
    return datetime.now(timezone.utc).isoformat()
