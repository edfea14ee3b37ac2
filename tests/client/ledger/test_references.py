"""References are kept by instrument and setting; a run's thresholds are its watch's."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mhfd_client.ledger import KeptReference, Ledger, LedgerError, Run

KEPT = KeptReference(
    instrument="sem1", setting="1024 x 1024", tiles=31, kept_at=5.0, run_id=None, reference={"power": [1.5, None]}
)


def test_what_was_kept_comes_back(ledger: Ledger, run: Run) -> None:
    kept = replace(KEPT, run_id=run.run_id)
    ledger.keep_reference(kept)
    assert ledger.references("sem1") == [kept]
    assert ledger.references("sem2") == []


def test_one_of_the_same_setting_takes_its_place(ledger: Ledger) -> None:
    ledger.keep_reference(KEPT)
    ledger.keep_reference(replace(KEPT, tiles=40, kept_at=6.0))
    ledger.keep_reference(replace(KEPT, setting="512 x 512", kept_at=7.0))
    assert [(each.setting, each.tiles) for each in ledger.references()] == [("512 x 512", 31), ("1024 x 1024", 40)]


def test_what_is_forgotten_is_gone(ledger: Ledger) -> None:
    for setting in ("a", "b", "c"):
        ledger.keep_reference(replace(KEPT, setting=setting))
    assert ledger.forget_references("sem1", "a") == 1
    assert sorted(each.setting for each in ledger.references()) == ["b", "c"]
    assert ledger.forget_references("sem1") == 2
    assert ledger.references() == []


def test_forgetting_what_is_not_there_says_what_is(ledger: Ledger) -> None:
    ledger.keep_reference(KEPT)
    with pytest.raises(LedgerError, match=r"no such reference of 'sem2'; it has those of: sem1"):
        ledger.forget_references("sem2")


def test_a_run_keeps_the_rule_that_was_set_last(ledger: Ledger, run: Run) -> None:
    assert ledger.rule(run.run_id) == {}
    ledger.set_rule(run.run_id, {"max_blur_px": 1.1}, 1.0)
    ledger.set_rule(run.run_id, {"max_blur_px": 1.5, "instrument": "sem1"}, 2.0)
    assert ledger.rule(run.run_id) == {"max_blur_px": 1.5, "instrument": "sem1"}
