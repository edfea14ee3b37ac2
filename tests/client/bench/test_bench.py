"""`mhfd bench`: everything runs on tiny tiles, and the tables say what was measured."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner
from numpy.typing import NDArray

from mhfd import FocusParams, ParamsError, score
from mhfd.backends import Backend
from mhfd.contract import BackendError
from mhfd.kernel import fourier
from mhfd.kernel.measures import Measures
from mhfd_client.bench import contestants, feeding, paper, phases, rivals, run, shared
from mhfd_client.bench import race as racing
from mhfd_client.bench.contestants import Contestant, Trial
from mhfd_client.bench.plan import FIGURES, QUICK, BenchPlan, make_plan
from mhfd_client.bench.race import FIRST, Sample, race, summarise
from mhfd_client.bench.tables import Report, as_json, as_markdown, read_tables, shares_of_the_slower_part
from mhfd_client.bench.tile import cut, picture
from mhfd_client.bench.watch import Laps
from mhfd_client.cli.bench import bench
from phantoms import as_uint8, discs, texture

TINY = BenchPlan(
    backends=("numpy",), repeats=3, settle_s=0, side=96, n_scales=2, sides=(64, 96), scale_counts=(1, 2), batch=2,
    files=3,
)  # fmt: skip
FOUR = FocusParams(n_scales=4, max_t=5)

Table = list[list[str]]


@dataclass(frozen=True)
class TinyRun:
    """A run of all figures, and the folder that it wrote."""

    report: Report
    folder: Path


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyRun:
    folder = tmp_path_factory.mktemp("bench")
    return TinyRun(run.run_bench(TINY, folder), folder)


@pytest.fixture
def tile(rng: np.random.Generator) -> NDArray[np.uint8]:
    return as_uint8(0.5 + 0.15 * texture((160, 160), rng) + 0.02 * rng.standard_normal((160, 160)))


def tables(markdown: str) -> dict[str, Table]:
    """The cells of each table, head first, by the heading above it."""
    found: dict[str, Table] = {}
    for section in markdown.split("### ")[1:]:
        heading = section.partition("\n")[0]
        lines = [line for line in section.splitlines() if line.startswith("|")]
        found[heading.partition(",")[0].partition(":")[0]] = [line.strip("| ").split(" | ") for line in lines]
    return found


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def taking(name: str, times: Sequence[float], *, ours: bool = False, log: list[str] | None = None) -> Contestant:
    """A contestant whose times are known."""
    left: Iterator[float] = iter(times)

    def time(_: Trial) -> Laps:
        if log is not None:
            log.append(name)
        return Laps({"kernel": next(left)}, features=7)

    return Contestant(name=name, device="cpu", ours=ours, note="", time=time)


def run_race(*racing: Contestant, repeats: int = 3) -> tuple[list[Sample], list[str]]:
    return race("rivals", racing, Trial(pixels=np.zeros((64, 64)), params=FOUR), repeats, lambda: None)


def test_every_figure_has_a_table_whose_lines_are_of_equal_length(tiny: TinyRun) -> None:
    found = tables((tiny.folder / "tables.md").read_text(encoding="utf-8"))
    assert list(found) == ["Figure 3a", "Figure 3b", "Figure 4", "Rivals", "Files to numbers"]
    assert all(len({len(row) for row in table}) == 1 and len(table) > 2 for table in found.values())


def test_the_tables_hold_times(tiny: TinyRun) -> None:
    for name, table in tables(as_markdown(tiny.report)).items():
        times = [re.match(r"[\d.]+", row[2 if name in ("Rivals", "Files to numbers") else 1]) for row in table[2:]]
        assert all(found and float(found[0]) >= 0 for found in times), name


def test_figure_3a_goes_through_the_scales_and_3b_through_the_sides(tiny: TinyRun) -> None:
    found = tables(as_markdown(tiny.report))
    assert [row[0] for row in found["Figure 3a"][2:]] == ["1", "2"]
    assert [row[0] for row in found["Figure 3b"][2:]] == ["64", "96"]


def test_figure_4_has_the_phases_in_order(tiny: TinyRun) -> None:
    assert [row[0] for row in tables(as_markdown(tiny.report))["Figure 4"][2:]] == [*phases.PHASES, "all"]


def test_the_rivals_are_listed_fastest_first(tiny: TinyRun) -> None:
    times = [float(row[2]) for row in tables(as_markdown(tiny.report))["Rivals"][2:]]
    assert times == sorted(times)


def test_on_the_processor_nothing_is_copied(tiny: TinyRun) -> None:
    assert {row[4] for row in tables(as_markdown(tiny.report))["Rivals"][2:] if row[1] == "cpu"} == {"-"}


def test_who_took_part_and_who_is_left_out_are_all(tiny: TinyRun) -> None:
    said = as_markdown(tiny.report)
    for name in ("mhfd numpy", "the paper's method in NumPy", "the paper's method in CuPy", "OpenCV cascade",
                 "scikit-image blob_dog", "cuCIM blob_dog"):  # fmt: skip
        assert name in said


def test_every_repeat_is_kept_and_the_first_does_not_count(tiny: TinyRun) -> None:
    raw, summary = read_csv(tiny.folder / "raw.csv"), read_csv(tiny.folder / "summary.csv")
    assert {row["repeat"] for row in raw} == {"0", "1", "2"}
    assert {row["runs"] for row in summary} == {"2"}
    assert len(raw) == 3 * len(summary)


def test_each_figure_is_drawn(tiny: TinyRun) -> None:
    pytest.importorskip("matplotlib")
    drawn = {path.name: path.read_bytes()[:4] for path in tiny.folder.glob("*.png")}
    assert drawn == {f"figure-{figure}.png": b"\x89PNG" for figure in FIGURES}
    assert {path.stem for path in tiny.folder.glob("*.svg")} == {f"figure-{figure}" for figure in FIGURES}


def test_tables_are_read_as_they_were_written(tiny: TinyRun, tmp_path: Path) -> None:
    (tmp_path / "bench.json").write_text(as_json(tiny.report))
    for path in (tiny.folder / "raw.csv", tiny.folder / "summary.csv", tmp_path / "bench.json"):
        assert read_tables([path]) == list(tiny.report.summaries)


def test_times_of_the_same_job_in_two_files_are_kept_apart(tiny: TinyRun, tmp_path: Path) -> None:
    first, second = tiny.folder / "summary.csv", tmp_path / "other.csv"
    second.write_bytes(first.read_bytes())
    assert read_tables([first, first]) == read_tables([first])
    both = read_tables([first, second])
    assert len(both) == 2 * len(tiny.report.summaries)
    assert {row.contestant for row in both} == {
        f"{row.contestant}, {path}" for row in tiny.report.summaries for path in (first, second)
    }


HEAD = "figure,contestant,device,side,n_scales,lap,runs,median_ms,q1_ms,q3_ms,ratio,features\n"


@pytest.mark.parametrize(
    "text",
    [
        "", "a,b\n1,2\n", "{}", '{"times": 3}', '{"times": [3]}', "{", "\x00",
        HEAD + "3a,x,cpu,64,1,kernel,2,nan,1,1,,7\n",
        HEAD + "3a,x,cpu,64,1,kernel,2,-1,-1,1,,7\n",
        HEAD + "3a,x,cpu,64,1,kernel,2,1,2,3,,7\n",
        HEAD + "3a,x,cpu,0,1,kernel,2,1,1,1,,7\n",
        HEAD + "9z,x,cpu,64,1,kernel,2,1,1,1,,7\n",
        HEAD + "3a,x,cpu,many,1,kernel,2,1,1,1,,7\n",
        HEAD + "3a,x,cpu\n",
        HEAD + "3a,x,cpu,64,1,kernel,2,1,1,1,,7,8,9\n",
    ],
)  # fmt: skip
def test_what_is_no_table_of_a_benchmark_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "odd.csv").write_text(text)
    with pytest.raises(ParamsError, match=r"odd\.csv"):
        read_tables([tmp_path / "odd.csv"])


def test_json_is_all_that_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    run.run_bench(replace(TINY, figures=("3a",)), as_json=True)
    printed = json.loads(capsys.readouterr().out)
    assert {row["figure"] for row in printed["times"]} == {"3a"}
    assert {row["n_scales"] for row in printed["times"]} == {1, 2}


def test_a_slow_first_run_does_not_count() -> None:
    samples, _ = run_race(taking("one", [1000.0, 2.0, 4.0]))
    assert [row.median_ms for row in summarise(samples)] == [3.0]


def test_everybody_runs_once_a_round() -> None:
    log: list[str] = []
    run_race(*(taking(name, [1.0, 1.0, 1.0], log=log) for name in "abc"))
    assert "".join(log) == "abcabcabc"


def test_in_its_turn_a_contestant_runs_for_a_while_and_its_last_run_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    times = [9.0, 8.0, 3.0, 7.0, 2.0]
    runs = 0

    def time(_: Trial) -> Laps:
        nonlocal runs
        runs += 1
        return Laps({"kernel": times[runs - 1], "file": 1.0}, features=7)

    monkeypatch.setattr(racing, "perf_counter", lambda: runs * 0.03)
    slow = Contestant(name="a", device="cpu", ours=True, note="", time=time)
    samples, _ = race("rivals", [slow], Trial(pixels=np.zeros((64, 64)), params=FOUR), 1, lambda: None, settle_s=0.05)
    assert {sample.lap: sample.ms for sample in samples} == {"kernel": 8.0, "file": 1.0, FIRST: 9.0}
    assert runs == 2


def test_ratios_are_those_of_the_same_round() -> None:
    """A machine that slows down for a round slows all alike."""
    samples, _ = run_race(
        taking("ours", [1.0, 2.0, 2.0, 20.0], ours=True), taking("b", [1.0, 6.0, 6.0, 60.0]), repeats=4
    )
    busy, _ = run_race(taking("ours", [1.0, 2.0, 8.0, 2.0], ours=True), taking("b", [1.0, 40.0, 24.0, 6.0]), repeats=4)
    assert [row.ratio for row in summarise(samples)] == [1.0, 3.0]
    assert [row.ratio for row in summarise(busy)] == [1.0, 3.0]


def test_ratios_are_to_the_fastest_of_ours() -> None:
    ours = [taking("fast", [2.0] * 3, ours=True), taking("slow", [4.0] * 3, ours=True)]
    samples, _ = run_race(*ours, taking("rival", [6.0] * 3))
    assert [row.ratio for row in summarise(samples)] == [1.0, 2.0, 3.0]


def test_what_does_not_fit_into_memory_is_left_out_and_said() -> None:
    def time(_: Trial) -> Laps:
        raise MemoryError("its stack would take 40 GiB")

    large = Contestant(name="large", device="cpu", ours=False, note="", time=time)
    samples, left_out = run_race(large, taking("small", [1.0] * 3))
    assert {sample.contestant for sample in samples} == {"small"}
    assert left_out == ["large, 64 x 64 px, 4 scales: its stack would take 40 GiB"]


def test_rivals_that_are_not_installed_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contestants, "_installed", lambda module: None)
    field = contestants.gather(["numpy"], batch=2)
    assert [contestant.name for contestant in field.contestants] == ["mhfd numpy", "the paper's method in NumPy"]
    assert [sentence.partition(":")[0] for sentence in field.missing] == [
        "the paper's method in CuPy", "OpenCV cascade", "scikit-image blob_dog", "cuCIM blob_dog",
    ]  # fmt: skip


def select_numpy_only(name: str, **_: Any) -> Backend:
    if name != "numpy":
        raise BackendError(f"no {name} here")
    return Backend(name="numpy", device="cpu", measure=fourier.measure)


def test_backends_that_do_not_work_here_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contestants, "select_backend", select_numpy_only)
    assert "mhfd cupy: no cupy here" in contestants.gather([], batch=2).missing


def test_a_backend_that_was_asked_for_must_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contestants, "select_backend", select_numpy_only)
    with pytest.raises(BackendError, match="no cupy here"):
        contestants.gather(["numpy", "cupy"], batch=2)


@dataclass
class FakePending:
    measures: Measures
    count: int
    copy_ms: float = 2.0
    kernel_ms: float = 8.0

    def result(self) -> list[Measures]:
        return [self.measures] * self.count


class FakeLane:
    """A GPU that takes 8 ms for any batch."""

    device = "fake GPU"

    def submit(self, tiles: Sequence[NDArray[Any]], params: FocusParams) -> FakePending:
        return FakePending(fourier.measure(tiles[0], params)[0], len(tiles))


def test_times_of_a_batch_are_shares_of_it(monkeypatch: pytest.MonkeyPatch, tile: NDArray[np.uint8]) -> None:
    gpu = Backend(name="cupy", device="fake GPU", measure=fourier.measure, lanes=(FakeLane(),))
    monkeypatch.setattr(contestants, "select_backend", lambda name, **_: gpu)
    one, batch, *_ = contestants.gather(["cupy"], batch=4).contestants
    job = Trial(pixels=tile, params=FOUR)
    assert (one.time(job).ms["kernel"], batch.time(job).ms["kernel"]) == (8.0, 2.0)
    assert batch.time(job).ms["copied"] < one.time(job).ms["copied"] * 4
    assert (one.device, one.curves, batch.curves) == ("fake GPU", True, False)


def files_job(tile: NDArray[np.uint8], folder: Path) -> Trial:
    return Trial(pixels=tile, params=FOUR, files=feeding.write_files(tile, 3, folder))


def test_files_become_the_numbers_of_their_tiles(tmp_path: Path, tile: NDArray[np.uint8]) -> None:
    job = files_job(tile, tmp_path)
    (contestant,) = feeding.gather_files(["numpy"], batch=2).contestants
    laps = contestant.time(job)
    assert laps.features == fourier.measure(tile, FOUR)[0].features
    assert list(laps.ms) == ["files", "kernel", "readers"]
    assert 0 < laps.ms["readers"] < laps.ms["files"]  # the same way, and nothing is computed


@pytest.mark.parametrize("in_lanes", [True, False])
def test_readers_alone_make_every_row(in_lanes: bool, tmp_path: Path, tile: NDArray[np.uint8]) -> None:
    job, known = files_job(tile, tmp_path), fourier.measure(tile, FOUR)[0]
    rows = list(feeding.scored(feeding.nothing(known, in_lanes=in_lanes), job.files, FOUR))
    assert [row.path for row in rows] == [str(file) for file in job.files]
    assert {row.features for row in rows} == {known.features}
    assert len({row.provenance.tile_sha256 for row in rows}) == 3  # each file was read


def test_a_file_that_cannot_be_scored_is_no_time(tmp_path: Path, tile: NDArray[np.uint8]) -> None:
    job = files_job(tile, tmp_path)
    job.files[1].write_bytes(b"II")
    samples, failed = race("files", feeding.gather_files(["numpy"], 2).contestants, job, 2, lambda: None)
    assert (samples, len(failed)) == ([], 1)


def test_a_device_is_kept_busy_with_whole_batches(tile: NDArray[np.uint8]) -> None:
    gpu = Backend(name="cupy", device="fake GPU", measure=fourier.measure, lanes=(FakeLane(),))
    assert feeding._kernel_alone(gpu, Trial(pixels=tile, params=FOUR), count=5, batch=2) == 6


def test_the_share_is_of_the_slower_part_round_by_round() -> None:
    ms = [  # files, kernel, readers; the first round does not count
        (100.0, 1.0, 1.0), (10.0, 9.0, 2.0), (20.0, 5.0, 16.0), (40.0, 10.0, 20.0),
    ]  # fmt: skip
    samples = [
        Sample(figure="files", contestant="x", device="cpu", ours=True, side=64, n_scales=1, lap=lap, repeat=repeat,
               ms=each, features=1)
        for repeat, laps in enumerate(ms)
        for lap, each in zip(("files", "kernel", "readers"), laps, strict=True)
    ]  # fmt: skip
    assert shares_of_the_slower_part(samples) == {"x": pytest.approx(0.8)}


class FakeCupy:
    """NumPy with CuPy's extra names: runs the code for GPUs without one."""

    class cuda:  # noqa: N801
        class runtime:  # noqa: N801
            getDeviceCount = staticmethod(lambda: 2)  # noqa: N815
            getDeviceProperties = staticmethod(lambda number: {"name": b"fake GPU"})  # noqa: N815

        class Device(nullcontext[None]):
            def synchronize(self) -> None:
                pass

    @staticmethod
    def fuse(*, kernel_name: str) -> Callable[[Any], Any]:
        return lambda formula: formula

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)


@pytest.fixture
def fake_cupy(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("skimage.feature.blob")
    monkeypatch.setitem(sys.modules, "cupy", FakeCupy())
    for ours, theirs in (
        ("scipy.ndimage", "cupyx.scipy.ndimage"),
        ("scipy.fft", "cupyx.scipy.fft"),
        ("skimage.feature.blob", "cucim.skimage.feature.blob"),
    ):
        monkeypatch.setitem(sys.modules, theirs, import_module(ours))


@pytest.mark.usefixtures("fake_cupy")
def test_rivals_on_a_gpu_do_what_they_do_on_the_processor(tile: NDArray[np.uint8]) -> None:
    field = contestants.gather(["numpy"], batch=2).contestants
    laps = {each.name: each.time(Trial(pixels=tile, params=FOUR)) for each in field}
    assert laps["the paper's method in CuPy"].features == laps["the paper's method in NumPy"].features
    assert laps["cuCIM blob_dog"].features == laps["scikit-image blob_dog"].features
    for name in ("the paper's method in CuPy", "cuCIM blob_dog"):
        assert laps[name].ms["copied"] >= laps[name].ms["kernel"]


@pytest.mark.usefixtures("fake_cupy")
def test_two_gpus_find_what_the_processor_finds(tile: NDArray[np.uint8]) -> None:
    field = shared.gather_phases(["numpy"], ()).contestants
    laps = {each.name: each.time(Trial(pixels=tile, params=FOUR)) for each in field}
    assert laps["the paper's method in CuPy"].features == laps["the paper's method in NumPy"].features
    assert laps["mhfd's array code in CuPy"].features == laps["mhfd's array code in NumPy"].features
    assert {each.device for each in field} == {"cpu", "fake GPU, devices 0 and 1"}


@pytest.mark.usefixtures("fake_cupy")
def test_the_papers_method_has_a_curve_for_every_number_of_gpus(tile: NDArray[np.uint8]) -> None:
    field = shared.gather_curves(["numpy"], [0, 1, 0, 1, 0]).contestants
    assert [each.name for each in field] == [f"the paper's method in CuPy, {count} devices" for count in (2, 4, 5)]
    assert field[0].device == "fake GPU, devices 0 and 1"
    one, *_ = (each.time(Trial(pixels=tile, params=FOUR)) for each in field)
    assert one.features == paper.Method(paper.numpy_arrays()).count(tile, FOUR)
    assert one.ms["copied"] > one.ms["kernel"]


def test_curves_by_number_of_devices_find_what_one_finds(tile: NDArray[np.uint8]) -> None:
    field = shared.gather_curves(["numba"], [0, 0, 0]).contestants
    assert [each.name for each in field] == [
        f"mhfd numba, {count} devices by {how}" for count in (2, 3) for how in ("scales", "strips")
    ]
    expected = score(tile, FOUR, "numba").features
    for each in field:
        assert each.time(Trial(pixels=tile, params=FOUR)).features == pytest.approx(expected, abs=2)


def test_one_device_has_no_curve_beside_its_own() -> None:
    assert shared.gather_curves(["numba"], [0]).contestants == ()


def test_devices_are_in_the_tables_and_the_figures(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    run.run_bench(replace(TINY, backends=("numba",), figures=("3a", "3b"), devices=(0, 0)), tmp_path)
    shares = {f"mhfd numba, 2 devices by {how}" for how in ("scales", "strips")}
    for figure in ("3a", "3b"):
        assert shares < {row["contestant"] for row in read_csv(tmp_path / "summary.csv") if row["figure"] == figure}
        assert shares < {row["item"] for row in read_csv(tmp_path / f"figure-{figure}.csv")}


def test_a_fused_kernel_tells_its_own_phases(tile: NDArray[np.uint8]) -> None:
    *_, last = shared.gather_phases(["numba"], ()).contestants
    laps = last.time(Trial(pixels=tile, params=FOUR))
    assert last.name == "mhfd numba"
    assert list(laps.ms) == ["normalise and noise", "responses", "peaks"]  # one processor: nothing to copy or gather
    assert laps.features == fourier.measure(tile, FOUR)[0].features


@pytest.mark.parametrize("as_type", [np.uint8, np.uint16, np.float32])
def test_the_papers_method_counts_what_mode_paper_counts(tile: NDArray[np.uint8], as_type: type[np.generic]) -> None:
    given = tile.astype(as_type)
    counted = paper.Method(paper.numpy_arrays()).count(given, FOUR)
    assert counted == pytest.approx(score(given, replace(FOUR, mode="paper"), "numpy").features, rel=1e-3, abs=2)


def test_the_papers_method_keeps_the_filters_of_one_shape_only(tile: NDArray[np.uint8]) -> None:
    method = paper.Method(paper.numpy_arrays())
    counts = [method.count(each, FOUR) for each in (tile, tile[:96], tile)]
    assert counts[0] == counts[2] != counts[1]


def test_a_stack_beyond_the_limit_is_refused(tile: NDArray[np.uint8]) -> None:
    method = paper.Method(replace(paper.numpy_arrays(), limit=1e5))
    with pytest.raises(MemoryError, match="stack and filters"):
        method.count(tile, FOUR)


def test_two_devices_find_what_one_does(tile: NDArray[np.uint8]) -> None:
    method = paper.Method(paper.numpy_arrays())
    assert phases.of_the_paper(method, tile, FOUR, (0, 0)).features == method.count(tile, FOUR)
    ours = phases.of_array_code(method.arrays, [fourier.NUMPY] * 2, tile, FOUR, (0, 0)).features
    assert ours == pytest.approx(score(tile, FOUR, "numpy").features, rel=1e-3, abs=2)


def test_the_opencv_cascade_counts_about_what_is_counted_without_a_noise_threshold(tile: NDArray[np.uint8]) -> None:
    cv2 = pytest.importorskip("cv2")
    plain = score(tile, replace(FOUR, k_noise=0.0), "numpy").features
    assert rivals.opencv_cascade(cv2, tile, FOUR) == pytest.approx(plain, rel=0.02)


def test_blob_dog_finds_a_disc_and_is_left_as_it_was() -> None:
    blob = pytest.importorskip("skimage.feature.blob")
    pruning = blob._prune_blobs
    tile = as_uint8(discs((96, 96), [(40, 50)], 6))
    assert rivals.blob_dog(blob, np, tile, FocusParams()) == 1
    assert blob._prune_blobs is pruning


def test_a_tile_goes_on_in_its_mirror_images() -> None:
    source = np.arange(6).reshape(2, 3)
    assert cut(source, 4).tolist() == [[0, 1, 2, 2], [3, 4, 5, 5], [3, 4, 5, 5], [0, 1, 2, 2]]


def test_the_picture_may_be_the_users_own(tmp_path: Path) -> None:
    own = np.arange(80 * 90, dtype=np.uint16).reshape(80, 90)
    tifffile.imwrite(tmp_path / "own.tif", own)
    assert np.array_equal(picture(tmp_path / "own.tif", 64), own[:64, :64])


def test_quick_is_small_and_options_win_over_it() -> None:
    assert make_plan(quick=True) == QUICK
    assert make_plan(quick=True, repeats=5, figures=("4",), backends=(), tile=None) == replace(
        QUICK, repeats=5, figures=("4",)
    )


@pytest.mark.parametrize(
    ("max_side", "sides"), [(1024, (256, 512, 1024)), (200, (200,)), (8192, (256, 512, 1024, 2048, 4096, 8192))]
)
def test_sides_double_up_to_the_largest(max_side: int, sides: tuple[int, ...]) -> None:
    assert make_plan(max_side=max_side).sides == sides


def test_side_and_scales_of_the_tiles_are_chosen() -> None:
    arguments = ["--quick", "--figure", "files", "--backend", "numpy", "--side", "100", "--n-scales", "3", "--json"]
    done = CliRunner().invoke(bench, arguments)
    assert {(row["side"], row["n_scales"]) for row in json.loads(done.stdout)["times"]} == {(100, 3)}


@pytest.mark.parametrize("make", [lambda: BenchPlan(repeats=1), lambda: make_plan(max_side=16)])
def test_plans_that_say_nothing_are_refused(make: Callable[[], BenchPlan]) -> None:
    with pytest.raises(ParamsError):
        make()


def test_the_plan_loads_nothing_heavy() -> None:
    code = "import sys, mhfd_client.bench.plan; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_without_a_gpu_the_phases_are_those_of_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "cupy_or_reason", lambda: "CuPy is not installed")
    reason = "there is no GPU"
    found = shared.working_backend

    def no_gpu(name: str, **sharing: Any) -> Backend | BackendError:
        assert sharing["devices"]
        return BackendError(reason) if name == "cupy" else found(name, **sharing)

    monkeypatch.setattr(shared, "working_backend", no_gpu)
    field = shared.gather_phases([], [])
    assert field.missing == ("phases on GPUs: CuPy is not installed", f"mhfd cupy: {reason}")
    assert {contestant.device for contestant in field.contestants} == {"cpu"}
