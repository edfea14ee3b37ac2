"""The benchmark scripts run as their README says, and are right on tiles of known truth."""

from __future__ import annotations

import csv
import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tifffile
from PIL import Image
from scipy import ndimage

from phantoms import EmTile

ROOT = Path(__file__).parents[2]
SIDE = 96
DOSE = 200.0

Tile = npt.NDArray[np.uint8]
NoiseRun = tuple[str, list[dict[str, str]]]  # printed tables, raw rows

posix = pytest.mark.skipif(sys.platform == "win32", reason="reads the CPU time of child processes")


def exposure(seed: int, *, blur_px: float = 0.0, blank: bool = False) -> Tile:
    """Dark specks on light ground, or nothing but the ground, under shot, detector and rounding noise."""
    rng = np.random.default_rng(seed)
    specks = ndimage.gaussian_filter((rng.random((SIDE, SIDE)) < 0.01) * 5.0, 1.2)
    ground = np.full((SIDE, SIDE), 0.6)
    image = ground if blank else ndimage.gaussian_filter(np.clip(0.8 - specks, 0.1, 1), blur_px)
    noisy = rng.poisson(image * 2 * DOSE) / (2 * DOSE) + rng.normal(0, 0.006, image.shape)
    return np.clip(np.rint(noisy * 255), 0, 255).astype(np.uint8)


def run(script: str, *args: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "benchmarks" / script), *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def noise_run(tmp_path_factory: pytest.TempPathFactory) -> NoiseRun:
    """Printed tables and raw rows of three good, three bad and three blank tiles."""
    folder = tmp_path_factory.mktemp("truth")
    lines = ["file,regime,bad,blur_px,dose"]
    for i in range(3):
        for regime, bad, blur in (("dose-mix", "0", 0.0), ("dose-mix", "1", 3.0), ("blank", "", 0.0)):
            name = f"{regime}{bad}{i}.tif"
            tifffile.imwrite(folder / name, exposure(i, blur_px=blur, blank=regime == "blank"))
            lines.append(f"{name},{regime},{bad},{blur},{DOSE}")
    (folder / "truth.csv").write_text("\n".join(lines), encoding="utf-8")
    done = run("noise_estimators.py", folder, "--out", folder / "raw.csv")
    assert done.returncode == 0, done.stderr
    return done.stdout, read_csv(folder / "raw.csv")


def test_noise_tables_have_a_line_for_every_condition(noise_run: NoiseRun) -> None:
    starts = [line.split(" | ")[0] for line in noise_run[0].splitlines() if line.startswith("|")]
    separation = [
        "| condition",
        "| ---",
        "| dose-mix",
        "| blank",
        "| **worst**",
        "| most on a blank tile, features/Mpx",
    ]
    assert starts == [*separation, "| condition", "| ---", "| dose-mix", "| dose-mix", "| blank"]


def test_noise_table_is_raw_by_tile_and_estimator(noise_run: NoiseRun) -> None:
    keys = {(row["file"], row["estimator"]) for row in noise_run[1]}
    assert len(keys) == len(noise_run[1]) == 9 * 9


def test_noise_of_blank_tiles_is_the_true_noise(noise_run: NoiseRun) -> None:
    rows = [row for row in noise_run[1] if (row["state"], row["estimator"]) == ("blank", "Immerkaer")]
    assert np.mean([float(row["noise"]) / float(row["true_noise"]) for row in rows]) == pytest.approx(1, abs=0.1)


def test_sharp_tiles_have_more_features_than_blurred_ones(noise_run: NoiseRun) -> None:
    ours = [(row["state"], float(row["features_per_mpx"])) for row in noise_run[1] if row["estimator"] == "ours"]
    assert min(n for state, n in ours if state == "good") > max(n for state, n in ours if state == "bad")


def test_folder_without_truth_is_refused_with_a_sentence(tmp_path: Path) -> None:
    done = run("noise_estimators.py", tmp_path)
    assert (done.returncode, "holds no truth.csv" in done.stderr) == (2, True)


@posix
def test_cpu_time_of_simulated_tiles_is_measured() -> None:
    done = run("cpu_time.py", "--n", 2, "--side", SIDE, "--repeats", 1, "--rival-tiles", 0)
    assert "| mhfd score | " in done.stdout, done.stderr


@posix
@pytest.mark.skipif(importlib.util.find_spec("skimage") is None, reason="scikit-image is not installed: .[bench]")
def test_cpu_time_scales_the_rival_and_says_so(tmp_path: Path) -> None:
    tiles = tmp_path / "tiles"
    tiles.mkdir()
    for i in range(2):
        tifffile.imwrite(tiles / f"{i}.tif", exposure(i))
    raw = tmp_path / "raw.csv"
    done = run("cpu_time.py", "--tiles", tiles, "--n", 2, "--repeats", 1, "--rival-tiles", 1, "--out", raw)
    assert "scaled linearly to 2" in done.stdout, done.stderr
    assert [(row["program"], row["measured"]) for row in read_csv(raw)] == [
        ("mhfd score", "2"),
        ("blob_dog, no pruning", "1"),
    ]


def write_series(folder: Path, blurs_px: tuple[float, float, float]) -> None:
    (folder / "sem-focus-series").mkdir()
    for setting, blur in zip(("pert-5000", "base", "pert5000"), blurs_px, strict=True):
        Image.fromarray(exposure(1, blur_px=blur)).save(folder / "sem-focus-series" / f"field_{setting}.png")


def test_series_that_sharpens_passes(tmp_path: Path) -> None:
    write_series(tmp_path, (4.0, 2.0, 0.0))
    done = run("focus_series.py", "--em", tmp_path, "--side", 64)
    assert done.returncode == 0, done.stdout + done.stderr


def test_series_that_blurs_fails(tmp_path: Path) -> None:
    write_series(tmp_path, (0.0, 2.0, 4.0))
    done = run("focus_series.py", "--em", tmp_path, "--side", 64)
    assert (done.returncode, "| no |" in done.stdout) == (1, True), done.stderr


def test_real_series_rises_everywhere(em_tile: EmTile) -> None:
    done = run("focus_series.py", "--em", em_tile("sem-focus-series").parent)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_peak_memory_keeps_to_the_limit_and_the_count(tmp_path: Path) -> None:
    done = run("peak_memory.py", "--side", "2048", "--limits-mib", "64", "512", "--layout", "deflate")
    assert done.returncode == 0, done.stderr
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in done.stdout.splitlines()[2:]]
    assert [row[4] for row in rows] == ["64", "512"]
    assert rows[0][-1] == rows[1][-1]
    assert 1 < float(rows[0][5]) < float(rows[1][5])


# --- Verdicts -----------------------------------------------------------------------------------------------------


@pytest.fixture
def degrade(em_tile: EmTile) -> Path:
    """The program that spoils tiles; it lies beside the real ones."""
    path = em_tile("sbfsem-hela").parents[1] / "eval" / "degrade.py"
    if not path.exists():
        pytest.skip("no degrade.py")
    return path


def test_verdicts_are_counted_and_every_one_is_written(em_tile: EmTile, degrade: Path, tmp_path: Path) -> None:
    out = tmp_path / "verdicts.csv"
    done = run(
        "verdicts.py", "--tiles", em_tile("sbfsem-hela"), "--degrade", degrade, "--seeds", "11", "--kinds", "all",
        "--psf", "gauss", "--processes", "1", "--out", out,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("| all | 12 |") == 3  # every tile is bad; at arrival, later, at the end
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert (len(rows), {row["truth"] for row in rows}) == (36, {"bad"})


def test_calibrations_hold_their_truth_and_every_series_is_written(
    em_tile: EmTile, degrade: Path, tmp_path: Path
) -> None:
    out = tmp_path / "calibration.csv"
    done = run(
        "calibration.py", "--tiles", em_tile("sbfsem-hela"), "--degrade", degrade, "--seeds", "11", "--doses", "1000",
        "--frames", "3", "--three", "2", "--out", out,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "best_focus from three frames" in done.stdout
    rows = read_csv(out)
    assert [row["part"] for row in rows] == ["grid"] * 12 + ["three"] * 4
    told = [row for row in rows if row["best"] and row["part"] == "grid"]
    assert len(told) >= 6
    assert all(abs(float(row["best"]) - float(row["true_best"])) < 0.5 for row in told)


def test_alerts_are_replayed_and_every_run_is_written(em_tile: EmTile, degrade: Path, tmp_path: Path) -> None:
    out, tiles = tmp_path / "alerts.csv", tmp_path / "tiles"
    tiles.mkdir()
    for path in em_tile("sbfsem-hela").glob("*.tif"):
        tifffile.imwrite(tiles / path.name, tifffile.imread(path)[700:1212, 700:1212])
    done = run(
        "alerts.py", "--tiles", tiles, "--degrade", degrade, "--seeds", "11", "--good", "none",
        "--psf", "gauss", "--small-seeds", "11", "--out", out,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = {(row["kind"], row["psf"]): row for row in read_csv(out)}
    assert list(rows) == [("drift", "gauss"), ("refocus", "gauss"), ("none", "gauss"), ("none", "small")]
    assert [rows["none", psf]["began"] for psf in ("gauss", "small")] == ["", ""]
    assert "| all | 2 |" in done.stdout


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_what_is_taken_again_sharp_leaves_the_list(em_tile: EmTile, degrade: Path, tmp_path: Path) -> None:
    done = run(
        "retakes.py", "--tiles", em_tile("sbfsem-hela"), "--degrade", degrade, "--seeds", "11", "--kinds", "std",
        "--cost", 40, "--out", tmp_path / "retakes.csv",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (row,) = read_csv(tmp_path / "retakes.csv")
    assert (row["tiles"], row["open_after_second"]) == ("12", "0")
    assert row["open_after_first"] == row["told_again"]
    assert [line.split("|")[1].strip() for line in done.stdout.splitlines()[-4:]] == ["status", "retakes"] * 2


# --- The spectrum's cost --------------------------------------------------------------------------------------------


def test_spectrum_cost_times_both_kernels(tmp_path: Path) -> None:
    pytest.importorskip("numba")
    done = run("spectrum_cost.py", "--sides", 128, "--repeats", 1, "--out", tmp_path / "raw.csv")
    assert done.returncode == 0, done.stderr
    rows = read_csv(tmp_path / "raw.csv")
    assert [(row["backend"], row["side"]) for row in rows] == [("numba", "128"), ("numpy", "128")]
    assert all(float(row["without_ms"]) > 0 and float(row["with_ms"]) > 0 for row in rows)
    assert done.stdout.count("\n") == 2 + len(rows)


def test_row_size_finds_the_length_of_the_spectrum(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    done = run("row_size.py", "--tiles", 1, "--tile-px", 128, "--out", tmp_path / "raw.csv")
    assert done.returncode == 0, done.stderr
    rows = {row["where"]: row for row in read_csv(tmp_path / "raw.csv")}
    assert list(rows) == ["JSON", "ledger", "Parquet"]
    assert 500 < float(rows["JSON"]["with_bytes"]) - float(rows["JSON"]["without_bytes"]) < 1300


def test_the_start_of_the_page_is_timed() -> None:
    done = run("page_start.py", "--tiles", 150)
    assert done.returncode == 0, done.stderr
    assert [line.split("  ")[0] for line in done.stdout.splitlines()] == [
        "150 tiles: the run is read", "its columns are packed", "the whole run is judged after",
        "a tile is explained", "the tiles to take again are listed",
    ]  # fmt: skip


@posix
def test_feed_says_how_fast_files_become_rows(tmp_path: Path) -> None:
    done = run("feed.py", "--tiles", 4, "--repeats", 1, "--out", tmp_path / "feed.csv", "--on", tmp_path)
    assert done.returncode == 0, done.stderr
    rows = read_csv(tmp_path / "feed.csv")
    assert [row["way"] for row in rows] == ["plain loop", "files to rows"]
    plain, ours = (float(row["tiles_per_s"]) for row in rows)
    assert done.stdout.splitlines()[-1].endswith(f"{ours / plain:.2f} x")
    assert list(tmp_path.iterdir()) == [tmp_path / "feed.csv"]


@posix
def test_the_command_is_timed_from_start_to_end(tmp_path: Path) -> None:
    done = run("score_folder.py", "--tiles", 5, "--repeats", 1, "--out", tmp_path / "raw.csv", "--on", tmp_path)
    assert done.returncode == 0, done.stderr
    rows = read_csv(tmp_path / "raw.csv")
    assert [row["way"] for row in rows] == ["plain loop", *(f"mhfd score, {form}" for form in ("table", "csv", "json"))]
    plain, table, *_ = (float(row["tiles_per_s"]) for row in rows)
    assert done.stdout.splitlines()[-1].endswith(f"{table / plain:.2f} x")


# --- Tasks ----------------------------------------------------------------------------------------------------------


@posix
def test_a_task_is_timed_beside_files_to_rows(tmp_path: Path) -> None:
    done = run("task.py", "--tiles", 3, "--repeats", 1, "--out", tmp_path / "raw.csv")
    assert done.returncode == 0, done.stderr
    assert [(row["way"], row["tiles"]) for row in read_csv(tmp_path / "raw.csv")] == [
        ("files to rows", "3"), ("task by path", "3"),
    ]  # fmt: skip
    assert done.stdout.splitlines()[-1].endswith(" x")


def test_each_step_of_the_carriage_is_timed_both_ways(tmp_path: Path) -> None:
    pytest.importorskip("globus_compute_sdk")
    pytest.importorskip("pybase64")
    done = run("carriage.py", "--repeats", 1, "--out", tmp_path / "raw.csv")
    assert done.returncode == 0, done.stderr
    steps = [(row["way"], row["step"]) for row in read_csv(tmp_path / "raw.csv")]
    assert len(steps) == len(set(steps)) == 2 * 5
    assert done.stdout.splitlines()[-1].endswith(" x")


@posix
def test_small_tiles_go_one_by_one_and_in_bundles(tmp_path: Path) -> None:
    pytest.importorskip("globus_compute_sdk")
    done = run(
        "bundles.py", "--tiles", 60, "--pixels", 16, "--file-ms", 5, "--repeats", 1, "--out", tmp_path / "raw.csv"
    )
    assert done.returncode == 0, done.stderr
    assert [(row["way"], row["tiles"]) for row in read_csv(tmp_path / "raw.csv")] == [
        ("one by one", "60"), ("bundles", "60"),
    ]  # fmt: skip
    assert done.stdout.splitlines()[-1].startswith("| 5 |")


# --- One client, many GPUs ------------------------------------------------------------------------------------------


def test_the_rate_of_a_client_and_the_wait_beside_a_backlog_are_measured(tmp_path: Path) -> None:
    done = run("dispatch_rate.py", "--quick", "--out", tmp_path / "rate.csv")
    assert done.returncode == 0, done.stderr
    assert [row["what"] for row in read_csv(tmp_path / "rate.csv")] == ["paced", "rows", "ledger"]
    waits = {row["beside"]: float(row["p50_s"]) for row in read_csv(tmp_path / "rate_wait.csv")}
    assert list(waits) == ["nobody", "1 backlog", "4 backlogs", "1 backlog, fixed"]
    assert 0.14 <= waits["nobody"] < waits["1 backlog, fixed"]  # at least the way there and back


def test_the_gpu_benchmark_says_why_there_is_nothing_to_time() -> None:
    from mhfd import cuda

    if not (reason := cuda.unavailable()):
        pytest.skip("this machine has a GPU")
    done = run("gpu_kernel.py")
    assert (done.returncode, done.stderr.strip()) == (1, reason)


def test_the_gpu_benchmark_times_what_the_kernel_counts() -> None:
    """On the stand-in for a GPU: a batch and a stream."""
    from host_device import HostDevice
    from mhfd.kernel.fused import Fused

    gpu_kernel = script("gpu_kernel.py")
    source = exposure(1)
    lane = Fused(HostDevice())
    params = gpu_kernel.FocusParams(n_scales=2, max_t=3.0)
    row = gpu_kernel.timed(lane, gpu_kernel.Case("two", 2, SIDE, "u2", params), source, 1)
    wide = source.astype(np.uint16) * 257
    assert row.features == lane.measure(wide, params)[0].features > 0
    assert 0 < row.kernel_ms < row.host_ms


def script(name: str) -> Any:
    """A benchmark as a module."""
    spec = importlib.util.spec_from_file_location(Path(name).stem, ROOT / "benchmarks" / name)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


@posix
def test_starting_is_timed_by_command(tmp_path: Path) -> None:
    raw = tmp_path / "start.csv"
    done = run("start.py", "--side", SIDE, "--repeats", 1, "--cold", 0, "--out", raw)
    assert done.returncode == 0, done.stderr
    rows = read_csv(raw)
    assert [row["what"] for row in rows] == ["mhfd --version", "mhfd score ONE", "mhfd score ONE --backend numba"]
    version, one, compiled = (float(row["cpu_s"]) for row in rows)
    assert 0 < version < one < compiled  # each loads what the one before does, and more
    assert "numpy" in done.stdout.splitlines()[-1]


def test_the_bytes_of_the_gpu_kernels_are_counted_without_a_gpu(tmp_path: Path) -> None:
    profile = tmp_path / "profile.csv"
    profile.write_text("# measured\nkernel,dram_MB\nnormalise_f4,2\nsmooth_5,3\nsmooth_6,4\n", encoding="utf-8")
    where = "--side", 256, "--batch", 2, "--dtype", "float32", "--profile", profile, "--out", tmp_path / "traffic.csv"
    done = run("gpu_traffic.py", *where)
    assert done.returncode == 0, done.stderr
    rows = {row["kernel"]: row for row in read_csv(tmp_path / "traffic.csv")}
    assert float(rows["normalise"]["counted_mb"]) == pytest.approx(8 * 256**2 / 1e6)  # read and written once
    assert rows["normalise"]["measured_mb"] == "1.0" and rows["smooth"]["measured_mb"] == "3.5"
    assert rows["seams"]["launches"] == "1" and rows["seams"]["measured_mb"] == ""
    launches = sum(int(row["launches"]) for row in rows.values())
    assert f"| **all** | {launches} |" in done.stdout


def test_launches_are_counted_for_the_array_code_and_the_papers(tmp_path: Path) -> None:
    done = run("array_launches.py", "--sides", 128, "--out", tmp_path / "raw.csv")
    assert done.returncode == 0, done.stderr
    ours, papers = read_csv(tmp_path / "raw.csv")
    assert (ours["what"], papers["what"]) == ("cupy-fft", "the paper's method in CuPy")
    # One transform back a scale; ours also one of the mirrored tile, and nine blocks of the spectrum.
    assert int(papers["transformed"]) == 17 * 128**2
    assert int(ours["transformed"]) == (16 + 4) * 128**2 + 9 * 64**2


def test_the_hosts_work_on_a_list_of_features_is_timed() -> None:
    done = run("feature_list.py", "--features", 500, "--repeats", 2)
    assert done.returncode == 0, done.stderr
    assert [line.split(" | ")[0] for line in done.stdout.splitlines()[2:]] == [
        "| sorted by row and column", "| list of features, sorted", "| numbers",
    ]  # fmt: skip


def test_a_plan_of_a_hundred_million_tiles_needs_few_requests_and_two_endpoints_halve_the_time(tmp_path: Path) -> None:
    done = run("rescore_plan.py", "--quick", "--out", tmp_path / "plan.csv")
    assert done.returncode == 0, done.stderr
    (plan,) = read_csv(tmp_path / "plan.csv")
    assert (plan["tiles"], plan["tasks"]) == ("100000000", "1528")
    assert int(plan["requests"]) < 300
    assert float(plan["busy"]) > 0.9
    (pair,) = read_csv(tmp_path / "plan-two.csv")
    assert float(pair["ratio"]) >= 1.8


# --- Archives -------------------------------------------------------------------------------------------------------


@posix
def test_rescoring_is_timed_beside_reading_and_the_kernel(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    size = ("--tiles", 8, "--distinct", 3, "--shard-tiles", 4)
    done = run("rescore.py", *size, "--out", tmp_path / "r.csv", "--on", tmp_path)
    assert done.returncode == 0, done.stderr
    rows = read_csv(tmp_path / "r.csv")
    assert [(row["shard"], row["tiles"]) for row in rows] == [("0", "4"), ("1", "4")]
    assert all(float(row["alone_s"]) > 0 and float(row["shard_s"]) > 0 for row in rows)
    assert "(median of 2 pairs)" in done.stdout
    assert list(tmp_path.iterdir()) == [tmp_path / "r.csv"]


@posix
def test_the_size_of_an_archives_files_is_told(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    done = run("archive_size.py", "--tiles", 4, "--planned", 5000, "--out", tmp_path / "raw.csv")
    assert done.returncode == 0, done.stderr
    rows = {row["what"]: row for row in read_csv(tmp_path / "raw.csv")}
    assert list(rows) == ["manifest", "part", "spectra", "verdicts", "JSON lines without spectra", "JSON lines"]
    assert float(rows["manifest"]["bytes_a_row"]) < 12
    spectrum = float(rows["JSON lines"]["bytes_a_row"]) - float(rows["JSON lines without spectra"]["bytes_a_row"])
    assert 980 < spectrum < 1000
