"""How many shards an endpoint gets, and which of several gets them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mhfd_client.rescore.share import FIRST, Capacity, room, shares

BUSY = {"total_workers": 8, "idle_workers": 2, "outstanding_tasks": 6}


@given(st.integers(0, 500), st.lists(st.integers(0, 100), min_size=1, max_size=6))
def test_shares_are_in_proportion_and_no_larger_than_the_room(count: int, rooms: list[int]) -> None:
    found = shares(count, rooms)
    assert sum(found) == min(count, sum(rooms))
    for share, each in zip(found, rooms, strict=True):
        assert share <= each
        assert abs(share - min(1.0, count / max(1, sum(rooms))) * each) < 1


def test_two_endpoints_share_by_their_idle_workers() -> None:
    assert shares(12, [8, 16]) == [4, 8]
    assert shares(1, [3, 3]) == [1, 0]
    assert shares(100, [2, 0, 5]) == [2, 0, 5]


def test_the_workers_are_those_of_the_report() -> None:
    assert Capacity.of(BUSY) == Capacity(8, 2)
    assert Capacity.of({"workers": 2, "tasks": 3}) == Capacity(2, 0)  # this machine's
    assert Capacity.of({}) == Capacity()
    assert Capacity.of({"total_workers": "many"}) == Capacity()


def test_an_endpoint_that_can_start_another_block_counts_its_workers() -> None:
    grows = {"scaling_enabled": True, "max_blocks": 3, "nodes_per_block": 2, "max_workers_per_node": 4}
    assert Capacity.of({"total_workers": 8, "idle_workers": 0, **grows}) == Capacity(8, 0, 8)
    assert Capacity.of({"total_workers": 24, "idle_workers": 0, **grows}) == Capacity(24, 0, 0)
    assert Capacity.of({"total_workers": 8, "idle_workers": 0, **grows, "scaling_enabled": False}) == Capacity(8, 0, 0)


def test_a_quarter_of_the_workers_is_left_to_live_tiles() -> None:
    assert room(Capacity(8, 8), 0, "low") == 6
    assert room(Capacity(8, 2), 6, "low") == 6  # the six busy ones are ours
    assert room(Capacity(8, 2), 0, "low") == FIRST  # they are others'


def test_while_live_tiles_wait_a_quarter_is_ours() -> None:
    assert room(Capacity(8, 8), 0, "low", live=True) == 2
    assert room(Capacity(8, 8), 0, "normal", live=True) == 2


def test_normal_priority_takes_all_and_queues_one_more_for_each() -> None:
    assert room(Capacity(8, 8), 0, "normal") == 16


@pytest.mark.parametrize("priority", ["low", "normal"])
def test_an_endpoint_without_workers_gets_one_task_to_start_some_for(priority: str) -> None:
    assert room(Capacity(0, 0), 0, priority) == 1  # type: ignore[arg-type]
    assert room(Capacity(), 5, priority) == 1  # type: ignore[arg-type]


def test_one_worker_is_used() -> None:
    assert room(Capacity(1, 1), 0, "low") == 1
    assert room(Capacity(1, 0), 1, "low", live=True) == 1
