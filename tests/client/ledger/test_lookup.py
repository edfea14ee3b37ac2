"""A tile is found by its name; so is what was taken at its place, in this section and in those before."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mhfd_client.ledger import Ledger, Run, SeenFile
from mhfd_client.naming.position import Position

from .conftest import scored

Put = Callable[..., None]


@pytest.fixture
def put(ledger: Ledger, run: Run) -> Put:
    """Store a scored file."""

    def put(name: str, position: Position | None = None, *, mtime: int = 1, pages: int = 1) -> None:
        ledger.see(run.run_id, [(SeenFile(name, 10, mtime), position)], 1.0)
        (tile,) = ledger.take(run.run_id, "seen", 9, now=0)
        pixels = [f"{name}{mtime}{page}" for page in range(pages)]
        ledger.finish(tile.tile_id, [(each, (4, 4)) for each in pixels], 1.0)
        ready = list(ledger.rows(run.run_id, states=["ready"]))
        ledger.store([(each.tile_id, scored(each.name, str(each.tile_sha256))) for each in ready], 1.0)

    return put


def before(ledger: Ledger, run: Run, name: str, page: int = 0) -> list[str]:
    return [each.name for each in ledger.same_place(ledger.pages(run.run_id, name)[page], 100)]


def test_the_pages_of_a_file_are_those_of_its_newest_generation(ledger: Ledger, run: Run, put: Put) -> None:
    put("s1/t.tif", pages=2)
    put("s1/t.tif", mtime=2, pages=3)
    found = ledger.pages(run.run_id, "s1/t.tif")
    assert [(each.page, each.generation) for each in found] == [(0, 2), (1, 2), (2, 2)]
    assert ledger.pages(run.run_id, "s1/u.tif") == ledger.pages(run.run_id, "t.tif") == []
    assert ledger.pages(run.run_id + 1, "s1/t.tif") == []


def test_names_are_those_of_the_newest_tiles(ledger: Ledger, run: Run, put: Put) -> None:
    put("a.tif")
    put("a.tif", mtime=2)
    put("s/stack.tif", pages=2)
    assert list(ledger.names(run.run_id)) == ["a.tif", "s/stack.tif#page=0", "s/stack.tif#page=1"]


def test_each_earlier_take_is_found_the_newest_first(ledger: Ledger, run: Run, put: Put) -> None:
    for mtime in (1, 2, 3):
        put("stack.tif", mtime=mtime, pages=2)
    for page in (0, 1):
        takes = ledger.earlier_takes(ledger.pages(run.run_id, "stack.tif")[page])
        assert [(each.generation, each.page) for each in takes] == [(2, page), (1, page)]


def test_a_take_under_another_name_is_found(ledger: Ledger, run: Run, put: Put) -> None:
    for name in ("t_0900.tif", "t_1000.tif"):
        put(name, Position(section=1, row=0, col=0))
    ledger.supersede_earlier(run.run_id, "", lambda path: path)
    (newest,) = ledger.pages(run.run_id, "t_1000.tif")
    (earlier,) = ledger.earlier_takes(newest)
    assert (earlier.name, earlier.superseded_by) == ("t_0900.tif", newest.tile_id)
    assert ledger.earlier_takes(earlier) == []


def test_the_same_place_in_earlier_sections_is_found(ledger: Ledger, run: Run, put: Put) -> None:
    for section in (1, 2, 4, 5):
        for col in (0, 1):
            put(f"s{section}_{col}.tif", Position(section=section, row=0, col=col))
    put("other.tif", Position(section=3, grid=1, row=0, col=1))
    assert before(ledger, run, "s4_1.tif") == ["s2_1.tif", "s1_1.tif"]
    assert before(ledger, run, "s1_0.tif") == before(ledger, run, "other.tif") == []


def test_of_several_files_at_a_place_the_last_written_counts(ledger: Ledger, run: Run, put: Put) -> None:
    for name, mtime in (("b.tif", 3), ("a.tif", 7), ("c.tif", 5)):
        put(name, Position(section=1, tile=4), mtime=mtime)
    put("now.tif", Position(section=2, tile=4))
    assert before(ledger, run, "now.tif") == ["a.tif"]


def test_tiles_that_cannot_be_told_apart_have_no_past(ledger: Ledger, run: Run, put: Put) -> None:
    put("only.tif", Position(section=1))
    put("one.tif", Position(section=2))
    put("two.tif", Position(section=2))
    put("now.tif", Position(section=3))
    put("nowhere.tif")
    assert before(ledger, run, "now.tif") == ["only.tif"]
    assert before(ledger, run, "nowhere.tif") == []


def test_of_stacks_the_same_page_counts(ledger: Ledger, run: Run, put: Put) -> None:
    for section in (1, 2):
        put(f"s{section}.tif", Position(section=section), pages=2)
    assert before(ledger, run, "s2.tif", page=1) == ["s1.tif#page=1"]
