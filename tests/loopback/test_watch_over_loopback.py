"""A watch whose tiles are scored on a real endpoint: the ways there, and an endpoint out of reach."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile

import mhfd
from mhfd.registry import source_of
from mhfd_client.compute.protocol import EndpointUnavailableError
from mhfd_client.config import Config, parse_config, resolve
from mhfd_client.ledger import TileRow, open_ledger
from mhfd_client.pipeline.assembly import open_watch

if TYPE_CHECKING:
    from loopback.stack import Loopback

END_S = 60.0
PARAMS = {"n_scales": 4, "max_t": 5.0}
QUICK = {"status_after_s": 0.3, "status_every_s": 0.3, "deadline_s": 3.0, "requests_per_10_s": 1000}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    for k in range(3):
        add(folder, k)
    return folder


def add(folder: Path, k: int) -> None:
    pixels = np.random.default_rng(k).integers(0, 256, (32, 32), dtype=np.uint8)
    tifffile.imwrite(folder / f"s0001_r0_c{k}.tif", pixels)


def configured(loopback: Loopback, *, limits: dict[str, Any] | None = None, **entry: Any) -> Config:
    client = loopback.client()
    names = ("score_inline", "score_paths")
    about = {
        "uuid": loopback.endpoint_id,
        "functions": {name: client.register_source_code(source_of(name), name) for name in names},
        "limits": {**QUICK, **(limits or {})},
        "user_endpoint_config": {"engine": "ThreadPoolEngine"},
        **entry,
    }
    profile = {"endpoint": "loopback", "poll_s": 0.5, "settle_s": 0.1, "params": PARAMS}
    return parse_config(
        {"profile": "p", "profiles": {"p": profile}, "endpoints": {"loopback": about, "local": {"workers": 1}}}
    )


def watch_once(run: Path, config: Config, **flags: Any) -> list[str]:
    told: list[str] = []
    settings = resolve(config, None, {"ledger": str(run.parent / "ledger.db"), **flags}, environ={})
    with open_watch(run, config, settings, once=True, tell=told.append) as pipeline:
        pipeline.run()
    return told


@contextmanager
def watching(run: Path, config: Config, told: list[str], **flags: Any) -> Iterator[None]:
    """A watch that runs during the block, and ends at once after it."""
    settings = resolve(config, None, {"ledger": str(run.parent / "ledger.db"), **flags}, environ={})
    with open_watch(run, config, settings, once=False, tell=told.append) as pipeline:
        thread = threading.Thread(target=pipeline.run)
        thread.start()
        try:
            yield
        finally:
            pipeline.leave()
            thread.join(END_S)


def rows(run: Path) -> list[TileRow]:
    with open_ledger(run.parent / "ledger.db", readonly=True) as ledger:
        return list(ledger.rows(ledger.find_run().run_id))


def wait_until(true: Callable[[], bool]) -> None:
    end_s = time.monotonic() + END_S
    while not true():
        assert time.monotonic() < end_s, "it never came true"
        time.sleep(0.05)


def all_scored(run: Path, count: int) -> bool:
    found = rows(run)
    return len(found) == count and all(row.state == "scored" for row in found)


def numbers(run: Path) -> dict[str, int]:
    return {row.name: (row.result or {})["features"] for row in rows(run)}


def truth(run: Path) -> dict[str, int | None]:
    params = mhfd.FocusParams(**PARAMS)  # type: ignore[arg-type]
    return {file.name: mhfd.score(file, params).features for file in sorted(run.iterdir())}


# ------------------------------------------------------------------------------------------------------ the ways there


def test_tiles_travel_in_the_tasks(run: Path, loopback: Loopback) -> None:
    watch_once(run, configured(loopback))
    assert numbers(run) == truth(run)


def test_endpoint_reads_the_same_disk(run: Path, loopback: Loopback) -> None:
    data = [{"local_root": str(run), "root": str(run)}]
    watch_once(run, configured(loopback, data=data, limits={"inline_below_bytes": 0}))
    assert numbers(run) == truth(run)


def test_globus_transfer_brings_them_and_takes_the_copies_away(run: Path, loopback: Loopback, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    transfer = {
        "method": "globus",
        "source_collection": loopback.transfer.collection(run),
        "destination_collection": loopback.transfer.collection(scratch),
        "local_root": str(run),
        "source_root": "/",
        "destination_root": "/tiles/",
        "endpoint_root": str(scratch / "tiles"),
    }
    watch_once(run, configured(loopback, transfer=transfer))
    assert numbers(run) == truth(run)
    wait_until(lambda: not [path for path in scratch.rglob("*") if path.is_file()])


def test_small_tiles_travel_in_a_bundle_and_are_scored_where_they_lie(
    run: Path, loopback: Loopback, tmp_path: Path
) -> None:
    scratch = tmp_path / "scratch"
    transfer = {
        "method": "globus",
        "source_collection": loopback.transfer.collection(tmp_path),
        "destination_collection": loopback.transfer.collection(scratch),
        "local_root": str(tmp_path),
        "source_root": "/",
        "destination_root": "/tiles/",
        "endpoint_root": str(scratch / "tiles"),
        "bundle_from": 1,
    }
    before = len(loopback.transfer.requests("submit"))
    watch_once(run, configured(loopback, transfer=transfer))
    assert {row.error_message for row in rows(run)} == {None}
    assert numbers(run) == truth(run)
    assert len(loopback.transfer.requests("submit")) > before
    assert not [path for path in scratch.rglob("*") if path.is_dir() and path.name == "1"]  # no file went alone
    wait_until(lambda: not [path for path in scratch.rglob("*") if path.is_file()])
    assert not list(tmp_path.glob(".mhfd*"))


# --------------------------------------------------------------------------------------------------------- out of reach


def test_endpoint_that_is_offline_is_waited_for(run: Path, loopback: Loopback) -> None:
    loopback.faults.offline = True
    told: list[str] = []
    with watching(run, configured(loopback), told):
        wait_until(lambda: any("offline since" in each for each in told))
        add(run, 3)
        wait_until(lambda: len(rows(run)) == 4)
        assert not any(row.state == "scored" for row in rows(run))
        loopback.faults.offline = False
        wait_until(lambda: all_scored(run, 4))


def test_this_machine_scores_while_the_endpoint_is_offline(run: Path, loopback: Loopback) -> None:
    loopback.faults.offline = True
    with watching(run, configured(loopback), [], fallback="local"):
        wait_until(lambda: all_scored(run, 3))
    assert numbers(run) == truth(run)


def test_this_machine_scores_while_globus_is_out_of_reach_at_the_start(
    run: Path, loopback: Loopback, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nobody can sign in, and no request gets through; when they do, tiles go to the endpoint again."""
    config, told = configured(loopback, limits={"status_every_s": 0.5}), list[str]()
    with monkeypatch.context() as away:
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            nowhere = f"http://127.0.0.1:{closed.getsockname()[1]}/"
        away.setenv("http_proxy", nowhere)
        away.setenv("GLOBUS_SDK_SERVICE_URL_AUTH", nowhere)
        away.setenv("GLOBUS_COMPUTE_USER_DIR", str(tmp_path / "no-tokens"))
        settings = resolve(config, None, {"ledger": str(run.parent / "ledger.db"), "fallback": "local"}, environ={})
        with open_watch(run, config, settings, once=False, tell=told.append) as pipeline:
            thread = threading.Thread(target=pipeline.run)
            thread.start()
            try:
                wait_until(lambda: all_scored(run, 3))
                assert {(row.result or {})["provenance"]["device"] for row in rows(run)} == {"cpu"}
                submissions = loopback.stats.count("submit")
                away.undo()
                wait_until(lambda: any("online again" in each for each in told))
                add(run, 3)
                wait_until(lambda: all_scored(run, 4))
                assert loopback.stats.count("submit") > submissions
            finally:
                pipeline.leave()
                thread.join(END_S)
    assert numbers(run) == truth(run)


def test_single_pass_ends_when_the_endpoint_stays_offline(run: Path, loopback: Loopback) -> None:
    loopback.faults.offline = True
    with pytest.raises(EndpointUnavailableError):
        watch_once(run, configured(loopback, limits={"patience_s": 1.0}))
    assert all(row.state in ("staged", "submitted") for row in rows(run))


def test_what_is_left_is_scored_the_next_time(run: Path, loopback: Loopback) -> None:
    loopback.faults.offline = True
    with pytest.raises(EndpointUnavailableError):
        watch_once(run, configured(loopback, limits={"patience_s": 1.0}))
    loopback.faults.offline = False
    watch_once(run, configured(loopback))
    assert numbers(run) == truth(run)


def test_tasks_in_flight_are_listened_for_after_a_restart(run: Path, loopback: Loopback) -> None:
    config = configured(loopback, limits={"deadline_s": 30.0})
    loopback.faults.withhold_results = True
    with watching(run, config, []):
        wait_until(lambda: sum(row.task_id is not None for row in rows(run)) == 3)
    wait_until(lambda: loopback.stats.count("submit") > 0)  # which is counted after it is answered
    submitted = loopback.stats.count("submit")
    with watching(run, config, []):
        loopback.faults.withhold_results = False
        wait_until(lambda: all_scored(run, 3))
    assert numbers(run) == truth(run)
    assert loopback.stats.count("submit") == submitted


# ------------------------------------------------------------------------------------- what the endpoint does not find


def mounted_at(run: Path, mount: Path, loopback: Loopback) -> Config:
    """The endpoint is told to read the run below `mount`."""
    data = [{"local_root": str(run), "root": str(mount)}]
    return configured(loopback, data=data, limits={"inline_below_bytes": 0})


@pytest.fixture
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mhfd_client.pipeline.dispatch.FIRST_PAUSE_S", 0.1)


@pytest.mark.usefixtures("quickly")
def test_disk_that_the_endpoint_lacks_for_a_while_fails_no_tile(run: Path, loopback: Loopback, tmp_path: Path) -> None:
    mount = tmp_path / "mount"
    with watching(run, mounted_at(run, mount, loopback), []):
        wait_until(lambda: any(row.attempts > 1 for row in rows(run)))
        mount.symlink_to(run)
        wait_until(lambda: all_scored(run, 3))
    assert numbers(run) == truth(run)


@pytest.mark.usefixtures("quickly")
def test_file_that_the_endpoint_never_finds_is_a_failed_row(run: Path, loopback: Loopback, tmp_path: Path) -> None:
    watch_once(run, mounted_at(run, tmp_path / "mount", loopback))
    assert {(row.state, row.error_code, row.attempts) for row in rows(run)} == {("failed", "not_found", 5)}
