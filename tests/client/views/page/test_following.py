"""Events: what a run's ledger gets, viewers get."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from mhfd_client.ledger import SeenFile
from mhfd_client.naming.position import Position
from mhfd_client.views.page import follow
from mhfd_client.views.page.columns import VERDICTS
from page_client import Served, served
from page_run import Wafer

BAD = (2, 0, 1)
WAFER = Wafer(sections=3, rows=2, cols=2, odd={BAD: 2.8}, pictures=False)
OUT = VERDICTS.index("out_of_focus")


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path, WAFER, filled=False) as page:
        yield page


def test_an_empty_run_is_ready(page: Served) -> None:
    with page.asker.events() as events:
        state = events.next("state").data
    assert state["code"] == "ready" and state["text"].endswith(page.filling.run.root)


def test_a_bad_tile_is_told_within_a_second_of_its_row(page: Served) -> None:
    spots = list(WAFER.spots())
    page.filling.add(spots[:5])
    with page.asker.events() as events:
        events.next("counts", lambda counts: counts["in_focus"] == 5)
        seen = page.filling.see([BAD])
        began_s = time.monotonic()
        page.filling.score(seen)
        told = events.next("tiles", lambda data: any(row[3] == OUT for row in data["rows"]))
    (row,) = [row for row in told.data["rows"] if row[3] == OUT]
    assert row[:3] == [seen[0][0], 2, 1] and row[4] == pytest.approx(2.8, abs=0.5)
    assert told.at_s - began_s < 1.0


def test_a_tile_is_to_do_until_it_is_scored(page: Served) -> None:
    with page.asker.events() as events:
        ((n, spot),) = page.filling.see([(1, 0, 0)])
        assert events.next("tiles").data["rows"][0][:4] == [n, 1, 0, VERDICTS.index("todo")]
        page.filling.score([(n, spot)])
        events.next("tiles", lambda data: data["rows"][0][3] == VERDICTS.index("cannot_tell"))


def test_who_was_away_gets_what_came_meanwhile(page: Served) -> None:
    with page.asker.events() as events:
        page.filling.add([(1, 0, 0)])
        seq = events.next("tiles").seq
        page.filling.add([(1, 0, 1)])
        later = events.next("tiles", lambda data: data["rows"][0][2] == 1)
    with page.asker.events(after=seq) as events:
        assert events.next("tiles", lambda data: data["rows"][0][2] == 1).seq == later.seq


def test_who_was_away_too_long_fetches_everything_again(page: Served) -> None:
    for seq in (1, 2**50):  # before this server's first event, and after its last
        with page.asker.events(after=seq) as events:
            events.next("reset")


def test_much_at_once_is_a_reset(page: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "BATCHES_BEFORE_RESET", 0)
    with page.asker.events() as events:
        events.next("hello")
        page.filling.add([(1, 0, 0)])
        events.next("reset")
        assert events.next("hello").data["planned"]["positions"] == 1


def test_fifty_viewers_see_the_same_within_a_second(page: Served) -> None:
    with ExitStack() as open_ones:
        viewers = [open_ones.enter_context(page.asker.events()) for _ in range(50)]
        for viewer in viewers:
            viewer.next("hello")
        seen = page.filling.see([BAD])
        for viewer in viewers:
            viewer.next("tiles")
        began_s = time.monotonic()
        page.filling.score(seen)
        told = [viewer.next("tiles") for viewer in viewers]
    assert len({each.seq for each in told}) == 1
    assert max(each.at_s for each in told) - began_s < 1.0


def test_a_tile_taken_again_stands_for_its_place(page: Served) -> None:
    page.filling.add([*list(WAFER.spots())[:5], BAD])
    (bad,) = [row for row in page.filling.ledger.rows(page.filling.run.run_id) if row.path == WAFER.name(BAD)]
    page.wait_judged()
    page.post("/api/decision", {"n": bad.tile_id, "what": "retake", "was": None})
    filling = page.filling
    with page.asker.events() as events:
        events.next("counts", lambda counts: counts["out_of_focus"] == 1)
        again = SeenFile(bad.path, bad.size + 1, bad.mtime_ns + 10**9)
        filling.ledger.see(filling.run.run_id, [(again, Position(section=2, row=0, col=1))], time.time())
        events.next(
            "tiles", lambda data: [bad.tile_id, 2, 1, VERDICTS.index("later")] in [row[:4] for row in data["rows"]]
        )
        (new,) = filling.ledger.take(filling.run.run_id, "seen", 9, order="oldest", now=time.time())
        filling.wafer = replace(filling.wafer, odd={})
        filling.ledger.finish(new.tile_id, [(filling.wafer.pixels(BAD), (256, 256))], time.time())
        filling.score([(new.tile_id, BAD)])
        events.next(
            "tiles",
            lambda data: any(row[0] == new.tile_id and row[3] == VERDICTS.index("in_focus") for row in data["rows"]),
        )
    listed = page.get("/api/retakes").json["tiles"]
    assert [(each["n"], each["state"]) for each in listed] == [(bad.tile_id, "closed")]


def test_a_missing_tile_is_a_row_of_its_own_until_it_comes(page: Served) -> None:
    from mhfd_client.ledger import Missing

    ledger, run_id = page.filling.ledger, page.filling.run.run_id
    page.filling.add([(1, 0, 0), (1, 0, 1)])
    with page.asker.events() as events:
        ledger.set_missing(run_id, [Missing(None, Position(section=1, row=0, col=1), "not in the grid")], time.time())
        (row,) = events.next("tiles", lambda data: data["rows"][0][3] == VERDICTS.index("missing")).data["rows"]
        assert page.get(f"/api/tile/{row[0]}").json["lines"] == ["Missing: not in the grid."]
        assert row[0] >= 2**31 and row[1:3] == [1, 1]
        ledger.set_missing(run_id, [], time.time())
        events.next("tiles", lambda data: data["rows"][0][:1] == row[:1] and data["rows"][0][3] == 0)


def test_an_alarm_lies_where_it_began_and_ended(page: Served) -> None:
    ledger, run_id = page.filling.ledger, page.filling.run.run_id
    (first,) = page.filling.add([(1, 0, 0)])
    with page.asker.events() as events:
        event, _ = ledger.begin_event(run_id, "worsening", "", {"text": "Blur rising"}, time.time())
        events.next("alarm", lambda alarm: alarm["n"] == first and alarm["n_end"] is None)
        (last,) = page.filling.add([(1, 0, 1)])
        ledger.update_event(event.event_id, {**event.details, "end": "focus is back"})
        ledger.end_event(event.event_id, time.time())
        told = events.next("alarm", lambda alarm: alarm["n_end"] == last).data
        assert (told["n"], told["end"]) == (first, "focus is back")


def test_a_sick_endpoint_makes_the_state_waiting(page: Served) -> None:
    page.filling.add([(1, 0, 0)])
    with page.asker.events() as events:
        page.filling.ledger.begin_event(page.filling.run.run_id, "endpoint", "dgx", {"text": "away"}, time.time())
        assert events.next("state", lambda state: state["code"] == "waiting").data["word"] == "Waiting"
