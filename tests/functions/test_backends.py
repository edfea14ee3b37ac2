"""The choice of a kernel, the message if it is missing, and one tile shared between devices."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Iterator
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import scipy.fft
from numpy.typing import NDArray

import mhfd
from host_device import HostDevice, compiler
from mhfd import backends, cuda
from mhfd.backends import select_backend
from mhfd.contract import BackendError, FocusParams, ParamsError, TileError
from mhfd.extras import install_hint
from mhfd.kernel.fourier import Arrays
from mhfd.kernel.fused import Fused
from phantoms import as_uint8, texture

no_gpu = pytest.mark.skipif(cuda.device_count() > 0, reason="this machine has a GPU")


@pytest.fixture(autouse=True)
def warnings_anew() -> Iterator[None]:
    """Reset the warnings that a process gives only once."""
    backends._warn_once.cache_clear()
    yield
    backends._warn_once.cache_clear()


@pytest.fixture
def tile() -> NDArray[np.uint8]:
    rng = np.random.default_rng(1)
    return as_uint8(0.5 + 0.15 * texture((300, 320), rng) + rng.normal(0, 0.01, (300, 320)))


def without(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pretend that a package is not installed."""
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == module else find(name, *rest))


@no_gpu
def test_auto_takes_the_fast_path_of_the_processor(caplog: pytest.LogCaptureFixture) -> None:
    assert select_backend().name == "numba"
    assert not caplog.records


@no_gpu
def test_auto_falls_back_to_numpy_aloud(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    without("numba", monkeypatch)
    with caplog.at_level(logging.WARNING):
        assert [select_backend().name for _ in range(3)] == ["numpy"] * 3
    (record,) = caplog.records  # once is enough
    assert install_hint("cpu") in record.getMessage()


@no_gpu
def test_a_driver_without_cupy_is_told_of(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(cuda, "has_driver", lambda: True)
    with caplog.at_level(logging.WARNING):
        select_backend()
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_numba_named_but_missing_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    without("numba", monkeypatch)
    with pytest.raises(BackendError, match=r"pip install .*\[cpu\]"):
        select_backend("numba")


@no_gpu
@pytest.mark.parametrize("name", ["cupy", "cupy-fft"])
def test_a_gpu_named_but_missing_is_an_error(name: str) -> None:
    with pytest.raises(BackendError, match=r"driver|CuPy|GPU"):
        select_backend(name)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"devices": []}, "at least one"),
        ({"name": "numba", "devices": [1]}, "device 0"),
        ({"name": "numpy", "devices": [0, 3]}, "device 0"),
        ({"partition": "tiles"}, '"auto", "scales", "strips"'),
    ],
)
def test_devices_and_partitions_that_do_not_exist_are_refused(arguments: dict[str, object], words: str) -> None:
    with pytest.raises(ParamsError, match=words):
        select_backend(**arguments)  # type: ignore[arg-type]


def test_the_array_path_does_not_share_a_tile() -> None:
    with pytest.raises(BackendError, match="numba"):
        select_backend("numpy", devices=[0, 0])


@pytest.mark.parametrize("backend", ["numba", "numpy"])
def test_a_result_says_what_computed_it(backend: str, tile: NDArray[np.uint8]) -> None:
    provenance = mhfd.score(tile, backend=backend).provenance
    assert (provenance.backend, provenance.device) == (backend, "cpu")


@pytest.mark.parametrize("partition", ["auto", "strips"])
@pytest.mark.parametrize("devices", [[0], [0, 0], [0, 0, 0]])
def test_one_tile_on_several_devices_is_the_tile_on_one(
    devices: list[int], partition: str, tile: NDArray[np.uint8]
) -> None:
    whole = mhfd.score(tile, backend="numba")
    shared = mhfd.score(tile, backend="numba", devices=devices, partition=partition)
    assert shared.features_by_scale == whole.features_by_scale
    assert shared.focus_score == whole.focus_score


@pytest.mark.parametrize("count", [2, 3, 16, 20])
def test_scales_shared_between_devices_give_the_same_features(count: int, tile: NDArray[np.uint8]) -> None:
    whole = mhfd.find_features(tile, backend="numba")
    shared = mhfd.find_features(tile, backend="numba", devices=[0] * count, partition="scales")
    places, others = (set(zip(f.rows.tolist(), f.cols.tolist(), strict=True)) for f in (whole, shared))
    assert len(places ^ others) <= 2
    assert len(places) > 300


def test_memory_for_a_tile_can_be_bounded(tile: NDArray[np.uint8]) -> None:
    big = np.tile(tile, (6, 3))
    whole = mhfd.score(big, FocusParams(max_t=5), backend="numba")
    strips = mhfd.score(big, FocusParams(max_t=5, max_host_bytes=20 * 2**20), backend="numba")
    assert strips.features_by_scale == whole.features_by_scale


def test_too_little_memory_is_told_with_what_is_needed(tile: NDArray[np.uint8]) -> None:
    (row,) = mhfd.score_many([tile], FocusParams(max_host_bytes=10**5), backend="numba")
    assert row.error is not None
    assert row.error.code == "out_of_memory"
    assert "needs" in row.error.message


# --- GPUs, by a stand-in that runs the CUDA source on the host -----------------------------------------------------


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    if compiler() is None:
        pytest.skip("no C++ compiler (g++) to run the CUDA source on the host")
    gpus = [HostDevice(), HostDevice()]
    kernels = [Fused(gpu) for gpu in gpus]
    monkeypatch.setattr(cuda, "unavailable", lambda: None)
    monkeypatch.setattr(cuda, "device", lambda number: gpus[number])
    monkeypatch.setattr(cuda, "kernel", lambda number: kernels[number])


SMALL = FocusParams(n_scales=4, max_t=5)


@pytest.mark.usefixtures("two_gpus")
def test_auto_takes_a_gpu_that_answers(tile: NDArray[np.uint8]) -> None:
    assert mhfd.score(tile[:64, :80], SMALL).provenance.backend == "cupy"


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize("partition", ["auto", "scales", "strips"])
@pytest.mark.parametrize("devices", [[0], [0, 0], [0, 1]])
def test_one_tile_on_gpus_has_the_features_it_has_on_the_processor(
    devices: list[int], partition: str, tile: NDArray[np.uint8]
) -> None:
    part = np.ascontiguousarray(tile[:150, :80])
    here = mhfd.find_features(part, SMALL, "numba")
    there = mhfd.find_features(part, SMALL, "cupy", devices=devices, partition=partition)
    assert len(here) > 50
    assert abs(len(there) - len(here)) <= 2


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize("devices", [[0, 1], [0, 0]])
def test_many_tiles_go_to_all_gpus_and_come_back_in_order(devices: list[int], tile: NDArray[np.uint8]) -> None:
    tiles = [np.ascontiguousarray(tile[k : k + 40, :50]) for k in range(70)]
    here = mhfd.score_many(tiles, SMALL, "numba")
    there = mhfd.score_many(tiles, SMALL, "cupy", devices=devices)
    assert [row.provenance.tile_sha256 for row in there] == [row.provenance.tile_sha256 for row in here]
    assert all(abs(a.features - b.features) <= 2 for a, b in zip(here, there, strict=True))


@pytest.mark.usefixtures("two_gpus")
def test_two_gpus_tell_the_phases_of_one_tile(tile: NDArray[np.uint8]) -> None:
    phases = select_backend("cupy", devices=[0, 1], partition="scales").phases
    assert phases is not None
    ms, measures = phases(np.ascontiguousarray(tile[:64, :80]), SMALL)
    assert set(ms) == {"copy in", "normalise and noise", "responses", "gather", "peaks"}
    assert measures.features == mhfd.score(tile[:64, :80], SMALL, "numba").features


# --- The array path on GPUs, with NumPy in CuPy's place ------------------------------------------------------------


class Narrow:
    """SciPy's transforms on a device with room for two planes of a batch only."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(scipy.fft, name)

    def rfft2(self, x: NDArray[np.float32], **options: Any) -> Any:
        if x.ndim == 3:  # the tiles of a batch
            self.batches.append(len(x))
            if len(x) > 2:
                raise MemoryError
        return scipy.fft.rfft2(x, **options)


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> Narrow:
    transforms = Narrow()
    lanes = [cuda.ArrayCode(f"GPU {k}", nullcontext, Arrays(np, transforms)) for k in range(2)]
    monkeypatch.setattr(cuda, "device", lambda number: SimpleNamespace(name=f"GPU {number}"))
    monkeypatch.setattr(cuda, "array_code", lambda number: lanes[number])
    return transforms


def test_a_batch_without_room_is_halved_until_it_fits(tile: NDArray[np.uint8], narrow: Narrow) -> None:
    tiles = [np.ascontiguousarray(tile[k : k + 40, :50]) for k in range(5)]
    measures = cuda.array_code(0).submit(tiles, SMALL).result()
    assert [each.features for each in measures] == [mhfd.score(each, SMALL, "numpy").features for each in tiles]
    assert narrow.batches == [5, 2, 3, 1, 2]


@pytest.mark.usefixtures("narrow")
def test_the_array_path_gives_each_gpu_whole_tiles(tile: NDArray[np.uint8]) -> None:
    tiles = [np.ascontiguousarray(tile[k : k + 40, :50]) for k in range(9)]
    rows = mhfd.score_many(tiles, SMALL, "cupy-fft", devices=[0, 1])
    assert [row.features for row in rows] == [row.features for row in mhfd.score_many(tiles, SMALL, "numpy")]
    assert {row.provenance.backend for row in rows} == {"cupy-fft"}


@pytest.mark.usefixtures("narrow")
def test_the_array_path_on_gpus_does_not_share_a_tile() -> None:
    with pytest.raises(BackendError, match='"cupy"'):
        select_backend("cupy-fft", devices=[0, 1], partition="scales")


def test_a_tile_that_no_array_fits_is_told_of(tile: NDArray[np.uint8]) -> None:
    class Full:
        def __getattr__(self, name: str) -> Any:
            raise MemoryError

    with pytest.raises(TileError, match="strips") as caught:
        cuda.ArrayCode("GPU 0", nullcontext, Arrays(np, Full())).submit([tile, tile], SMALL)
    assert caught.value.code == "out_of_memory"
