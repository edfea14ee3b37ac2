"""The queue is in the ledger: what was not sent is sent later, by another process too, and nothing twice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from mhfd.contract import FocusParams
from mhfd_client.config import AlertSettings, parse_config
from mhfd_client.judge.events import Entry, EventBook
from mhfd_client.ledger import Ledger, Run, open_ledger
from mhfd_client.notify import outbox
from mhfd_client.notify.opening import open_channels
from mhfd_client.notify.outbox import Outbox
from mhfd_client.notify.policy import GATHER_S
from mhfd_client.notify.protocol import NotSentError
from receivers import Server


@dataclass
class Place:
    """A run in a ledger, a webhook, and a clock."""

    ledger: Ledger
    run: Run
    http: Server
    now: float = 1e9
    rules: AlertSettings = field(default_factory=lambda: AlertSettings(channels=("ops",), cooldown_s=600))

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        """Another process."""
        config = parse_config({"notify": {"ops": {"kind": "webhook", "url": self.http.url}}})
        (channel,) = open_channels(config, ["ops"])
        self.box = Outbox(self.ledger, self.run, channel, self.rules, clock=lambda: self.now)
        self.book = EventBook(self.ledger, self.run.run_id, self.rules, [self.box], clock=lambda: self.now)

    def send(self) -> None:
        """What the next step sends when tiles have been gathered."""
        self.now += GATHER_S
        self.box.step()

    @property
    def texts(self) -> list[list[str]]:
        """The lines of each message, without title and run."""
        return [body["text"].split("\n")[1:-1] for body in self.http.bodies]


@pytest.fixture
def place(tmp_path: Path, http: Server) -> Iterator[Place]:
    with open_ledger(tmp_path / "ledger.db") as ledger:
        run = ledger.open_run(str(tmp_path / "run1"), FocusParams(), layout="auto", endpoint="local")
        yield Place(ledger, run, http)


def test_an_event_is_told_when_it_begins_and_when_it_ends(place: Place) -> None:
    place.book.begin("missing", "2 tiles are missing")
    place.box.step()
    place.book.begin("missing", "3 tiles are missing")
    place.box.step()
    place.now += 60
    place.book.end("missing", "no tile is missing any more")
    place.box.step()
    place.box.step()
    assert [body["title"] for body in place.http.bodies] == [
        "tiles are missing in run1", "over: tiles are missing in run1"
    ]  # fmt: skip
    assert ["2 tiles are missing" in place.texts[0][0], "no tile is missing" in place.texts[1][0]] == [True, True]


def test_a_message_that_fails_waits_and_is_sent_once(place: Place) -> None:
    place.http.answers = [503, 500]
    place.book.begin("worsening", "focus is getting worse")
    for attempts in (1, 2):
        with pytest.raises(NotSentError, match="50"):
            place.box.step()
        (delivery,) = place.ledger.deliveries(place.run.run_id)
        assert (delivery.attempts, delivery.sent_at) == (attempts, None)
    for _ in range(2):
        place.box.step()
    assert len(place.http.got) == 1


def test_another_process_sends_what_waits_and_nothing_twice(place: Place) -> None:
    place.book.begin("worsening", "focus is getting worse")
    place.box.step()
    place.book.begin("missing", "2 tiles are missing")
    for _ in range(2):
        place.start()
        place.book.begin("worsening", "focus is getting worse still")
        place.book.begin("missing", "2 tiles are missing")
        place.box.step()
    assert [body["events"][0]["kind"] for body in place.http.bodies] == ["worsening", "missing"]


def test_one_dead_message_does_not_hold_the_others(place: Place) -> None:
    place.http.answers = [400]
    place.book.begin("missing", "2 tiles are missing")
    place.book.begin("worsening", "focus is getting worse")
    with pytest.raises(NotSentError):
        place.box.step()
    assert [body["events"][0]["kind"] for body in place.http.bodies] == ["worsening"]


def test_a_message_is_given_up_after_a_day(place: Place) -> None:
    place.http.answers = [400, 400]
    place.book.begin("missing", "2 tiles are missing")
    with pytest.raises(NotSentError):
        place.box.step()
    place.now += outbox.GIVE_UP_S + 1
    with pytest.raises(NotSentError):
        place.box.step()
    place.box.step()
    (delivery,) = place.ledger.deliveries(place.run.run_id)
    assert (delivery.error or "").startswith("given up after a day")
    assert place.http.got == []


def test_an_acknowledged_event_is_not_told_again(place: Place) -> None:
    place.book.begin("missing", "2 tiles are missing")
    (event,) = place.ledger.events(place.run.run_id)
    place.ledger.acknowledge(place.run.run_id, event.event_id, "ana", place.now)
    place.box.step()
    assert place.http.got == []
    place.book.end("missing", "no tile is missing any more")
    place.now += 600
    place.box.step()
    assert len(place.http.got) == 1


def test_only_the_events_that_are_wanted_are_told(place: Place) -> None:
    place.rules = AlertSettings(channels=("ops",), events=("worsening",))
    place.start()
    place.book.begin("missing", "2 tiles are missing")
    place.book.gather("tiles", [Entry(1, "out of focus: a.tif")])
    place.book.begin("worsening", "focus is getting worse")
    place.box.step()
    assert [body["events"][0]["kind"] for body in place.http.bodies] == ["worsening"]
    assert {event.kind for event in place.ledger.events(place.run.run_id)} == {"missing", "worsening"}


# --- Tiles --------------------------------------------------------------------------------------------------------


def test_tiles_are_told_together_once_a_cool_down(place: Place) -> None:
    place.book.gather("tiles", [Entry(1, "out of focus: a.tif")])
    place.send()
    for k in range(2, 6):
        place.now += 60
        place.book.gather("tiles", [Entry(k, f"out of focus: {k}.tif")])
        place.send()
    place.now += 600
    place.send()
    place.send()
    assert place.texts == [["out of focus: a.tif"], [f"out of focus: {k}.tif" for k in range(2, 6)]]
    assert place.http.bodies[1]["title"] == "4 tiles to look at in run1"


def test_a_long_bundle_names_the_first_and_counts_the_others(place: Place) -> None:
    place.book.gather("tiles", [Entry(k, f"out of focus: {k}.tif") for k in range(1000)])
    place.send()
    assert len(place.texts[0]) < 50
    assert place.texts[0][-1] == "and 960 more: mhfd status"


def test_a_correction_goes_where_the_first_word_went(place: Place) -> None:
    event_id = place.book.gather("tiles", [Entry(1, "out of focus: a.tif")])
    place.send()
    place.start()  # also by another process
    assert (
        place.book.correct([Entry(1, "now in focus: a.tif", event_id), Entry(2, "now in focus: b.tif", None)]) == set()
    )
    place.send()
    assert place.texts == [["out of focus: a.tif"], ["now in focus: a.tif"]]


def test_a_first_word_that_was_not_sent_yet_is_taken_back(place: Place) -> None:
    event_id = place.book.gather("tiles", [Entry(1, "out of focus: a.tif"), Entry(2, "out of focus: b.tif")])
    assert place.book.correct([Entry(1, "now in focus: a.tif", event_id)]) == {1}
    place.send()
    assert place.texts == [["out of focus: b.tif"]]


def test_a_bundle_that_is_wholly_taken_back_is_not_told(place: Place) -> None:
    event_id = place.book.gather("tiles", [Entry(1, "out of focus: a.tif")])
    place.book.correct([Entry(1, "now in focus: a.tif", event_id)])
    place.send()
    assert place.http.got == []
    place.book.gather("tiles", [Entry(2, "out of focus: b.tif")])
    place.send()
    assert place.texts == [["out of focus: b.tif"]]


def test_a_tile_found_while_a_bundle_is_retried_waits_for_the_next(place: Place) -> None:
    place.http.answers = [500]
    first = place.book.gather("tiles", [Entry(1, "out of focus: a.tif")])
    with pytest.raises(NotSentError):
        place.send()
    assert place.book.gather("tiles", [Entry(2, "out of focus: b.tif")]) != first
    place.send()
    assert place.texts == [["out of focus: a.tif", "out of focus: b.tif"]]
