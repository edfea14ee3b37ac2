"""Missing tiles, from those of the neighbouring sections."""

from __future__ import annotations

import random
import time
import tracemalloc
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mhfd_client.naming import Grid, Position

Places = list[Position]


def run(sections: range, *, rows: int = 2, cols: int = 2, grid: int | None = None) -> Places:
    return [Position(s, grid, r, c) for s, r, c in product(sections, range(rows), range(cols))]


def missing(places: Places, *, finished: bool = True) -> Places:
    grid = Grid()
    for place in places:
        grid.add(place)
    if finished:
        grid.finish()
    return grid.missing()


def without(places: Places, *gone: Position) -> Places:
    return [place for place in places if place not in gone]


def test_a_complete_run_lacks_nothing() -> None:
    assert missing(run(range(10))) == []


def test_a_tile_that_the_neighbours_have_is_missing() -> None:
    gone = Position(4, None, 1, 1)
    assert missing(without(run(range(10)), gone)) == [gone]


def test_a_tile_of_the_first_section_is_missed() -> None:
    gone = Position(0, None, 0, 0)
    assert missing(without(run(range(10)), gone)) == [gone]


def test_a_tile_of_the_last_section_is_missed_once_the_run_is_finished() -> None:
    gone = Position(9, None, 1, 1)
    assert missing(without(run(range(10)), gone)) == [gone]


def test_the_newest_section_is_not_looked_at() -> None:
    assert missing(without(run(range(10)), Position(9, None, 1, 1)), finished=False) == []


def test_the_section_that_the_last_tile_came_for_is_not_looked_at() -> None:
    places = without(run(range(10)), Position(4, None, 0, 0), Position(4, None, 0, 1))
    assert missing([*places, Position(4, None, 0, 1)], finished=False) == []


def test_it_is_looked_at_when_the_next_one_begins() -> None:
    grid = Grid()
    for place in without(run(range(2)), Position(1, None, 1, 1)):
        grid.add(place)
    before = grid.missing()
    grid.add(Position(2, None, 0, 0))
    assert (before, grid.missing()) == ([], [Position(1, None, 1, 1)])


def test_a_section_that_is_told_finished_is_looked_at_though_it_is_the_newest() -> None:
    grid = Grid()
    for place in without(run(range(2)), Position(1, None, 1, 1)):
        grid.add(place)
    grid.finish(1)
    assert grid.missing() == [Position(1, None, 1, 1)]


def test_a_tile_that_comes_late_is_missing_no_more() -> None:
    grid, gone = Grid(), Position(4, None, 1, 1)
    for place in without(run(range(10)), gone):
        grid.add(place)
    before = grid.missing()
    grid.add(gone)
    grid.finish()
    assert (before, grid.missing()) == ([gone], [])


def test_numbered_tiles_are_missed_as_placed_ones_are() -> None:
    places = [Position(s, 7, tile=t) for s in range(6) for t in range(3)]
    assert missing(without(places, Position(2, 7, tile=1))) == [Position(2, 7, tile=1)]


def test_positions_without_a_place_lack_nothing() -> None:
    assert missing([Position(1), Position(2), Position(4), Position(5), Position(), Position(row=1, col=1)]) == []


def test_a_section_between_two_is_missing_as_a_whole() -> None:
    assert missing([p for p in run(range(10)) if p.section != 5]) == [Position(5)]


def test_numbers_that_never_follow_each_other_have_no_gaps() -> None:
    assert missing(run(range(0, 100, 10))) == []


def test_a_new_numbering_is_no_gap() -> None:
    assert missing([*run(range(10)), *run(range(5000, 5010))]) == []


def test_a_number_out_of_all_proportion_is_no_gap() -> None:
    assert missing([*run(range(10)), *run(range(999_999_998, 1_000_000_000))]) == []


def test_a_grid_that_a_section_lacks_is_named() -> None:
    second = [p for p in run(range(10), grid=2) if p.section != 5]
    assert missing([*run(range(10), grid=1), *second]) == [Position(5, 2)]


def test_a_grid_taken_in_every_third_section_lacks_nothing() -> None:
    assert missing([*run(range(10), grid=1), *run(range(0, 10, 3), grid=2)]) == []


def test_tiles_added_to_the_plan_are_not_missing_before() -> None:
    assert missing([*run(range(10)), *run(range(10, 20), cols=3)]) == []


@pytest.mark.parametrize("before", [1, 2, 3])
@pytest.mark.parametrize("after", [1, 2, 5])
@pytest.mark.parametrize(("rows", "cols"), [(3, 4), (2, 3), (3, 2), (2, 6)])
def test_a_plan_that_grows_after_a_few_sections_lacks_nothing_before(
    before: int, after: int, rows: int, cols: int
) -> None:
    assert missing([*run(range(before)), *run(range(before, before + after), rows=rows, cols=cols)]) == []


@pytest.mark.parametrize("before", [1, 2])
@pytest.mark.parametrize("tiles", [6, 12])
def test_numbered_tiles_that_are_added_are_not_missing_before(before: int, tiles: int) -> None:
    first = [Position(s, 1, tile=t) for s in range(before) for t in range(4)]
    assert missing([*first, *(Position(s, 1, tile=t) for s in range(before, before + 4) for t in range(tiles))]) == []


def test_a_tile_that_only_later_sections_have_is_not_missing_before() -> None:
    extra = [Position(s, None, 5, 5) for s in range(3, 8)]
    assert missing([*run(range(8)), *extra]) == []


def test_tiles_dropped_from_the_plan_are_not_missing_for_ever() -> None:
    assert missing([*run(range(10), cols=3), *run(range(10, 20))]) == []


def test_tiles_dropped_from_the_plan_are_missing_at_first() -> None:
    places = [*run(range(10), cols=3), *run(range(10, 11))]
    assert missing(places) == [Position(10, None, 0, 2), Position(10, None, 1, 2)]


def test_tiles_that_are_numbered_through_the_run_lack_nothing() -> None:
    assert missing([Position(n // 10, tile=n) for n in range(300)]) == []


def test_numbers_without_end_cost_no_memory_without_end() -> None:
    grid = Grid()
    tracemalloc.start()
    for n in range(60_000):
        grid.add(Position(n, tile=n))
    used = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert used < 10_000_000
    assert grid.missing() == []


def test_what_is_missing_comes_in_order() -> None:
    gone = [Position(2, None, 1, 0), Position(2, None, 1, 1), Position(5), Position(11, None, 0, 1)]
    places = [p for p in run(range(20)) if p.section != 5]
    assert missing(without(places, *gone)) == gone


cells = st.builds(Position, st.integers(0, 12), st.sampled_from([None, 1]), st.integers(0, 2), st.integers(0, 1))


@settings(deadline=None)
@given(st.lists(cells, max_size=60), st.randoms(use_true_random=False))
def test_the_order_in_which_tiles_come_makes_no_difference(places: Places, shuffle: random.Random) -> None:
    other = list(places)
    shuffle.shuffle(other)
    newest = max((p.section or 0 for p in places), default=0)
    both = [Grid(), Grid()]
    for grid, order in zip(both, (places, other), strict=True):
        for place in order:
            grid.add(place)
        for section in range(newest + 1):
            grid.finish(section)
    assert both[0].missing() == both[1].missing()


@settings(deadline=None)
@given(st.lists(cells, max_size=60), st.integers(0, 60))
def test_asking_in_between_makes_no_difference(places: Places, when: int) -> None:
    asked, plain = Grid(), Grid()
    for at, place in enumerate(places):
        asked.add(place)
        plain.add(place)
        if at == when:
            asked.missing()
    assert asked.missing() == plain.missing()


@settings(deadline=None)
@given(st.lists(cells, max_size=60))
def test_nothing_that_is_there_is_missing(places: Places) -> None:
    assert not set(missing(places)) & set(places)


def test_a_section_costs_little_memory() -> None:
    grid, places = Grid(), [(None, r, c) for r in range(5) for c in range(5)]
    tracemalloc.start()
    for section in range(4000):
        for cell in places:
            grid.add(Position(section, *cell))
    grid.missing()
    used = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert used / 4000 < 400  # bytes; measured: 110


def test_asking_again_costs_little() -> None:
    grid = Grid()
    for place in run(range(20_000)):
        grid.add(place)
    start = time.process_time()
    grid.missing()
    first = time.process_time() - start
    for section in range(20_000, 20_020):
        grid.add(Position(section, None, 0, 0))
        grid.missing()
    assert (time.process_time() - start - first) / 20 < max(first, 0.05)
