"""Tiles in batches over several devices, here the CUDA source run on the host: rows in order, nothing lost."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from host_device import HostDevice, HostStream, compiler
from mhfd.backends import Backend, select_backend
from mhfd.contract import Acquisition, BackendError, FocusParams, FocusResult
from mhfd.images import Tile
from mhfd.kernel import fused
from mhfd.scoring import stream
from mhfd.scoring.tile import Job, Scorer, job
from phantoms import as_uint8, texture

pytestmark = pytest.mark.skipif(compiler() is None, reason="no C++ compiler (g++) to run the CUDA source on the host")

QUICK = FocusParams(n_scales=2, max_t=3)


def tissue(seed: int, shape: tuple[int, int] = (40, 48)) -> NDArray[np.uint8]:
    rng = np.random.default_rng(seed)
    return as_uint8(0.5 + 0.15 * texture(shape, rng) + rng.normal(0, 0.01, shape))


class MortalDevice(HostDevice):
    """Fails permanently at its n-th synchronisation after `doom`."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.left: float = float("inf")

    def stream(self) -> HostStream:
        device = self

        class MortalStream(HostStream):
            def synchronize(self) -> None:
                device.left -= 1
                if device.left < 0:
                    raise BackendError(f"{device.name} failed")

        return MortalStream(backwards=False)


def gpu(*devices: HostDevice) -> Backend:
    lanes = tuple(fused.Fused(device) for device in devices)
    return Backend(name="cupy", device=", ".join(d.name for d in devices), measure=lanes[0].measure, lanes=lanes)


def in_batches(tiles: Sequence[Any], backend: Backend, params: FocusParams = QUICK) -> list[FocusResult]:
    return list(stream.in_batches(Scorer(params, backend), (job(tile) for tile in tiles), readers=2))


def numbers(rows: Sequence[FocusResult]) -> list[tuple[Any, ...]]:
    return [(row.provenance.tile_sha256, row.features, row.error and row.error.code) for row in rows]


def expected(tiles: Sequence[Any]) -> list[tuple[Any, ...]]:
    scorer = Scorer(QUICK, select_backend("numpy"))
    return numbers(list(stream.in_threads(scorer, map(job, tiles), threads=1)))


def test_rows_come_in_the_order_of_the_tiles() -> None:
    tiles = [tissue(seed) for seed in range(9)]
    assert numbers(in_batches(tiles, gpu(HostDevice()))) == expected(tiles)


def test_a_device_copies_plain_files_from_the_memory_they_were_read_to(tmp_path: Path) -> None:
    class Watched(HostDevice):
        copied_from: ClassVar[list[bool]] = []

        def is_pinned(self, data: NDArray[Any]) -> bool:
            self.copied_from.append(super().is_pinned(data))
            return self.copied_from[-1]

    tiles = [tissue(seed) for seed in range(5)]
    for number, tile in enumerate(tiles):
        packed = {"compression": "zlib"} if number == 3 else {}
        tifffile.imwrite(tmp_path / f"{number}.tif", tile, photometric="minisblack", **packed)
    rows = in_batches(sorted(tmp_path.iterdir()), gpu(Watched()))
    assert numbers(rows) == expected(tiles)
    assert sorted(Watched.copied_from) == [False, True, True, True, True]  # what had to be unpacked is elsewhere


def test_tiles_of_other_shapes_and_types_and_bad_ones_keep_their_places() -> None:
    tiles: list[Any] = [
        tissue(1), tissue(2, (30, 30)), tissue(3, (30, 30)), "no such file.tif", tissue(4).astype(np.uint16), tissue(5),
        np.zeros((3, 0)), tissue(6, (8, 8)),
    ]  # fmt: skip
    rows = in_batches(tiles, gpu(HostDevice()))
    assert numbers(rows) == expected(tiles)
    assert [row.error and row.error.code for row in rows if row.error] == ["not_found", "zero_size"]


def test_a_batch_is_no_larger_than_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "BATCH_TILES", 3)
    sizes: list[int] = []
    submit = fused.Fused.submit
    monkeypatch.setattr(
        fused.Fused, "submit", lambda self, tiles, params: sizes.append(len(tiles)) or submit(self, tiles, params)
    )
    tiles = [tissue(seed) for seed in range(8)]
    assert numbers(in_batches(tiles, gpu(HostDevice()))) == expected(tiles)
    assert sum(sizes) == 8
    assert max(sizes) <= 3


def test_a_tile_too_large_for_a_batch_is_measured_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "BATCH_PIXELS", 2000)
    tiles = [tissue(1), tissue(2, (60, 60)), tissue(3)]
    assert numbers(in_batches(tiles, gpu(HostDevice()))) == expected(tiles)


def test_scales_in_nm_go_into_batches_by_their_size_in_pixels() -> None:
    params = FocusParams(n_scales=2, min_t=5, max_t=15, unit="nm")
    scorer = replace(Scorer(params, gpu(HostDevice())), pixel_size_nm=5.0)
    (row,) = stream.in_batches(scorer, [job(tissue(1))], readers=1)
    assert row.scales_px == (1.0, 2.0)


def test_a_row_says_on_which_device_it_was_scored_and_how_long_it_took() -> None:
    rows = in_batches([tissue(seed) for seed in range(4)], gpu(HostDevice()))
    assert {row.provenance.device for row in rows} == {"host"}
    assert all(0 < row.timing_ms.kernel < row.timing_ms.total for row in rows)


# --- Devices that fail ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("doom", [0, 1, 2])
def test_when_a_device_dies_the_others_do_its_tiles(
    doom: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(stream, "BATCH_TILES", 2)
    first, second = MortalDevice("GPU 0"), MortalDevice("GPU 1")
    first.left = doom
    tiles = [tissue(seed) for seed in range(12)]
    with caplog.at_level(logging.ERROR, logger="mhfd"):
        rows = in_batches(tiles, gpu(first, second))
    assert numbers(rows) == expected(tiles)
    assert [record.getMessage() for record in caplog.records] == ["GPU 0 failed; the devices left: 1"]


def test_when_all_devices_die_each_tile_left_is_a_failed_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "BATCH_TILES", 2)
    device = MortalDevice("GPU 0")
    device.left = 3
    rows = in_batches([tissue(seed) for seed in range(8)], gpu(device))
    scored = [row.status == "scored" for row in rows]
    assert scored == sorted(scored, reverse=True)
    assert 0 < sum(scored) < 8
    assert {row.error.code for row in rows if row.error} == {"device_failed"}


def test_a_tile_without_room_on_the_device_fails_alone() -> None:
    backend = gpu(HostDevice(memory=12 * 2**20))
    rows = in_batches([tissue(1), tissue(2, (64, 20000)), tissue(3)], backend)
    assert [row.error and row.error.code for row in rows] == [None, "out_of_memory", None]


def test_a_fault_of_ours_fails_no_other_tile(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    submit = fused.Fused.submit

    def fails_on_the_second(self: fused.Fused, tiles: Any, params: FocusParams) -> Any:
        if any(tile[0, 0] == 77 for tile in tiles):
            raise ZeroDivisionError("by zero")
        return submit(self, tiles, params)

    monkeypatch.setattr(fused.Fused, "submit", fails_on_the_second)
    tiles = [tissue(seed) for seed in range(3)]
    tiles[1][0, 0] = 77
    with caplog.at_level(logging.ERROR, logger="mhfd"):
        rows = in_batches(tiles, gpu(HostDevice()))
    assert [row.error and row.error.code for row in rows] == [None, "internal", None]
    assert "Traceback" in caplog.text


# --- The stream -------------------------------------------------------------------------------------------------


def test_what_is_done_is_given_out_while_the_source_makes_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """A source that waits for one tile's row before it yields many more does not wait for ever."""
    given: list[int] = []

    def source() -> Iterator[Job]:
        for seed in range(200):
            given.append(seed)
            yield job(tissue(seed, (12, 12)))

    rows = stream.in_batches(Scorer(QUICK, gpu(HostDevice())), source(), readers=1)
    next(rows)
    assert len(given) < 150
    rows.close()


@pytest.mark.parametrize("before", [1, 5, 40])
def test_a_file_that_hangs_holds_up_no_row_of_those_before_it(before: int) -> None:
    there = threading.Event()

    def hanging() -> Any:
        assert there.wait(60)
        return tile_of(tissue(99, (12, 12)))

    sources = [*(tissue(seed, (12, 12)) for seed in range(before - 1)), "missing.tif"]
    jobs = [*map(job, sources), Job(hanging), job(tissue(100, (12, 12)))]
    rows = stream.in_batches(Scorer(QUICK, gpu(HostDevice())), jobs, readers=2)
    try:
        assert [next(rows).status for _ in range(before)] == ["scored"] * (before - 1) + ["failed"]
    finally:
        there.set()
    assert len(list(rows)) == 2


def test_batches_are_whole_while_a_device_is_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles that are read one by one while a batch computes go into one batch, not each into its own."""
    sizes: list[int] = []
    read, computing = threading.Semaphore(0), threading.Event()
    submit = fused.Fused.submit

    def slow(self: fused.Fused, tiles: Any, params: FocusParams) -> Any:
        sizes.append(len(tiles))
        pending = submit(self, tiles, params)
        if len(sizes) > 1:
            return pending
        result = pending.result

        def when_the_others_are_read() -> Any:
            computing.set()
            assert all(read.acquire(timeout=60) for _ in range(9))
            return result()

        return SimpleNamespace(result=when_the_others_are_read, copy_ms=0.0, kernel_ms=0.0)

    def reading(seed: int) -> Job:
        def run() -> Any:
            assert seed == 0 or computing.wait(60)
            read.release()
            return tile_of(tissue(seed, (12, 12)))

        return Job(run)

    monkeypatch.setattr(fused.Fused, "submit", slow)
    rows = list(stream.in_batches(Scorer(QUICK, gpu(HostDevice())), map(reading, range(9)), readers=1))
    assert len(rows) == 9 and all(row.status == "scored" for row in rows)
    assert sizes == [1, 8]


def tile_of(pixels: NDArray[np.uint8]) -> Tile:
    return Tile(path="", pixels=pixels, pixel_size_nm=None, acquisition=Acquisition())
