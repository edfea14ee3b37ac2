"""Each verdict that is not sure says why, by the rule that made it so."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mhfd.contract import Acquisition, Remark
from mhfd.judge import VerdictRule, judge
from mhfd.judge.doubts import SURE, weighed
from spectra import OTHER, row, run, spectrum


def test_a_sure_verdict_has_no_doubts(rng: np.random.Generator) -> None:
    for each in judge(run(rng, [*np.zeros(20), 3.0])):
        assert (each.confidence or 0) >= SURE
        assert each.doubts == ()


def test_the_weightiest_reason_comes_first_and_none_that_hardly_weighs() -> None:
    assert weighed(0.9, {"few_tiles": 0.85, "lossy": 0.99}) == (0.85, ("few_tiles", "near_threshold"))
    assert weighed(0.999, {"few_tiles": 1.0}) == (0.999, ())


def test_near_the_threshold_is_a_reason(rng: np.random.Generator) -> None:
    rows = run(rng, [*np.zeros(20), 1.5])
    flag_px = judge(rows)[-1].flag_px
    assert flag_px is not None
    for factor in (0.98, 1.02):
        found = judge(rows, VerdictRule(max_blur_px=flag_px * factor))[-1]
        assert found.doubts == ("near_threshold",)


def test_few_tiles_are_a_reason_and_fewer_none_for_a_verdict(rng: np.random.Generator) -> None:
    assert {each.doubts for each in judge(run(rng, np.zeros(3)))} == {("nothing_to_compare",)}
    assert all("few_tiles" in each.doubts for each in judge(run(rng, np.zeros(6))))


def test_a_reference_that_looks_blurred_is_a_reason(rng: np.random.Generator) -> None:
    assert all("reference_blurred" in each.doubts for each in judge(run(rng, np.full(20, 2.0))))


def test_a_run_of_which_half_is_worse_is_a_reason(rng: np.random.Generator) -> None:
    found = judge(run(rng, np.tile([0.0, 3.0, 3.0], 12)))
    assert all("most_are_worse" in each.doubts for each in found if each.verdict == "in_focus")
    assert not any("most_are_worse" in each.doubts for each in found if each.verdict == "out_of_focus")


def test_loss_is_a_reason(rng: np.random.Generator) -> None:
    rows = [replace(each, acquisition=Acquisition(lossy=True)) for each in run(rng, np.zeros(20))]
    assert {each.doubts for each in judge(rows)} == {("lossy",)}


def test_a_broken_scan_is_the_reason(rng: np.random.Generator) -> None:
    rows = run(rng, np.zeros(20))
    rows[4] = replace(rows[4], remarks=(Remark(code="constant_rows", message=""),))
    assert judge(rows)[4].doubts == ("broken_scan",)


def test_noise_is_the_reason(rng: np.random.Generator) -> None:
    rows = [*run(rng, np.zeros(20)), row(spectrum(rng, white=50.0))]
    assert judge(rows)[-1].doubts == ("drowned",)


def test_another_tissue_is_the_reason(rng: np.random.Generator) -> None:
    rows = [*run(rng, np.zeros(24)), *run(rng, np.full(4, 0.9), OTHER)]
    sections = [i // 4 for i in range(len(rows))]
    assert ("new_tissue",) in {each.doubts for each in judge(rows, sections=sections)[24:]}


@pytest.mark.parametrize(
    ("keys", "reason"),
    [({"content": None}, "too_small"), ({"spectrum": "9:from the future"}, "unreadable_spectrum")],
)
def test_what_cannot_be_read_is_the_reason(keys: dict[str, object], reason: str) -> None:
    assert judge([row(None, **keys)])[0].doubts == (reason,)


def test_without_a_spectrum_only_the_score_was_compared() -> None:
    found = judge([row(None, f"a/{n}.tif") for n in range(9)])
    assert {each.doubts for each in found} == {("by_score",)}


def test_judged_again_the_doubts_of_before_are_gone(rng: np.random.Generator) -> None:
    rows = [replace(each, doubts=("lossy",)) for each in run(rng, np.zeros(20))]
    assert {each.doubts for each in judge(rows)} == {()}
