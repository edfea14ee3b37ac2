"""The report as a file in Chromium: the table sorts, nothing complains, it prints."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mhfd_client.views.report.gathering import of_run
from mhfd_client.views.report.page import write_report
from mhfd_client.views.report.pdf import write_pdf
from needs import give_up
from page_run import RIGHT_HALF, Filling, Wafer
from spectra import Smear

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

WORST, HALF = (7, 1, 2), (9, 0, 1)
HOSTILE = "<img src=x onerror=alert(1)>.tif"
WAFER = Wafer(
    odd={WORST: 4.0, HALF: 2 * RIGHT_HALF, (4, 2, 3): None}, smeared={(5, 1, 1): Smear(3.0, 0.0)},
    blank=frozenset({(2, 0)}),
)  # fmt: skip
VISIBLE = "[...document.querySelectorAll('#tiles tbody tr')].filter((row) => !row.hidden)"


@pytest.fixture
def written(fill: Callable[[Wafer], Filling], tmp_path: Path) -> Path:
    filling = fill(WAFER)
    path = tmp_path / "report.html"
    write_report(of_run(filling.ledger, filling.run, time.time()), path)
    return path


@contextmanager
def shown(browser: Browser, path: Path, **options: Any) -> Iterator[Page]:
    """The report in a window; nothing may have complained at the end."""
    said: list[str] = []
    context = browser.new_context(**{"viewport": {"width": 1400, "height": 1000}, **options})
    page = context.new_page()
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: said.append(dialog.message))
    page.on("request", lambda request: said.append(request.url) if request.url.startswith("http") else None)
    page.goto(path.as_uri())
    yield page
    context.close()
    assert said == []


def column(page: Page, name: str) -> list[str]:
    """The texts of one column of the table, as it is seen."""
    return list(
        page.evaluate(
            f"""(name) => {{
              const heads = [...document.querySelectorAll('#tiles th')];
              const at = heads.findIndex((head) => head.textContent.startsWith(name));
              return {VISIBLE}.map((row) => row.cells[at].textContent.trim());
            }}""",
            name,
        )
    )


def test_the_table_sorts_and_filters(browser: Browser, written: Path) -> None:
    with shown(browser, written) as page:
        page.get_by_role("button", name="blur px").click()
        blurs = [float(re.findall(r"[\d.]+", text)[-1]) for text in column(page, "blur") if text not in ("", "–")]
        assert blurs == sorted(blurs)
        page.get_by_role("button", name="blur px").click()
        assert column(page, "tile")[0] == WAFER.name(WORST)
        assert column(page, "blur")[-1] in ("", "–")
        page.get_by_role("button", name="section").click()
        sections = [int(text) for text in column(page, "section")]
        assert sections == sorted(sections)
        page.locator("#only").select_option("no_content")
        assert set(column(page, "verdict")) == {"no content"}
        assert page.locator("#found").inner_text() == "12 of 144"
        page.locator("#only").select_option("")
        page.get_by_label("Find").fill("s0007 r1_c2")
        assert column(page, "tile") == [WAFER.name(WORST)]


def test_without_scripts_it_is_a_plain_table(browser: Browser, written: Path) -> None:
    with shown(browser, written, java_script_enabled=False) as page:
        assert page.locator("#tiles tbody tr").count() == 144
        assert not page.locator("#tools").is_visible()
        assert page.locator("button:visible").count() == 0


def test_the_list_can_be_copied(browser: Browser, written: Path) -> None:
    with shown(browser, written) as page:
        page.get_by_text("The list as CSV").click()
        button = page.get_by_role("button", name="Copy").first
        button.click()
        assert page.evaluate("getSelection().toString()").startswith("path,section,grid,row,col,tile")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1400, 400])
def test_axe_finds_nothing_serious_and_nothing_sticks_out(
    browser: Browser, written: Path, scheme: Any, width: int
) -> None:
    try:
        from axe_playwright_python.sync_playwright import Axe
    except ImportError:
        give_up("axe is not installed: pip install 'mhfd[test]'.")
    options = {"viewport": {"width": width, "height": 1000}, "color_scheme": scheme, "bypass_csp": True}
    with shown(browser, written, **options) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.locator(f".plot image.on-{scheme}").is_visible()
        assert page.locator(".plot image:visible").count() == 1
        found = [
            (each["id"], each["nodes"][0]["html"][:200])
            for each in Axe().run(page).response["violations"]
            if each["impact"] in ("serious", "critical", "moderate")
        ]
        assert found == []


def test_the_crops_are_shown_pixel_for_pixel(browser: Browser, written: Path) -> None:
    with shown(browser, written) as page:
        sizes = page.evaluate(
            "[...document.querySelectorAll('.pair img')].map((each) => [each.naturalWidth, each.width, each.height])"
        )
    assert sizes == [[256, 256, 256]] * 6


def test_a_script_in_a_name_does_not_run(browser: Browser, fill: Callable[[Wafer], Filling], tmp_path: Path) -> None:
    class Hostile(Wafer):
        def name(self, spot: tuple[int, int, int]) -> str:
            return f"{super().name(spot)[:-4]}{HOSTILE}"

    filling = fill(Hostile(sections=8, rows=2, cols=2, odd={(7, 1, 1): 4.0}))
    write_report(of_run(filling.ledger, filling.run, time.time()), tmp_path / "report.html")
    with shown(browser, tmp_path / "report.html") as page:
        page.get_by_label("Find").fill("onerror=alert(1)")
        assert len(column(page, "tile")) == 32
        assert page.locator("img[src=x]").count() == 0


def test_it_prints_with_the_list_first_and_the_map_on_a_new_page(browser: Browser, written: Path) -> None:
    """A4: one page of tiles to take again, one or two of map and settings, the rest 144 rows of at most 7 mm."""
    pdf = written.with_suffix(".pdf")
    write_pdf(written.read_text(encoding="utf-8"), pdf)
    made = pdf.read_bytes()
    assert made.startswith(b"%PDF-")
    pages = len(re.findall(rb"/Type\s*/Page\b", made))
    assert 4 <= pages <= 9
