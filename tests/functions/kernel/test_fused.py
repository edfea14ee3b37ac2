"""The fused GPU path on the stand-in of tests/host_device.py; test_reference_agreement.py checks its numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from agreement import assert_agree
from host_device import HostDevice, HostStream
from mhfd.contract import BackendError, FocusParams, TileError
from mhfd.kernel import fourier
from mhfd.kernel.fused import Fused, measure_on, pairs
from mhfd.kernel.fused.cascade import Cascade
from mhfd.kernel.fused.launcher import Launcher
from mhfd.kernel.fused.layout import GROUP, Extent, fit, fits_shared, layout, smooths
from mhfd.kernel.fused.single import PROGRAMS_KEPT
from mhfd.kernel.fused.source import STATE, source
from mhfd.kernel.fused.work import Work
from mhfd.kernel.measures import FeatureList, Measures
from mhfd.kernel.plan import LEVEL_T
from phantoms import as_uint8, blurred, texture

FINE = FocusParams(max_t=5, n_scales=4)  # level 0 only
COARSE = FocusParams(max_t=13, n_scales=6)  # two levels, on tiles of 78 px and more
COARSEST = FocusParams(min_t=2, max_t=25, n_scales=12)  # three

Result = tuple[Measures, FeatureList]


def tissue(rows: int, cols: int, seed: int = 1) -> NDArray[np.uint8]:
    rng = np.random.default_rng(seed)
    return as_uint8(0.5 + 0.12 * blurred(texture((rows, cols), rng), 0.7) + rng.normal(0, 0.02, (rows, cols)))


def assert_same(found: Result, expected: Result) -> None:
    """To the last bit."""
    assert found[0] == expected[0]
    for name in ("rows", "cols", "scale_index", "strengths"):
        assert np.array_equal(getattr(found[1], name), getattr(expected[1], name))


def least_bytes(tile: NDArray[Any], params: FocusParams) -> int:
    """The smallest budget for which there is a layout."""
    extent, low, high = Extent.of(tile.shape, tile.dtype, params), 1, 2**30
    while high - low > 1:
        middle = (low + high) // 2
        try:
            fit(extent, middle, True)
            high = middle
        except TileError:
            low = middle
    return high


# --- Strips -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32, np.float64])
@pytest.mark.parametrize("mode", ["robust", "paper"])
@pytest.mark.parametrize("params", [FINE, COARSE, COARSEST], ids=["one level", "two levels", "three levels"])
def test_strips_give_the_whole_to_the_last_bit(params: FocusParams, mode: Any, dtype: Any) -> None:
    tile, params = tissue(395, 173).astype(dtype), replace(params, mode=mode)
    least = least_bytes(tile, params)
    whole = Fused(HostDevice()).measure(tile, params)
    for budget in (least, least * 5 // 4):
        assert_same(Fused(HostDevice(budget), budget).measure(tile, params), whole)


def test_the_narrowest_strips_read_the_tile_pass_by_pass() -> None:
    tile = tissue(395, 173)
    memory = fit(Extent.of(tile.shape, tile.dtype, FINE), least_bytes(tile, FINE), True)
    assert not memory.resident
    assert len(memory.windows) == 7


@pytest.mark.parametrize("params", [FINE, COARSE], ids=["one level", "two levels"])
def test_no_more_memory_is_taken_than_allowed(params: FocusParams) -> None:
    tile = tissue(395, 173)
    for budget in (least_bytes(tile, params), 6 * 2**20, 8 * 2**20):
        device = HostDevice()
        Fused(device).measure(tile, replace(params, max_gpu_bytes=budget))
        assert device.peak <= budget


def test_a_budget_too_small_for_one_strip_is_an_error_that_says_how_much_is_needed() -> None:
    tile = tissue(395, 173)
    with pytest.raises(TileError, match=r"at least \d+ bytes.*max_gpu_bytes") as caught:
        Fused(HostDevice()).measure(tile, replace(FINE, max_gpu_bytes=10**6))
    assert caught.value.code == "out_of_memory"
    needed = int(next(word for word in str(caught.value).split() if word.isdigit() and len(word) > 5))
    assert needed == least_bytes(tile, FINE)


def test_memory_that_others_took_meanwhile_makes_strips() -> None:
    tile, device = tissue(395, 173), HostDevice()
    whole = fit(Extent.of(tile.shape, tile.dtype, FINE), 2**30, True)
    device.take(device.memory - whole.nbytes + 1)
    assert_same(Fused(device, max_bytes=2**30).measure(tile, FINE), Fused(HostDevice()).measure(tile, FINE))


def test_memory_per_pixel_does_not_grow_with_the_number_of_scales() -> None:
    def needed(n_scales: int) -> float:
        extent = Extent.of((4096, 4096), np.dtype(np.uint8), FocusParams(n_scales=n_scales))
        return layout(extent, 4096, GROUP, True, True).nbytes / 4096**2

    assert needed(64) == pytest.approx(needed(16), abs=0.01)
    assert needed(64) < 2**30 / 4096**2


def test_the_largest_tiles_need_few_strips() -> None:
    extent = Extent.of((16384, 16384), np.dtype(np.uint8), FocusParams(n_scales=64))
    assert len(fit(extent, 8 * 2**30, True).windows) <= 4


def test_a_reader_is_read_by_rows_only() -> None:
    class Reader:
        shape, dtype, size = (395, 173), np.dtype(np.uint8), 395 * 173
        largest = 0

        def __getitem__(self, rows: slice) -> NDArray[np.uint8]:
            self.largest = max(self.largest, rows.stop - rows.start)
            return tile[rows]

    tile, reader = tissue(395, 173), Reader()
    assert_same(
        Fused(HostDevice()).measure(reader, replace(FINE, max_gpu_bytes=least_bytes(tile, FINE))),
        Fused(HostDevice()).measure(tile, FINE),
    )
    assert reader.largest < 200


# --- The list of features -----------------------------------------------------------------------------------------


class Counted(HostDevice):
    """Counts how often its host waits for it."""

    waits = 0

    def stream(self) -> HostStream:
        counted = self

        class Stream(HostStream):
            def synchronize(self) -> None:
                counted.waits += 1

        return Stream(backwards=False)


def test_the_list_of_features_comes_with_the_numbers() -> None:
    tile, device = tissue(395, 173), Counted()
    fused = Fused(device)
    fused.measure(tile, FINE)
    device.waits = 0
    measures, features = fused.measure(tile, FINE)
    assert device.waits == 1
    assert 0 < measures.features == len(features) < tile.size // 32


def test_a_list_beyond_the_room_for_it_comes_after_the_numbers() -> None:
    grid = np.zeros((120, 120))
    grid[::4, ::4] = 1  # a feature in 16 px
    tile, params, device = as_uint8(1 - grid), FocusParams(n_scales=1, min_t=0.5, max_t=1, mode="paper"), Counted()
    fused = Fused(device)
    fused.measure(tile, params)
    device.waits = 0
    measures, features = fused.measure(tile, params)
    assert device.waits == 2
    assert measures.features == len(features) == 900
    assert (features.rows % 4 == 0).all() and (features.cols % 4 == 0).all()
    assert np.array_equal(features.rows * 120 + features.cols, np.sort(features.rows * 120 + features.cols))


# --- Threads ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, np.float64])
@pytest.mark.parametrize("params", [COARSEST, FocusParams(n_scales=3, max_t=60)], ids=["three levels", "wide taps"])
def test_the_order_of_threads_does_not_matter(params: FocusParams, dtype: Any) -> None:
    tile = tissue(155, 273).astype(dtype)
    assert_same(
        Fused(HostDevice(backwards=True)).measure(tile, params),
        Fused(HostDevice()).measure(tile, params),
    )


# --- Two steps in a launch ----------------------------------------------------------------------------------------


class Launched(HostDevice):
    """Remembers the kernels."""

    def __init__(self, *, backwards: bool = False) -> None:
        super().__init__(backwards=backwards)
        self.kernels: list[str] = []

    def stream(self) -> HostStream:
        kernels = self.kernels

        class Stream(HostStream):
            def launch(self, kernel: str, *rest: Any) -> None:
                kernels.append(kernel)
                super().launch(kernel, *rest)

        return Stream(self._backwards)


def in_pairs(kernels: list[str]) -> list[str]:
    return [kernel for kernel in kernels if kernel.startswith("pair_")]


@pytest.mark.parametrize("shape", [(131, 517), (300, 129), (79, 81), (9, 300)])
@pytest.mark.parametrize("mode", ["robust", "paper"])
@pytest.mark.parametrize("polarity", ["dark", "bright", "both"])
@pytest.mark.parametrize("backwards", [False, True], ids=["", "last thread first"])
def test_two_steps_in_a_launch_give_what_two_launches_give(
    shape: tuple[int, int], mode: Any, polarity: Any, backwards: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    tile, one, two = tissue(*shape), Launched(), Launched(backwards=backwards)
    for scales in (FocusParams(), replace(COARSE, n_scales=20)):
        params = replace(scales, mode=mode, polarity=polarity)
        expected = Fused(one).measure(tile, params)
        with monkeypatch.context() as patch:
            patch.setattr(pairs, "LEAST_BLOCKS", 1)
            assert_same(Fused(two).measure(tile, params), expected)
    assert not in_pairs(one.kernels) and in_pairs(two.kernels)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int16, np.float32, np.float64])
def test_a_batch_large_enough_is_done_two_steps_a_launch(dtype: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    tiles, params = [tissue(83, 197, seed).astype(dtype) for seed in range(3)], replace(COARSE, n_scales=20)
    alone = [Fused(HostDevice()).measure(tile, params)[0] for tile in tiles]
    monkeypatch.setattr(pairs, "LEAST_BLOCKS", 3 * 2)  # two blocks a tile: few for one, enough for three
    device = Launched()
    assert [Fused(device).measure(tile, params)[0] for tile in tiles] == alone
    assert not in_pairs(device.kernels)
    assert Fused(device).submit(tiles, params).result() == alone
    assert in_pairs(device.kernels)


def test_strips_two_steps_a_launch_give_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    tile, params, device = tissue(395, 173), replace(FINE, n_scales=12), Launched()
    whole = Fused(HostDevice()).measure(tile, params)
    monkeypatch.setattr(pairs, "LEAST_BLOCKS", 1)
    budget = least_bytes(tile, params) * 5 // 4
    memory = fit(Extent.of(tile.shape, tile.dtype, params), budget, True)
    assert len(memory.windows) > 1 and memory.group > 1
    assert_same(Fused(device, budget).measure(tile, params), whole)
    assert in_pairs(device.kernels)


def test_a_batch_of_default_scales_takes_few_launches_and_keeps_no_maximum(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs, "LEAST_BLOCKS", 1)
    device = Launched()
    Fused(device).submit([tissue(600, 700)] * 2, FocusParams()).result()
    assert in_pairs(device.kernels) == [f"pair_{taps}" for taps in ("5_9", "10_6", "6_7", "6_6", *["5_5"] * 4)]
    assert device.kernels[-3:] == ["smooth_5", "merge_1", "seams"]
    assert [kernel for kernel in device.kernels if kernel.startswith(("merge", "peaks"))] == ["merge_1"]


# --- Maximum and features at once ---------------------------------------------------------------------------------


def stripes(down: int, along: int) -> Callable[[int, int], NDArray[np.uint8]]:
    """Lines of equal pixels, so that maxima touch."""

    def picture(rows: int, cols: int) -> NDArray[np.uint8]:
        y, x = np.mgrid[:rows, :cols]
        return np.where((down * y + along * x) % 9 < 4, 60, 190).astype(np.uint8)

    return picture


@pytest.mark.parametrize("shape", [(1, 130), (129, 1), (64, 64), (63, 65), (65, 64), (128, 129), (127, 193), (66, 200)])
@pytest.mark.parametrize("picture", [tissue, stripes(1, 0), stripes(0, 1), stripes(1, 1), stripes(1, -1)])
@pytest.mark.parametrize("backwards", [False, True], ids=["", "last thread first"])
def test_blocks_that_search_what_they_make_find_the_features_of_the_whole(
    shape: tuple[int, int], picture: Callable[[int, int], NDArray[np.uint8]], backwards: bool
) -> None:
    tile, params = picture(*shape), FocusParams(n_scales=4, max_t=5, mode="paper", k_noise=0)
    extent = Extent.of(tile.shape, tile.dtype, params)
    found = []
    for at_once in (False, True):
        work = Work(HostDevice(backwards=backwards), extent, fit(extent, 2**30, True), features=True)
        (window,) = work.layout.windows
        work.reset()
        work.copy_in(tile)
        work.greys(tile)
        if at_once:
            work.search(tile, window)
        else:
            work.responses(tile, window)
            work.peaks(window)
        counts = work.all_numbers()[0].counts
        found.append((np.sort(work.listed(), order=["row", "col"]), counts))
    (apart, counts), (together, same_counts) = found
    assert len(apart) == counts.sum()
    assert np.array_equal(apart, together) and np.array_equal(counts, same_counts)


def test_a_plane_that_nothing_reads_is_not_written() -> None:
    extent = Extent.of((131, 173), np.dtype(np.uint8), COARSE)
    launcher = Launcher(HostDevice(), extent, fit(extent, 2**30, False))
    (*_, (before, kept), (last, nowhere)) = Cascade(launcher).launches(launcher.layout.windows[0])
    assert last == [len(extent.plan.steps) - 1] and nowhere is None
    assert before == [last[0] - 1] and kept == 1


# --- Steps of any length ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "params",
    [
        FocusParams(n_scales=1, max_t=20),  # more taps than a kernel has registers for
        FocusParams(n_scales=4, max_t=150),  # and further apart than its shared memory is wide
        FocusParams(n_scales=2, min_t=3, max_t=60, mode="paper"),
    ],
    ids=["many taps", "wide taps", "wide taps in a circle"],
)
def test_steps_beyond_what_one_launch_does(params: FocusParams) -> None:
    tile = tissue(60, 85)
    steps = smooths(Extent.of(tile.shape, tile.dtype, params).plan)
    assert not all(fits_shared(step) for step in steps)
    assert_agree(Fused(HostDevice()).measure, tile, params)


@pytest.mark.parametrize("shape", [(78, 78), (79, 81), (78, 131), (200, 79)])
@pytest.mark.parametrize("mode", ["robust", "paper"])
def test_the_smallest_tiles_that_have_levels(shape: tuple[int, int], mode: Any) -> None:
    params = replace(COARSE, mode=mode)
    assert Extent.of(shape, np.dtype(np.uint8), params).plan.levels == 2
    assert_agree(Fused(HostDevice()).measure, tissue(*shape), params)


@pytest.mark.parametrize("level", [2, 3, 4, 5, 6])
def test_responses_of_coarse_levels(level: int) -> None:
    t = LEVEL_T * 2**level + 1
    params = FocusParams(n_scales=2, min_t=t, max_t=t + 3, polarity="both")
    rows, cols = int(6 * t) + 19, int(6 * t) + 30
    picture = ndimage.gaussian_filter(np.random.default_rng(1).standard_normal((rows, cols)), t / 2)
    tile = (picture / np.abs(picture).max()).astype(np.float32)
    extent = Extent.of(tile.shape, tile.dtype, params)
    assert extent.plan.levels == level + 1
    work = Work(HostDevice(), extent, fit(extent, 2**30, False), features=False)
    work.reset()
    work.copy_in(tile)
    work.greys(tile)
    work.responses(tile, work.layout.windows[0])
    found = np.empty(tile.shape, np.float32)
    work.stream.download(found, work.at("strength"))
    image, _ = fourier.normalise(tile, params.saturate)
    expected, _ = fourier.maximum_over_scale(image, params)
    assert np.abs(found - expected).max() < 1e-6 + 1e-4 * expected.max()


# --- Batches ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.float32, np.float64])
def test_a_batch_gives_what_each_tile_gives_alone(dtype: Any) -> None:
    tiles = [tissue(83, 97, seed).astype(dtype) for seed in range(3)]
    device = Fused(HostDevice())
    assert device.submit(tiles, COARSE).result() == [device.measure(tile, COARSE)[0] for tile in tiles]


def test_batches_may_be_under_way_at_the_same_time() -> None:
    device = Fused(HostDevice())
    batches = [[tissue(40, 50, 10 * k + i) for i in range(2)] for k in range(5)]
    pending = [device.submit(batch, FINE) for batch in batches]
    expected = [[device.measure(tile, FINE)[0] for tile in batch] for batch in batches]
    assert [each.result() for each in reversed(pending)] == expected[::-1]
    assert pending[0].result() == expected[0]  # a second time


def test_a_batch_tells_how_long_copying_and_computing_took() -> None:
    pending = Fused(HostDevice()).submit([tissue(40, 50)], FINE)
    pending.result()
    assert pending.copy_ms > 0 and pending.kernel_ms > 0


def test_a_batch_that_does_not_fit_is_done_in_smaller_pieces() -> None:
    tiles = [tissue(83, 97, seed) for seed in range(5)]
    expected = Fused(HostDevice()).submit(tiles, FINE).result()
    one = layout(Extent.of((83, 97), np.dtype(np.uint8), FINE), 83, GROUP, True, False).nbytes
    for room in (6 * one, 2 * one):
        assert Fused(HostDevice(room)).submit(tiles, FINE).result() == expected


def test_tiles_of_a_batch_must_be_alike() -> None:
    with pytest.raises(ValueError, match="one shape and one type"):
        Fused(HostDevice()).submit([tissue(40, 50), tissue(50, 40)], FINE)


def test_no_tiles_are_no_work() -> None:
    assert Fused(HostDevice()).submit([], FINE).result() == []


def test_no_memory_is_held_once_it_is_released() -> None:
    host = HostDevice()
    device = Fused(host)
    device.submit([tissue(40, 50)], FINE).result()
    device.measure(tissue(40, 50), FINE)
    device.release()
    assert host.taken == 0


def test_few_kinds_of_batches_are_kept() -> None:
    host = HostDevice()
    device = Fused(host)
    for cols in range(30, 50):
        device.measure(tissue(31, cols), FINE)
    one = layout(Extent.of((31, 49), np.dtype(np.uint8), FINE), 31, GROUP, True, True).nbytes
    assert host.taken <= PROGRAMS_KEPT * one


# --- Several devices ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("max_gpu_bytes", [None, 8 * 2**20], ids=["whole", "in strips"])
@pytest.mark.parametrize("same", [True, False], ids=["one device twice", "two devices"])
@pytest.mark.parametrize("mode", ["robust", "paper"])
def test_devices_that_share_strips_find_the_same(mode: Any, same: bool, max_gpu_bytes: int | None) -> None:
    tile, params = tissue(395, 173), replace(COARSE, mode=mode)
    one = Fused(HostDevice())
    shared = measure_on(
        [one, one if same else Fused(HostDevice())], tile, replace(params, max_gpu_bytes=max_gpu_bytes), "strips"
    )
    assert_same((shared.measures, shared.features), Fused(HostDevice()).measure(tile, params))


@pytest.mark.parametrize("max_gpu_bytes", [None, 9 * 2**20], ids=["whole", "in strips"])
@pytest.mark.parametrize("devices", [2, 3, 9])
def test_devices_that_share_scales_agree_with_the_reference(devices: int, max_gpu_bytes: int | None) -> None:
    def measure(tile: NDArray[Any], params: FocusParams) -> Result:
        shared = measure_on([Fused(HostDevice()) for _ in range(devices)], tile, params, "scales")
        return shared.measures, shared.features

    params = replace(COARSE, max_gpu_bytes=max_gpu_bytes)
    assert_agree(measure, tissue(395, 173), params)


def test_a_shared_tile_tells_what_each_device_did_when() -> None:
    shared = measure_on([Fused(HostDevice())] * 2, tissue(120, 130), FINE, "scales")
    assert [(phase.device, phase.name) for phase in shared.phases] == [
        (0, "copy in"),
        (0, "normalise and noise"),
        (0, "responses"),
        (0, "gather"),
        (0, "peaks"),
        (1, "copy in"),
        (1, "normalise and noise"),
        (1, "responses"),
    ]
    assert all(phase.start_s <= phase.end_s for phase in shared.phases)


@pytest.mark.parametrize("partition", ["scales", "strips"])
def test_a_device_that_fails_is_the_one_that_is_told_of(partition: Any) -> None:
    class Dying(HostStream):
        def launch(self, kernel: str, *rest: Any) -> None:
            if kernel.startswith("smooth"):
                raise BackendError("GPU 1 failed")
            super().launch(kernel, *rest)

    class Broken(HostDevice):
        def stream(self) -> HostStream:
            return Dying(backwards=False)

    with pytest.raises(BackendError, match="GPU 1 failed"):
        measure_on([Fused(HostDevice()), Fused(Broken())], tissue(120, 130), FINE, partition)


def test_devices_that_share_a_tile_take_strips_where_memory_is_short() -> None:
    tile, short = tissue(395, 173), HostDevice(7 * 2**20)
    shared = measure_on([Fused(HostDevice()), Fused(short, max_bytes=2**30)], tile, COARSE, "scales")
    assert len({phase.name for phase in shared.phases}) == 5
    assert shared.measures.features == Fused(HostDevice()).measure(tile, COARSE)[0].features


# --- One type in two languages ------------------------------------------------------------------------------------


def test_the_state_of_a_tile_is_laid_out_as_the_kernels_have_it() -> None:
    text = source()
    fields = text[text.index("struct State {") : text.index("};", text.index("struct State {"))]
    named = [
        name.strip().split("[")[0]
        for line in fields.splitlines()[1:]
        if ";" in line
        for name in line.split(";")[0].replace("long long", "").split(None, 1)[-1].replace("Key ", "").split(",")
    ]
    assert named == list(STATE.names or ())
    assert STATE.itemsize == 8 * sum(int(np.prod(STATE[name].shape)) for name in named)
