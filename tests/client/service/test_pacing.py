"""The token bucket, on a clock that the test turns."""

from __future__ import annotations

import threading
import time

from mhfd_client.service.pacing import TokenBucket


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def emptied(clock: Clock) -> TokenBucket:
    bucket = TokenBucket(3, 10.0, clock)
    for _ in range(3):
        bucket.take()
    return bucket


def test_fresh_bucket_lets_its_tokens_through() -> None:
    assert TokenBucket(3, 10.0, Clock()).delay_s(ahead=2) == 0


def test_emptied_bucket_waits_for_the_oldest_token() -> None:
    clock = Clock()
    bucket = emptied(clock)
    clock.now += 4
    assert bucket.delay_s() == 6


def test_few_requests_need_not_be_spread() -> None:
    bucket = TokenBucket(4, 10.0, Clock())
    bucket.take()
    assert bucket.spread_s() == 0


def test_many_requests_are_spread_over_the_window() -> None:
    clock = Clock()
    bucket = TokenBucket(4, 10.0, clock)
    bucket.take()
    bucket.take()
    assert bucket.spread_s() == 2.5
    clock.now += 2
    assert bucket.spread_s() == 0.5
    clock.now += 8
    assert bucket.spread_s() == 0


def test_token_comes_back() -> None:
    clock = Clock()
    bucket = emptied(clock)
    clock.now += 10
    assert bucket.delay_s(ahead=2) == 0


def test_those_ahead_take_theirs_first() -> None:
    clock = Clock()
    bucket = TokenBucket(2, 10.0, clock)
    bucket.take()
    clock.now += 3
    bucket.take()
    assert bucket.delay_s() == 7
    assert bucket.delay_s(ahead=1) == 10


def test_free_tokens_are_those_that_nobody_has() -> None:
    clock = Clock()
    bucket = TokenBucket(3, 10.0, clock)
    bucket.take()
    clock.now += 4
    bucket.take()
    assert bucket.free() == 1
    clock.now += 6
    assert bucket.free() == 2


def test_held_bucket_has_nothing_free() -> None:
    bucket = TokenBucket(3, 10.0, Clock())
    bucket.hold(1)
    assert bucket.free() == 0


def test_held_bucket_lets_nobody_through() -> None:
    clock = Clock()
    bucket = TokenBucket(3, 10.0, clock)
    bucket.hold(30)
    assert bucket.delay_s() == 30


def test_no_window_holds_more_than_the_tokens() -> None:
    bucket, taken = TokenBucket(5, 0.2), []

    def take_four() -> None:
        for _ in range(4):
            bucket.take()
            taken.append(time.monotonic())

    threads = [threading.Thread(target=take_four) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    taken.sort()
    assert len(taken) == 16
    # The time is noted a little after the token was taken, by a thread that may have been kept waiting.
    assert all(late - early > 0.15 for early, late in zip(taken, taken[5:], strict=False))
