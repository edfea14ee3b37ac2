"""With the real SDK and a real endpoint results come at once, or at the stock pace where that is refused."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import mhfd

if TYPE_CHECKING:
    from loopback.endpoint import Endpoint
    from loopback.stack import Loopback

    StartEndpoint = Callable[..., Endpoint]

RESULT_S = 240.0  # on a machine that does much else
FAST_S, STOCK_S = 0.15, 0.3  # a no-op takes 0.02 s or 0.5 s; between the two is room for a busy machine

TEMPLATE = """\
heartbeat_period: 5
idle_heartbeats_soft: 0
engine:
  type: ThreadPoolEngine
  max_workers: 1
  allowed_serializers: [mhfd.low_latency.JSONData, globus_compute_sdk.serialize.PureSourceTextInspect]
"""
# Makes the installed endpoint one whose publisher was rewritten: it keeps its period under another name.
REWRITTEN = """\
import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import PathFinder

MODULE = "globus_compute_endpoint.endpoint.rabbit_mq.result_publisher"

class Rewritten(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name != MODULE:
            return None
        spec = PathFinder.find_spec(name, path)
        read = spec.loader.get_data
        spec.loader.get_data = lambda file: (
            read(file).replace(b"self.poll_period_s", b"self._period_s") if file.endswith(".py") else b""
        )
        return spec

sys.meta_path.insert(0, Rewritten())
"""


@pytest.fixture
def start_endpoint(loopback: Loopback, tmp_path: Path) -> Iterator[StartEndpoint]:
    """Start an endpoint whose configuration asks for fast results; folders for its PYTHONPATH may be given."""
    from loopback.broker import wait_until
    from loopback.endpoint import Endpoint

    started: list[Endpoint] = []

    def start(*folders: Path) -> Endpoint:
        source = tmp_path / "source"
        source.mkdir()
        (source / "config.yaml").write_text("display_name: fast\n")
        (source / "user_config_template.yaml.j2").write_text(TEMPLATE)
        path = os.pathsep.join(map(str, (*folders, Path(mhfd.__file__).parents[1])))
        endpoint = Endpoint(
            tmp_path / "home", loopback.environment, source=source, worker_environment={"PYTHONPATH": path}
        )
        started.append(endpoint)
        endpoint.start()
        wait_until(lambda: loopback.service.cloud.online(endpoint.id), 20.0, "the endpoint is online")
        return endpoint

    yield start
    for endpoint in started:
        endpoint.stop()


def round_trip_s(loopback: Loopback, endpoint: Endpoint) -> float:
    """Median of eight no-ops, one after the other, the first of them not counted."""
    from globus_compute_sdk.serialize import ComputeSerializer, JSONData

    from mhfd_client.compute.prompt import PromptExecutor

    function = loopback.client().register_source_code("def nothing():\n    return None\n", "nothing")
    with PromptExecutor(
        endpoint_id=endpoint.id,
        api_burst_limit=1,  # without it each after the fourth waits for seconds
        serializer=ComputeSerializer(strategy_data=JSONData()),
    ) as executor:
        taken = []
        for _ in range(9):
            began_s = time.perf_counter()
            assert executor.submit_to_registered_function(function).result(RESULT_S) is None
            taken.append(time.perf_counter() - began_s)
    return statistics.median(taken[1:])


def test_results_come_at_once(loopback: Loopback, start_endpoint: StartEndpoint) -> None:
    endpoint = start_endpoint()
    assert round_trip_s(loopback, endpoint) < FAST_S
    assert "stock latency" not in endpoint.logs(1000)


def test_a_rewritten_endpoint_works_as_ever_and_its_log_says_so(
    loopback: Loopback, start_endpoint: StartEndpoint, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(REWRITTEN)
    endpoint = start_endpoint(tmp_path)
    assert round_trip_s(loopback, endpoint) > STOCK_S
    assert "stock latency" in endpoint.logs(1000)
    assert "ResultPublisher.__init__ does not use self.poll_period_s" in endpoint.logs(1000)
