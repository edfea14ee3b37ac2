"""The fused path on a real GPU: `pytest -m gpu` on a machine that has one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import mhfd
from agreement import assert_agree
from host_device import HostDevice, compiler
from mhfd import cuda
from mhfd.backends import select_backend
from mhfd.contract import BackendError, FocusParams
from mhfd.kernel.fused import Fused, measure_on
from mhfd.kernel.fused.device import Memory, Stream
from mhfd.kernel.measures import FeatureList, Measures
from mhfd_client.bench.contestants import Trial
from mhfd_client.bench.shared import gather_curves
from phantoms import as_uint8, blurred, texture

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(bool(cuda.unavailable()), reason=str(cuda.unavailable()))]

DEFAULT = FocusParams()
GIB = 2**30


class Counting:
    """A GPU that counts the memory taken from it."""

    def __init__(self, number: int = 0) -> None:
        self.real = cuda.device(number)
        self.name = self.real.name
        self.most = 0

    def free_bytes(self) -> int:
        return self.real.free_bytes()

    def empty(self, nbytes: int) -> Memory:
        before = self.real.free_bytes()
        memory = self.real.empty(nbytes)
        self.most = max(self.most, before - self.real.free_bytes())
        return memory

    def pinned(self, nbytes: int) -> NDArray[np.uint8]:
        return self.real.pinned(nbytes)

    def is_pinned(self, data: NDArray[Any]) -> bool:
        return self.real.is_pinned(data)

    def stream(self) -> Stream:
        return self.real.stream()


@pytest.fixture
def gpu() -> Iterator[Fused]:
    kernels = Fused(cuda.device(0))
    yield kernels
    kernels.release()


def tissue(rows: int, cols: int, seed: int = 1) -> NDArray[np.uint8]:
    rng = np.random.default_rng(seed)
    return as_uint8(0.5 + 0.12 * blurred(texture((rows, cols), rng), 0.7) + rng.normal(0, 0.02, (rows, cols)))


def large(side: int) -> NDArray[np.uint8]:
    """A tile of that side whose texture repeats every 2048 px."""
    return np.tile(tissue(2048, 2048), (side // 2048, side // 2048))


def assert_same(found: tuple[Measures, FeatureList], expected: tuple[Measures, FeatureList]) -> None:
    assert found[0] == expected[0]
    for name in ("rows", "cols", "scale_index", "strengths"):
        assert np.array_equal(getattr(found[1], name), getattr(expected[1], name))


# --- The same numbers ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int16, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(300, 260), (127, 211), (1, 300), (300, 1), (13, 200)])
def test_tiles_of_any_size_and_type(gpu: Fused, shape: tuple[int, int], dtype: Any) -> None:
    picture = np.random.default_rng(2).normal(0.5, 0.1, shape) if min(shape) < 20 else tissue(*shape) / 255
    top = 1 if np.dtype(dtype).kind == "f" else np.iinfo(dtype).max
    assert_agree(gpu.measure, (np.clip(picture, 0, 1) * top).astype(dtype), DEFAULT)


@pytest.mark.parametrize(
    "params",
    [
        FocusParams(polarity="bright"),
        FocusParams(polarity="both"),
        FocusParams(mode="paper"),
        FocusParams(n_scales=40),
        FocusParams(n_scales=1, max_t=40),
        FocusParams(max_t=150),
        FocusParams(min_t=16, max_t=17),
        FocusParams(mode="paper", polarity="both", max_t=80),
    ],
    ids=str,
)
def test_parameters(gpu: Fused, params: FocusParams) -> None:
    assert_agree(gpu.measure, tissue(197, 220), params)


@pytest.mark.parametrize("max_t", [25, 50, 100, 200])
def test_coarse_levels(gpu: Fused, max_t: float) -> None:
    params = FocusParams(n_scales=3, min_t=max_t / 2, max_t=max_t)
    side = int(6 * max_t) + 3
    assert_agree(gpu.measure, tissue(side, side), params)


def test_the_gpu_gives_what_its_stand_in_gives(gpu: Fused) -> None:
    if not compiler():
        pytest.skip("no C++ compiler to run the CUDA kernels on the processor: install g++")
    assert_agree(lambda tile, params: gpu.measure(tile, params), tissue(512, 512))
    here, there = gpu.measure(tissue(512, 512), DEFAULT), Fused(HostDevice()).measure(tissue(512, 512), DEFAULT)
    assert here[0].features_by_scale == there[0].features_by_scale


def test_the_same_tile_gives_the_same_bits_again(gpu: Fused) -> None:
    tile = tissue(1024, 1024)
    first = gpu.measure(tile, DEFAULT)
    for _ in range(5):  # the graph is replayed
        assert_same(gpu.measure(tile, DEFAULT), first)
    gpu.release()  # and recorded anew
    assert_same(gpu.measure(tile, DEFAULT), first)


# --- Batches ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_a_batch_gives_what_each_tile_gives_alone(gpu: Fused, dtype: Any) -> None:
    tiles = [tissue(200, 230, seed).astype(dtype) for seed in range(5)]
    assert gpu.submit(tiles, DEFAULT).result() == [gpu.measure(tile, DEFAULT)[0] for tile in tiles]


def test_batches_that_are_copied_while_others_compute_do_not_mix(gpu: Fused) -> None:
    batches = [[tissue(512, 512, 10 * k + i) for i in range(4)] for k in range(6)]
    pending = [gpu.submit(batch, DEFAULT) for batch in batches]
    found = [each.result() for each in pending]
    assert found == [[gpu.measure(tile, DEFAULT)[0] for tile in batch] for batch in batches]
    assert all(each.copy_ms > 0 and each.kernel_ms > 0 for each in pending)


def test_tiles_in_the_devices_own_host_memory_are_copied_from_there(gpu: Fused) -> None:
    tiles = [tissue(200, 230, seed) for seed in range(5)]
    pinned = []
    for tile in tiles:
        pinned.append(gpu.memory(tile.nbytes).reshape(tile.shape))
        pinned[-1][:] = tile
    assert all(gpu.hardware.is_pinned(each) for each in pinned)
    assert not any(gpu.hardware.is_pinned(each) for each in tiles)
    mixed = [*pinned[:3], *tiles[3:]]
    assert gpu.submit(mixed, DEFAULT).result() == gpu.submit(tiles, DEFAULT).result()


# --- Memory -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["robust", "paper"])
def test_strips_give_the_whole_to_the_last_bit(gpu: Fused, mode: Any) -> None:
    tile, params = tissue(1500, 700), FocusParams(mode=mode)
    whole = gpu.measure(tile, params)
    assert_same(gpu.measure(tile, replace(params, max_gpu_bytes=30 * 2**20)), whole)


@pytest.mark.parametrize(("side", "gib"), [(4096, 1), (16384, 8)])
def test_memory_is_bounded_whatever_the_number_of_scales(side: int, gib: int) -> None:
    device = Counting()
    if device.free_bytes() < 1.25 * gib * GIB:
        pytest.skip(f"less than {gib} GiB are free on the GPU")
    measures, _ = Fused(device).measure(large(side), FocusParams(n_scales=64, max_gpu_bytes=gib * GIB))
    assert measures.features > 0
    assert device.most <= gib * GIB


def test_memory_that_is_not_there_is_a_memory_error() -> None:
    device = cuda.device(0)
    with pytest.raises(MemoryError):
        device.empty(4 * device.free_bytes() + GIB)
    Fused(device).measure(tissue(64, 64), DEFAULT)  # it still works


# --- Several devices ----------------------------------------------------------------------------------------------


def several() -> list[Fused]:
    """All GPUs, or the only one twice."""
    found = [Fused(cuda.device(number)) for number in range(cuda.device_count())]
    return found if len(found) > 1 else found * 2


def test_devices_that_share_strips_find_the_same(gpu: Fused) -> None:
    tile = tissue(1500, 700)
    shared = measure_on(several(), tile, DEFAULT, "strips")
    assert_same((shared.measures, shared.features), gpu.measure(tile, DEFAULT))


def test_devices_that_share_scales_agree_with_the_reference() -> None:
    def measure(tile: NDArray[Any], params: FocusParams) -> tuple[Measures, FeatureList]:
        shared = measure_on(several(), tile, params, "scales")
        return shared.measures, shared.features

    assert_agree(measure, tissue(400, 420), DEFAULT)


def test_a_device_listed_twice_shares_a_tile() -> None:
    tile = tissue(400, 420)
    whole = mhfd.find_features(tile, backend="cupy")
    for partition in ("auto", "scales", "strips"):
        shared = mhfd.find_features(tile, backend="cupy", devices=[0, 0], partition=partition)
        assert abs(len(shared) - len(whole)) <= 2, partition
        assert partition == "scales" or np.array_equal(shared.rows, whole.rows), partition


@pytest.mark.parametrize("name", ["cupy", "cupy-fft"])
def test_a_device_listed_twice_takes_tiles(name: str) -> None:
    tiles = [tissue(120, 130, seed) for seed in range(70)]
    once, twice = (mhfd.score_many(tiles, backend=name, devices=devices) for devices in ([0], [0, 0]))
    assert [row.features_by_scale for row in twice] == [row.features_by_scale for row in once]


def test_a_benchmark_has_curves_of_a_device_listed_twice() -> None:
    curves = gather_curves(["cupy"], [0, 0])
    assert curves.missing == ()
    job = Trial(pixels=tissue(400, 420), params=DEFAULT)
    counts = {each.name: each.time(job).features for each in curves.contestants}
    expected = mhfd.score(job.pixels, backend="cupy").features
    assert len(counts) == 3
    assert all(abs(count - expected) <= 2 for name, count in counts.items() if name.startswith("mhfd")), counts


# --- The backends -------------------------------------------------------------------------------------------------


def test_auto_takes_the_gpu() -> None:
    assert select_backend("auto").name == "cupy"


@pytest.mark.parametrize("params", [DEFAULT, FocusParams(mode="paper"), FocusParams(polarity="both")], ids=str)
@pytest.mark.parametrize("name", ["cupy", "cupy-fft"])
def test_backends_agree_with_the_reference(name: str, params: FocusParams) -> None:
    assert_agree(select_backend(name).measure, tissue(300, 260), params)


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (301, 2), (127, 211)])
def test_the_array_code_takes_any_size(shape: tuple[int, int]) -> None:
    assert_agree(select_backend("cupy-fft").measure, np.random.default_rng(2).integers(0, 256, shape, np.uint8))


def test_a_gpu_that_does_not_exist_is_named() -> None:
    with pytest.raises(BackendError, match="there is no GPU 99"):
        select_backend("cupy", devices=[99])


def test_a_gpu_tells_its_place_on_the_bus_as_linux_writes_it() -> None:
    assert re.fullmatch(r"[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]", str(cuda.pci_bus_id(0)).lower())
