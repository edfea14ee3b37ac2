"""The page in a browser: what people see, do and keep."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from browsing import BAD, SMALL, Studio, go, judged, numbers, paints, retakes, shows, wait
from mhfd_client.judge.run import standard_of
from page_run import Wafer

if TYPE_CHECKING:
    from playwright.sync_api import Page

MakeStudio = Callable[..., Studio]


def test_a_run_appears_tile_by_tile(studio: MakeStudio) -> None:
    shown = studio(SMALL, filled=False)
    page = shown.look()
    shows(page, ".beacon", "Ready")
    assert set(numbers(page).values()) == {0}
    spots = list(SMALL.spots())
    seen = shown.filling.see(spots[:2])
    wait(page, "() => document.querySelectorAll('.strip a').length === 2")
    assert page.locator(".strip a").last.get_attribute("aria-label") == "s0001 r0 c1, to do"
    shown.filling.score(seen)
    shown.filling.add(spots[2:])
    wait(page, "() => document.querySelectorAll('.strip a[data-v=in_focus]').length === 30")
    wait(page, "n => document.querySelector('[data-k=in_focus] dd').textContent === String(n)", len(spots))
    shows(page, ".beacon", "In focus")
    wait(page, "() => document.querySelectorAll('.strip img.there').length === 30")


def test_a_bad_tile_is_red_within_a_second_of_its_row(studio: MakeStudio) -> None:
    bad = {(4, 2, c): 2.6 for c in range(1, 4)}
    shown = studio(Wafer(sections=4, odd=bad), filled=False)
    shown.filling.add([spot for spot in shown.filling.wafer.spots() if spot not in bad])
    page = shown.look()
    wait(page, "() => document.querySelectorAll('.strip a[data-v=in_focus]').length === 30")
    took_s = []
    for k, spot in enumerate(bad):
        seen = shown.filling.see([spot])
        wait(page, "() => document.querySelector('.strip a:last-child').dataset.v === 'todo'")
        start = time.perf_counter()
        shown.filling.score(seen)
        wait(page, "n => document.querySelectorAll('.strip a[data-v=out_of_focus]').length === n", k + 1)
        took_s.append(time.perf_counter() - start)
    assert min(took_s) < 1.0, took_s
    wait(page, "() => document.title.endsWith('3 to take again · mhfd')")
    shows(page, "#said", "3 to take again.")


def test_a_click_shows_the_picture_and_its_features(studio: MakeStudio) -> None:
    shown = studio(BAD)
    page = shown.look()
    judged(page, 5)
    page.locator('.strip a[aria-label^="s0005 r0 c2"]').click()
    shows(page, "#name", "s0005 r0 c2")
    shows(page, "#sentence", "Blur")
    paints(page, "#this")
    paints(page, "#reference")
    shows(page, "#reference-caption", "section 4, the last in focus")
    assert page.locator(".blurmap td").count() == 16
    assert page.locator(".blurmap td.worst").count() == 1
    page.keyboard.press("f")
    paints(page, "#this", "255,212,0")
    page.keyboard.press("b")
    shows(page, "#this-caption", "section 4: blink")
    page.keyboard.press("z")
    shows(page, "#scale-note", "shown at")
    paints(page, "#this")


def test_a_click_on_the_map_chooses_a_tile_and_a_second_opens_it(studio: MakeStudio) -> None:
    shown = studio(BAD)
    page = shown.look("map")
    judged(page, 5)
    box = page.locator(".map canvas").bounding_box()
    assert box is not None
    x, y = 56 + (box["width"] - 56) * 2.5 / 6, (box["height"] - 24) * 5.5 / 12
    for _ in range(2):
        page.mouse.click(box["x"] + x, box["y"] + y)
    shows(page, "#name", "s0003 r1 c1")


def test_a_decision_survives_a_restart_and_is_in_the_list(studio: MakeStudio) -> None:
    shown = studio(BAD)
    context = shown.context(named=False)
    page = shown.look("retakes", context)
    page.locator('[aria-label="Accept s0003 r1 c1"]').click()
    page.locator("#who-name").fill("Ana")
    page.locator("#who button[value=ok]").click()
    shows(page, "tr[data-n] .who", "Ana")
    wait(page, "() => document.querySelector('#open').textContent === '4'")
    page.close()
    shown.stop()
    shown.serve()
    page = shown.look("retakes", context)
    page.locator('[aria-label="Accept s0003 r1 c1"][aria-pressed=true]').wait_for()
    listed = retakes(page)["s0003_r1_c1.tif"]
    assert (listed["state"], listed["by"]) == ("accept", "Ana")


def test_the_preview_says_what_applying_gives(studio: MakeStudio) -> None:
    shown = studio(Wafer(sections=5, odd={(s, 1, 1): 0.4 + 0.12 * s for s in range(1, 6)}))
    page = shown.look()
    wait(page, "() => document.querySelectorAll('.strip a[data-v=in_focus]').length > 20")
    before = numbers(page)["take again"]
    page.keyboard.press("t")
    wait(page, "() => document.activeElement.id === 'line'")
    for _ in range(4):
        page.keyboard.press("PageDown")
    shows(page, "#preview", "would flag")
    told = page.locator("#preview").text_content() or ""
    more = int(re.search(r"would flag (\d+)", told)[1])  # type: ignore[index]
    assert more > 0
    spoken = told.removeprefix("At ").rstrip(".").replace(":", ",")
    assert page.locator("#line").get_attribute("aria-valuetext") == spoken
    shows(page, "#h-last", "nearest the line")
    page.keyboard.press("Enter")
    shows(page, "#toast", "Flagged above 0.70 px from now on")
    judged(page, before + more)
    wait(page, "n => Number(document.querySelector('[data-k=in_focus] dd').textContent) === n", 60 - before - more)
    page.keyboard.press("u")
    judged(page, before)


@pytest.mark.skipif(sys.platform == "win32", reason="no such names there")
def test_script_in_a_name_is_inert(studio: MakeStudio) -> None:
    evil = "<img src=x onerror=alert(1)>"
    shown = studio(SMALL, name=f"{evil}run")
    filling, now = shown.filling, time.time()
    from mhfd_client.ledger import SeenFile

    name = f"{evil}\u202etif.<b>.tif"
    filling.ledger.see(filling.run.run_id, [(SeenFile(name, 10, 10**18), None)], now)
    (row,) = filling.ledger.take(filling.run.run_id, "seen", 1, now=now)
    filling.ledger.finish(row.tile_id, [("evil", (256, 256))], now)
    page = shown.look()
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    shows(page, "#run", "<img src=x")
    go(page, f"tile/{row.tile_id}")
    shows(page, ".numbers bdi", "\\u202etif.<b>.tif")
    assert page.locator("main b:not(.beacon b)").count() == 0
    assert page.locator("img[src=x]").count() == 0
    assert dialogs == []


def test_inline_script_is_refused_by_the_browser(studio: MakeStudio) -> None:
    shown = studio(SMALL, filled=False)
    page = shown.look()
    page.evaluate(
        "() => document.body.append(Object.assign(document.createElement('script'), { textContent: 'window.ran = 1' }))"
    )
    assert page.evaluate("window.ran") is None
    assert any("Content Security Policy" in each for each in shown.complaints)
    shown.complaints.clear()


def test_a_lost_connection_is_said_and_decisions_wait(studio: MakeStudio) -> None:
    shown = studio(BAD)
    page = shown.look("retakes")
    button = page.locator('[aria-label="Retake s0003 r1 c1"]')
    button.wait_for()
    port = int(shown.url.rstrip("/").rsplit(":", 1)[1])
    shown.stop()
    shows(page, "#banner", "Connection lost")
    shows(page, "#health", "not known")
    assert page.title().startswith("Offline")
    button.click()
    shows(page, "tr[data-n] .who", "not sent")
    shown.serve(port=port)
    wait(page, "() => document.querySelector('#banner').hidden")
    wait(page, "() => !document.querySelector('.list').textContent.includes('not sent')")
    assert retakes(page)["s0003_r1_c1.tif"]["state"] == "retake"
    shown.forgive("ERR_")


def test_a_queue_is_told_until_workers_come(studio: MakeStudio) -> None:
    shown = studio(SMALL)
    ledger, run_id = shown.filling.ledger, shown.filling.run.run_id
    ledger.heartbeat(run_id, {"queued_since": time.time() - 7200}, time.time())
    page = shown.look("now")
    shows(page, "#banner", "has no workers yet: queued since")
    shows(page, "#health", "has no workers yet")
    ledger.heartbeat(run_id, {}, time.time())
    wait(page, "() => document.querySelector('#banner').hidden")
    shows(page, "#health", "ready")


def test_the_later_of_two_viewers_sees_who_was_first(studio: MakeStudio) -> None:
    shown = studio(BAD)
    first, second = (shown.look("retakes") for _ in range(2))
    second.evaluate("localStorage.setItem('mhfd.by', 'Ben')")
    for page in (first, second):
        page.locator('[aria-label="Accept s0003 r1 c1"]').wait_for()
        wait(page, "() => document.querySelector('.list .reason')?.textContent !== ''")
    second.keyboard.press("p")
    first.locator('[aria-label="Accept s0003 r1 c1"]').click()
    wait(first, "() => document.querySelector('tr[data-n] .who')?.textContent.includes('Ana')")
    first.wait_for_timeout(300)
    second.locator('[aria-label="Ignore s0003 r1 c1"]').click()
    shows(second, "#toast", "Ana decided before you: accept")
    shown.forgive("409")


def test_a_read_only_page_has_no_decisions(studio: MakeStudio) -> None:
    shown = studio(BAD, readonly=True)
    page = shown.look("retakes")
    judged(page, 5)
    assert page.locator("#readonly").is_visible()
    assert page.locator(".decide button:not(:has-text('Next')):not(:has-text('Previous'))").count() == 0
    page.keyboard.press("r")
    go(page, "now")
    page.locator("#line").focus()
    page.keyboard.press("PageDown")
    assert page.locator("#apply").is_hidden()


def test_a_token_is_asked_for_and_taken_from_the_address(studio: MakeStudio) -> None:
    shown = studio(SMALL, tokens=("Eva=0123456789abcdef0123456789abcdef",))
    stranger = shown.context().new_page()
    stranger.goto(shown.url.split("#")[0])
    wait(stranger, "() => !document.querySelector('#banner').hidden")
    known = shown.context().new_page()
    known.goto(shown.url)
    wait(known, "() => document.querySelector('#run').textContent === 'cortex-w07'")
    assert "token" not in known.url


def pixel(page: Page, section: int, position: int, of: Wafer) -> list[int]:
    """The colour of a tile on the map, near its corner: the mark is in the middle."""
    return page.evaluate(
        """([s, p, sections, positions]) => {
          const canvas = document.querySelector('.map canvas');
          const wide = (canvas.width - 56) / sections, high = (canvas.height - 24) / positions;
          const at = [56 + (s - 0.85) * wide, (p + 0.15) * high].map(Math.round);
          return [...canvas.getContext('2d').getImageData(...at, 1, 1).data].slice(0, 3);
        }""",
        [section, position, of.sections, of.rows * of.cols],
    )


def middle(page: Page, section: int, position: int, of: Wafer) -> tuple[float, float]:
    """Where a tile is on the map that shows the whole run."""
    box = page.locator(".map canvas").bounding_box()
    assert box is not None
    wide, high = (box["width"] - 56) / of.sections, (box["height"] - 24) / (of.rows * of.cols)
    return box["x"] + 56 + (section - 0.5) * wide, box["y"] + (position + 0.5) * high


def test_a_missing_tile_is_a_gap_on_the_map(studio: MakeStudio) -> None:
    wafer = replace(SMALL, missing=frozenset({(2, 1, 1)}))
    shown = studio(wafer)
    shown.filling.miss(wafer.missing)
    page = shown.look("map")
    wait(page, "() => document.querySelector('[data-k=missing] dd').textContent === '1'")
    page.mouse.move(*middle(page, 2, 5, wafer))
    shows(page, "#readout", "s0002 r1 c1, missing")
    page.mouse.click(*middle(page, 2, 5, wafer))
    shows(page, "#side-sentence", "Missing: ")
    wait(page, "() => document.querySelector('.map canvas').width > 0")
    assert pixel(page, 2, 5, wafer) == [255, 255, 255]
    assert pixel(page, 2, 6, wafer) != [255, 255, 255]


def test_the_map_shows_defocus_where_it_is_calibrated(studio: MakeStudio) -> None:
    shown = studio(SMALL)
    page = shown.look("map")
    shows(page, "#side-sentence", "In focus")
    defocus = page.locator("#colour button", has_text="defocus")
    assert defocus.is_disabled()
    page.close()
    shown.stop()
    shown.filling.calibrate(0.5)
    blurred = (4, 2, 2)
    shown.filling.wafer = replace(SMALL, odd={blurred: 0.9})
    shown.filling.take_again(blurred)
    shown.serve()
    page = shown.look("map")
    wait(page, "() => !document.querySelectorAll('#colour button')[3].disabled")
    defocus = page.locator("#colour button", has_text="defocus")
    by_blur = pixel(page, 1, 1, SMALL)
    defocus.click()
    shows(page, ".map .legend.only-map", "µm and more")
    wait(page, "() => document.querySelectorAll('#colour button')[3].getAttribute('aria-pressed') === 'true'")
    page.wait_for_timeout(100)
    assert pixel(page, 1, 1, SMALL) != by_blur
    page.mouse.move(*middle(page, 1, 1, SMALL))
    assert re.search(r"in focus, [\d.]+ px, [\d.]+ µm$", page.locator("#readout").text_content() or "")


def test_the_map_zooms_and_moves_under_mouse_and_fingers(studio: MakeStudio) -> None:
    shown = studio(BAD)
    page = shown.look("map", has_touch=True)
    judged(page, 5)
    spot = middle(page, 3, 5, BAD)
    page.mouse.move(*spot)
    shows(page, "#readout", "s0003 r1 c1")
    page.mouse.wheel(0, -600)
    page.wait_for_timeout(100)
    page.mouse.move(spot[0] + 20, spot[1])
    shows(page, "#readout", "s0003 r1 c1")  # the place under the mouse stays
    far = middle(page, 6, 5, BAD)
    page.mouse.move(*far)
    told = page.locator("#readout").text_content() or ""
    assert "s0006" not in told
    page.mouse.down()
    page.mouse.move(far[0] - 400, far[1], steps=4)
    page.mouse.up()
    page.mouse.move(*far)
    assert page.locator("#readout").text_content() != told
    page.keyboard.press("Escape")
    page.locator("[data-zoom='0']").click()
    page.mouse.move(*far)
    shows(page, "#readout", "s0006 r1 c1")
    page.mouse.move(*middle(page, 5, 5, BAD))
    shows(page, "#readout", "s0005 r1 c1")
    for zoom, there in (("2", False), ("0", True)):  # the mouse stays, the map moves below it
        page.evaluate("zoom => document.querySelector(`[data-zoom='${zoom}']`).click()", zoom)
        wait(page, "there => document.querySelector('#readout').textContent.startsWith('s0005 r1 c1') === there", there)
    fingers = page.context.new_cdp_session(page)
    touch = "Input.dispatchTouchEvent"
    for kind, gap in (("touchStart", 20), ("touchMove", 60), ("touchMove", 120)):
        points = [{"x": spot[0] + side * gap, "y": spot[1], "id": k} for k, side in enumerate((-1, 1))]
        fingers.send(touch, {"type": kind, "touchPoints": points})
    fingers.send(touch, {"type": "touchEnd", "touchPoints": []})
    page.wait_for_timeout(100)
    page.mouse.move(*far)
    assert "s0006" not in (page.locator("#readout").text_content() or "")


def test_the_slider_goes_through_the_sections(studio: MakeStudio) -> None:
    shown = studio(BAD)
    page = shown.look("map")
    judged(page, 5)
    shows(page, "#h-section", "Section 3")
    page.locator(".side input").focus()
    page.keyboard.press("ArrowRight")
    shows(page, "#h-section", "Section 4")
    shows(page, "#section-note", "1 flagged")
    assert page.locator(".grid button[aria-current=true]").get_attribute("aria-label") == "s4 r1 c1, in focus"


def test_an_alarm_is_marked_and_says_who_has_seen_it(studio: MakeStudio) -> None:
    shown = studio(SMALL)
    ledger, run_id = shown.filling.ledger, shown.filling.run.run_id
    first, second = shown.look(), shown.look()
    wait(first, "() => document.querySelectorAll('.strip a[data-v=in_focus]').length === 30")
    (row,) = (each for each in ledger.rows(run_id) if each.path == "s0003_r1_c1.tif")
    began = {"text": "9 of the last 10 tiles are out of focus", "tile_id": row.tile_id}
    event, _ = ledger.begin_event(run_id, "many", "", began, time.time())
    first.locator(".alarms button").click()
    for page in (first, second):
        shows(page, ".alarms li", "9 of the last 10 tiles are out of focus Seen by Ana.")
        wait(page, "() => !document.querySelector('.alarms button')")
        wait(page, DOTTED, [3, SMALL.sections])
    assert not first.evaluate(DOTTED, [2, SMALL.sections])
    (stored,) = ledger.events(run_id)
    assert (stored.event_id, stored.acknowledged_by) == (event.event_id, "Ana")


DOTTED = """([section, sections]) => {
  const canvas = document.querySelector('.chart canvas');
  const x = Math.round(56 + (canvas.width - 56) * (section - 0.5) / sections);
  const { data } = canvas.getContext('2d').getImageData(x - 1, 6, 2, canvas.height - 30);
  let marked = 0;
  for (let i = 3; i < data.length; i += 4) if (data[i]) marked++;
  return marked > data.length / 4 / 4;
}"""
"""Whether a line stands on the chart in the middle of a section, where there are three grid lines else."""


def test_a_tile_taken_again_and_sharp_is_no_more_to_do(studio: MakeStudio) -> None:
    shown = studio(BAD)
    page = shown.look("retakes")
    judged(page, 5)
    row = page.locator("tr[data-n]", has_text="s0005 r0 c3")
    row.locator("button", has_text="Retake").click()
    shows(page, "#toast", "s0005 r0 c3: retake")
    shown.filling.take_again((5, 0, 3))
    judged(page, 4)
    shows(page, "#h-retakes", "4 to take again, in 4 sections")
    wait(page, "() => document.querySelector('tr.closed')?.textContent.includes('closed')")
    page.locator("#only-open").click()
    wait(page, "() => !document.querySelector('tr.closed')")


def test_undo_takes_a_decision_back(studio: MakeStudio) -> None:
    shown = studio(BAD)
    page = shown.look("retakes")
    page.locator('[aria-label="Ignore s0003 r1 c1"]').click()
    shows(page, "#open", "4")
    wait(page, "() => document.querySelector('tr[data-n] .who')?.textContent.match(/Ana \\d/)")
    assert retakes(page)["s0003_r1_c1.tif"]["state"] == "ignore"
    page.locator("#toast button").click()
    shows(page, "#open", "5")
    wait(page, "() => !document.querySelector('.list [aria-pressed=true]')")
    end = time.monotonic() + 30
    while retakes(page)["s0003_r1_c1.tif"]["state"] != "open" and time.monotonic() < end:
        page.wait_for_timeout(50)
    assert retakes(page)["s0003_r1_c1.tif"]["state"] == "open"


def test_a_held_page_stands_still_and_catches_up(studio: MakeStudio) -> None:
    shown = studio(SMALL, filled=False)
    held, other = shown.look(), shown.look()
    held.keyboard.press("p")
    shows(held, "#health", "held")
    shown.filling.add(list(SMALL.spots())[:4])
    wait(other, "() => document.querySelectorAll('.strip a').length === 4")
    assert held.locator(".strip a").count() == 0
    held.locator("#hold").click()
    wait(held, "() => document.querySelectorAll('.strip a').length === 4")


def test_the_line_is_dragged_and_nothing_changes_before_apply(studio: MakeStudio) -> None:
    shown = studio(Wafer(sections=5, odd={(s, 1, 1): 0.4 + 0.12 * s for s in range(1, 6)}))
    page = shown.look()
    wait(page, "() => document.querySelectorAll('.strip a[data-v=in_focus]').length > 20")
    box = page.locator("#line").bounding_box()
    assert box is not None
    x, y = box["x"] + 20, box["y"] + 14
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x, y + 20, steps=3)
    page.mouse.up()
    shows(page, "#preview", "would flag")
    wait(page, "() => document.querySelectorAll('.strip img.there').length > 5")  # the borderline ones
    assert rule(shown) == 1.1
    page.keyboard.press("Escape")
    shows(page, "#preview", "Flagged above 1.10 px")
    page.keyboard.press("PageDown")
    page.locator("#apply").click()
    shows(page, "#toast", "Flagged above 1.00 px from now on")
    assert rule(shown) == 1.0
    page.locator("#toast button").click()
    shows(page, "#preview", "Flagged above 1.10 px")
    assert rule(shown) == 1.1


def rule(shown: Studio) -> float:
    """The run's threshold, px."""
    return standard_of(shown.filling.ledger, shown.filling.run.run_id).rule.max_blur_px


def test_the_example_takes_pictures(studio: MakeStudio, tmp_path: Path) -> None:
    shown = studio(SMALL)
    script = Path(__file__).parents[4] / "examples" / "draw_page.py"
    subprocess.run([sys.executable, script, shown.url, tmp_path], check=True)
    for view in ("now", "map", "tile"):
        with Image.open(tmp_path / f"page_{view}.png") as picture:
            assert picture.size == (1240, 860)


@contextmanager
def module(page: Page, name: str) -> Iterator[Callable[[str], Any]]:
    """Evaluates expressions over a module of the page, `m`."""
    yield lambda expression: page.evaluate(f"import(new URL('static/{name}.js', location)).then((m) => ({expression}))")


def test_the_words(studio: MakeStudio) -> None:
    page = studio(SMALL, filled=False).look()
    with module(page, "words") as of:
        assert of("[m.count(1234567), m.count(null), m.px(0.4166), m.px(NaN)]") == ["1,234,567", "–", "0.42 px", "–"]
        assert of("[m.span(2), m.span(500), m.span(32000), m.plural(1, 'tile'), m.plural(1200, 'tile')]") == [
            "2 s", "8 min", "9 h", "1 tile", "1,200 tiles",
        ]  # fmt: skip
        assert of("m.effect({ more: 37, fewer: 0, of: 12480 })") == "would flag 37 of 12,480 more"
        assert of("m.effect({ more: 0, fewer: 4, of: 12480 })") == "would clear 4 of 12,480"
        assert of("m.effect({ more: 0, fewer: 0, of: 5 })") == "would change nothing"
        assert of(r"m.plain('a\u202eb\nc')") == "a\\u202eb\\u000ac"


def test_events_are_read_in_any_pieces(studio: MakeStudio) -> None:
    page = studio(SMALL, filled=False).look()
    text = ": alive\n\nid: 7\nevent: tiles\ndata: {\ndata: }\n\nevent: reset\ndata: {}\n\n"
    wanted = [{"event": "tiles", "data": "{\n}", "id": "7"}, {"event": "reset", "data": "{}", "id": "7"}]
    with module(page, "sse") as of:
        for size in (1, 3, 1000):
            pieces = json.dumps([text[i : i + size] for i in range(0, len(text), size)])
            assert of(f"((r) => {pieces}.flatMap((one) => r.push(one)))(new m.EventReader())") == wanted
