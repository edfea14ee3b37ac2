"""The cell that follows a run: updated in place, with the numbers of `mhfd status`, until the watch has ended."""

from __future__ import annotations

import _thread
import re
import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from mhfd.contract import MhfdError
from mhfd_client import notebook
from mhfd_client.judge.run import judge_run
from mhfd_client.ledger import LedgerError
from mhfd_client.notebook.cell import run_html, strip_svg, trouble_html
from mhfd_client.notebook.recent import Recent
from mhfd_client.views.status import read_status
from page_run import Filling

from .conftest import Shown

Where = tuple[Path, Path]
LONG_S = 60.0


def text(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<style>.*?</style>|<[^>]*>", " ", html, flags=re.DOTALL))


def test_one_cell_is_updated_in_place(filling: Filling, where: Where, shown: Shown) -> None:
    notebook.follow(*where, seconds=0)
    first, *later = shown.told
    assert not first.get("update")
    assert later
    assert all(each["update"] for each in later)
    assert len({each["transient"]["display_id"] for each in shown.told}) == 1


def test_it_says_what_the_status_says(filling: Filling, where: Where, shown: Shown) -> None:
    notebook.follow(*where, seconds=0)
    status = read_status(filling.ledger, filling.run, time.time())
    said = text(shown.last)
    assert "72 tiles" in said
    for verdict, n in status["verdicts"].items():
        if n:
            assert f"{n} {verdict.replace('_', ' ')}" in said
    for each in status["tiles_to_look_at"]:
        assert f"{each['tile']} section 4, row 1, col 2 {each['reason']} {each['decision']}" in said
    assert str(where[0].parent) not in shown.last  # it may be published


def test_it_ends_when_the_watch_has_ended_and_shows_its_last_tile(filling: Filling, where: Where, shown: Shown) -> None:
    begun = threading.Event()
    shown.then = begun.set

    def watch() -> None:
        begun.wait(LONG_S)
        filling.add([(7, 0, 0)])
        filling.ledger.heartbeat(filling.run.run_id, {"pid": 1, "host": "scope", "ended": True}, time.time())

    thread = threading.Thread(target=watch)
    thread.start()
    notebook.follow(*where, seconds=LONG_S, every_s=0.05)
    thread.join()
    assert "73 tiles" in text(shown.last)
    assert "s0007_r0_c0.tif" in shown.last


def test_an_interrupt_ends_it_without_an_error(filling: Filling, where: Where, shown: Shown) -> None:
    begun = threading.Event()
    shown.then = begun.set

    def press_stop() -> None:
        begun.wait(LONG_S)
        _thread.interrupt_main()

    thread = threading.Thread(target=press_stop)
    thread.start()
    began_s = time.monotonic()
    notebook.follow(*where, seconds=LONG_S, every_s=0.05)
    thread.join()
    assert time.monotonic() - began_s < LONG_S
    assert "72 tiles" in text(shown.last)


def test_a_ledger_that_cannot_be_read_is_told_of_in_the_cell(filling: Filling, where: Where, shown: Shown) -> None:
    def break_it() -> None:
        with closing(sqlite3.connect(where[1])) as database:
            database.execute("ALTER TABLE counter RENAME TO away")

    shown.then, shown.at = break_it, 1
    notebook.follow(*where, seconds=0)
    assert "trying again" in shown.last


def test_without_a_run_there_is_no_cell(tmp_path: Path, shown: Shown) -> None:
    with pytest.raises(LedgerError):
        notebook.follow(tmp_path / "run", tmp_path / "ledger.db")
    assert shown.told == []


def test_the_last_tiles_are_judged_as_the_run_is(filling: Filling) -> None:
    run_id = filling.run.run_id
    whole = judge_run(filling.ledger, run_id)[-20:]
    with Recent(filling.ledger, run_id, most=20) as recent:
        recent.look()
        recent.settle(LONG_S)
        last = recent.look()
        assert [(tile.name, tile.result.verdict, tile.result.blur_px) for tile in last] == [
            (tile.name, tile.result.verdict, tile.result.blur_px) for tile in whole
        ]
        (new,) = filling.add([(8, 0, 0)])
        assert recent.look()[-1].tile_id == new


def test_the_strip_has_a_mark_a_tile_and_only_flagged_tiles_are_above_the_threshold(filling: Filling) -> None:
    tiles = judge_run(filling.ledger, filling.run.run_id)
    drawn = strip_svg(tiles, 1.1)
    marks = re.findall(r'translate\([\d.]+ ([\d.]+)\)"><path class="mhfd-(\w+)"[^>]*><title>([^<]*)</title>', drawn)
    assert [name for _, _, name in marks] == [tile.name for tile in tiles]
    (threshold,) = re.findall(r'd="M\d+ ([\d.]+)H\d+" stroke="currentColor" stroke-dasharray', drawn)
    for y, verdict, _ in marks:
        assert (float(y) < float(threshold)) == (verdict == "out_of_focus")
    assert strip_svg([], 1.1) == ""


def test_hostile_names_are_only_text(filling: Filling) -> None:
    status = read_status(filling.ledger, filling.run, time.time())
    evil = "<script>alert(1)</script>\x1b\u202e"
    status["run"]["folder"] = f"D:\\em\\{evil}"
    status["tiles_to_look_at"][0].update(tile=evil, reason=evil, decision=evil)
    status["events"] = [{"text": evil, "since": status["time"]}]
    tiles = judge_run(filling.ledger, filling.run.run_id)
    object.__setattr__(tiles[0], "name", evil)
    for html in (run_html(status, tiles, 1.1), trouble_html(evil)):
        assert "<script" not in html
        assert "\x1b" not in html
        assert "\u202e" not in html
    assert "D:" not in run_html(status, tiles, 1.1)


def test_outside_a_notebook_it_says_what_to_use(filling: Filling, where: Where) -> None:
    with pytest.raises(MhfdError, match="mhfd status --follow"):
        notebook.follow(*where, seconds=0)
