"""What a job will take, what is kept of it here, what it gives way to, and where a run is on an endpoint."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from mhfd.contract import FocusParams
from mhfd_client.config import Config, ConfigError, DataMapping, GlobusEndpoint, LocalEndpoint
from mhfd_client.ledger import SeenFile, open_ledger
from mhfd_client.rescore.estimate import estimate
from mhfd_client.rescore.job import JobFile, Record, SentTask, UnknownJobError, job_file, known_jobs, rates
from mhfd_client.rescore.live import LiveTiles
from mhfd_client.rescore.opening import names_of, open_sites
from mhfd_client.rescore.progress import Rate, duration
from mhfd_client.rescore.site import Place, place_of

UUID = "4b116d3c-1703-4f8f-9f6f-39921e5864df"
RECORD = Record(
    run="/archive/run", endpoints=("a", "b"), job="j", manifest="/archive/run/.mhfd/j/manifest.parquet", shards=3,
    computes={"a": {"task_group_id": None}}, tiles_per_s={"a": 12.5},
    tasks=(SentTask("a", "1", "score_shard", 2), SentTask("b", "2", "plan_run")),
)  # fmt: skip


def test_a_plan_of_a_hundred_million_tiles_in_numbers() -> None:
    found = estimate(10**8, 1526, 10**14, spectra=False, workers=64, tiles_per_s=5000.0)
    assert found.tasks == 1528
    assert found.hours == pytest.approx(10**8 / 64 / 5000 / 3600)
    assert found.result_bytes == 133 * 10**8
    assert found.requests < 100


def test_without_a_rate_there_is_no_time_and_each_task_may_be_a_request() -> None:
    found = estimate(1000, 4, 10**6, workers=3)
    assert (found.hours, found.tasks, found.requests) == (None, 6, 6)


def test_a_job_is_read_as_it_was_written(tmp_path: Path) -> None:
    file = JobFile(tmp_path / "job.json")
    assert file.load() is None
    file.save(RECORD)
    assert file.load() == RECORD


@pytest.mark.parametrize("text", ["", "[]", "null", '{"schema": 2}', '{"schema": 1}', '{"schema": 1, "tasks": [1]}'])
def test_a_damaged_file_is_no_job(tmp_path: Path, text: str) -> None:
    (tmp_path / "job.json").write_text(text)
    assert JobFile(tmp_path / "job.json").load() is None
    assert known_jobs(folder=tmp_path) == []


def test_a_job_has_one_file_and_others_have_others(tmp_path: Path) -> None:
    def file(run: str = "/run", params: FocusParams | None = None, **options: object) -> Path:
        return job_file(run, params or FocusParams(), options, tmp_path).file

    assert file() == file()
    assert len({file(), file("/other"), file(params=FocusParams(n_scales=8)), file(sample=0.5)}) == 4
    assert file("/not\udce9unicode").name.endswith(".json")


def test_jobs_are_found_by_their_run_and_their_name(tmp_path: Path) -> None:
    job_file(RECORD.run, FocusParams(), {}, tmp_path).save(RECORD)
    for which in (None, "j", "/archive/run", "/archive/run/"):
        ((_, found),) = known_jobs(which, tmp_path)
        assert found == RECORD
    assert rates(known_jobs(folder=tmp_path)) == {"a": 12.5}
    with pytest.raises(UnknownJobError, match="knows no job of k; it knows those of: /archive/run"):
        known_jobs("k", tmp_path)


def test_the_rate_is_that_of_the_last_quarter_of_an_hour() -> None:
    rate = Rate(0.0)
    assert rate.tiles_per_s(10.0) is None
    rate.add(100.0, 1000)
    assert rate.tiles_per_s(100.0) == 10.0
    rate.add(5000.0, 200)
    rate.add(5010.0, 200)
    assert rate.tiles_per_s(5010.0) == pytest.approx(400 / (5010 - 100))


@pytest.mark.parametrize(
    ("seconds", "words"), [(40, "40 s"), (720, "12 min"), (20_880, "5.8 h"), (270_000, "3.1 days")]
)
def test_a_duration_is_told_in_its_unit(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_live_tiles_are_those_of_a_run_that_somebody_watches(tmp_path: Path) -> None:
    where = tmp_path / "ledger.db"
    assert LiveTiles(where)("dgx") == 0
    with open_ledger(where) as ledger:
        run = ledger.open_run("/run", FocusParams(), layout="auto", endpoint="dgx")
        ledger.see(run.run_id, [(SeenFile(f"t{k}.tif", 10, 1), None) for k in range(3)], time.time())
        assert LiveTiles(where)("dgx") == 0  # nobody watches
        ledger.heartbeat(run.run_id, {}, time.time())
        live = LiveTiles(where)
        assert (live("dgx"), live("a100")) == (3, 0)


def test_a_file_that_is_no_ledger_has_no_live_tiles(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_text("no ledger at all, but long enough to look at" * 100)
    assert LiveTiles(tmp_path / "ledger.db")("dgx") == 0


def test_a_run_is_where_the_endpoint_sees_it(tmp_path: Path) -> None:
    data = DataMapping(local_root=tmp_path, root="/scratch/em")
    entry = GlobusEndpoint(uuid=UUID, data=(data,))  # type: ignore[arg-type]
    assert place_of(str(tmp_path / "run7"), "dgx", entry) == Place("/scratch/em/run7")
    assert place_of("/archive/run7", "dgx", entry) == Place("/archive/run7")
    assert place_of(str(tmp_path), "local", LocalEndpoint()) == Place(str(tmp_path))
    with pytest.raises(ConfigError, match=r"'dgx' does not know run7: give the folder's path as the endpoint sees it"):
        place_of("run7", "dgx", entry)


def test_a_collection_goes_along(tmp_path: Path) -> None:
    data = DataMapping(local_root=tmp_path, root="em", collection=UUID)  # type: ignore[arg-type]
    entry = GlobusEndpoint(uuid=UUID, data=(data,))  # type: ignore[arg-type]
    assert place_of(str(tmp_path / "run7"), "dgx", entry) == Place("em/run7", UUID)


def test_endpoints_that_see_the_run_at_different_paths_do_not_share_it(tmp_path: Path) -> None:
    functions = {"plan_run": UUID}
    mapped = GlobusEndpoint(
        uuid=UUID, functions=functions, data=(DataMapping(local_root=tmp_path, root="/a"),)  # type: ignore[arg-type]
    )  # fmt: skip
    config = Config(endpoints={"a": mapped, "b": GlobusEndpoint(uuid=UUID, functions=functions)})  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="same path"), open_sites(config, ["a", "b"], str(tmp_path / "run")):
        pass


def test_names_are_separated_by_commas() -> None:
    assert names_of("dgx, a100,dgx") == ["dgx", "a100"]
    assert names_of("") == ["local"]
