"""The fixture `loopback`; a conftest.py imports from here what it needs."""

from __future__ import annotations

import gc
import importlib.util
import os
import sys
import warnings
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from loopback.stack import Loopback

PACKAGES = ("globus_compute_sdk", "globus_compute_endpoint", "starlette", "uvicorn", "orjson")
SDK_LEAVES = "unclosed (<socket|database)"  # it closes neither its clients' connections nor its store of tokens


def missing() -> str | None:
    """What this machine lacks for the loopback, with the way to get it; None: nothing."""
    if lacking := [name for name in PACKAGES if importlib.util.find_spec(name) is None]:
        return f"The loopback needs {', '.join(lacking)}. Install them with: pip install 'mhfd[loopback]'"
    from loopback.broker import server_command

    if server_command() is None:
        return "The loopback needs RabbitMQ. On Debian or Ubuntu: apt-get install rabbitmq-server"
    return None


@pytest.fixture(scope="session")
def loopback_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loopback]:
    """Broker, service and endpoint, once for all tests of this process; tests themselves take `loopback`."""
    if sys.platform != "linux":
        pytest.skip("The Globus Compute endpoint runs on Linux only.")
    if lack := missing():
        if os.environ.get("CI") == "true":
            pytest.fail(f"{lack} (CI runs every test.)")
        pytest.skip(lack)
    from loopback.stack import Loopback

    everything = Loopback(tmp_path_factory.mktemp("loopback"))
    yield everything
    everything.stop()
    _collect()


@pytest.fixture
def loopback(loopback_session: Loopback, monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    """The Globus Compute service and an endpoint, in order and without faults, the environment leading to them."""
    for name in [name for name in os.environ if name.startswith("GLOBUS_")]:
        monkeypatch.delenv(name)
    for name, value in loopback_session.environment.items():
        monkeypatch.setenv(name, value)
    loopback_session.stats.clear()
    yield loopback_session
    loopback_session.settle()
    _collect()


def _collect() -> None:
    """Remove what the SDK leaves now, not during some later test."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", SDK_LEAVES, ResourceWarning)
        gc.collect()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Allow during the test, too, what `_collect` removes."""
    for item in items:
        if "loopback" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.filterwarnings(f"ignore:{SDK_LEAVES}:ResourceWarning"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the ends of all logs with a failure."""
    report = yield
    everything = getattr(item, "funcargs", {}).get("loopback")
    if report.failed and everything is not None:
        report.sections.append(("logs of the loopback", everything.endpoint.logs()))
    return report
