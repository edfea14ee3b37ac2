"""What was said, what was decided, what happened, what was calibrated: kept in both databases."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from mhfd.contract import FocusParams
from mhfd_client.ledger import (
    Decision,
    Delivery,
    KeptCalibration,
    Ledger,
    LedgerError,
    Run,
    Said,
    SeenFile,
    open_ledger,
)


@pytest.fixture
def tiles(ledger: Ledger, run: Run) -> list[int]:
    """The numbers of three tiles that were seen."""
    files = [SeenFile(f"s000{i}_r0_c0.tif", 100, 1) for i in range(3)]
    ledger.see(run.run_id, [(file, None) for file in files], 1.0)
    return [row.tile_id for row in ledger.rows(run.run_id)]


def test_the_last_word_on_a_tile_counts(ledger: Ledger, run: Run, tiles: list[int]) -> None:
    first = [Said(tile_id, "out_of_focus", 5.0 + i, "ab" * 32, {"blur_px": 2.0}) for i, tile_id in enumerate(tiles)]
    ledger.say(run.run_id, first)
    later = replace(first[0], verdict="in_focus", said_at=9.0, details={"was": "out_of_focus"})
    ledger.say(run.run_id, [later])
    assert ledger.said(run.run_id) == [later, first[2], first[1]]
    assert ledger.said(run.run_id, verdicts=("out_of_focus", "failed"), limit=1) == [first[2]]


def test_nothing_is_said_of_a_tile_that_was_taken_again(ledger: Ledger, run: Run, walk: Callable[..., int]) -> None:
    again, other = (walk(f"s000{i}_r0_c0.tif", "failed") for i in range(2))
    ledger.say(run.run_id, [Said(tile_id, "failed", 5.0, None, {}) for tile_id in (again, other)])
    ledger.see(run.run_id, [(SeenFile("s0000_r0_c0.tif", 200, 2), None)], 200.0)
    assert [each.tile_id for each in ledger.said(run.run_id)] == [other]


def test_numbers_by_verdict_are_kept_with_their_time(ledger: Ledger, run: Run) -> None:
    assert ledger.verdicts(run.run_id) is None
    ledger.set_verdicts(run.run_id, {"counts": {"in_focus": 3}}, 7.0)
    assert ledger.verdicts(run.run_id) == ({"counts": {"in_focus": 3}}, 7.0)


def test_every_decision_is_kept(ledger: Ledger, run: Run, tiles: list[int], where: str) -> None:
    made = [Decision(tiles[1], "retake", "ana", 5.0), Decision(tiles[1], "open", None, 6.0, "a slip of the mouse")]
    other = Decision(tiles[2], "accept", "切片", 7.0)
    for each in (*made, other):
        ledger.decide(run.run_id, each)
    ledger.close()
    with open_ledger(where, readonly=True) as again:
        assert again.decisions(run.run_id) == [*made, other]
        assert again.decisions(run.run_id, tile_id=tiles[1]) == made


def test_a_decision_needs_a_tile_of_the_run_and_a_known_word(ledger: Ledger, run: Run, tiles: list[int]) -> None:
    other = ledger.open_run("/data/other", FocusParams(), layout="auto", endpoint="local")
    with pytest.raises(LedgerError, match=f"run {other.run_id} has no tile number {tiles[0]}"):
        ledger.decide(other.run_id, Decision(tiles[0], "accept", None, 1.0))
    with pytest.raises(LedgerError, match="'perhaps' is no decision; there are: open, retake, accept, ignore"):
        ledger.decide(run.run_id, Decision(tiles[0], "perhaps", None, 1.0))  # type: ignore[arg-type]
    assert ledger.decisions(run.run_id) == []


def test_a_matter_begins_once_until_it_ends(ledger: Ledger, run: Run) -> None:
    first, new = ledger.begin_event(run.run_id, "endpoint", "dgx", {"text": "offline"}, 5.0)
    assert new
    same, new = ledger.begin_event(run.run_id, "endpoint", "dgx", {"text": "still offline"}, 6.0)
    assert (same, new) == (first, False)
    ledger.end_event(first.event_id, 7.0)
    ledger.end_event(first.event_id, 8.0)
    again, new = ledger.begin_event(run.run_id, "endpoint", "dgx", {"text": "offline again"}, 9.0)
    assert new and again.event_id != first.event_id
    assert ledger.events(run.run_id) == [again, replace(first, ended_at=7.0)]
    assert ledger.events(run.run_id, open_only=True) == [again]


def test_an_event_is_acknowledged_once_and_may_change(ledger: Ledger, run: Run) -> None:
    event, _ = ledger.begin_event(run.run_id, "worsening", "", {"blur_px": 1.0}, 5.0)
    ledger.update_event(event.event_id, {"blur_px": 1.4})
    expected = replace(event, details={"blur_px": 1.4}, acknowledged_at=6.0, acknowledged_by="ana")
    assert ledger.acknowledge(run.run_id, event.event_id, "ana", 6.0) == expected
    assert ledger.acknowledge(run.run_id, event.event_id, "ben", 8.0) == expected
    with pytest.raises(LedgerError, match="has no event number 99"):
        ledger.acknowledge(run.run_id, 99, "ana", 6.0)


def test_how_a_message_fared_is_kept(ledger: Ledger, run: Run) -> None:
    event, _ = ledger.begin_event(run.run_id, "worsening", "", {}, 5.0)
    failed = Delivery(event.event_id, "began", "email", 6.0, 1, None, "connection refused")
    ledger.save_delivery(failed)
    sent = replace(failed, tried_at=9.0, attempts=2, sent_at=9.0, error=None)
    ledger.save_delivery(sent)
    ledger.save_delivery(replace(sent, channel="webhook"))
    assert ledger.deliveries(run.run_id) == [sent, replace(sent, channel="webhook")]


def test_a_calibration_replaces_that_of_its_setting(ledger: Ledger) -> None:
    kept = KeptCalibration("sem1", "1024 x 1024 px", 5.0, {"slope": 0.8})
    for each in (kept, replace(kept, setting="512 x 512 px"), replace(kept, kept_at=6.0, calibration={"slope": 0.9})):
        ledger.keep_calibration(each)
    assert [each.calibration for each in ledger.calibrations("sem1")] == [{"slope": 0.9}, {"slope": 0.8}]
    assert ledger.forget_calibrations("sem1", "512 x 512 px") == 1
    with pytest.raises(LedgerError, match="no such calibration of 'sem2'; it has those of: sem1"):
        ledger.forget_calibrations("sem2")
