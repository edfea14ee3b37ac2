"""Tiles that were taken again: earlier generations, places with several tiles, what was said of each."""

from __future__ import annotations

from collections.abc import Callable

from mhfd_client.ledger import Ledger, Run, Said, SeenFile
from mhfd_client.naming.position import Position

Walk = Callable[..., int]


def see(ledger: Ledger, run: Run, path: str, mtime: int, position: Position | None) -> int:
    ledger.see(run.run_id, [(SeenFile(path, 10, mtime), position)], 100.0)
    return next(row.tile_id for row in ledger.rows(run.run_id) if row.path == path)


def test_earlier_generations_are_listed(ledger: Ledger, run: Run, walk: Walk) -> None:
    first = walk("a.tif", "scored")
    assert ledger.superseded(run.run_id) == []
    second = walk("a.tif", "failed", mtime=2)
    walk("a.tif", "scored", pixels="sharp", mtime=3)
    walk("b.tif", "scored")
    assert [row.tile_id for row in ledger.superseded(run.run_id)] == [first, second]


def test_what_was_said_of_earlier_generations_is_told_on_demand(ledger: Ledger, run: Run, walk: Walk) -> None:
    first = walk("a.tif", "scored")
    ledger.say(run.run_id, [Said(first, "out_of_focus", 1.0, "p", {})])
    walk("a.tif", "scored", pixels="sharp", mtime=2)
    assert ledger.said(run.run_id) == []
    assert [each.tile_id for each in ledger.said(run.run_id, generations=True)] == [first]


def test_places_with_several_tiles_are_told_the_oldest_file_first(ledger: Ledger, run: Run) -> None:
    place = Position(section=1, row=0, col=2)
    newer = see(ledger, run, "newer.tif", 9, place)
    older = see(ledger, run, "older.tif", 3, place)
    see(ledger, run, "neighbour.tif", 4, Position(section=1, row=0, col=3))
    see(ledger, run, "grid.tif", 4, Position(section=1, grid=2, row=0, col=2))
    assert ledger.places(run.run_id) == (3, [[older, newer]])


def test_tiles_of_one_section_are_not_of_one_place(ledger: Ledger, run: Run) -> None:
    for k in range(3):
        see(ledger, run, f"{k}.tif", k, Position(section=1))
        see(ledger, run, f"none{k}.tif", k, None)
    assert ledger.places(run.run_id) == (0, [])


def test_pages_of_a_file_are_of_different_places(ledger: Ledger, run: Run) -> None:
    tile_id = see(ledger, run, "a.tif", 1, Position(section=1, tile=4))
    ledger.finish(tile_id, [("p", (4, 4)), ("q", (4, 4))], 100.0)
    assert ledger.places(run.run_id) == (2, [])


def test_a_tile_that_was_superseded_is_not_at_its_place(ledger: Ledger, run: Run, walk: Walk) -> None:
    walk("a.tif", "scored")
    walk("a.tif", "scored", mtime=2)
    assert ledger.places(run.run_id) == (1, [])
