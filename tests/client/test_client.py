"""`Client` on this machine, and on a `Compute` that answers by script."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future
from itertools import count, islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

import mhfd
from mhfd.contract import FocusParams, ParamsError
from mhfd_client import Client
from mhfd_client.compute.protocol import ComputeError
from mhfd_client.config import Config, ConfigError, LocalEndpoint, LocalLimits
from scripted import ANSWER_S, ScriptedCompute, rows_for

PARAMS = FocusParams(n_scales=4, max_t=5.0)
CONFIG = Config(local=LocalEndpoint(workers=1))
START_S = 60.0  # deadline for a script to be ready


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with Client(config=CONFIG) as opened:
        yield opened


def scripted(answer: Any = rows_for, *, slots: int = 2, limits: dict[str, Any] | None = None, **options: Any) -> Client:
    config = Config(local=LocalEndpoint(limits=LocalLimits(**(limits or {}))))
    return Client(config=config, compute=ScriptedCompute(answer, slots=slots), **options)


def pixels(seed: int, side: int = 48) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (side, side), dtype=np.uint8)


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"t{number}.tif" for number in range(6)]
    for number, path in enumerate(paths):
        tifffile.imwrite(path, pixels(number))
    return paths


# ------------------------------------------------------------------------------------------------------------- scoring


def test_files_are_scored_in_order(client: Client, files: list[Path]) -> None:
    rows = client.score(files, PARAMS)
    here = mhfd.score_many(files, PARAMS)
    assert [row.path for row in rows] == [str(path) for path in files]
    assert [row.features for row in rows] == [row.features for row in here]


def test_arrays_are_scored(client: Client) -> None:
    rows = client.score([pixels(1), pixels(2)], PARAMS)
    assert [row.provenance.tile_sha256 for row in rows] == [
        mhfd.score(pixels(seed), PARAMS).provenance.tile_sha256 for seed in (1, 2)
    ]


def test_one_source_will_do(client: Client, files: list[Path]) -> None:
    assert len(client.score(files[0], PARAMS)) == 1
    assert len(client.score(pixels(1), PARAMS)) == 1


def test_score_judges(client: Client, files: list[Path]) -> None:
    assert all(row.verdict is not None for row in client.score(files, PARAMS))


def test_bad_tile_is_a_failed_row_among_the_others(client: Client, files: list[Path], tmp_path: Path) -> None:
    rows = client.score([files[0], tmp_path / "none.tif", files[1]], PARAMS)
    assert [row.status for row in rows] == ["scored", "failed", "scored"]
    assert rows[1].error is not None
    assert rows[1].error.code == "not_found"


def test_each_page_has_a_row(client: Client, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "s.tif", np.stack([pixels(1), pixels(2)]), photometric="minisblack")
    assert [row.path for row in client.score(tmp_path / "s.tif", PARAMS)] == [
        f"{tmp_path / 's.tif'}#page=0",
        f"{tmp_path / 's.tif'}#page=1",
    ]


def test_parameters_may_be_plain_json(client: Client) -> None:
    (row,) = client.score(pixels(1), {"n_scales": 3, "max_t": 4})
    assert row.scales_px is not None
    assert len(row.scales_px) == 3


def test_unknown_parameter_is_refused_before_anything_is_sent() -> None:
    client = scripted()
    with client, pytest.raises(ParamsError, match="n_scales"):
        client.score("t", {"n_scale": 3})


def test_submit_gives_a_standard_future(client: Client) -> None:
    future = client.submit(pixels(1), PARAMS)
    assert isinstance(future, Future)
    assert future.result(ANSWER_S).status == "scored"


def test_no_tiles_no_rows(client: Client) -> None:
    assert client.score([]) == []
    assert list(client.map([])) == []


def test_map_is_in_order(client: Client) -> None:
    shas = [row.provenance.tile_sha256 for row in client.map((pixels(seed) for seed in range(8)), PARAMS)]
    assert shas == [row.provenance.tile_sha256 for row in client.score([pixels(seed) for seed in range(8)], PARAMS)]


def test_map_takes_endless_sources() -> None:
    with scripted() as client:
        rows = client.map(f"t{number}" for number in count())
        assert [row.path for row in islice(rows, 500)] == [f"t{number}" for number in range(500)]


def test_map_takes_only_a_few_sources_ahead() -> None:
    taken: list[int] = []

    def sources() -> Iterator[str]:
        for number in range(10_000):
            taken.append(number)
            yield f"t{number}"

    def give_up() -> None:
        compute.wait_for_tasks(2)
        client.close(0.0)

    with scripted(lambda *_: None, limits={"max_tiles_per_task": 4}) as client:
        compute: Any = client._compute
        giving_up = threading.Thread(target=give_up)
        giving_up.start()
        with pytest.raises(CancelledError):
            list(client.map(sources()))
        giving_up.join()
        assert len(taken) <= 2 * 4 + 1


# ------------------------------------------------------------------------------------------------------------ endpoint


def test_unknown_endpoint_is_refused() -> None:
    with pytest.raises(ConfigError, match="no endpoint named 'dgx'"):
        Client("dgx", config=Config())


def test_function_can_be_called(client: Client) -> None:
    assert client.call("describe")["mhfd"] == mhfd.__version__


def test_call_gives_up(client: Client) -> None:
    with scripted(lambda *_: None) as silent, pytest.raises(ComputeError, match="did not answer"):
        silent.call("score_paths", timeout_s=0.05, paths=[])


def test_status_is_told(client: Client) -> None:
    assert str(client.status()).startswith("online since")


def test_error_of_the_endpoint_reaches_the_caller() -> None:
    refusal = {"schema": 1, "error": {"code": "not_installed", "message": "pip install mhfd"}}
    with scripted(lambda *_: refusal) as client, pytest.raises(ComputeError, match="pip install mhfd"):
        client.score(["a", "b"])


# ----------------------------------------------------------------------------------------------------- ending, resuming


def test_closed_client_says_so() -> None:
    client = scripted()
    client.close()
    with pytest.raises(RuntimeError, match="closed"):
        client.score("t")


def test_dropped_client_ends_its_thread() -> None:
    client = scripted()
    client.score("t")
    dispatcher = client._dispatcher
    assert dispatcher is not None
    del client
    dispatcher._thread.join(ANSWER_S)
    assert not dispatcher._thread.is_alive()


def test_state_file_is_enough_to_take_up_the_work(tmp_path: Path) -> None:
    state_file = tmp_path / "state.json"
    told: list[Any] = []
    dead = scripted(lambda *_: None, state_file=state_file, on_state=told.append)
    dead.submit("a")
    dead.submit("b")
    compute: Any = dead._compute
    compute.wait_for_tasks(1)
    deadline = time.monotonic() + ANSWER_S
    while not state_file.exists():
        assert time.monotonic() < deadline, "no state file was written"
        time.sleep(0.01)
    state = json.loads(state_file.read_text())
    assert told, "the listener is told as well"
    dead.close(0.0)
    names = [tile["name"] for task in state["tasks"] for tile in task["tiles"]]
    with scripted(lambda function, given: rows_for("", names if function == "resume" else given)) as client:
        futures = client.resume(state)
        assert [(name, future.result(ANSWER_S).path) for name, future in futures] == [(name, name) for name in names]


def test_state_of_another_endpoint_is_refused() -> None:
    with scripted() as client, pytest.raises(ParamsError, match="endpoint 'dgx'"):
        client.resume({"schema": 1, "endpoint": "dgx", "tasks": []})


# Prints "ready" in the middle of its tiles: after a few changes of what is in flight.
LONG_SCRIPT = """
import itertools
import numpy as np
from mhfd_client import Client

changes = None

def tell(state):
    if changes is not None and next(changes) == 4:
        print("ready", flush=True)

client = Client(on_state=tell)
tiles = [np.random.default_rng(1).integers(0, 256, (1024, 1024), dtype=np.uint8)] * 400
client.score(tiles[:1])
changes = itertools.count()
try:
    client.score(tiles)
except KeyboardInterrupt:
    print("interrupted", flush=True)
print(client.score(tiles[0])[0].status, flush=True)
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows sends Ctrl-C to whole consoles only")
def test_ctrl_c_returns_and_the_client_goes_on(tmp_path: Path) -> None:
    process = _script(tmp_path, LONG_SCRIPT)
    _wait_until_ready(process)
    begun = time.monotonic()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert out.splitlines() == ["interrupted", "scored"], err
    assert process.returncode == 0
    assert time.monotonic() - begun < 30


@pytest.mark.skipif(os.name == "nt", reason="Windows sends Ctrl-C to whole consoles only")
def test_nothing_hangs_when_ctrl_c_ends_the_program(tmp_path: Path) -> None:
    process = _script(tmp_path, LONG_SCRIPT.replace("except KeyboardInterrupt", "except ZeroDivisionError"))
    _wait_until_ready(process)
    begun = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert err.strip().endswith("KeyboardInterrupt")
    assert time.monotonic() - begun < 20


def _wait_until_ready(process: subprocess.Popen[str]) -> None:
    """Wait until the script prints "ready"; kill a silent script, and fail."""
    silent = threading.Timer(START_S, process.kill)
    silent.start()
    assert process.stdout is not None
    told = process.stdout.readline()
    silent.cancel()
    if told != "ready\n":
        process.kill()
        pytest.fail(f"the script told {told!r}, and no more in {START_S:g} s:\n{process.communicate()[1]}")


def _script(folder: Path, text: str) -> subprocess.Popen[str]:
    (folder / "script.py").write_text(text)
    (folder / "config.toml").write_text(
        "[endpoints.local]\nworkers = 1\n[endpoints.local.limits]\nmax_tiles_per_task = 4"
    )
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "MHFD_CONFIG": str(folder / "config.toml"),
    }
    return subprocess.Popen(
        [sys.executable, folder / "script.py"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


# --------------------------------------------------------------------------------------------------------------- light


HEAVY = "('numpy', 'pydantic', 'globus_compute_sdk', 'globus_sdk')"
HELP = "from mhfd_client.cli import main; main(['--help'], standalone_mode=False)"


@pytest.mark.parametrize("what", ["import mhfd_client", HELP])
def test_import_is_light(what: str) -> None:
    assert _told(f"{what}\nimport sys\nprint([name for name in {HEAVY} if name in sys.modules])") == "[]"


def test_client_does_not_import_globus() -> None:
    assert _told("import sys\nfrom mhfd_client import Client\nprint('globus_compute_sdk' in sys.modules)") == "False"


def _told(script: str) -> str:
    """The last line that it prints."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    told = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True, env=environment
    )
    return told.stdout.splitlines()[-1]
