"""Requests of several tasks: none larger than the service takes, the order kept."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from itertools import chain

import pytest

pytest.importorskip("globus_compute_sdk")

from mhfd_client.compute.sdk import parts


@dataclass
class Batch:
    """As the SDK's, but for what is not looked at."""

    tasks: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))


def batch(*tasks: str, function: str = "f") -> Batch:
    return Batch(defaultdict(list, {function: list(tasks)}))


def sizes(given: Batch, most_bytes: int) -> list[list[int]]:
    return [[len(task) for tasks in part.tasks.values() for task in tasks] for part in parts(given, most_bytes)]


def test_small_tasks_share_a_request() -> None:
    assert sizes(batch("a" * 10, "b" * 10, "c" * 10), 100) == [[10, 10, 10]]


def test_a_request_is_no_larger_than_it_may_be() -> None:
    assert sizes(batch("a" * 60, "b" * 40, "c" * 50, "d" * 70), 100) == [[60, 40], [50], [70]]


def test_a_task_that_is_too_large_stands_alone() -> None:
    assert sizes(batch("a" * 10, "b" * 200, "c" * 10), 100) == [[10], [200], [10]]


def test_quotes_count_double_as_in_json() -> None:
    assert sizes(batch('"' * 30, '"' * 30), 100) == [[30], [30]]


def test_order_and_functions_are_kept() -> None:
    given = Batch(defaultdict(list, {"f": ["1" * 40, "2" * 40], "g": ["3" * 40, "4" * 40]}))
    found = [dict(part.tasks) for part in parts(given, 130)]
    assert [list(part) for part in found] == [["f", "g"], ["g"]]
    assert "".join(task[0] for part in found for task in chain(*part.values())) == "1234"
    assert given.tasks["f"] == ["1" * 40, "2" * 40]  # the SDK's own batch is as it was
