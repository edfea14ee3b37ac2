"""Pages that are judged one by one, tiles with the same pixels, files replaced without a trace; on both databases."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from mhfd.contract import FocusResult
from mhfd_client.ledger import Ledger, Run, SeenFile, TileRow

Walk = Callable[..., int]
Make = Callable[..., FocusResult]


@pytest.fixture(autouse=True)
def sound_at_the_end(ledger: Ledger, where: str, sound: Callable[[str], None]) -> Iterator[None]:
    yield
    sound(where)


def see(ledger: Ledger, run: Run, path: str, mtime: int = 1, ctime: int | None = None) -> int:
    ledger.see(run.run_id, [(SeenFile(path, 10, mtime, ctime), None)], 100.0)
    return next(row.tile_id for row in ledger.rows(run.run_id, states=["seen"]) if row.path == path)


def rows(ledger: Ledger, run: Run) -> dict[str, TileRow]:
    return {row.name: row for row in ledger.rows(run.run_id)}


# --- Pages --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [0, 1, 2])
def test_a_bad_page_fails_alone(ledger: Ledger, run: Run, make_failed: Make, bad: int) -> None:
    pages: list[tuple[str, tuple[int, int]] | FocusResult] = [(f"p{k}", (4, 4)) for k in range(3)]
    pages[bad] = make_failed(f"a.tif#page={bad}", "not_finite")
    ledger.finish(see(ledger, run, "a.tif"), pages, 101.0)
    found = rows(ledger, run)
    assert [found[f"a.tif#page={k}"].state for k in range(3)] == ["failed" if k == bad else "ready" for k in range(3)]
    assert found[f"a.tif#page={bad}"].error_code == "not_finite"
    assert found[f"a.tif#page={bad}"].tile_sha256 is None


@pytest.fixture
def half(ledger: Ledger, run: Run, make_scored: Make, make_failed: Make) -> dict[str, TileRow]:
    """A file whose first page is bad and whose second is scored."""
    ledger.finish(see(ledger, run, "a.tif"), [make_failed("a.tif#page=0"), ("p", (4, 4))], 101.0)
    good = rows(ledger, run)["a.tif#page=1"].tile_id
    ledger.stage([(good, {"path": "copy"})], 102.0)
    ledger.submit([good], "local", 103.0)
    ledger.store([(good, make_scored("a.tif#page=1", "p"))], 104.0)
    return rows(ledger, run)


@pytest.mark.usefixtures("half")
def test_retry_of_a_bad_page_reads_the_file_again_and_keeps_the_good_page(
    ledger: Ledger, run: Run, make_failed: Make
) -> None:
    assert ledger.retry(run.run_id, failed=True) == 1
    (again,) = ledger.take(run.run_id, "seen", 9, now=0)
    assert (again.name, again.generation, again.accepted) == ("a.tif", 2, True)
    ledger.finish(again.tile_id, [("q", (4, 4)), ("p", (4, 4))], 200.0)
    assert {name: row.state for name, row in rows(ledger, run).items()} == {
        "a.tif#page=0": "ready", "a.tif#page=1": "scored"
    }  # fmt: skip


def test_the_copy_of_a_file_whose_first_page_is_bad_is_removed(
    ledger: Ledger, run: Run, half: dict[str, TileRow]
) -> None:
    (copy,) = ledger.to_clean(run.run_id, 9)
    assert copy == (half["a.tif#page=1"].tile_id, {"path": "copy"})
    ledger.cleaned([copy[0]])
    assert ledger.to_clean(run.run_id, 9) == []


def test_a_copy_stays_until_all_its_pages_are_done(ledger: Ledger, run: Run, make_scored: Make) -> None:
    ledger.finish(see(ledger, run, "a.tif"), [("p", (4, 4)), ("q", (4, 4))], 101.0)
    ids = [row.tile_id for row in rows(ledger, run).values()]
    ledger.stage([(tile_id, {"path": "copy"}) for tile_id in ids], 102.0)
    ledger.submit(ids, "local", 103.0)
    ledger.store([(ids[0], make_scored("a.tif#page=0", "p"))], 104.0)
    assert ledger.to_clean(run.run_id, 9) == []
    ledger.store([(ids[1], make_scored("a.tif#page=1", "q"))], 105.0)
    assert [tile_id for tile_id, _ in ledger.to_clean(run.run_id, 9)] == ids[:1]


# --- Files replaced by one of the same size and time ------------------------------------------------------------------


def test_a_file_with_another_change_time_is_looked_at_again(ledger: Ledger, run: Run) -> None:
    ledger.finish(see(ledger, run, "a.tif", ctime=5), [("p", (4, 4))], 101.0)
    ledger.see(run.run_id, [(SeenFile("a.tif", 10, 1, 5), None)], 200.0)
    assert rows(ledger, run)["a.tif"].generation == 1
    ledger.see(run.run_id, [(SeenFile("a.tif", 10, 1, 6), None)], 201.0)
    assert (rows(ledger, run)["a.tif"].generation, rows(ledger, run)["a.tif"].ctime_ns) == (2, 6)
    assert ledger.folder(run.run_id, "")["a.tif"].ctime_ns == 6


@pytest.mark.parametrize(("was", "now"), [(None, 5), (5, None), (None, None)])
def test_where_the_change_time_is_unknown_size_and_time_count(
    ledger: Ledger, run: Run, was: int | None, now: int | None
) -> None:
    ledger.finish(see(ledger, run, "a.tif", ctime=was), [("p", (4, 4))], 101.0)
    ledger.see(run.run_id, [(SeenFile("a.tif", 10, 1, now), None)], 200.0)
    assert rows(ledger, run)["a.tif"].generation == 1


# --- The same pixels --------------------------------------------------------------------------------------------------


def identical(ledger: Ledger, run: Run) -> dict[str, str | None]:
    found = rows(ledger, run)
    names = {row.tile_id: name for name, row in found.items()}
    return {name: names.get(row.identical_to or 0) for name, row in found.items()}


def test_the_later_of_two_with_the_same_pixels_is_marked(ledger: Ledger, run: Run, walk: Walk) -> None:
    for name, pixels in (("a.tif", "p"), ("b.tif", "q"), ("c.tif", "p"), ("d.tif", "p")):
        walk(name, "scored", pixels=pixels)
    assert identical(ledger, run) == {"a.tif": None, "b.tif": None, "c.tif": "a.tif", "d.tif": "a.tif"}
    assert ledger.summary(run.run_id).identical == 2


def test_it_makes_no_difference_which_is_read_first(ledger: Ledger, run: Run) -> None:
    ids = [see(ledger, run, name) for name in ("a.tif", "b.tif")]
    for tile_id in reversed(ids):
        ledger.finish(tile_id, [("p", (4, 4))], 101.0)
    assert identical(ledger, run) == {"a.tif": None, "b.tif": "a.tif"}


def test_pages_of_one_value_may_be_alike(ledger: Ledger, run: Run) -> None:
    for name in ("a.tif", "b.tif"):
        ledger.finish(see(ledger, run, name), [("blank", (4, 4)), ("p", (4, 4))], 101.0, constant=[0])
    assert [name for name, other in identical(ledger, run).items() if other] == ["b.tif#page=1"]


def test_a_file_that_was_only_touched_is_not_its_own_copy(ledger: Ledger, run: Run, walk: Walk) -> None:
    walk("a.tif", "scored")
    walk("b.tif", "scored")
    ledger.finish(see(ledger, run, "a.tif", mtime=2), [("p", (4, 4))], 200.0)
    ledger.finish(see(ledger, run, "b.tif", mtime=2), [("p", (4, 4))], 200.0)
    found = rows(ledger, run)
    assert found["a.tif"].identical_to is None
    assert found["b.tif"].identical_to is not None


def test_a_file_that_was_renamed_is_no_copy(ledger: Ledger, run: Run, walk: Walk) -> None:
    walk("a.tif", "scored")
    ledger.mark_gone(run.run_id, ["a.tif"], 110.0)
    walk("b.tif", "scored")
    assert identical(ledger, run)["b.tif"] is None


def test_what_failed_before_is_known(ledger: Ledger, run: Run, walk: Walk) -> None:
    walk("a.tif", "failed")
    again = walk("a.tif", "ready", mtime=2)
    other = walk("b.tif", "ready", pixels="q")
    assert ledger.failed_before([again, other]) == {again}
