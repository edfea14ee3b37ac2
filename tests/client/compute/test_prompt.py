"""Results come fast from the installed packages, and at the stock pace, with a warning, from changed ones."""

from __future__ import annotations

import inspect
import logging
import sys
from collections.abc import Iterator
from importlib import metadata
from types import ModuleType
from typing import Any

import pytest

from mhfd import low_latency
from mhfd.low_latency import ENDPOINT, Period

STAND_IN = Period(distribution="stand-in", module="stand_in", owner="Watcher", short_s=0.005)

AS_TESTED = """
class Watcher:
    def __init__(self, group, poll_period_s=0.5, attempts=5):
        self.poll_period_s = poll_period_s
        self.attempts = attempts

    def _event_watcher(self):
        return self.poll_period_s
"""
KEYWORD_ONLY = AS_TESTED.replace("poll", "*, poll", 1)
CHANGED = {
    "another default": AS_TESTED.replace("0.5", "0.2"),
    "no default": AS_TESTED.replace("=0.5, attempts=5", ", attempts"),
    "another name": AS_TESTED.replace("poll_period_s", "period"),
    "not kept": AS_TESTED.replace("self.poll_period_s = poll_period_s", "pass"),
    "kept, not used": AS_TESTED.replace("return self.poll_period_s", "return 0.5"),
    "another method": AS_TESTED.replace("_event_watcher", "_watch"),
    "another class": AS_TESTED.replace("Watcher:", "Looker:"),
    "wrapped": AS_TESTED.replace("    def __init__", "    @wrapped\n    def __init__"),
    "no constructor": "class Watcher:\n    def _event_watcher(self): ...\n",
    "written in C": "Watcher = dict\n",
    "not a class": "Watcher = None\n",
}
WRAPPED = """
import functools

def wrapped(function):
    return functools.wraps(function)(lambda *args, **options: function(*args, **options))
"""


@pytest.fixture
def version(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """The version that the stand-in reports."""
    said = {"stand-in": "4.19.0"}
    installed = metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: said[name] if name in said else installed(name))
    yield said
    sys.modules.pop("stand_in", None)


def stand_in(source: str) -> Any:
    module = ModuleType("stand_in")
    exec(WRAPPED + source, module.__dict__)
    sys.modules["stand_in"] = module
    return module


@pytest.mark.parametrize("source", [AS_TESTED, KEYWORD_ONLY], ids=["positional", "keyword only"])
def test_default_becomes_short_and_nothing_else_changes(version: dict[str, str], source: str) -> None:
    watcher_class = stand_in(source).Watcher
    assert STAND_IN.shorten()
    watcher = watcher_class("group")
    assert (watcher._event_watcher(), watcher.attempts) == (0.005, 5)


def test_argument_given_still_counts(version: dict[str, str]) -> None:
    watcher_class = stand_in(AS_TESTED).Watcher
    STAND_IN.shorten()
    assert watcher_class("group", poll_period_s=3)._event_watcher() == 3


def test_shortening_twice_is_shortening_once(version: dict[str, str]) -> None:
    watcher_class = stand_in(AS_TESTED).Watcher
    assert STAND_IN.shorten()
    assert STAND_IN.shorten()
    assert watcher_class("group")._event_watcher() == 0.005


def test_restored_default_is_the_stock_one(version: dict[str, str]) -> None:
    watcher_class = stand_in(AS_TESTED).Watcher
    STAND_IN.shorten()
    STAND_IN.restore()
    assert watcher_class("group")._event_watcher() == 0.5


@pytest.mark.parametrize("source", CHANGED.values(), ids=CHANGED)
def test_changed_class_is_left_as_it_is_aloud(
    version: dict[str, str], source: str, caplog: pytest.LogCaptureFixture
) -> None:
    module = stand_in(source)
    before = {name: _signature(each) for name, each in vars(module).items()}
    assert not STAND_IN.shorten()
    assert {name: _signature(each) for name, each in vars(module).items()} == before
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "stock latency" in caplog.text


@pytest.mark.parametrize("later", ["4.20.0", "4.190.0", "5.0.0"])
def test_a_later_version_of_the_same_shape_is_made_fast_too(version: dict[str, str], later: str) -> None:
    version["stand-in"] = later
    watcher_class = stand_in(AS_TESTED).Watcher
    assert STAND_IN.shorten()
    assert watcher_class("group")._event_watcher() == 0.005


def test_a_changed_version_is_named(version: dict[str, str], caplog: pytest.LogCaptureFixture) -> None:
    version["stand-in"] = "4.20.0"
    stand_in(CHANGED["another default"])
    assert not STAND_IN.shorten()
    assert "in stand-in 4.20.0 Watcher's poll_period_s is 0.2" in caplog.text


def test_missing_package_is_told(caplog: pytest.LogCaptureFixture) -> None:
    assert not STAND_IN.shorten()
    assert "stock latency" in caplog.text


def test_module_that_has_moved_is_told(version: dict[str, str], caplog: pytest.LogCaptureFixture) -> None:
    assert not STAND_IN.shorten()
    assert "No module named 'stand_in'" in caplog.text


# ---------------------------------------------------------------------------------------------- the installed packages


@pytest.fixture
def client_side(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    pytest.importorskip("globus_compute_sdk", reason="globus-compute-sdk is not installed")
    from globus_compute_sdk.sdk import executor

    from mhfd_client.compute import prompt

    monkeypatch.setattr(executor, "_RESULT_WATCHERS", {})  # in which each watcher enters itself
    return prompt


@pytest.fixture
def publisher_module() -> Iterator[Any]:
    pytest.importorskip("globus_compute_endpoint", reason="globus-compute-endpoint is not installed")
    from globus_compute_endpoint.endpoint.rabbit_mq import result_publisher

    yield result_publisher
    ENDPOINT.restore()


def test_installed_sdk_allows_low_latency(client_side: Any, caplog: pytest.LogCaptureFixture) -> None:
    assert client_side.executor_class() is client_side.PromptExecutor, caplog.text


def test_low_latency_not_wanted_is_the_executor_of_the_sdk(client_side: Any) -> None:
    assert client_side.executor_class(low_latency=False) is client_side.Executor


@pytest.mark.parametrize(("told_s", "looks_s"), [(0.5, 0.005), (4, 4)], ids=["stock", "told to be slow since"])
def test_prompt_executor_hastens_a_stock_watcher_only(
    client_side: Any, monkeypatch: pytest.MonkeyPatch, told_s: float, looks_s: float
) -> None:
    from globus_compute_sdk.sdk.executor import _ResultWatcher

    watcher = _ResultWatcher("group", None, told_s)  # not started
    monkeypatch.setattr(client_side.Executor, "_get_result_watcher", lambda self: watcher)
    assert object.__new__(client_side.PromptExecutor)._get_result_watcher().poll_period_s == looks_s


def test_sdk_itself_stays_as_it_is(client_side: Any) -> None:
    from globus_compute_sdk.sdk.executor import _ResultWatcher

    client_side.executor_class()
    assert _ResultWatcher("group", None).poll_period_s == 0.5


@pytest.mark.parametrize(("owner", "name"), [("_ResultWatcher", "_event_watcher"), ("Executor", "_get_result_watcher")])
def test_changed_sdk_is_used_as_it_is_aloud(
    client_side: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, owner: str, name: str
) -> None:
    from globus_compute_sdk.sdk import executor

    monkeypatch.delattr(getattr(executor, owner), name)
    assert client_side.executor_class() is client_side.Executor
    assert "stock latency" in caplog.text


def test_installed_endpoint_is_made_fast_by_asking_for_its_serializer(publisher_module: Any) -> None:
    from globus_compute_sdk.serialize import ComputeSerializer, JSONData

    assert publisher_module.ResultPublisher(cred_fn=dict).poll_period_s == 0.5
    allowed = ["mhfd.low_latency.JSONData", "globus_compute_sdk.serialize.PureSourceTextInspect"]
    serializer = ComputeSerializer(allowed_deserializer_types=allowed)
    assert publisher_module.ResultPublisher(cred_fn=dict).poll_period_s == ENDPOINT.short_s
    assert JSONData in serializer.allowed_deserializer_types


def test_serializer_is_had_where_the_endpoint_cannot_be_made_fast(
    publisher_module: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from globus_compute_sdk.serialize import JSONData

    monkeypatch.delattr(publisher_module, "ResultPublisher")
    assert low_latency.JSONData is JSONData
    assert "stock latency" in caplog.text
    monkeypatch.undo()


def test_other_names_of_the_module_are_not_there() -> None:
    with pytest.raises(AttributeError, match="DillData"):
        _ = low_latency.DillData


def _signature(thing: Any) -> str:
    constructor = getattr(thing, "__init__", None)
    return str(inspect.signature(constructor)) if inspect.isfunction(constructor) else ""
