"""Verdicts on runs whose blur is known: their spectra are made by formula."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import j1

from mhfd.contract import Acquisition, Failure, FocusResult, Remark
from mhfd.judge import VerdictRule, judge, references_of
from mhfd.judge.rule import DEFAULT_BLUR_PX
from mhfd.spectrum import CELLS, FREQUENCIES
from spectra import ABOUT, OTHER, PLAIN, Smear, Tissue, row, run, spectrum

ALARMS = ("out_of_focus", "astigmatic")
SECTION = 9
RIGHT_HALF = np.where(np.arange(CELLS) >= CELLS // 2, 2.5, 0.0) * np.ones((CELLS, 1))


def verdicts(rows: Sequence[FocusResult]) -> list[str | None]:
    return [each.verdict for each in rows]


def alarms(rows: Sequence[FocusResult]) -> list[int]:
    return [i for i, each in enumerate(rows) if each.verdict in ALARMS]


def by_section(rows: Sequence[FocusResult], **keys: Any) -> list[FocusResult]:
    """Judged, SECTION tiles a section."""
    return judge(rows, sections=[i // SECTION for i in range(len(rows))], **keys)


@pytest.fixture
def sharp(rng: np.random.Generator) -> list[FocusResult]:
    """A run in focus."""
    return run(rng, np.zeros(24))


def last(sharp: Sequence[FocusResult], tile: FocusResult, **keys: Any) -> FocusResult:
    """A tile, judged at the end of a run."""
    return judge([*sharp, tile], **keys)[-1]


# --- How blurred, and where -----------------------------------------------------------------------------------------


def test_a_run_in_focus_is_in_focus(sharp: list[FocusResult]) -> None:
    judged = judge(sharp)
    assert verdicts(judged) == ["in_focus"] * 24
    assert all(each.confidence is not None and each.confidence > 0.9 for each in judged)
    assert all(each.blur_px is not None and each.blur_px < 0.5 for each in judged)


@pytest.mark.parametrize("sigma", [1.5, 2.0, 3.0, 5.0, 10.0])
def test_a_blurred_tile_is_out_of_focus(sharp: list[FocusResult], sigma: float, rng: np.random.Generator) -> None:
    found = last(sharp, row(spectrum(rng, sigma)))
    assert found.verdict == "out_of_focus"
    assert found.confidence is not None and found.confidence > 0.9


def test_blur_is_said_in_pixels_and_nanometres(sharp: list[FocusResult], rng: np.random.Generator) -> None:
    found = last(sharp, row(spectrum(rng, 2.0)))
    assert found.blur_px == pytest.approx(2.0, abs=0.2)
    assert found.blur_nm == pytest.approx(4.0 * 2.0, abs=0.8)
    assert found.blur_error_px is not None and 0 < found.blur_error_px < 0.2
    assert found.blur_by_direction_px == pytest.approx((2.0,) * 4, abs=0.5)
    assert np.array(found.blur_map_px, float) == pytest.approx(2.0, abs=0.6)
    assert found.reference and "of this run" in found.reference


def test_without_a_pixel_size_there_are_no_nanometres(rng: np.random.Generator) -> None:
    (*_, found) = judge([replace(each, pixel_size_nm=None) for each in run(rng, [*np.zeros(12), 2.0])])
    assert (found.blur_px is None, found.blur_nm) == (False, None)


def test_a_tile_that_is_blurred_in_one_half_is_out_of_focus_there(
    sharp: list[FocusResult], rng: np.random.Generator
) -> None:
    found = last(sharp, row(spectrum(rng, RIGHT_HALF)))
    assert found.verdict == "out_of_focus"
    assert found.worst_block is not None and found.worst_block[1] >= CELLS // 2
    assert np.array(found.blur_map_px, float) == pytest.approx(RIGHT_HALF, abs=0.8)


def test_a_tile_that_is_resin_in_one_half_is_judged_by_the_other(
    sharp: list[FocusResult], rng: np.random.Generator
) -> None:
    tile, soft = spectrum(rng), spectrum(rng, 2.0)
    for each in (tile, soft):
        each.blocks[:, 2:], each.by_cell[:, 2:] = 0, np.nan
    found = last(sharp, row(tile))
    assert found.verdict == "in_focus"
    assert found.blur_map_px is not None and all(line[2:] == (None, None) for line in found.blur_map_px)
    assert found.worst_block is not None and found.worst_block[1] < 2
    assert last(sharp, row(soft)).verdict == "out_of_focus"


@pytest.mark.parametrize("deg", [0, 45, 90, 135])
def test_blur_in_one_direction_is_astigmatism(sharp: list[FocusResult], deg: int, rng: np.random.Generator) -> None:
    found = last(sharp, row(spectrum(rng, smear=Smear(2.5, deg))))
    assert found.verdict == "astigmatic"
    known = [each or 0.0 for each in found.blur_by_direction_px or ()]
    assert known.index(max(known)) == deg // 45


@pytest.mark.parametrize("sigma", [1.5, 2.0, 3.0, 4.0])
def test_blur_in_all_directions_is_no_astigmatism(
    sharp: list[FocusResult], sigma: float, rng: np.random.Generator
) -> None:
    judged = judge([*sharp, *run(rng, [sigma] * 8)])
    assert verdicts(judged)[-8:] == ["out_of_focus"] * 8


# --- The run's own reference ----------------------------------------------------------------------------------------


def test_a_bad_majority_is_caught(rng: np.random.Generator) -> None:
    """60 % of the tiles are blurred, the first ones among them."""
    sigmas = np.tile([2.0, 2.5, 0.0, 2.0, 0.0], 12)
    assert alarms(by_section(run(rng, sigmas))) == [i for i, sigma in enumerate(sigmas) if sigma]


def test_a_slow_drift_does_not_drag_the_reference_along(rng: np.random.Generator) -> None:
    sigmas = np.sqrt(np.linspace(0, 2.5**2, 20 * SECTION))  # the sharpest 30 % are 1 px wide, in the middle
    judged = by_section(run(rng, sigmas))
    found = np.zeros(len(sigmas), bool)
    found[alarms(judged)] = True
    assert found[sigmas > 1.7].all()
    assert not found[sigmas < 0.6].any()
    assert judged[-1].blur_px == pytest.approx(np.sqrt(2.5**2 - 1), abs=0.3)


@pytest.mark.parametrize("sigma", [1.7, 2.0, 3.0])
def test_a_wholly_bad_run_is_never_surely_in_focus(sigma: float, rng: np.random.Generator) -> None:
    judged = by_section(run(rng, [sigma] * 36))
    assert all(each.verdict != "in_focus" or (each.confidence or 0) < 0.7 for each in judged)


def test_a_run_blurred_by_wide_discs_is_never_surely_in_focus(rng: np.random.Generator) -> None:
    """Beyond its first zero a disc's spectrum rises again: the reference bends upwards, not down."""
    x = 2 * np.pi * FREQUENCIES * 6.0
    disc = np.maximum((2 * j1(x) / x) ** 2, 0.01)  # a window of 64 px fills the zeros up
    tiles = []
    for tile in (spectrum(rng, 0, Tissue(strength=1e-3)) for _ in range(36)):
        noise = tile.noise()
        by_direction = (tile.by_direction - noise) * disc + noise
        tiles.append(row(replace(tile, by_direction=by_direction, by_cell=tile.by_cell * disc + noise.mean(0))))
    judged = by_section(tiles)
    assert all(each.verdict != "in_focus" or (each.confidence or 0) < 0.7 for each in judged)
    assert any("reference_blurred" in each.doubts for each in judged)


def test_with_a_reference_a_wholly_bad_run_is_caught(rng: np.random.Generator) -> None:
    kept = references_of(by_section(run(rng, np.zeros(36))), name="run 1")
    judged = by_section(run(rng, [2.0] * 90), references=kept)
    assert alarms(judged) == list(range(90))
    assert judged[0].reference and "run 1" in judged[0].reference


def test_with_a_reference_the_first_tile_is_judged(rng: np.random.Generator) -> None:
    kept = references_of(by_section(run(rng, np.zeros(36))), name="run 1")
    assert verdicts(judge(run(rng, [0.0]))) == ["cannot_tell"]
    assert verdicts(judge(run(rng, [0.0]), references=kept)) == ["in_focus"]
    assert verdicts(judge(run(rng, [2.0]), references=kept)) == ["out_of_focus"]


@pytest.mark.parametrize(("earlier", "now"), [(PLAIN, OTHER), (OTHER, PLAIN)])
def test_a_reference_of_another_tissue_is_dropped(earlier: Tissue, now: Tissue, rng: np.random.Generator) -> None:
    kept = references_of(by_section(run(rng, np.zeros(36), earlier)), name="another")
    judged = by_section(run(rng, np.zeros(5 * SECTION), now), references=kept)
    assert alarms(judged) == []
    assert all(each.reference and "another" not in each.reference for each in judged)


def test_a_reference_of_another_setting_does_not_count(rng: np.random.Generator) -> None:
    (kept,) = references_of(by_section(run(rng, np.zeros(36))), name="run 1")
    other = replace(kept, setting=kept.setting._replace(pixel_size_nm=8.0))
    rows = run(rng, [2.0] * 12)
    assert judge(rows, references=[other]) == judge(rows)


@pytest.mark.parametrize(("before", "after"), [(PLAIN, OTHER), (OTHER, PLAIN)])
def test_a_new_tissue_is_no_false_alarm_after_two_sections(
    before: Tissue, after: Tissue, rng: np.random.Generator
) -> None:
    rows = [*run(rng, np.zeros(6 * SECTION), before), *run(rng, np.zeros(6 * SECTION), after)]
    for sections in range(8, 13):
        assert alarms(by_section(rows[: sections * SECTION])) == []


def test_a_blurred_tile_of_a_new_tissue_is_found_among_its_own(rng: np.random.Generator) -> None:
    sigmas = np.zeros(6 * SECTION)
    sigmas[40] = 2.0
    rows = [*run(rng, np.zeros(6 * SECTION)), *run(rng, sigmas, OTHER)]
    assert alarms(by_section(rows)) == [6 * SECTION + 40]


@pytest.mark.parametrize("sigma", [1.5, 2.0, 3.0])
def test_lost_focus_is_not_taken_for_a_new_tissue(sigma: float, rng: np.random.Generator) -> None:
    rows = run(rng, [*np.zeros(6 * SECTION), *np.full(6 * SECTION, sigma)])
    for sections in range(8, 13):
        judged = by_section(rows[: sections * SECTION])
        assert alarms(judged) == list(range(6 * SECTION, len(judged)))


# --- Thresholds -----------------------------------------------------------------------------------------------------


def test_flag_px_is_the_threshold_at_which_a_tile_is_flagged(rng: np.random.Generator) -> None:
    rows = run(rng, [*np.zeros(20), 1.0, 1.2, 1.5, 2.0, RIGHT_HALF, 3.0])
    rows.append(row(spectrum(rng, smear=Smear(2.0, 0))))
    for i, each in enumerate(judge(rows)):
        if i > 14 and each.flag_px is not None:
            below = judge(rows, VerdictRule(max_blur_px=each.flag_px * 0.999))[i]
            above = judge(rows, VerdictRule(max_blur_px=each.flag_px * 1.001))[i]
            assert below.verdict in ALARMS
            assert above.verdict == "in_focus"


def test_only_verdict_and_confidence_depend_on_the_threshold(rng: np.random.Generator) -> None:
    """The reference does not: or a preview of other thresholds would be wrong."""
    rows = run(rng, np.tile([0.0, 0.0, 1.0, 2.0], 8))
    strict, lax = (judge(rows, VerdictRule(max_blur_px=each)) for each in (0.6, 4.0))
    assert len(alarms(strict)) > len(alarms(lax))
    for one, two in zip(strict, lax, strict=True):
        one, two = (replace(each, verdict=None, confidence=None, doubts=()) for each in (one, two))
        assert one == two


def test_the_default_threshold_is_that_of_the_rule(sharp: list[FocusResult]) -> None:
    assert judge(sharp) == judge(sharp, VerdictRule(max_blur_px=DEFAULT_BLUR_PX))


def test_content_below_the_threshold_is_no_content(sharp: list[FocusResult]) -> None:
    (empty, little) = judge([*sharp, replace(sharp[0], content=0.0), replace(sharp[0], content=0.04)])[-2:]
    assert (empty.verdict, little.verdict) == ("no_content", "no_content")
    assert (empty.confidence or 0) > (little.confidence or 0) >= 0.5
    assert last(sharp, replace(sharp[0], content=0.04), rule=VerdictRule(min_content=0.03)).verdict == "in_focus"


# --- Tiles of their own kind ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("sigma", [0.0, 2.0])
def test_a_broken_scan_is_never_in_focus(sharp: list[FocusResult], sigma: float, rng: np.random.Generator) -> None:
    broken = row(spectrum(rng, sigma), remarks=(Remark(code="constant_rows", message="half of it is missing"),))
    assert last(sharp, broken).verdict == ("cannot_tell" if sigma == 0 else "out_of_focus")


def test_a_broken_scan_changes_no_other_verdict(sharp: list[FocusResult], rng: np.random.Generator) -> None:
    broken = row(spectrum(rng), remarks=(Remark(code="constant_rows", message="half of it is missing"),))
    assert judge([*sharp[:12], broken, *sharp[12:]])[13:] == judge(sharp)[12:]


@pytest.mark.parametrize("sigma", [0.0, 3.0])
def test_of_a_lossy_tile_no_verdict_is_sure(sharp: list[FocusResult], sigma: float, rng: np.random.Generator) -> None:
    tile = spectrum(rng, sigma)
    for lossy in (
        row(tile, acquisition=Acquisition(lossy=True)),
        row(tile, remarks=(Remark(code="lossy", message="blocks of 8 px"),)),
    ):
        found = last(sharp, lossy)
        assert found.confidence is not None and found.confidence <= 0.69


def test_a_failed_tile_stays_failed_and_disturbs_nothing(sharp: list[FocusResult]) -> None:
    failed = FocusResult(path="x.tif", status="failed", provenance=ABOUT, error=Failure(code="corrupt", message="x"))
    judged = judge([failed, *sharp])
    assert judged[0].verdict == "failed"
    assert judged[1:] == judge(sharp)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_of_fewer_than_four_tiles_nothing_can_be_told(n: int, rng: np.random.Generator) -> None:
    assert verdicts(judge(run(rng, [0.0, 2.0, 0.0][:n]))) == ["cannot_tell"] * n


def test_settings_are_judged_apart_and_the_order_is_kept(rng: np.random.Generator) -> None:
    """Fine pixels and coarse ones, by turns: the coarse ones are all "blurred", among themselves they are not."""
    fine = run(rng, np.zeros(12))
    coarse = [replace(each, pixel_size_nm=2.0) for each in run(rng, [*np.full(11, 0.6), 2.5])]
    rows = [replace(each, path=f"{i}.tif") for i, pair in enumerate(zip(fine, coarse, strict=True)) for each in pair]
    judged = judge(rows)
    assert [replace(each, verdict=None) for each in judged] != rows
    assert [each.path for each in judged] == [each.path for each in rows]
    assert alarms(judged) == [23]
    assert judged[::2] == judge(rows[::2])


def test_sections_that_are_not_known_are_neighbours(rng: np.random.Generator) -> None:
    rows = run(rng, np.tile([0.0, 0.0, 0.0, 0.0, 2.0], 8))
    assert alarms(judge(rows)) == alarms(judge(rows, sections=[None] * 40)) == list(range(4, 40, 5))


def test_of_nothing_there_is_nothing_to_say() -> None:
    assert judge([]) == []
    assert references_of([], name="none") == []


def test_judging_again_changes_nothing(rng: np.random.Generator) -> None:
    once = judge(run(rng, np.tile([0.0, 0.0, 2.0], 8)))
    assert judge(once) == once


def test_what_is_judged_can_be_written_and_read(rng: np.random.Generator) -> None:
    for each in judge([*run(rng, [*np.zeros(8), 2.0, RIGHT_HALF]), row(None)]):
        assert FocusResult.from_dict(each.to_dict()) == each


# --- Whatever comes -------------------------------------------------------------------------------------------------


def _odd_spectra() -> list[str | None]:
    known = spectrum(None)
    blank, full, unknown = (spectrum(None) for _ in range(3))
    blank.blocks[:], blank.by_cell[:], blank.by_direction[:] = 0, np.nan, np.nan
    full.by_direction[:], full.along_rows[:] = 1e30, 1e30
    unknown.along_rows[:] = np.nan
    return [
        None, "", "1:AAAA", "2:" + known.pack()[2:], known.pack()[:-8], known.pack(), blank.pack(), full.pack(),
        unknown.pack(),
        replace(known, skewness=float("nan")).pack(), replace(known, slow=np.full(8, np.nan)).pack(),
        replace(known, by_direction=np.zeros_like(known.by_direction)).pack(),
        replace(known, along_rows=np.zeros(33), along_cols=np.zeros(33)).pack(),
        *(spectrum(None, sigma).pack() for sigma in (1.0, 3.0, 30.0)),
    ]  # fmt: skip


numbers = st.sampled_from([None, 0.0, 0.5, 1.0, 1e300, 10**400, float("inf"), float("nan"), -1.0])
odd_rows = st.builds(
    lambda text, shape, **keys: replace(row(None), spectrum=text, shape=shape, **keys),
    st.sampled_from(_odd_spectra()),
    st.sampled_from([None, (1024, 1024), (1, 1)]),
    content=numbers, focus_score=numbers, anisotropy=numbers, pixel_size_nm=numbers,
    acquisition=st.builds(Acquisition, lossy=st.booleans(), dwell_us=numbers),
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(tiles=st.lists(st.tuples(odd_rows, st.none() | st.integers(-3, 3)), max_size=25), known=st.booleans())
def test_any_rows_get_a_verdict(tiles: list[tuple[FocusResult, int | None]], known: bool) -> None:
    rows = [each for each, _ in tiles]
    judged = judge(rows, sections=[section for _, section in tiles] if known else None)
    assert [each.path for each in judged] == [each.path for each in rows]
    for each in judged:
        assert each.verdict in ("in_focus", "out_of_focus", "astigmatic", "no_content", "cannot_tell")
        assert each.confidence is None or 0 <= each.confidence <= 1
        for number in (each.blur_px, each.blur_error_px, each.flag_px):
            assert number is None or np.isfinite(number)
    references_of(judged, name="odd")


def test_a_spectrum_that_cannot_be_read_is_cannot_tell(sharp: list[FocusResult]) -> None:
    assert last(sharp, replace(sharp[0], spectrum="3:from the future")).verdict == "cannot_tell"


def test_many_rows_take_seconds(rng: np.random.Generator) -> None:
    few = run(rng, np.tile([0.0] * 19 + [2.0], 10))
    rows = [few[i % len(few)] for i in range(5000)]
    begun = time.process_time()
    judged = judge(rows, sections=[i // 20 for i in range(5000)])
    assert time.process_time() - begun < 20
    assert alarms(judged) == list(range(19, 5000, 20))
