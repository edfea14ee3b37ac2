"""The client against the real stack, without and with each fault: no tile is lost, none has two rows. Faults that need
no real threads, broker or endpoint are tested in tests/client/dispatch/test_dispatcher.py."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

import mhfd
from mhfd.contract import FocusParams, FocusResult
from mhfd.registry import source_of
from mhfd_client import Client
from mhfd_client.compute.protocol import NotInstalledError, NotPermittedError
from mhfd_client.config import Config, parse_config

if TYPE_CHECKING:
    from loopback.stack import Loopback

RESULT_S = 240.0  # on a machine that does much else
THREADS = {"engine": "ThreadPoolEngine"}
PROCESSES = {"engine": "GlobusComputeEngine"}
PARAMS = FocusParams(n_scales=4, max_t=5.0)
NAP_S = 1.5
FAST = 1000  # requests in 10 s: tests share a bucket, and only some of them mean to wait for it

# A worker that dies of one tile, and a slow one: the real functions with a line in front.
DEADLY = "    import os\n    if any(tile['shape'] == [13, 13] for tile in tiles):\n        os._exit(1)\n"
SLOW = f"    import time\n    time.sleep({NAP_S})\n"

Open = Callable[..., Client]


def with_lines(lines: str) -> str:
    """The source of score_inline with these lines at its beginning."""
    head, brace, body = source_of("score_inline").partition("    try:\n")
    return head + lines + brace + body


def config(loopback: Loopback, functions: dict[str, str], **options: Any) -> Config:
    client = loopback.client()
    registered = {name: client.register_source_code(source, name) for name, source in functions.items()}
    limits = {"requests_per_10_s": FAST, **options.pop("limits", {})}
    about = {"uuid": loopback.endpoint_id, "functions": registered, "limits": limits}
    entry = {**about, "user_endpoint_config": THREADS, **options}
    return parse_config({"endpoints": {"loopback": entry, "local": {"workers": 1}}})


@pytest.fixture
def open_client(loopback: Loopback) -> Iterator[Open]:
    opened: list[Client] = []

    def open_client(
        source: str | None = None,
        *,
        state_file: Path | None = None,
        notice: Callable[[str], None] = print,
        **options: Any,
    ) -> Client:
        functions = {"score_inline": source or source_of("score_inline"), "score_paths": source_of("score_paths")}
        known = options.pop("config", None) or config(loopback, functions, **options)
        opened.append(Client("loopback", config=known, state_file=state_file, on_notice=notice))
        return opened[-1]

    yield open_client
    for each in opened:
        each.close(0.0)


def tiles(count: int, side: int = 24) -> list[NDArray[np.uint8]]:
    return [np.random.default_rng(seed).integers(0, 256, (side, side), dtype=np.uint8) for seed in range(count)]


def shas(rows: Sequence[FocusResult]) -> list[str | None]:
    return [row.provenance.tile_sha256 for row in rows]


def expected(given: Sequence[NDArray[np.uint8]]) -> list[str | None]:
    return shas([mhfd.score(pixels, PARAMS) for pixels in given])


def results(futures: Sequence[Future[FocusResult]]) -> list[FocusResult]:
    return [future.result(RESULT_S) for future in futures]


def poll(fact: Callable[[], Any], timeout_s: float = 60.0) -> None:
    from loopback.broker import wait_until

    wait_until(fact, timeout_s, "what the test waits for")


# ------------------------------------------------------------------------------------------------------- in good order


def test_arrays_are_scored_in_order(open_client: Open) -> None:
    given = tiles(10)
    assert shas(open_client().score(given, PARAMS)) == expected(given)


def test_files_that_the_endpoint_sees_go_by_path(open_client: Open, loopback: Loopback, tmp_path: Path) -> None:
    (pixels,) = tiles(1, 512)
    tifffile.imwrite(tmp_path / "t.tif", pixels)
    client = open_client(data={"local_root": str(tmp_path), "root": str(tmp_path)})
    loopback.stats.clear()
    (row,) = client.score(tmp_path / "t.tif", PARAMS)
    assert row.path == str(tmp_path / "t.tif")
    assert shas([row]) == expected([pixels])
    assert all(request.body_bytes < 10_000 for request in loopback.stats.of("submit"))


def test_hundred_tiles_are_few_requests(open_client: Open, loopback: Loopback) -> None:
    client, given = open_client(), tiles(100)
    loopback.stats.clear()
    assert shas(client.score(given, PARAMS)) == expected(given)
    assert loopback.stats.count("submit") <= 15


def test_tasks_by_path_share_requests(open_client: Open, loopback: Loopback, tmp_path: Path) -> None:
    given = tiles(40)
    for number, pixels in enumerate(given):
        tifffile.imwrite(tmp_path / f"t{number:02d}.tif", pixels)
    root = {"local_root": str(tmp_path), "root": str(tmp_path)}
    client = open_client(data=root, limits={"max_tiles_per_task": 1, "inline_below_bytes": 0})
    loopback.stats.clear()
    assert shas(client.score(sorted(tmp_path.iterdir()), PARAMS)) == expected(given)
    assert loopback.stats.count("submit") <= 10


def test_requests_keep_to_the_limit(open_client: Open, loopback: Loopback) -> None:
    loopback.faults.requests_per_10_s = 20
    client = open_client(limits={"max_tiles_per_task": 1, "requests_per_10_s": 15})
    assert len(client.score(tiles(17), PARAMS)) == 17
    assert loopback.stats.most_within(10.0) <= 20
    assert loopback.stats.count(status=429) == 0


# ------------------------------------------------------------------------------------------------------------ refusals


def test_failed_submission_loses_nothing(open_client: Open, loopback: Loopback) -> None:
    loopback.faults.refuse(503, times=2)
    client, given = open_client(limits={"max_tiles_per_task": 4}), tiles(16)
    assert shas(client.score(given, PARAMS)) == expected(given)


def test_failure_amid_other_submissions_loses_nothing(open_client: Open, loopback: Loopback) -> None:
    client, given = open_client(with_lines(SLOW), limits={"max_tiles_per_task": 2}), tiles(12)
    futures = [client.submit(pixels, PARAMS) for pixels in given[:2]]
    poll(lambda: loopback.stats.count("submit") >= 1)
    loopback.faults.refuse(500, times=2)
    futures += [client.submit(pixels, PARAMS) for pixels in given[2:]]
    assert shas(results(futures)) == expected(given)


def test_retry_after_is_obeyed(open_client: Open, loopback: Loopback) -> None:
    client = open_client()
    loopback.faults.refuse(429, times=1, retry_after_s=2)
    assert len(client.score(tiles(1), PARAMS)) == 1
    first, second = loopback.stats.of("submit")
    assert (first.status, second.status) == (429, 200)
    assert second.at_s - first.at_s >= 2.0


def test_payload_too_large_is_sent_in_parts(open_client: Open, loopback: Loopback) -> None:
    loopback.faults.payload_bytes = 30_000
    given = tiles(3, 100)
    assert shas(open_client().score(given, PARAMS)) == expected(given)


def test_lone_tile_too_large_is_a_failed_row(open_client: Open, loopback: Loopback) -> None:
    loopback.faults.payload_bytes = 30_000
    rows = open_client().score([*tiles(1, 300), *tiles(1, 100)], PARAMS)
    assert [row.error and row.error.code for row in rows] == ["too_large_to_send", None]


def test_function_that_is_not_allowed_says_to_register(
    open_client: Open, loopback: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = open_client()
    registration = loopback.service.cloud.endpoint(loopback.endpoint_id).registration
    monkeypatch.setitem(registration, "allowed_functions", ["11111111-1111-4111-8111-111111111111"])
    with pytest.raises(NotPermittedError, match="mhfd register"):
        client.score(tiles(1), PARAMS)


def test_endpoint_without_mhfd_says_what_to_install(open_client: Open) -> None:
    client = open_client(source_of("score_inline").replace("from mhfd.worker", "from mhfd_that_is_not_there.worker"))
    with pytest.raises(NotInstalledError, match="pip install mhfd"):
        client.score(tiles(1), PARAMS)


def test_expired_token_is_renewed(open_client: Open, loopback: Loopback) -> None:
    client, given = open_client(), tiles(2)
    first = client.score(given[:1], PARAMS)
    loopback.service.expire_tokens()
    assert shas([*first, *client.score(given[1:], PARAMS)]) == expected(given)


# -------------------------------------------------------------------------------------------------------- lost answers


def test_lost_answer_is_asked_for(open_client: Open, loopback: Loopback) -> None:
    client = open_client(limits={"first_deadline_s": 2})
    loopback.faults.lose_results = 1
    begun = loopback.stats.count("submit")
    assert len(client.score(tiles(2), PARAMS)) == 2
    assert loopback.stats.count("submit") == begun + 1  # asked for, not scored again


def test_cut_stream_loses_nothing(open_client: Open, loopback: Loopback) -> None:
    client, given = open_client(with_lines(SLOW), limits={"max_tiles_per_task": 2}), tiles(4)
    futures = [client.submit(pixels, PARAMS) for pixels in given]
    poll(lambda: loopback.stats.count("submit", 200) >= 1)
    loopback.service.relay.cut()
    assert shas(results(futures)) == expected(given)


def test_killed_broker_loses_nothing(open_client: Open, loopback: Loopback) -> None:
    client, given = open_client(with_lines(SLOW)), tiles(4)
    futures = [client.submit(pixels, PARAMS) for pixels in given]
    poll(lambda: loopback.stats.count("submit", 200) >= 1)
    loopback.broker.stop()
    loopback.broker.start()
    assert shas(results(futures)) == expected(given)


def test_stream_that_stays_away_is_done_without(open_client: Open, loopback: Loopback) -> None:
    """The SDK gives up after five attempts and fails every open future; their tasks run on."""
    from globus_compute_sdk.sdk import executor

    client, given = open_client(with_lines(SLOW)), tiles(2)
    futures = [client.submit(pixels, PARAMS) for pixels in given]
    poll(lambda: loopback.stats.count("result_stream") >= 1)
    (watcher,) = executor._RESULT_WATCHERS.values()
    poll(lambda: watcher._connection is not None and watcher._connection.is_open)
    loopback.service.relay.refusing = True
    watcher._connection_tries = watcher.connect_attempt_limit  # its last: else this takes half a minute
    loopback.service.relay.cut()
    poll(lambda: not watcher.is_alive(), 30.0)
    loopback.service.relay.refusing = False
    assert shas(results(futures)) == expected(given)
    assert loopback.stats.count("submit") == 1


# ------------------------------------------------------------------------------------------------------- dead, offline


def test_task_of_a_killed_user_endpoint_is_sent_again(open_client: Open, loopback: Loopback, tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    stay_once = (
        f"    import pathlib, time\n    begun = pathlib.Path({str(begun)!r})\n    first = not begun.exists()\n"
        "    begun.touch()\n    time.sleep(600 if first else 0)\n"
    )
    client, given = open_client(with_lines(stay_once), limits={"first_deadline_s": 4}), tiles(2)
    futures = [client.submit(pixels, PARAMS) for pixels in given]
    poll(begun.exists, RESULT_S)
    loopback.endpoint.kill_part("user")
    assert shas(results(futures)) == expected(given)


def test_tile_that_kills_workers_ends_alone(open_client: Open) -> None:
    client = open_client(with_lines(DEADLY), user_endpoint_config=PROCESSES)
    given = tiles(4)
    given[2] = tiles(1, 13)[0]
    rows = client.score(given, PARAMS)
    assert [row.error and row.error.code for row in rows] == [None, None, "worker_lost", None]


def test_offline_endpoint_is_told_of_and_waited_for(open_client: Open, loopback: Loopback) -> None:
    told: list[str] = []
    heard = threading.Event()

    def notice(text: str) -> None:
        told.append(text)
        heard.set()

    loopback.faults.offline = True
    client, given = open_client(notice=notice, limits={"status_after_s": 0.5}), tiles(3)
    futures = [client.submit(pixels, PARAMS) for pixels in given]
    assert heard.wait(RESULT_S)
    assert "'loopback' is offline since" in told[0]
    assert told[0].endswith("3 tiles wait")
    loopback.faults.offline = False
    assert shas(results(futures)) == expected(given)


def test_this_machine_takes_over_from_an_offline_endpoint(open_client: Open, loopback: Loopback) -> None:
    loopback.faults.offline = True
    client, given = open_client(fallback="local", limits={"status_after_s": 0.5}), tiles(3)
    assert shas(client.score(given, PARAMS)) == expected(given)


# --------------------------------------------------------------------------------------------------- ending, resuming


def test_another_client_takes_up_what_was_in_flight(open_client: Open, loopback: Loopback, tmp_path: Path) -> None:
    known = config(loopback, {"score_inline": with_lines(SLOW)})
    state_file, given = tmp_path / "state.json", tiles(3)
    dead = open_client(config=known, state_file=state_file)
    for pixels in given:
        dead.submit(pixels, PARAMS)
    poll(lambda: state_file.exists() and '"task_id": "' in state_file.read_text())
    dead.close(0.0)
    loopback.close_executors()
    sent = loopback.stats.count("submit")
    taken_up = open_client(config=known).resume(state_file)
    assert shas(results([future for _, future in taken_up])) == expected(given)
    assert loopback.stats.count("submit") == sent  # nothing was scored again


SCRIPT = """
import numpy as np, sys
from mhfd_client import Client
client = Client("loopback")
client.submit(np.zeros((8, 8), np.uint8))
client.status()
print("done", flush=True)
"""


def test_python_ends_though_a_task_is_open(loopback: Loopback, tmp_path: Path) -> None:
    loopback.faults.offline = True
    known = config(loopback, {"score_inline": source_of("score_inline")})
    entry = known.endpoints["loopback"]
    lines = ["[endpoints.loopback]", f'uuid = "{entry.uuid}"', "[endpoints.loopback.functions]"]
    lines += [f'{name} = "{uuid}"' for name, uuid in entry.functions.items()]
    (tmp_path / "config.toml").write_text("\n".join(lines))
    environment = {
        **os.environ,
        "MHFD_CONFIG": str(tmp_path / "config.toml"),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    told = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=30, env=environment)
    assert told.stdout == "done\n", told.stderr
    assert told.returncode == 0


def test_bare_cell_of_the_documentation_runs(loopback: Loopback, tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "endpoints.md").read_text(encoding="utf-8")
    cell = text.split("<!-- bare -->\n```python\n")[1].split("```")[0]
    (pixels,) = tiles(1)
    tifffile.imwrite(tmp_path / "t.tif", pixels)
    cell = cell.replace("/scratch/em/run/s0001_r0_c0.tif", str(tmp_path / "t.tif"))
    function = loopback.client().register_source_code(source_of("score_paths"), "score_paths")
    names: dict[str, Any] = {"ENDPOINT": loopback.endpoint_id, "SCORE_PATHS": function}
    exec(cell, names)
    assert [row["status"] for row in names["rows"]] == ["scored"]
