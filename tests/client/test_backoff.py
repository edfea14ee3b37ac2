"""A pause that doubles."""

from __future__ import annotations

from mhfd_client.backoff import Backoff


def test_pause_doubles_up_to_the_longest() -> None:
    backoff = Backoff(0.5, 3.0)
    assert [backoff.fail() for _ in range(5)] == [0.5, 1.0, 2.0, 3.0, 3.0]


def test_success_starts_again_at_the_first_pause() -> None:
    backoff = Backoff(2.0, 60.0)
    backoff.fail()
    backoff.fail()
    backoff.succeed()
    assert backoff.pause_s == 0.0
    assert backoff.fail() == 2.0
