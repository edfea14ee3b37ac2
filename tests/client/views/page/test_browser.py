"""The page in a browser: what people see, do and keep."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from browsing import Studio, wait
from needs import give_up
from page_run import RIGHT_HALF, Wafer
from spectra import Smear

if TYPE_CHECKING:
    from playwright.sync_api import Page

MakeStudio = Callable[..., Studio]

SMALL = Wafer(sections=4)
BAD = Wafer(
    sections=6,
    odd={(3, 1, 1): 2.6, (5, 0, 2): 2.9 * RIGHT_HALF, (5, 0, 3): 1.4, (6, 2, 2): None},
    smeared={(4, 2, 0): Smear(2.3, 45)},
    blank=frozenset({(2, 3)}),
)
VIEWS = ("now", "map", "tile", "retakes")
PHONE = {"viewport": {"width": 400, "height": 800}, "has_touch": True, "is_mobile": True}
NARROW = {"viewport": {"width": 320, "height": 640}}


def shows(page: Page, where: str, text: str) -> None:
    """Until an element has a text in it."""
    wait(page, "([q, t]) => document.querySelector(q)?.textContent.includes(t)", [where, text])


def judged(page: Page, take_again: int) -> None:
    """Until so many are to be taken again."""
    shows(page, ".counts .big", str(take_again))
    wait(page, "n => document.querySelector('.counts .big').textContent === String(n)", take_again)


def go(page: Page, view: str) -> None:
    page.evaluate("view => { location.hash = `#/${view}`; }", view)
    wait(page, "view => document.querySelector('main').dataset.view === view.split('/')[0]", view)


def retakes(page: Page) -> dict[str, dict[str, Any]]:
    """What the server lists, by name."""
    answer = page.request.get(f"{page.url.split('#')[0]}api/retakes?format=json")
    return {each["name"]: each for each in answer.json()["tiles"]}


def numbers(page: Page) -> dict[str, int]:
    """The counts on the page, by their words."""
    words = "['dt', 'dd'].map((tag) => div.querySelector(tag).textContent)"
    found = page.evaluate(f"[...document.querySelectorAll('.counts div')].map((div) => {words})")
    return {word: int(text.replace(",", "")) for word, text in found if text not in ("", "–")}


def paints(page: Page, canvas: str, colour: str | None = None) -> None:
    """Until a canvas has many shades, or a colour."""
    wait(
        page,
        """([query, colour]) => {
          const canvas = document.querySelector(query);
          if (!canvas?.width) return false;
          const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height), seen = new Set();
          for (let i = 0; i < data.length; i += 4) seen.add(`${data[i]},${data[i + 1]},${data[i + 2]}`);
          return colour ? seen.has(colour) : seen.size > 50;
        }""",
        [canvas, colour],
    )


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
    shown.stop()
    page.close()
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


def test_everything_can_be_done_by_keyboard(studio: MakeStudio) -> None:
    shown = studio(BAD)
    page = shown.look()
    judged(page, 5)
    press = page.keyboard.press
    press("j")
    shows(page, "#name", "s0006 r2 c2")  # the newest one
    press("4")
    press("k")
    shows(page, "#side-name", "s0005 r0 c3")
    press("a")
    shows(page, "#toast", "s0005 r0 c3: accept.")
    press("u")
    wait(page, "() => !document.querySelector('.list button[aria-pressed=true]')")
    press("i")
    shows(page, "#toast", "s0005 r0 c3: ignore.")
    press("2")
    page.locator(".map canvas").focus()
    press("ArrowLeft")
    shows(page, "#readout", "s0004 r0 c3, in focus")
    press("+")
    press("0")
    press("Enter")
    shows(page, "#name", "s0004 r0 c3")
    press("?")
    wait(page, "() => document.querySelector('#help-box').open")
    press("Escape")
    press("p")
    shows(page, "#health", "held")
    press("p")
    wait(page, "() => document.activeElement === document.body")
    press("Tab")
    assert page.evaluate("document.activeElement.closest('nav') !== null")
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"


def test_letters_are_silent_when_switched_off_and_while_typing(studio: MakeStudio) -> None:
    shown = studio(SMALL)
    page = shown.look()
    page.keyboard.press("Control+2")
    page.keyboard.press("?")
    page.locator("#keys-on").uncheck()
    page.keyboard.press("Escape")
    page.keyboard.press("2")
    page.wait_for_timeout(300)
    assert page.evaluate("document.querySelector('main').dataset.view") == "now"


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
    shown.complaints[:] = [each for each in shown.complaints if "ERR_" not in each and "Failed to load" not in each]


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
    shown.complaints[:] = [each for each in shown.complaints if "409" not in each]


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


@pytest.mark.parametrize("size", [PHONE, NARROW], ids=["400", "320"])
def test_a_phone_needs_no_sideways_scroll(studio: MakeStudio, size: dict[str, Any]) -> None:
    shown = studio(BAD)
    page = shown.look("now", **size)
    judged(page, 5)
    for view in VIEWS:
        go(page, view)
        page.wait_for_timeout(200)
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, view
    wait(page, "() => document.querySelectorAll('.list a').length === 5")
    height = "e.getBoundingClientRect().height"
    all_of_them = "[...document.querySelectorAll('button, a')]"
    assert page.evaluate(f"{all_of_them}.filter((e) => {height} > 0 && {height} < 24).map((e) => e.outerHTML)") == []


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1400, 400])
def test_axe_finds_nothing_serious(studio: MakeStudio, theme: str, width: int) -> None:
    try:
        from axe_playwright_python.sync_playwright import Axe
    except ImportError:
        give_up("axe is not installed: pip install 'mhfd[test]'.")
    shown = studio(BAD)
    context = shown.context(viewport={"width": width, "height": 1000}, color_scheme=theme, bypass_csp=True)
    page = shown.look("now", context)
    judged(page, 5)
    found = []
    for view in VIEWS:
        go(page, view)
        page.wait_for_timeout(900)
        answer = Axe().run(page)
        found += [
            (view, each["id"], each["nodes"][0]["html"][:200])
            for each in answer.response["violations"]
            if each["impact"] in ("serious", "critical", "moderate")
        ]
    assert found == []


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
