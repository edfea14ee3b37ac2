"""How a run stands: by the word of its watch where that holds, else judged."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mhfd.contract import FocusParams, FocusResult
from mhfd_client.judge import standing as module
from mhfd_client.judge.run import judge_run, judged_keys, keep_references
from mhfd_client.judge.standing import Standing, Standings, standing, watcher_lives
from mhfd_client.ledger import KeptReference, Ledger, Run, Said, SeenFile, open_ledger
from spectra import ABOUT, run

NOW = 10_000.0
SAID_AT = 9_000.0


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    with tempfile.TemporaryDirectory() as folder, open_ledger(Path(folder) / "ledger.db") as found:
        yield found


@pytest.fixture
def watched(ledger: Ledger) -> Run:
    """A run of 12 sharp tiles and a blurred one, its watch's word in the ledger."""
    opened = ledger.open_run("a", FocusParams(), layout="auto", endpoint="local")
    ledger.set_rule(opened.run_id, {"max_blur_px": 1.1, "min_content": 0.05, "instrument": "sem1"}, 1.0)
    rng = np.random.default_rng(1)
    for each in run(rng, [*np.zeros(12), 2.0]):
        store(ledger, opened, each)
    tell(ledger, opened)
    return opened


def store(ledger: Ledger, of: Run, result: FocusResult, now: float = 0.0) -> None:
    number = len(list(ledger.rows(of.run_id)))
    ledger.see(of.run_id, [(SeenFile(result.path, 10, number + int(now)), None)], now)
    (tile,) = ledger.take(of.run_id, "seen", 9, now=0)
    ledger.finish(tile.tile_id, [(f"{result.path} {now}", (4, 4))], now)
    about = replace(ABOUT, tile_sha256=f"{result.path} {now}")
    ledger.store([(tile.tile_id, replace(result, provenance=about))], now)


def tell(ledger: Ledger, of: Run, **changes: object) -> None:
    """What a watch leaves: its word on tiles to look at, and the numbers. The blur said tells it from a judgement."""
    found = module.judged_now(ledger, of.run_id)
    ledger.say(
        of.run_id,
        [
            Said(
                i, str(each.result.verdict), SAID_AT, each.row.tile_sha256, {**judged_keys(each.result), "blur_px": 7.0}
            )
            for i, each in found.flagged.items()
            if each.row.state == "scored"
        ],
    )
    note = {"counts": dict(found.counts), "results": len(found.verdicts), "max_blur_px": 1.1, **changes}
    ledger.set_verdicts(of.run_id, note, SAID_AT)


def blur_px(found: Standing) -> list[float | None]:
    return [each.result.blur_px for each in found.flagged.values()]


def test_the_word_of_a_watch_is_taken(ledger: Ledger, watched: Run) -> None:
    found = standing(ledger, watched.run_id, NOW)
    assert (found.source, blur_px(found)) == ("watch", [7.0])
    assert (found.counts["in_focus"], found.counts["out_of_focus"]) == (12, 1)


def test_a_judgement_has_the_same_tiles_and_numbers(ledger: Ledger, watched: Run) -> None:
    word, judged = standing(ledger, watched.run_id, NOW), module.judged_now(ledger, watched.run_id)
    assert dict(word.counts) == dict(judged.counts)
    assert word.flagged.keys() == judged.flagged.keys()
    assert blur_px(judged) == [pytest.approx(2.0, abs=0.2)]


@pytest.mark.parametrize("path", ["late.tif", "t3.tif"])
def test_the_word_does_not_hold_for_results_that_came_later(ledger: Ledger, watched: Run, path: str) -> None:
    """Also where their number is the same, as a tile was taken again."""
    late = replace(run(np.random.default_rng(2), [0.0])[0], path=path)
    store(ledger, watched, late, SAID_AT + 1)
    assert standing(ledger, watched.run_id, NOW).source == "judged"


def test_the_word_of_a_living_watch_holds_while_results_come_in(ledger: Ledger, watched: Run) -> None:
    store(ledger, watched, replace(run(np.random.default_rng(2), [0.0])[0], path="late.tif"))
    ledger.heartbeat(watched.run_id, {"pid": 1}, NOW - 5)
    assert standing(ledger, watched.run_id, NOW).source == "watch"
    ledger.heartbeat(watched.run_id, {"pid": 1, "ended": True}, NOW - 5)
    assert standing(ledger, watched.run_id, NOW).source == "judged"


def test_the_word_is_that_of_one_threshold(ledger: Ledger, watched: Run) -> None:
    ledger.set_rule(watched.run_id, {"max_blur_px": 30.0, "instrument": "sem1"}, 2.0)
    found = standing(ledger, watched.run_id, NOW)
    assert (found.source, dict(found.flagged)) == ("judged", {})


def test_what_another_run_left_since_ends_the_word(ledger: Ledger, watched: Run) -> None:
    (kept,) = keep_references(ledger, watched.run_id)
    assert standing(ledger, watched.run_id, NOW).source == "watch"  # a run is not judged by what it left itself
    other = ledger.open_run("b", FocusParams(), layout="auto", endpoint="local")
    ledger.keep_reference(KeptReference("sem1", kept.setting, 8, SAID_AT + 1, other.run_id, kept.reference))
    assert standing(ledger, watched.run_id, NOW).source == "judged"


def test_the_numbers_of_a_word_are_brought_up_to_date(ledger: Ledger, watched: Run) -> None:
    before = ledger.said(watched.run_id)
    module.renew_word(ledger, watched.run_id, judge_run(ledger, watched.run_id))
    found = standing(ledger, watched.run_id, NOW)
    assert (found.source, blur_px(found)) == ("watch", blur_px(module.judged_now(ledger, watched.run_id)))
    assert [replace(each, details={}) for each in ledger.said(watched.run_id)] == [
        replace(each, details={}) for each in before
    ]


def test_a_word_that_changed_is_left_to_who_tells_it(ledger: Ledger, watched: Run) -> None:
    tiles = judge_run(ledger, watched.run_id)
    sharp = [replace(tile, result=replace(tile.result, verdict="in_focus")) for tile in tiles]
    module.renew_word(ledger, watched.run_id, sharp)
    assert [each.verdict for each in ledger.said(watched.run_id)] == ["out_of_focus"]


def test_a_word_on_other_pixels_does_not_count(ledger: Ledger, watched: Run) -> None:
    (said,) = ledger.said(watched.run_id)
    ledger.say(watched.run_id, [replace(said, tile_sha256="other")])
    assert dict(standing(ledger, watched.run_id, NOW).flagged) == {}


def test_failed_tiles_are_counted_and_listed_without_a_word(ledger: Ledger, watched: Run) -> None:
    ledger.see(watched.run_id, [(SeenFile("cut.tif", 10, 99), None)], 99.0)
    (tile,) = ledger.take(watched.run_id, "seen", 9, now=0)
    ledger.store([(tile.tile_id, FocusResult.failed("cut.tif", "truncated", "it ends early", ABOUT))], 99.0)
    found = standing(ledger, watched.run_id, NOW)
    assert (found.source, found.counts["failed"], found.verdicts[tile.tile_id]) == ("watch", 1, "failed")
    assert found.flagged[tile.tile_id].result.error is not None


def test_a_run_too_large_to_be_judged_in_passing_says_so(
    ledger: Ledger, watched: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "JUDGED_AT_MOST", 12)
    found = Standings(ledger, watched.run_id)
    word = found.at(NOW)
    assert word is not None and word.source == "watch"
    tell(ledger, watched, counts={"in_focus": 3})
    assert found.at(NOW) is None
    assert standing(ledger, watched.run_id, NOW).source == "judged"  # who asks for the list waits for it


def test_who_asks_again_and_again_is_answered_without_a_new_judgement(
    ledger: Ledger, watched: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell(ledger, watched, counts={"in_focus": 3})
    times = []
    judged_now = module.judged_now
    monkeypatch.setattr(module, "judged_now", lambda *given: times.append(1) or judged_now(*given))
    found = Standings(ledger, watched.run_id)
    first = found.at(NOW)
    assert found.at(NOW + 2) is first
    store(ledger, watched, replace(run(np.random.default_rng(2), [2.0])[0], path="late.tif"), SAID_AT)
    assert found.at(NOW + 4) is not first
    assert len(times) == 2


def test_a_watcher_lives_for_a_minute_after_its_last_sign() -> None:
    assert watcher_lives({"pid": 1}, NOW - 59, NOW)
    assert not watcher_lives({"pid": 1}, NOW - 61, NOW)
    assert not watcher_lives({"pid": 1, "ended": True}, NOW, NOW)
    assert not watcher_lives(None, None, NOW)
