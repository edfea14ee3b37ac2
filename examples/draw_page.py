"""Take pictures of the live page: `python draw_page.py http://127.0.0.1:8764 OUT`, while `mhfd dashboard` shows a run.

Writes page_now.png, page_map.png and page_tile.png into the folder OUT, with few enough colours for a small file.
Needs Playwright and Chromium.
"""

from __future__ import annotations

import io
import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

COLOURS = 96
VIEWS = {"now": "light", "map": "light", "tile": "dark"}


def main() -> None:
    url, out = sys.argv[1:]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for view, theme in VIEWS.items():
            page = browser.new_page(viewport={"width": 1280, "height": 900}, color_scheme=theme)
            page.goto(f"{url}#/{view}")
            page.locator("#open").wait_for(state="attached")
            page.wait_for_timeout(5000)  # for the pictures of tiles
            shot = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
            shot.quantize(COLOURS, dither=Image.Dither.NONE).save(Path(out) / f"page_{view}.png", optimize=True)
            page.close()
        browser.close()


if __name__ == "__main__":
    main()
