"""The page in Debian's Chromium, over a ledger that a test fills."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mhfd_client.views.page.opening import Door, open_page
from needs import give_up
from page_run import RIGHT_HALF, Filling, Wafer, open_filling
from spectra import Smear

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page

CHROMIUM = "/usr/bin/chromium"
WAIT_MS = 60_000
NAMED = "localStorage.setItem('mhfd.by', 'Ana')"

SMALL = Wafer(sections=4)
BAD = Wafer(
    sections=6,
    odd={(3, 1, 1): 2.6, (5, 0, 2): 2.9 * RIGHT_HALF, (5, 0, 3): 1.4, (6, 2, 2): None},
    smeared={(4, 2, 0): Smear(2.3, 45)},
    blank=frozenset({(2, 3)}),
)
VIEWS = ("now", "map", "tile", "retakes")


@pytest.fixture(scope="module")  # no longer: while it is there, no other test can run an event loop
def browser() -> Iterator[Browser]:
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        give_up("Playwright is not installed: pip install 'mhfd[test]'.")
    path = CHROMIUM if Path(CHROMIUM).exists() else shutil.which("chromium")
    if path is None:
        give_up("Chromium is not installed. On Debian: apt-get install chromium")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield opened
        opened.close()


def wait(page: Page, script: str, argument: Any = None, *, timeout_ms: float = WAIT_MS) -> None:
    """Until a script is true. Playwright's own way needs `eval`, which the page's policy forbids."""
    end = time.monotonic() + timeout_ms / 1000
    while not page.evaluate(script, argument):
        if time.monotonic() > end:
            raise AssertionError(f"not within {timeout_ms / 1000:g} s: {script} {argument or ''}")
        page.wait_for_timeout(20)


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
    answer = page.request.get(f"{page.url.split('#')[0]}api/retakes")
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


@dataclass
class Studio:
    """Opens pages over one run, and watches their consoles.

    Attributes
    ----------
    complaints : errors of the console and of scripts; none may be left at the end
    """

    browser: Browser
    folder: Path
    filling: Filling
    parts: ExitStack
    complaints: list[str] = field(default_factory=list)
    server: ExitStack = field(default_factory=ExitStack)
    url: str = ""

    def serve(self, **door: Any) -> str:
        """Start the page's server; its URL."""
        self.server = ExitStack()
        opened = open_page(str(self.folder / "ledger.db"), self.filling.run, Door(**door))
        self.url = self.server.enter_context(opened)
        return self.url

    def stop(self) -> None:
        """End the server."""
        self.server.close()

    def _hear(self, said: ConsoleMessage) -> None:
        if said.type == "error":
            self.complaints.append(f"{said.text} {said.location['url']}")

    def forgive(self, word: str) -> None:
        """A complaint with this in it was to come: the test made it so."""
        self.complaints[:] = [each for each in self.complaints if word not in each]

    def context(self, *, named: bool = True, **options: Any) -> BrowserContext:
        made = self.browser.new_context(**{"viewport": {"width": 1400, "height": 1000}, **options})
        self.parts.callback(made.close)
        if named:
            made.add_init_script(NAMED)
        return made

    def look(self, view: str = "now", context: BrowserContext | None = None, **options: Any) -> Page:
        """A page at one of its views, when the tiles are there."""
        page = (context or self.context(**options)).new_page()
        page.set_default_timeout(WAIT_MS)
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.goto(f"{self.url}#/{view}")
        wait(page, "() => document.querySelector('#run').textContent !== ''")
        return page


@pytest.fixture
def studio(browser: Browser, tmp_path: Path) -> Iterator[Callable[..., Studio]]:
    """Makes a studio for a wafer; by default with all its tiles scored and its server running."""
    with ExitStack() as parts:
        made: list[Studio] = []

        def make(wafer: Wafer, *, filled: bool = True, name: str = "cortex-w07", **door: Any) -> Studio:
            filling = open_filling(tmp_path, wafer, name)
            parts.callback(filling.ledger.close)
            if filled:
                filling.add(wafer.spots())
            found = Studio(browser, tmp_path, filling, parts)
            found.serve(**door)
            parts.callback(found.stop)
            made.append(found)
            return found

        yield make
        left = [each for studio in made for each in studio.complaints]
        assert left == [], left
