"""The simulated run: same plan, same bytes; a correct truth table; continuous tissue."""

from __future__ import annotations

import csv
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tifffile

from mhfd.contract import MhfdError, ParamsError
from mhfd_client.judge.calibration import read_distances
from mhfd_client.simulate import FolderInUseError, RunPlan, SeriesPlan, TileTruth, simulate_run, simulate_series
from mhfd_client.simulate.microscope import expose
from mhfd_client.simulate.plan import MARGIN_PX, plan_exposures
from mhfd_client.simulate.tissue import Specimen

SMALL = RunPlan(sections=2, rows=1, cols=2, tile_px=96, bad_fraction=0, blank_fraction=0)
MIXED = RunPlan(sections=6, rows=2, cols=3, tile_px=64, bad_fraction=0.2, blank_fraction=0.1)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def alike(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> float:
    """Pearson's correlation of two pictures."""
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


def fine_structure(tile: npt.NDArray[Any]) -> float:
    """Vollath's F4: lag-1 minus lag-2 autocovariance, which white noise does not enter."""
    t = tile - tile.mean()
    rows = (t[:-1] * t[1:]).mean() - (t[:-2] * t[2:]).mean()
    cols = (t[:, :-1] * t[:, 1:]).mean() - (t[:, :-2] * t[:, 2:]).mean()
    return float(rows + cols)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[TileTruth]]:
    out = tmp_path_factory.mktemp("run")
    return out, simulate_run(out, MIXED)


def test_same_plan_gives_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        simulate_run(tmp_path / name, SMALL)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_other_seed_gives_other_pixels(tmp_path: Path) -> None:
    simulate_run(tmp_path / "a", SMALL)
    simulate_run(tmp_path / "b", replace(SMALL, seed=2))
    a, b = (tifffile.imread(tmp_path / name / "s0000_r0_c0.tif") for name in "ab")
    assert alike(a, b) < 0.3


def test_files_hold_no_date_and_no_library_version(tmp_path: Path) -> None:
    truth = simulate_run(tmp_path, SMALL)[0]
    with tifffile.TiffFile(tmp_path / truth.file) as file:
        tags = file.pages.first.tags
        assert (tags["Software"].value, "DateTime" in tags, "ImageDescription" in tags) == ("mhfd", False, False)


def read_table(out: Path) -> list[dict[str, str]]:
    with (out / "truth.csv").open(newline="", encoding="utf-8") as table:
        return list(csv.DictReader(table))


def test_truth_table_has_one_row_a_file(mixed: tuple[Path, list[TileTruth]]) -> None:
    out, _ = mixed
    assert sorted(row["file"] for row in read_table(out)) == sorted(path.name for path in out.glob("*.tif"))


def test_truth_table_reads_back_as_returned(mixed: tuple[Path, list[TileTruth]]) -> None:
    out, truths = mixed
    assert read_table(out) == [{key: str(value) for key, value in vars(truth).items()} for truth in truths]


def test_kinds_come_in_the_shares_asked_for(mixed: tuple[Path, list[TileTruth]]) -> None:
    assert Counter(truth.kind for truth in mixed[1]) == {"good": 25, "bad": 7, "blank": 4}


def test_twelve_tiles_have_one_of_each_kind() -> None:
    plan = RunPlan(sections=3, rows=2, cols=2, bad_fraction=0.01, blank_fraction=0.01)
    truths = [exposure.truth for exposure in plan_exposures(plan)]
    bad = [bool(truth.astigmatism) for truth in truths if truth.kind == "bad"]
    assert (sorted(bad), sum(truth.kind == "blank" for truth in truths)) == ([False, True], 1)


def test_no_bad_tiles_when_none_are_asked_for() -> None:
    plan = RunPlan(bad_fraction=0, blank_fraction=0)
    assert {exposure.truth.kind for exposure in plan_exposures(plan)} == {"good"}


def test_all_tiles_may_be_bad() -> None:
    plan = RunPlan(bad_fraction=1, blank_fraction=0)
    assert {exposure.truth.kind for exposure in plan_exposures(plan)} == {"bad"}


def test_defocus_is_zero_where_the_beam_is_in_focus(mixed: tuple[Path, list[TileTruth]]) -> None:
    assert {truth.defocus_um for truth in mixed[1] if truth.kind != "bad"} == {0.0}


def test_blur_of_bad_tiles_lies_in_its_range(mixed: tuple[Path, list[TileTruth]]) -> None:
    assert all(1.5 <= truth.blur_px <= 5 for truth in mixed[1] if truth.kind == "bad")


def test_dose_and_contrast_drift_slowly() -> None:
    truths = [exposure.truth for exposure in plan_exposures(RunPlan(sections=50, rows=1, cols=1))]
    steps = np.abs(np.diff(np.log([truth.dose for truth in truths])))
    assert 0 < steps.max() < 0.3


def test_adjacent_sections_resemble_each_other_more_than_distant_ones() -> None:
    specimen = Specimen(RunPlan(sections=30, rows=1, cols=1, tile_px=256))
    first, next_one, distant = (specimen.view(section, 0, 0) for section in (0, 1, 29))
    assert alike(first, next_one) > alike(first, distant) + 0.2


def test_neighbouring_tiles_show_the_same_tissue_where_they_overlap(tmp_path: Path) -> None:
    plan = replace(SMALL, sections=1, tile_px=256)
    simulate_run(tmp_path, plan)
    left, right = (tifffile.imread(tmp_path / f"s0000_r0_c{col}.tif") for col in (0, 1))
    assert alike(left[:, plan.step_px :], right[:, : plan.tile_px - plan.step_px]) > 0.9


def test_overlap_of_two_scenes_is_identical_but_for_rounding() -> None:
    plan = replace(SMALL, tile_px=128)
    specimen = Specimen(plan)
    left, right = (specimen.view(0, 0, col) for col in (0, 1))
    shared = plan.tile_px + 2 * MARGIN_PX - plan.step_px
    assert np.mean(np.abs(left[:, plan.step_px :] - right[:, :shared]) > 0.02) < 0.01


@pytest.mark.parametrize("spread_px", [(1.5, 1.5), (4.0, 4.0), (2.5, 0.0), (0.0, 2.5)])
def test_blur_takes_fine_structure_from_the_same_place(spread_px: tuple[float, float]) -> None:
    plan = replace(SMALL, tile_px=256)
    good = plan_exposures(plan)[0]
    scene = Specimen(plan).view(0, 0, 0)
    sharp, blurred = (
        expose(scene, exposure, np.random.default_rng(0)) for exposure in (good, replace(good, spread_px=spread_px))
    )
    assert fine_structure(sharp) > 1.3 * fine_structure(blurred)


def test_truth_states_the_blur_of_the_picture() -> None:
    """The image of a point has the standard deviation that the table gives."""
    plan = RunPlan(dose=1e6)
    exposure = next(e for e in plan_exposures(plan) if e.truth.kind == "bad" and not e.truth.astigmatism)
    scene = np.full((128, 128), 0.1)
    scene[64, 64] = 60.0
    picture = expose(scene, exposure, np.random.default_rng(0)).astype(float)
    picture = np.maximum(picture - np.median(picture) - 8, 0)
    at = np.arange(picture.shape[0]) - (64 - MARGIN_PX)
    measured = np.sqrt((picture.sum(axis=1) * at**2).sum() / picture.sum())
    assert measured == pytest.approx(exposure.truth.blur_px, rel=0.1)


def test_blank_tiles_have_little_structure(mixed: tuple[Path, list[TileTruth]]) -> None:
    out, truths = mixed
    structure = {truth.file: fine_structure(tifffile.imread(out / truth.file)) for truth in truths}
    blank, good = ([structure[truth.file] for truth in truths if truth.kind == kind] for kind in ("blank", "good"))
    assert max(blank) < 0.2 * np.median(good)


@pytest.mark.parametrize("pixel_size_nm", [8.0, 4.6, 3.125])
def test_pixel_size_reads_back_from_the_file(tmp_path: Path, pixel_size_nm: float) -> None:
    plan = RunPlan(sections=1, rows=1, cols=1, tile_px=64, pixel_size_nm=pixel_size_nm)
    simulate_run(tmp_path, plan)
    with tifffile.TiffFile(tmp_path / "s0000_r0_c0.tif") as file:
        numerator, denominator = file.pages.first.tags["XResolution"].value
        unit = file.pages.first.tags["ResolutionUnit"].value
    assert (unit, 1e7 * denominator / numerator) == (tifffile.RESUNIT.CENTIMETER, pytest.approx(pixel_size_nm, 1e-9))


def test_progress_counts_every_tile(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    simulate_run(tmp_path, SMALL, lambda done, total: seen.append((done, total)))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_an_earlier_simulation_is_replaced(tmp_path: Path) -> None:
    simulate_run(tmp_path, SMALL)
    simulate_run(tmp_path, replace(SMALL, sections=1))
    assert sorted(contents(tmp_path)) == ["s0000_r0_c0.tif", "s0000_r0_c1.tif", "truth.csv"]


def test_a_folder_with_other_files_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(FolderInUseError, match="new or empty folder"):
        simulate_run(tmp_path, SMALL)
    assert contents(tmp_path) == {"thesis.txt": b"precious"}


def test_a_truth_table_of_another_program_is_not_ours(tmp_path: Path) -> None:
    (tmp_path / "truth.csv").write_text("file,section,row,col,kind\n")
    with pytest.raises(FolderInUseError):
        simulate_run(tmp_path, SMALL)


def test_a_truth_table_cannot_make_us_delete_other_files(tmp_path: Path) -> None:
    keep = tmp_path / "keep.tif"
    keep.write_bytes(b"precious")
    out = tmp_path / "out"
    simulate_run(out, SMALL)
    with (out / "truth.csv").open("a", encoding="utf-8") as table:
        table.write("../keep.tif,0,0,0,good,0,,0,0,0,0\n\n")
    simulate_run(out, SMALL)
    assert keep.read_bytes() == b"precious"


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(MhfdError, match="is a file"):
        simulate_run(tmp_path / "out", SMALL)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sections", 0), ("sections", 2.5), ("rows", True), ("cols", -1), ("tile_px", 8), ("tile_px", 100_000),
        ("pixel_size_nm", 0), ("pixel_size_nm", float("nan")), ("bad_fraction", 1.5), ("blank_fraction", -0.1),
        ("dose", 0), ("dose", "much"), ("seed", -1),
    ],
)  # fmt: skip
def test_bad_plan_values_are_refused_by_name(name: str, value: object) -> None:
    given: dict[str, Any] = {name: value}
    with pytest.raises(ParamsError, match=name):
        RunPlan(**given)


def test_shares_that_exceed_the_whole_are_refused() -> None:
    with pytest.raises(ParamsError, match="add up to 1"):
        RunPlan(bad_fraction=0.7, blank_fraction=0.7)


def test_a_run_too_large_for_memory_is_refused() -> None:
    with pytest.raises(ParamsError, match="fewer sections"):
        RunPlan(sections=9999, rows=50, cols=50)


# --- A focal series ---------------------------------------------------------------------------------------------------

SERIES = SeriesPlan(field=RunPlan(sections=1, rows=1, cols=1, tile_px=128), frames=4, step_um=2.0)


def test_a_series_shows_one_place_sharpest_at_best_focus(tmp_path: Path) -> None:
    truths = simulate_series(tmp_path, SERIES)
    frames = [tifffile.imread(tmp_path / truth.file).astype(float) for truth in truths]
    assert min(alike(frames[0], each) for each in frames[1:]) > 0.5
    assert [truth.defocus_um for truth in truths] == [3.4, 1.4, 0.6, 2.6]
    by_defocus = sorted(range(4), key=lambda i: -truths[i].defocus_um)
    structure = [fine_structure(frames[i]) for i in by_defocus]
    assert structure == sorted(structure)


def test_the_distances_of_a_series_are_those_of_its_truth(tmp_path: Path) -> None:
    truths = simulate_series(tmp_path, SERIES)
    distances = read_distances(tmp_path / "z.csv")
    assert list(distances) == [truth.file for truth in truths]
    assert [abs(each - 5200) for each in distances.values()] == pytest.approx([truth.defocus_um for truth in truths])
    assert [truth.blur_px for truth in truths] == pytest.approx(
        [float(np.hypot(0.55, 0.5 * truth.defocus_um)) for truth in truths], abs=1e-3
    )


def test_a_series_takes_the_place_of_a_simulated_run_and_of_nothing_else(tmp_path: Path) -> None:
    simulate_run(tmp_path, SMALL)
    simulate_series(tmp_path, SERIES)
    once = contents(tmp_path)
    simulate_series(tmp_path, SERIES)
    assert contents(tmp_path) == once
    assert sorted(once) == ["truth.csv", "z.csv", "z0.tif", "z1.tif", "z2.tif", "z3.tif"]
    (tmp_path / "truth.csv").unlink()
    with pytest.raises(FolderInUseError):
        simulate_series(tmp_path, SERIES)


@pytest.mark.parametrize(("frames", "step_um"), [(2, 1.0), (100, 0.1), (9, 0.0), (9, float("nan")), (9, 30.0)])
def test_a_series_that_cannot_be_simulated_is_refused(frames: int, step_um: float) -> None:
    with pytest.raises(ParamsError):
        SeriesPlan(field=RunPlan(), frames=frames, step_um=step_um)
