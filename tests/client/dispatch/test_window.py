"""How many tiles may be in flight, and in how many tasks."""

from __future__ import annotations

import pytest

from mhfd_client.config import Limits
from mhfd_client.dispatch.window import MORE_POWER, TASKS_PER_WORKER, Window

IN_FLIGHT_S = 3.0


def window(*, grain: int = 8, **limits: int) -> Window:
    return Window(Limits(in_flight_s=IN_FLIGHT_S, **limits), grain)  # type: ignore[arg-type]


def served(windows: list[Window], tiles_per_s: float, travel_s: float, rounds: int = 200) -> None:
    """Rounds of an endpoint with one queue, in which every client has as much in flight as it may."""
    for _ in range(rounds):
        seconds = travel_s + sum(each.tiles for each in windows) / tiles_per_s
        for each in windows:
            each.measure(max(1, each.tiles // TASKS_PER_WORKER), each.tiles, seconds, 0)


def learnt(tiles_per_s: float = 100.0, *, workers: int = 1, **limits: int) -> Window:
    """A window that has found the rate."""
    made = window(**limits)
    for number in range(workers):
        made.measure(1, 1, 0.1, number)
    served([made], tiles_per_s, 0.1)
    return made


@pytest.mark.parametrize("tiles_per_s", [1.0, 30.0, 3000.0, 24_000.0])
def test_as_many_tiles_are_in_flight_as_are_answered_in_the_given_time(tiles_per_s: float) -> None:
    """Little's law, and some more, in proportion the more the fewer there are."""
    expected, found = tiles_per_s * IN_FLIGHT_S, learnt(tiles_per_s).tiles
    assert 0.9 * expected <= found <= expected + found**MORE_POWER + 1


def test_work_that_waits_is_bounded_in_seconds_however_many_clients_there_are() -> None:
    clients = [window() for _ in range(10)]
    served(clients, 1000.0, 0.1)
    assert sum(each.tiles for each in clients) / 1000.0 <= 1.5 * IN_FLIGHT_S


def test_who_comes_later_gets_its_share() -> None:
    first, second = learnt(1000.0), window()
    served([first, second], 1000.0, 0.1)
    assert first.tiles == pytest.approx(second.tiles, rel=0.1)


def test_a_slower_endpoint_gets_less() -> None:
    made = learnt(1000.0)
    served([made], 10.0, 0.1)
    assert made.tiles <= 10.0 * IN_FLIGHT_S + made.tiles**MORE_POWER + 1


def test_a_few_quick_answers_do_not_make_the_window_large() -> None:
    """As of files that are not there: the tiles after them may be slow."""
    made = window()
    before = made.tiles
    made.measure(8, 8, 0.001, "worker")
    assert made.tiles <= before + 3 * 8


def test_little_in_flight_does_not_make_the_window_small() -> None:
    made = learnt(1000.0)
    before = made.tiles
    made.measure(1, 1, 0.1, "worker")
    assert made.tiles == before


def test_every_worker_keeps_something_to_do_however_slow_its_tiles_are() -> None:
    made = learnt(1000.0, workers=8)
    served([made], 0.1, 0.1)
    assert made.tiles >= 2 * 8


def test_while_nothing_is_known_a_task_has_a_few_tiles() -> None:
    assert window(grain=8).tasks(128, 1000) == 16
    assert window(grain=8).tasks(5, 1000) == 1
    assert window(grain=1).tasks(5, 4) == 4


def test_a_full_window_is_four_tasks_a_worker() -> None:
    made = learnt(1000.0, workers=8)
    assert made.tasks(made.tiles, 1000) == pytest.approx(TASKS_PER_WORKER * 8, abs=1)


def test_few_tiles_are_shared_out_over_the_workers() -> None:
    assert learnt(1000.0, workers=8).tasks(16, 1000) == 8


def test_tasks_keep_to_the_most_tiles_of_one() -> None:
    made = learnt(10_000.0, max_tiles_per_task=100)
    assert made.tasks(1000, 1000) >= 10


def test_few_tiles_go_at_once_and_many_in_large_loads() -> None:
    made = learnt(1000.0)
    full = made.tiles
    assert made.room(full - 10, 5) == 5
    assert made.room(full - 10, 10_000) == 0
    assert made.room(full // 2, 10_000) == full - full // 2
    assert made.room(full, 5) == 0


def test_where_sending_costs_nothing_each_answer_is_followed_by_a_task() -> None:
    made = window(grain=1)
    assert made.room(made.tiles - 1, 10_000) == 1
