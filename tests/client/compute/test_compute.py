"""The behaviour of every `Compute`: the same tests on local processes and on the real Globus stack."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import wait
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray

import mhfd
from mhfd.images.inline import encode_tile
from mhfd.registry import FUNCTIONS, source_of
from mhfd_client.compute.opening import open_compute
from mhfd_client.compute.protocol import Compute, NotPermittedError
from mhfd_client.config import LocalEndpoint, parse_config

if TYPE_CHECKING:
    from loopback.stack import Loopback

ANSWER_S = 60.0
PARAMS = {"n_scales": 4, "max_t": 5.0}


@pytest.fixture(params=["local", "globus"])
def compute(request: pytest.FixtureRequest) -> Iterator[Compute]:
    if request.param == "local":
        opened = open_compute("local", LocalEndpoint(workers=1))
    else:
        loopback: Loopback = request.getfixturevalue("loopback")
        client = loopback.client()
        functions = {name: client.register_source_code(source_of(name), name) for name in FUNCTIONS}
        entry = {
            "uuid": loopback.endpoint_id,
            "functions": functions,
            "user_endpoint_config": {"engine": "ThreadPoolEngine"},
            "limits": {"requests_per_10_s": 1000},
        }
        opened = open_compute("loopback", parse_config({"endpoints": {"loopback": entry}}).endpoint("loopback"))
    yield opened
    opened.close()


def tile(side: int = 32, name: str = "tile") -> dict[str, Any]:
    return encode_tile(pixels(side), "raw", name=name)


def pixels(side: int) -> NDArray[np.uint8]:
    return np.random.default_rng(side).integers(0, 256, (side, side), dtype=np.uint8)


def test_it_does_what_the_package_does_here(compute: Compute) -> None:
    answer = compute.submit("score_inline", {"tiles": [tile(64)], "params": PARAMS}).result(ANSWER_S)
    here = mhfd.score(pixels(64), mhfd.FocusParams(**PARAMS))  # type: ignore[arg-type]
    (row,) = answer["rows"]
    assert row["path"] == "tile"
    assert row["provenance"]["tile_sha256"] == here.provenance.tile_sha256
    assert row["features"] == here.features


def test_answers_belong_to_their_tasks(compute: Compute) -> None:
    replies = [
        compute.submit("score_inline", {"tiles": [tile(8 + number, str(number))], "params": PARAMS})
        for number in range(12)
    ]
    assert wait(replies, ANSWER_S).not_done == set()
    assert [reply.result()["rows"][0]["path"] for reply in replies] == [str(number) for number in range(12)]


def test_worker_describes_itself(compute: Compute) -> None:
    assert compute.submit("describe", {}).result(ANSWER_S)["mhfd"] == mhfd.__version__


def test_wrong_parameters_are_an_answer(compute: Compute) -> None:
    answer = compute.submit("score_inline", {"tiles": [tile()], "params": {"n_scale": 4}}).result(ANSWER_S)
    assert answer["error"]["code"] == "bad_params"


def test_function_that_is_not_there_is_refused_at_once(compute: Compute) -> None:
    with pytest.raises(NotPermittedError, match="score_inlin"):
        compute.submit("score_inlin", {})


def test_functions_can_be_listed(compute: Compute) -> None:
    assert {"score_inline", "score_paths", "describe", "warmup"} <= set(compute.functions)


def test_it_is_online(compute: Compute) -> None:
    compute.connect()
    assert compute.status().result(ANSWER_S).online


def test_task_can_be_sent_at_once(compute: Compute) -> None:
    assert compute.slots >= 2
    assert compute.delay_s() < 10.0


def test_closed_it_takes_no_tasks(compute: Compute) -> None:
    compute.connect()
    compute.close()
    with pytest.raises(RuntimeError, match="closed"):
        compute.submit("describe", {})


def test_closing_twice_does_no_harm(compute: Compute) -> None:
    compute.connect()
    compute.close()
    compute.close()
    with pytest.raises(RuntimeError, match="closed"):  # as after the first time
        compute.submit("describe", {})
