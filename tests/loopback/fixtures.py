"""The fixtures `loopback` and `transfer_service`; a conftest.py imports from here what it needs."""

from __future__ import annotations

import gc
import importlib.util
import os
import sys
import warnings
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mhfd.extras import install_hint
from needs import give_up

if TYPE_CHECKING:
    from loopback.stack import Loopback
    from loopback.transfer import Transfer

PACKAGES = (
    "globus_compute_sdk", "globus_compute_endpoint", "jsonschema", "orjson", "requests", "simpleeval", "starlette",
    "uvicorn",
)  # fmt: skip
TRANSFER_PACKAGES = ("globus_compute_sdk", "psutil", "starlette", "uvicorn")
FUNCTIONS = str(Path(__file__).parents[2] / "functions")  # workers run what is tested, whatever is installed
SDK_LEAVES = "unclosed (<socket|database)"  # it closes neither its clients' connections nor its store of tokens


def missing() -> str | None:
    """The software this machine lacks for the loopback, and how to get it; None: nothing."""
    if lacking := [name for name in PACKAGES if importlib.util.find_spec(name) is None]:
        return f"The loopback needs {', '.join(lacking)}. Install them with: {install_hint('loopback')}"
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
        give_up(lack)
    from loopback.stack import Loopback

    everything = Loopback(tmp_path_factory.mktemp("loopback"), worker_environment={"PYTHONPATH": FUNCTIONS})
    yield everything
    everything.stop()
    collect()


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
    collect()


@pytest.fixture(scope="session")
def transfer_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Transfer]:
    """Globus Transfer alone, once for all tests of this process; tests themselves take `transfer_service`."""
    if sys.platform != "linux":
        pytest.skip("What guards the processes of the loopback is for Linux only.")
    if lacking := [name for name in TRANSFER_PACKAGES if importlib.util.find_spec(name) is None]:
        give_up(f"Globus Transfer here needs {', '.join(lacking)}. Install them with: {install_hint('loopback')}")
    from loopback.transfer import Transfer

    service = Transfer(tmp_path_factory.mktemp("transfer"))
    service.start()
    yield service
    service.kill()
    collect()


@pytest.fixture
def transfer_service(transfer_session: Transfer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Transfer]:
    """Globus Transfer, running and without faults and tasks, the environment leading to it."""
    for name in [name for name in os.environ if name.startswith("GLOBUS_")]:
        monkeypatch.delenv(name)
    for name, value in transfer_session.environment.items():
        monkeypatch.setenv(name, value)
    yield transfer_session
    if not transfer_session.running():
        transfer_session.start()
    transfer_session.calm()
    collect()


def collect() -> None:
    """Collect the SDK's garbage now, not during a later test."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", SDK_LEAVES, ResourceWarning)
        gc.collect()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Allow during the test, too, what `collect` removes."""
    for item in items:
        if {"loopback", "transfer_service"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.filterwarnings(f"ignore:{SDK_LEAVES}:ResourceWarning"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the ends of all logs with a failure."""
    report = yield
    everything = getattr(item, "funcargs", {}).get("loopback")
    if report.failed and everything is not None:
        report.sections.append(("logs of the loopback", everything.endpoint.logs()))
    return report
