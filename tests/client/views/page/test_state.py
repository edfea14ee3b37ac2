"""How a run stands, in a word."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mhfd_client.views.page.columns import Row
from mhfd_client.views.page.state import StateOfRun, state_of

GOOD = tuple(Row(n, 3, n, "in_focus", blur_px=0.4) for n in range(6))
BAD = tuple(Row(n, 3, n, "out_of_focus", blur_px=2.4) for n in range(6))
RUN = StateOfRun(
    folder="/data/w07", now=1000.0, tiles=60, scored=50, unjudged=0, compared=50, to_do=2, last_scored_at=990.0,
    endpoint_away_since=None, watched=True, usual_px=0.42, max_blur_px=1.1, last=GOOD, before=GOOD,
)  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({}, "in_focus"),
        ({"tiles": 0}, "ready"),
        ({"endpoint_away_since": "2026-11-28T03:04:00Z"}, "waiting"),
        ({"now": 1100.0}, "silent"),
        ({"last_scored_at": None}, "silent"),
        ({"compared": 0}, "learning"),
        ({"unjudged": 40}, "learning"),
        ({"last": BAD}, "out_of_focus"),
        ({"last": [replace(row, blur_px=0.9) for row in GOOD]}, "drifting"),
        ({"last": (*GOOD[:5], BAD[0])}, "in_focus"),
    ],
)
def test_a_state_has_one_word(changes: dict[str, object], code: str) -> None:
    assert state_of(replace(RUN, **changes)).code == code  # type: ignore[arg-type]


def test_never_a_good_word_without_evidence() -> None:
    assert state_of(replace(RUN, last=(), before=())).code == "learning"


def test_the_sentence_has_the_numbers() -> None:
    assert state_of(RUN).text == "Last section: blur 0.40 px, usual 0.42."
    assert state_of(replace(RUN, tiles=0)).text == "No tile yet. Watching /data/w07"
    assert "Nobody watches" in state_of(replace(RUN, tiles=0, watched=False)).text
