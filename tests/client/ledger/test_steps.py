"""The steps of a tile through the ledger, on both databases. Every test ends with a check of the invariants."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from mhfd.contract import FocusParams, FocusResult
from mhfd_client.ledger import (
    Known,
    Ledger,
    LedgerBusyError,
    LedgerError,
    Missing,
    Order,
    Run,
    SeenFile,
    TileRow,
    open_ledger,
)
from mhfd_client.naming.position import Position

from .conftest import Ask

Walk = Callable[..., int]
Make = Callable[..., FocusResult]
Attempts = Callable[[int], list[tuple[Any, ...]]]


@pytest.fixture(autouse=True)
def sound_at_the_end(ledger: Ledger, where: str, sound: Callable[[str], None]) -> Iterator[None]:
    yield
    sound(where)


def see(ledger: Ledger, run: Run, path: str, size: int = 10, mtime: int = 1, now: float = 100.0) -> None:
    ledger.see(run.run_id, [(SeenFile(path, size, mtime), None)], now)


def row(ledger: Ledger, tile_id: int) -> TileRow:
    return ledger.get([tile_id])[0]


def states(ledger: Ledger, run: Run) -> list[tuple[str, int, str]]:
    return [(r.name, r.generation, r.state) for r in ledger.rows(run.run_id, generations=True)]


# --- Runs ---------------------------------------------------------------------------------------------------------


def test_the_same_folder_and_parameters_are_the_same_run(ledger: Ledger, run: Run) -> None:
    again = ledger.open_run(run.root, FocusParams(), layout="plain", endpoint="dgx")
    assert (again.run_id, again.layout, again.endpoint) == (run.run_id, "plain", "dgx")


def test_other_parameters_are_another_run(ledger: Ledger, run: Run) -> None:
    assert ledger.open_run(run.root, FocusParams(n_scales=8), layout="auto", endpoint="local").run_id != run.run_id


def test_a_run_is_found_by_its_folder_its_number_and_by_being_the_last(ledger: Ledger, run: Run) -> None:
    assert run == ledger.find_run(run.root) == ledger.find_run(run.run_id) == ledger.find_run()


def test_a_run_is_found_by_a_link_to_its_folder(ledger: Ledger, run: Run, tmp_path: Path) -> None:
    link = tmp_path / "link"
    try:
        link.symlink_to(tmp_path, target_is_directory=True)
    except OSError:
        pytest.skip("no links here")
    assert ledger.find_run(str(link)) == run


def test_of_a_folder_with_several_runs_the_one_opened_last_is_found(ledger: Ledger, run: Run) -> None:
    ledger.open_run(run.root, FocusParams(n_scales=8), layout="auto", endpoint="local", now=1.0)
    ledger.open_run(run.root, FocusParams(), layout="auto", endpoint="local", now=2.0)
    assert ledger.find_run(run.root).run_id == run.run_id


def test_an_unknown_folder_is_an_error_that_names_the_known(ledger: Ledger, run: Run) -> None:
    with pytest.raises(LedgerError, match="no run of /elsewhere"):
        ledger.find_run("/elsewhere")


def test_limits_of_memory_do_not_make_another_run(ledger: Ledger, run: Run) -> None:
    params = FocusParams(max_host_bytes=2**20)
    assert ledger.open_run(run.root, params, layout="auto", endpoint="local").params == params
    assert len(ledger.runs()) == 1


# --- Files --------------------------------------------------------------------------------------------------------


def test_a_new_file_is_seen(ledger: Ledger, run: Run) -> None:
    see(ledger, run, "s1/a.tif")
    assert ledger.folder(run.run_id, "s1") == {"a.tif": Known(10, 1, "seen", False)}


def test_a_folder_lists_only_its_own_files(ledger: Ledger, run: Run) -> None:
    for path in ("a.tif", "s1/b.tif", "s1/x/c.tif"):
        see(ledger, run, path)
    assert [list(ledger.folder(run.run_id, folder)) for folder in ("", "s1", "s1/x")] == [
        ["a.tif"], ["b.tif"], ["c.tif"]
    ]  # fmt: skip


def test_seeing_a_file_again_changes_nothing(ledger: Ledger, run: Run) -> None:
    see(ledger, run, "a.tif")
    before = list(ledger.rows(run.run_id))
    see(ledger, run, "a.tif", now=200.0)
    assert list(ledger.rows(run.run_id)) == before


def test_a_file_that_grows_while_seen_keeps_its_row(ledger: Ledger, run: Run) -> None:
    see(ledger, run, "a.tif", size=10)
    see(ledger, run, "a.tif", size=20, now=105.0)
    (found,) = ledger.rows(run.run_id, generations=True)
    assert (found.size, found.seen_at, found.changed_at) == (20, 100.0, 105.0)


def test_a_file_that_changes_later_is_a_new_generation(ledger: Ledger, run: Run, walk: Walk) -> None:
    old = walk("a.tif", "scored")
    see(ledger, run, "a.tif", mtime=2)
    assert states(ledger, run) == [("a.tif", 1, "scored"), ("a.tif", 2, "seen")]
    assert row(ledger, old).superseded_by == ledger.take(run.run_id, "seen", 9, now=0)[0].tile_id


def test_what_is_superseded_is_not_taken_up(ledger: Ledger, run: Run, walk: Walk) -> None:
    walk("a.tif", "staged")
    see(ledger, run, "a.tif", mtime=2)
    assert ledger.take(run.run_id, "staged", 9, now=0) == []


def test_all_pages_are_superseded_together(ledger: Ledger, run: Run) -> None:
    see(ledger, run, "a.tif")
    (seen,) = ledger.rows(run.run_id)
    ledger.finish(seen.tile_id, [("p0", (4, 4)), ("p1", (4, 5))], 101.0)
    see(ledger, run, "a.tif", mtime=2)
    assert states(ledger, run) == [("a.tif#page=0", 1, "ready"), ("a.tif#page=1", 1, "ready"), ("a.tif", 2, "seen")]
    assert ledger.take(run.run_id, "ready", 9, now=0) == []


def test_what_is_gone_is_not_taken_up_until_it_returns(ledger: Ledger, run: Run, walk: Walk) -> None:
    walk("s1/a.tif", "ready")
    ledger.mark_gone(run.run_id, ["s1/a.tif"], 110.0)
    assert ledger.take(run.run_id, "ready", 9, now=0) == []
    assert [r.name for r in ledger.take(run.run_id, "gone", 9, now=0)] == ["s1/a.tif"]
    see(ledger, run, "s1/a.tif")
    assert [r.name for r in ledger.take(run.run_id, "ready", 9, now=0)] == ["s1/a.tif"]


def test_the_result_of_a_file_that_is_gone_is_kept(ledger: Ledger, run: Run, walk: Walk) -> None:
    walk("a.tif", "scored")
    ledger.mark_gone(run.run_id, ["a.tif"], 110.0)
    assert ledger.folder(run.run_id, "")["a.tif"] == Known(10, 1, "scored", True)
    assert ledger.summary(run.run_id).counts["scored"] == 1


def test_folders_are_those_with_files_that_are_there(ledger: Ledger, run: Run, walk: Walk) -> None:
    for path in ("a.tif", "s1/b.tif", "s2/c.tif"):
        walk(path, "scored")
    ledger.mark_gone(run.run_id, ["s1/b.tif"], 110.0)
    assert ledger.folders(run.run_id) == ["", "s2"]


def test_unknown_files_are_those_never_seen(ledger: Ledger, run: Run) -> None:
    see(ledger, run, "s1/a.tif")
    assert ledger.unknown(run.run_id, ["s1/a.tif", "s1/b.tif", "a.tif"]) == ["s1/b.tif", "a.tif"]


def test_a_name_may_hold_any_letter(ledger: Ledger, run: Run) -> None:
    name = "Schnitt ä 切片 '\"%?@ids.tif"
    see(ledger, run, f"s 1/{name}")
    ledger.mark_gone(run.run_id, [f"s 1/{name}"], 1.0)
    assert ledger.folder(run.run_id, "s 1")[name].gone


def test_positions_are_kept(ledger: Ledger, run: Run) -> None:
    where = Position(section=3, grid=1, row=0, col=2)
    ledger.see(run.run_id, [(SeenFile("a.tif", 1, 1), where), (SeenFile("b.tif", 1, 1), None)], 1.0)
    assert [r.position for r in ledger.rows(run.run_id)] == [where, None]
    assert list(ledger.positions(run.run_id)) == [where]


def test_ten_thousand_files_are_seen_at_once(ledger: Ledger, run: Run) -> None:
    ledger.see(run.run_id, [(SeenFile(f"s{k % 9}/{k}.tif", 1, 1), None) for k in range(10_000)], 1.0)
    assert ledger.summary(run.run_id).counts["seen"] == 10_000


# --- Taking -------------------------------------------------------------------------------------------------------


def taken(ledger: Ledger, run: Run, limit: int = 9, order: Order = "fresh", exclude: Sequence[int] = ()) -> list[str]:
    return [r.path for r in ledger.take(run.run_id, "seen", limit, order=order, exclude=exclude, now=1000.0)]


@pytest.fixture
def five(ledger: Ledger, run: Run) -> None:
    for k, at in enumerate((500.0, 600.0, 700.0, 950.0, 990.0)):
        see(ledger, run, f"{k}", now=at)


@pytest.mark.usefixtures("five")
def test_fresh_tiles_come_newest_first_then_the_backlog_oldest_first(ledger: Ledger, run: Run) -> None:
    assert taken(ledger, run) == ["4", "3", "0", "1", "2"]


@pytest.mark.usefixtures("five")
def test_the_newest_or_the_oldest_can_be_asked_for(ledger: Ledger, run: Run) -> None:
    assert taken(ledger, run, order="newest") == ["4", "3", "2", "1", "0"]
    assert taken(ledger, run, order="oldest", limit=2) == ["0", "1"]


@pytest.mark.usefixtures("five")
def test_excluded_tiles_do_not_count_towards_the_limit(ledger: Ledger, run: Run) -> None:
    first = ledger.take(run.run_id, "seen", 2, now=1000.0)
    assert taken(ledger, run, limit=2, exclude=[r.tile_id for r in first]) == ["0", "1"]


def test_a_reason_is_noted_while_a_tile_waits(ledger: Ledger, run: Run, walk: Walk) -> None:
    tile_id = walk("a.tif", "seen")
    ledger.waiting([tile_id], "growing", 101.0)
    assert row(ledger, tile_id).reason == "growing"


def test_a_stalled_tile_is_not_taken_until_its_file_changes(ledger: Ledger, run: Run, walk: Walk) -> None:
    tile_id = walk("a.tif", "seen")
    ledger.stalled([tile_id], "truncated", 700.0)
    assert taken(ledger, run) == []
    assert [r.reason for r in ledger.take(run.run_id, "stalled", 9, now=0)] == ["truncated"]
    see(ledger, run, "a.tif", size=11)
    assert taken(ledger, run) == ["a.tif"]


def test_a_stalled_tile_that_somebody_accepts_is_taken_as_it_is(ledger: Ledger, run: Run, walk: Walk) -> None:
    tile_id = walk("a.tif", "seen")
    ledger.stalled([tile_id], "zero_tail", 700.0)
    assert ledger.retry(run.run_id, stalled=True) == 1
    assert [r.accepted for r in ledger.take(run.run_id, "seen", 9, now=0)] == [True]


def test_a_file_that_changes_is_no_longer_accepted_as_it_is(ledger: Ledger, run: Run, walk: Walk) -> None:
    ledger.stalled([walk("a.tif", "seen")], "zero_tail", 700.0)
    ledger.retry(run.run_id, stalled=True)
    see(ledger, run, "a.tif", size=11)
    assert [r.accepted for r in ledger.take(run.run_id, "seen", 9, now=0)] == [False]


# --- Finishing ----------------------------------------------------------------------------------------------------


def test_a_finished_file_has_a_row_a_page(ledger: Ledger, run: Run, walk: Walk) -> None:
    ledger.finish(walk("a.tif", "seen"), [("p0", (4, 4)), ("p1", (4, 5)), ("p2", (6, 4))], 101.0)
    found = ledger.take(run.run_id, "ready", 9, order="oldest", now=0)
    assert [(r.name, r.page, r.pages, r.tile_sha256, r.shape) for r in found] == [
        ("a.tif#page=0", 0, 3, "p0", (4, 4)),
        ("a.tif#page=1", 1, 3, "p1", (4, 5)),
        ("a.tif#page=2", 2, 3, "p2", (6, 4)),
    ]
    assert {r.position for r in found} == {Position(section=1, row=0, col=0)}


def test_finishing_twice_is_finishing_once(ledger: Ledger, run: Run, walk: Walk) -> None:
    tile_id = walk("a.tif", "seen")
    for _ in range(2):
        ledger.finish(tile_id, [("p0", (4, 4)), ("p1", (4, 4))], 101.0)
    assert len(list(ledger.rows(run.run_id))) == 2


def test_a_touched_file_is_not_scored_again(ledger: Ledger, run: Run, walk: Walk) -> None:
    old = walk("a.tif", "scored", pixels="same")
    see(ledger, run, "a.tif", mtime=2)
    (again,) = ledger.take(run.run_id, "seen", 9, now=0)
    ledger.finish(again.tile_id, [("same", (4, 4))], 300.0)
    copy = row(ledger, again.tile_id)
    assert (copy.state, copy.scored_at, copy.result) == ("scored", 300.0, row(ledger, old).result)


def test_a_file_taken_again_is_scored_again(ledger: Ledger, run: Run, walk: Walk) -> None:
    walk("a.tif", "scored", pixels="blurred")
    see(ledger, run, "a.tif", mtime=2)
    (again,) = ledger.take(run.run_id, "seen", 9, now=0)
    ledger.finish(again.tile_id, [("sharp", (4, 4))], 300.0)
    assert row(ledger, again.tile_id).state == "ready"


def test_of_a_stack_only_the_pages_that_changed_are_scored_again(
    ledger: Ledger, run: Run, walk: Walk, make_scored: Make
) -> None:
    ledger.finish(walk("a.tif", "seen"), [("p0", (4, 4)), ("p1", (4, 4))], 101.0)
    ids = [r.tile_id for r in ledger.rows(run.run_id)]
    ledger.stage([(tile_id, None) for tile_id in ids], 102.0)
    ledger.submit(ids, "local", 103.0)
    ledger.store([(i, make_scored(f"a.tif#page={k}", f"p{k}")) for k, i in enumerate(ids)], 104.0)
    see(ledger, run, "a.tif", mtime=2)
    (again,) = ledger.take(run.run_id, "seen", 9, now=0)
    ledger.finish(again.tile_id, [("p0", (4, 4)), ("new", (4, 4))], 300.0)
    assert [(r.name, r.state) for r in ledger.rows(run.run_id)] == [
        ("a.tif#page=0", "scored"), ("a.tif#page=1", "ready")
    ]  # fmt: skip


# --- Transfer -----------------------------------------------------------------------------------------------------


def test_a_ticket_is_kept_with_its_tiles(ledger: Ledger, run: Run, walk: Walk) -> None:
    ids = [walk("a.tif", "ready"), walk("b.tif", "ready")]
    ledger.sending(ids, "ticket-1", 110.0)
    assert {k: [r.tile_id for r in v] for k, v in ledger.tickets(run.run_id).items()} == {"ticket-1": ids}
    assert ledger.sending_count(run.run_id) == 2


def test_what_has_a_ticket_is_not_ready_for_another(ledger: Ledger, run: Run, walk: Walk) -> None:
    tile_id = walk("a.tif", "ready")
    ledger.sending([tile_id], "ticket-1", 110.0)
    ledger.sending([tile_id], "ticket-2", 111.0)
    assert ledger.take(run.run_id, "ready", 9, now=0) == []
    assert list(ledger.tickets(run.run_id)) == ["ticket-1"]


def test_what_was_not_delivered_is_ready_again(ledger: Ledger, run: Run, walk: Walk) -> None:
    tile_id = walk("a.tif", "ready")
    ledger.sending([tile_id], "ticket-1", 110.0)
    ledger.unsent([tile_id], 111.0)
    assert [r.tile_id for r in ledger.take(run.run_id, "ready", 9, now=0)] == [tile_id]


def test_a_ticket_is_heard_to_the_end_even_if_the_file_is_gone(ledger: Ledger, run: Run, walk: Walk) -> None:
    ledger.sending([walk("a.tif", "ready")], "ticket-1", 110.0)
    ledger.mark_gone(run.run_id, ["a.tif"], 111.0)
    assert list(ledger.tickets(run.run_id)) == ["ticket-1"]


def test_a_staged_tile_knows_its_place(ledger: Ledger, run: Run, walk: Walk) -> None:
    tile_id = walk("a.tif", "ready")
    ledger.sending([tile_id], "ticket-1", 110.0)
    ledger.stage([(tile_id, {"path": "/staged/ä.tif"})], 111.0)
    found = row(ledger, tile_id)
    assert (found.state, found.place, found.ticket) == ("staged", {"path": "/staged/ä.tif"}, None)


def test_copies_are_of_no_use_once_all_pages_are_scored(
    ledger: Ledger, run: Run, walk: Walk, make_scored: Make
) -> None:
    ledger.finish(walk("a.tif", "seen"), [("p0", (4, 4)), ("p1", (4, 4))], 101.0)
    ids = [r.tile_id for r in ledger.rows(run.run_id)]
    ledger.stage([(tile_id, {"path": "/copy"}) for tile_id in ids], 102.0)
    ledger.submit(ids, "local", 103.0)
    ledger.store([(ids[0], make_scored("", "p0"))], 104.0)
    assert ledger.to_clean(run.run_id, 9) == []
    ledger.store([(ids[1], make_scored("", "p1"))], 105.0)
    assert ledger.to_clean(run.run_id, 9) == [(ids[0], {"path": "/copy"})]
    ledger.cleaned(ids[:1])
    assert ledger.to_clean(run.run_id, 9) == []


def test_the_copy_of_a_superseded_tile_is_of_no_use(ledger: Ledger, run: Run, walk: Walk) -> None:
    tile_id = walk("a.tif", "ready")
    ledger.stage([(tile_id, {"path": "/copy"})], 102.0)
    see(ledger, run, "a.tif", mtime=2)
    assert ledger.to_clean(run.run_id, 9) == [(tile_id, {"path": "/copy"})]


# --- Submitting and storing ---------------------------------------------------------------------------------------


@pytest.fixture
def attempts(ask: Ask) -> Attempts:
    """Get a tile's attempts: number, endpoint, task, outcome and device of each."""
    of_tile = "SELECT attempt, endpoint, task_id, outcome, device FROM attempt WHERE tile_id = ? ORDER BY attempt"
    return lambda tile_id: ask(of_tile, tile_id)


def test_each_submission_is_an_attempt(ledger: Ledger, walk: Walk, attempts: Attempts) -> None:
    tile_id = walk("a.tif", "submitted")
    ledger.back([tile_id], "staged", "the worker died", 200.0)
    ledger.submit([tile_id], "dgx", 201.0)
    assert attempts(tile_id) == [(1, "local", None, "the worker died", None), (2, "dgx", None, None, None)]
    assert row(ledger, tile_id).attempts == 2


def test_only_what_is_staged_is_submitted(ledger: Ledger, walk: Walk) -> None:
    ready, submitted = walk("a.tif", "ready"), walk("b.tif", "submitted")
    ledger.submit([ready, submitted], "local", 200.0)
    assert [row(ledger, i).attempts for i in (ready, submitted)] == [0, 1]


def test_the_state_to_resume_from_is_kept_and_names_the_tasks(ledger: Ledger, run: Run, walk: Walk) -> None:
    tile_id = walk("a.tif", "submitted")
    state = {
        "tasks": [{"task_id": "t-1", "tiles": [{"tag": str(tile_id)}, {"tag": None}]}, {"task_id": None, "tiles": []}]
    }
    ledger.save_resume(run.run_id, state)
    assert ledger.resume(run.run_id) == state
    assert row(ledger, tile_id).task_id == "t-1"
    ledger.save_resume(run.run_id, None)
    assert ledger.resume(run.run_id) is None


def test_a_result_is_stored_with_its_device(ledger: Ledger, walk: Walk, make_scored: Make, attempts: Attempts) -> None:
    tile_id = walk("a.tif", "submitted")
    result = make_scored("a.tif", "p", device="A100")
    assert ledger.store([(tile_id, result)], 200.0) == [tile_id]
    found = row(ledger, tile_id)
    assert (found.state, found.scored_at, found.result) == ("scored", 200.0, result.to_dict())
    assert attempts(tile_id) == [(1, "local", None, "scored", "A100")]


def test_what_is_scored_stays(ledger: Ledger, walk: Walk, make_scored: Make, make_failed: Make) -> None:
    tile_id = walk("a.tif", "scored")
    before = row(ledger, tile_id)
    later = [(tile_id, make_scored("a.tif", "p", 9.0)), (tile_id, make_failed("a.tif"))]
    assert ledger.store(later, 300.0) == []
    assert row(ledger, tile_id) == before


def test_what_failed_may_still_be_scored(ledger: Ledger, walk: Walk, make_scored: Make, make_failed: Make) -> None:
    tile_id = walk("a.tif", "submitted")
    ledger.store([(tile_id, make_failed("a.tif", "worker_lost"))], 200.0)
    assert ledger.store([(tile_id, make_scored("a.tif", "p"))], 300.0) == [tile_id]
    found = row(ledger, tile_id)
    assert (found.state, found.error_code) == ("scored", None)


def test_a_failure_keeps_its_code_and_message(ledger: Ledger, walk: Walk) -> None:
    found = row(ledger, walk("a.tif", "failed"))
    assert (found.state, found.error_code, found.error_message) == ("failed", "not_an_image", "a.tif is no image")


def test_a_result_of_other_pixels_is_not_stored(ledger: Ledger, run: Run, walk: Walk, make_scored: Make) -> None:
    tile_id = walk("a.tif", "submitted", pixels="old")
    assert ledger.store([(tile_id, make_scored("a.tif", "new"))], 200.0) == []
    found = row(ledger, tile_id)
    assert (found.state, found.reason, found.tile_sha256, found.result) == ("seen", "replaced", None, None)


def test_a_page_of_other_pixels_has_the_whole_file_looked_at_again(
    ledger: Ledger, run: Run, walk: Walk, make_scored: Make
) -> None:
    ledger.finish(walk("a.tif", "seen"), [("p0", (4, 4)), ("p1", (4, 4))], 101.0)
    ids = [r.tile_id for r in ledger.rows(run.run_id)]
    ledger.stage([(tile_id, None) for tile_id in ids], 102.0)
    ledger.submit(ids, "local", 103.0)
    ledger.store([(ids[0], make_scored("", "p0")), (ids[1], make_scored("", "other"))], 104.0)
    ledger.back([ids[1]], "staged", "not in flight any more", 105.0)
    assert states(ledger, run)[-1] == ("a.tif", 2, "seen")
    assert len(list(ledger.rows(run.run_id))) == 1


def test_an_endpoint_that_keeps_reading_another_file_is_given_up(ledger: Ledger, walk: Walk, make_scored: Make) -> None:
    tile_id = walk("a.tif", "submitted")
    for _ in range(2):
        ledger.store([(tile_id, make_scored("a.tif", "other"))], 200.0)
        ledger.finish(tile_id, [("p", (4, 4))], 201.0)
        ledger.stage([(tile_id, None)], 202.0)
        ledger.submit([tile_id], "local", 203.0)
    ledger.store([(tile_id, make_scored("a.tif", "other"))], 204.0)
    assert row(ledger, tile_id).error_code == "read_failed"


def test_a_late_answer_of_other_pixels_is_ignored(ledger: Ledger, walk: Walk, make_scored: Make) -> None:
    tile_id = walk("a.tif", "ready", pixels="new")
    assert ledger.store([(tile_id, make_scored("a.tif", "old"))], 200.0) == []
    assert row(ledger, tile_id).state == "ready"


def test_the_result_of_a_superseded_tile_is_kept(ledger: Ledger, run: Run, walk: Walk, make_scored: Make) -> None:
    tile_id = walk("a.tif", "submitted")
    see(ledger, run, "a.tif", mtime=2)
    assert ledger.store([(tile_id, make_scored("a.tif", "p"))], 200.0) == [tile_id]


def test_back_to_seen_forgets_what_was_found(ledger: Ledger, walk: Walk) -> None:
    tile_id = walk("a.tif", "submitted")
    ledger.back([tile_id], "seen", "it was removed", 200.0)
    found = row(ledger, tile_id)
    assert (found.state, found.tile_sha256, found.reason, found.changed_at) == ("seen", None, "it was removed", 200.0)


def test_back_to_seen_leaves_no_page_of_a_file_submitted(ledger: Ledger, run: Run) -> None:
    see(ledger, run, "a.tif")
    (first,) = ledger.take(run.run_id, "seen", 9, now=0)
    ledger.finish(first.tile_id, [("p0", (4, 4)), ("p1", (4, 4))], 1.0)
    ids = [row.tile_id for row in ledger.take(run.run_id, "ready", 9, now=0)]
    ledger.stage([(each, None) for each in ids], 2.0)
    ledger.submit(ids, "local", 3.0)
    ledger.back(ids, "seen", "it was replaced", 4.0)
    assert ledger.take(run.run_id, "submitted", 9, now=0) == []
    assert [row.generation for row in ledger.take(run.run_id, "seen", 9, now=0)] == [2]


def test_back_does_not_move_what_is_scored(ledger: Ledger, walk: Walk) -> None:
    tile_id = walk("a.tif", "scored")
    ledger.back([tile_id], "seen", "late", 200.0)
    assert row(ledger, tile_id).state == "scored"


# --- Retry --------------------------------------------------------------------------------------------------------


def test_a_tile_that_never_passed_the_gate_is_looked_at_again(ledger: Ledger, run: Run, walk: Walk) -> None:
    tile_id = walk("a.tif", "failed")
    assert ledger.retry(run.run_id, failed=True) == 1
    found = row(ledger, tile_id)
    assert (found.state, found.result, found.error_code) == ("seen", None, None)


def test_a_tile_that_failed_at_the_endpoint_is_sent_again(
    ledger: Ledger, run: Run, walk: Walk, make_failed: Make
) -> None:
    tile_id = walk("a.tif", "submitted")
    ledger.store([(tile_id, make_failed("a.tif", "worker_lost"))], 200.0)
    ledger.retry(run.run_id, failed=True)
    assert row(ledger, tile_id).state == "ready"


def test_retry_takes_only_the_codes_asked_for(ledger: Ledger, run: Run, walk: Walk, make_failed: Make) -> None:
    walk("a.tif", "failed")
    lost = walk("b.tif", "submitted")
    ledger.store([(lost, make_failed("b.tif", "worker_lost"))], 200.0)
    assert ledger.retry(run.run_id, failed=True, codes=["worker_lost"]) == 1
    assert row(ledger, lost).state == "ready"


def test_retry_takes_only_the_paths_asked_for(ledger: Ledger, run: Run, walk: Walk) -> None:
    walk("a.tif", "failed")
    walk("s1/b.tif", "failed")
    assert ledger.retry(run.run_id, failed=True, paths=["s1/b.tif"]) == 1


def test_retry_leaves_what_is_superseded(ledger: Ledger, run: Run, walk: Walk) -> None:
    walk("a.tif", "failed")
    see(ledger, run, "a.tif", mtime=2)
    assert ledger.retry(run.run_id, failed=True) == 0


# --- Around -------------------------------------------------------------------------------------------------------


def test_missing_tiles_are_replaced_as_a_whole(ledger: Ledger, run: Run) -> None:
    first = [Missing(None, Position(section=1, row=0, col=1), "not in the grid"), Missing("b.tif", None, "listed")]
    ledger.set_missing(run.run_id, first, 100.0)
    ledger.set_missing(run.run_id, [first[1], Missing("c.tif", None, "listed")], 200.0)
    assert ledger.missing(run.run_id) == [
        Missing("b.tif", None, "listed", 100.0), Missing("c.tif", None, "listed", 200.0)
    ]  # fmt: skip
    assert ledger.summary(run.run_id).missing == 2


def test_the_summary_counts_each_row_once(ledger: Ledger, run: Run, walk: Walk) -> None:
    ledger.stalled([walk("a.tif", "seen", now=50.0)], "truncated", 700.0)
    ledger.sending([walk("b.tif", "ready")], "t", 100.0)
    walk("c.tif", "scored", now=400.0)
    walk("d.tif", "failed", now=300.0)
    walk("e.tif", "staged")
    ledger.mark_gone(run.run_id, ["e.tif"], 500.0)
    walk("f.tif", "scored", pixels="q")
    see(ledger, run, "f.tif", mtime=2, now=90.0)
    ledger.heartbeat(run.run_id, {"pid": 7}, 405.0)
    found = ledger.summary(run.run_id, now=650.0)
    assert {state: n for state, n in found.counts.items() if n} == {"seen": 2, "ready": 1, "scored": 1, "failed": 1}
    assert (found.gone, found.superseded, found.stalled, found.sending, found.to_do) == (1, 1, 1, 1, 2)
    assert (found.waiting_since, found.last_scored_at, found.recent) == (90.0, 400.0, 1)
    assert (found.heartbeat, found.heartbeat_at) == ({"pid": 7}, 405.0)


def test_rows_come_by_number_in_pages(ledger: Ledger, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mhfd_client.ledger.reading.ROWS_AT_ONCE", 3)
    ledger.see(run.run_id, [(SeenFile(f"{k}.tif", 1, 1), None) for k in range(8)], 1.0)
    found = list(ledger.rows(run.run_id))
    assert [r.path for r in found] == [f"{k}.tif" for k in range(8)]
    assert list(ledger.rows(run.run_id, after=found[1].tile_id, limit=4)) == found[2:6]


def test_rows_of_a_time_come_in_the_order_of_their_results(
    ledger: Ledger, run: Run, walk: Walk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mhfd_client.ledger.reading.ROWS_AT_ONCE", 2)
    for k, at in enumerate((300.0, 100.0, 200.0, 250.0, 250.0)):
        walk(f"{k}.tif", "scored", now=at)
    walk("seen.tif", "seen", now=400.0)
    assert [r.path for r in ledger.rows(run.run_id, since=200.0)] == ["2.tif", "3.tif", "4.tif", "0.tif"]


def test_rows_are_those_of_the_moment_of_the_first(
    ledger: Ledger, run: Run, walk: Walk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mhfd_client.ledger.reading.ROWS_AT_ONCE", 1)
    walk("a.tif", "seen")
    walk("b.tif", "seen")
    stream = ledger.rows(run.run_id)
    next(stream)
    walk("c.tif", "seen")
    assert [r.path for r in stream] == ["b.tif"]


def test_a_transaction_that_fails_changes_nothing(ledger: Ledger, run: Run) -> None:
    with pytest.raises(RuntimeError), ledger.transaction():
        see(ledger, run, "a.tif")
        raise RuntimeError
    assert list(ledger.rows(run.run_id)) == []


def test_an_inner_transaction_that_fails_leaves_the_outer_one(ledger: Ledger, run: Run) -> None:
    with ledger.transaction():
        see(ledger, run, "a.tif")
        with pytest.raises(RuntimeError), ledger.transaction():
            see(ledger, run, "b.tif")
            raise RuntimeError
        see(ledger, run, "c.tif")
    assert [r.path for r in ledger.rows(run.run_id)] == ["a.tif", "c.tif"]


def test_threads_and_connections_may_write_at_once(ledger: Ledger, run: Run, where: str) -> None:
    def write(mine: Ledger, name: str) -> None:
        for k in range(20):
            see(mine, run, f"{name}/{k}.tif")

    with open_ledger(where) as other:
        threads = [
            threading.Thread(target=write, args=(each, f"{n}")) for n, each in enumerate((ledger, ledger, other))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert ledger.summary(run.run_id).counts["seen"] == 60


def test_one_pipeline_at_a_time(ledger: Ledger, run: Run, where: str) -> None:
    busy = pytest.raises(LedgerBusyError, match=rf"process {os.getpid()} on \S+ has worked on this run since")
    with open_ledger(where) as other:
        with ledger.lease(run.run_id), busy, other.lease(run.run_id):
            pass
        with other.lease(run.run_id):
            pass


def test_pipelines_on_different_runs_share_a_ledger(ledger: Ledger, run: Run, where: str) -> None:
    second = ledger.open_run("/another", FocusParams(), layout="auto", endpoint="local")
    with open_ledger(where) as other, ledger.lease(run.run_id), other.lease(second.run_id):
        see(ledger, run, "a.tif")
        see(other, second, "b.tif")
        with open_ledger(where) as third:
            assert [[r.path for r in third.rows(each.run_id)] for each in (run, second)] == [["a.tif"], ["b.tif"]]
            for each in (run, second):
                with pytest.raises(LedgerBusyError), third.lease(each.run_id):
                    pass


def test_readers_are_free_while_somebody_writes(ledger: Ledger, run: Run, where: str) -> None:
    with open_ledger(where, readonly=True) as reader, ledger.transaction():
        see(ledger, run, "a.tif")
        assert reader.summary(run.run_id).counts["seen"] == 0


def test_a_reader_cannot_write(ledger: Ledger, run: Run, where: str) -> None:
    with open_ledger(where, readonly=True) as reader, pytest.raises(LedgerError):
        see(reader, run, "a.tif")
