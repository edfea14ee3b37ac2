"""The page for everybody: by keyboard, on a phone, with other colours, with a screen reader."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from browsing import BAD, SMALL, VIEWS, Studio, go, judged, shows, wait
from needs import give_up

if TYPE_CHECKING:
    from playwright.sync_api import Page

MakeStudio = Callable[..., Studio]

PHONE = {"viewport": {"width": 400, "height": 800}, "has_touch": True, "is_mobile": True}
NARROW = {"viewport": {"width": 320, "height": 640}}


def test_everything_can_be_done_by_keyboard(studio: MakeStudio) -> None:
    shown = studio(BAD)
    page = shown.look()
    judged(page, 5)
    press = page.keyboard.press
    press("j")
    shows(page, "#name", "s0006 r2 c2")  # the newest one
    press("4")
    wait(page, "() => document.querySelectorAll('.list a').length === 5")
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
    wait(page, "() => !document.querySelector('#help-box').open")
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


def faults(page: Page, where: str) -> list[tuple[str, str, str]]:
    """What axe finds; colours are looked at once fades are over."""
    try:
        from axe_playwright_python.sync_playwright import Axe
    except ImportError:
        give_up("axe is not installed: pip install 'mhfd[test]'.")
    page.wait_for_timeout(900)
    found = Axe().run(page).response["violations"]
    return [(where, each["id"], each["nodes"][0]["html"][:200]) for each in found]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1400, 400])
def test_axe_finds_nothing_in_any_view_and_state(studio: MakeStudio, theme: str, width: int) -> None:
    shown = studio(BAD)
    ledger, run_id = shown.filling.ledger, shown.filling.run.run_id
    ledger.begin_event(run_id, "worsening", "", {"text": "Blur rising since section 3."}, time.time())
    context = shown.context(viewport={"width": width, "height": 1000}, color_scheme=theme, bypass_csp=True)
    page = shown.look("now", context)
    judged(page, 5)
    found = []
    for view in VIEWS:
        go(page, view)
        found += faults(page, view)
    page.locator("#side-decide button").first.click()
    shows(page, "#toast", "retake")
    found += faults(page, "decided")
    page.keyboard.press("?")
    found += faults(page, "help")
    page.keyboard.press("Escape")
    go(page, "now")
    page.locator("#line").focus()
    page.keyboard.press("PageDown")
    shows(page, "#preview", "At 1.00 px")
    found += faults(page, "threshold")
    shown.stop()
    shows(page, "#banner", "Connection lost")
    found += faults(page, "lost")
    shown.forgive("ERR_")
    assert found == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_in_an_empty_run(studio: MakeStudio, theme: str) -> None:
    shown = studio(SMALL, filled=False, readonly=True)
    context = shown.context(viewport={"width": 400, "height": 800}, color_scheme=theme, bypass_csp=True)
    page = shown.look("now", context)
    shows(page, ".beacon", "Ready")
    found = []
    for view in VIEWS:
        go(page, view)
        found += faults(page, view)
    assert found == []


STUCK = """() => {
  const at = document.activeElement;
  if (at === document.body) return null;
  const box = at.getBoundingClientRect(), y = box.top + Math.min(box.height / 2, 20);
  const top = document.elementFromPoint(box.left + box.width / 2, y);
  const style = getComputedStyle(at.id === 'line' ? at.firstElementChild : at);
  const told = at.outerHTML.slice(0, 80);
  if (!at.contains(top) && !top?.contains(at)) return `${told} lies under ${top?.outerHTML.slice(0, 80)}`;
  return style.outlineStyle === 'none' ? `${told} has no outline` : '';
}"""


@pytest.mark.parametrize("size", [{"viewport": {"width": 1000, "height": 500}}, NARROW], ids=["1000", "320"])
def test_the_focus_is_seen_and_lies_under_nothing(studio: MakeStudio, size: dict[str, Any]) -> None:
    shown = studio(BAD)
    page = shown.look("now", **size)
    judged(page, 5)
    found = []
    for view in VIEWS:
        go(page, view)
        page.wait_for_timeout(500)
        page.evaluate("document.activeElement.blur()")
        for _ in range(90):
            page.keyboard.press("Tab")
            trouble = page.evaluate(STUCK)
            if trouble is None:
                break
            if trouble:
                found.append((view, trouble))
        else:
            raise AssertionError(f"{view} has no end")
    assert found == []


def test_nothing_moves_for_who_wants_it_still(studio: MakeStudio) -> None:
    shown = studio(SMALL, filled=False)
    moves, spots = [], SMALL.spots()
    shown.filling.add([next(spots)])
    for wish in ("no-preference", "reduce"):
        page = shown.look("now", reduced_motion=wish)
        page.locator(".strip a").first.wait_for()
        shown.filling.add([next(spots)])
        page.locator(".strip a.new .frame").first.wait_for()
        moves.append(page.evaluate("getComputedStyle(document.querySelector('.strip a.new .frame')).animationName"))
    assert moves == ["arrive", "none"]


def test_forced_colours_keep_marks_and_the_chosen_view(studio: MakeStudio) -> None:
    shown = studio(BAD)
    page = shown.look("now", forced_colors="active")
    judged(page, 5)
    assert page.evaluate("matchMedia('(forced-colors: active)').matches")
    fills = page.evaluate("[...document.querySelectorAll('.counts .mark')].map((mark) => getComputedStyle(mark).fill)")
    assert "rgb(200, 64, 10)" in fills and "rgb(79, 29, 120)" in fills
    here, there = page.evaluate(
        "[...document.querySelectorAll('nav a')].map((a) => getComputedStyle(a).borderBottomColor)"
    )[:2]
    assert here != there
