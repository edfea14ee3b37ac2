"""The rule for rows without a spectrum; the scores are written by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mhfd.contract import Failure, FocusResult
from mhfd.judge import VerdictRule, judge
from mhfd.judge.folder import MOST_SURE
from spectra import ABOUT, row


def tile(
    path: str, score: float = 10.0, *, content: float | None = 1.0, anisotropy: float | None = 0.05
) -> FocusResult:
    return row(None, path, focus_score=score, content=content, anisotropy=anisotropy)


def sharp_run(folder: str = "run") -> list[FocusResult]:
    return [tile(f"{folder}/{i}.tif", 10.0 + 0.1 * i) for i in range(8)]


def verdicts(rows: list[FocusResult]) -> list[str | None]:
    return [row.verdict for row in judge(rows)]


def test_like_tiles_are_all_in_focus() -> None:
    assert verdicts(sharp_run()) == ["in_focus"] * 8


def test_a_tile_far_below_the_others_is_out_of_focus() -> None:
    assert verdicts([*sharp_run(), tile("run/bad.tif", 3.0)])[-1] == "out_of_focus"


def test_a_tile_sharper_than_the_others_is_in_focus() -> None:
    assert verdicts([*sharp_run(), tile("run/good.tif", 40.0)])[-1] == "in_focus"


def test_a_tile_with_a_score_of_zero_and_content_is_out_of_focus() -> None:
    assert verdicts([*sharp_run(), tile("run/bad.tif", 0.0)])[-1] == "out_of_focus"


def test_tiles_with_a_score_of_zero_and_content_are_peers() -> None:
    assert verdicts([tile(f"run/{i}.tif", 0.0) for i in range(11)]) == ["in_focus"] * 11


def test_no_verdict_is_surer_than_scores_can_be() -> None:
    rows = judge([*sharp_run(), tile("run/bad.tif", 0.01)])
    assert all(each.confidence is not None and 0.5 <= each.confidence <= MOST_SURE < 0.7 for each in rows)


def test_a_blurred_tile_with_a_preferred_direction_is_astigmatic() -> None:
    assert verdicts([*sharp_run(), tile("run/bad.tif", 5.5, anisotropy=0.5)])[-1] == "astigmatic"


def test_direction_alone_is_no_fault() -> None:
    """Fibres that run one way are still sharp."""
    assert verdicts([*sharp_run(), tile("run/fibres.tif", 10.0, anisotropy=0.6)])[-1] == "in_focus"


def test_resin_has_no_content_whatever_its_score() -> None:
    assert verdicts([*sharp_run(), tile("run/resin.tif", 0.0, content=0.0)])[-1] == "no_content"


def test_resin_does_not_shift_what_is_normal() -> None:
    resin = [tile(f"run/resin{i}.tif", 0.01, content=0.0) for i in range(30)]
    assert verdicts([*sharp_run(), *resin])[:8] == ["in_focus"] * 8


def test_too_few_tiles_cannot_tell() -> None:
    assert verdicts(sharp_run()[:4]) == ["cannot_tell"] * 4


def test_a_tile_too_small_for_its_content_to_be_known_cannot_tell() -> None:
    assert verdicts([*sharp_run(), tile("run/tiny.tif", content=None)])[-1] == "cannot_tell"


@pytest.mark.parametrize("measure", [1, 2])
def test_folders_and_measures_are_judged_apart(measure: int) -> None:
    """Eight tiles with low scores beside eight with high ones are normal among themselves."""
    about = replace(ABOUT, measure=measure)
    folder = "other" if measure == ABOUT.measure else "run"
    low = [
        replace(each, path=f"{folder}/low{i}.tif", focus_score=1.0, provenance=about)
        for i, each in enumerate(sharp_run())
    ]
    assert verdicts([*sharp_run(), *low]) == ["in_focus"] * 16


@pytest.mark.parametrize("path", ["run/low.zarr/", "run//low.tif", "./run/./low.tif", "run/low.zarr/."])
def test_a_folder_is_one_however_it_is_written(path: str) -> None:
    assert verdicts([*sharp_run(), tile(path, 1.0)])[-1] == "out_of_focus"


def test_a_failed_tile_stays_failed_and_disturbs_nothing() -> None:
    failed = FocusResult(
        path="run/x.tif", status="failed", provenance=ABOUT, error=Failure(code="corrupt", message="x")
    )
    assert verdicts([failed, *sharp_run()]) == ["failed"] + ["in_focus"] * 8


def test_order_is_kept() -> None:
    rows = [tile("b/1.tif"), tile("a/1.tif"), tile("b/2.tif")]
    assert [each.path for each in judge(rows)] == ["b/1.tif", "a/1.tif", "b/2.tif"]


def test_confidence_grows_with_the_distance_from_the_line() -> None:
    near, far = judge([*sharp_run(), tile("run/near.tif", 6.45), tile("run/far.tif", 5.0)])[-2:]
    assert near.confidence is not None and far.confidence is not None
    assert 0.5 <= near.confidence < far.confidence


def test_judging_fills_in_the_verdict_only() -> None:
    judged = judge(sharp_run(), VerdictRule())
    assert [replace(each, verdict=None, confidence=None, reference=None, doubts=()) for each in judged] == sharp_run()


@pytest.mark.parametrize("n", [0, 1])
def test_an_empty_or_single_run_is_no_error(n: int) -> None:
    assert len(judge(sharp_run()[:n])) == n
