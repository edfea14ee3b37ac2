"""Take pictures of the live page: `python draw_page.py http://127.0.0.1:8764 OUT`, during `mhfd watch RUN --page`.

Waits until all tiles have a verdict. Writes page_now.png, page_map.png and page_tile.png into the folder OUT, with 256
colours each. Needs Playwright and Chromium.
"""

from __future__ import annotations

import io
import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

VIEWS = {"now": "light", "map": "light", "tile": "dark"}


def main() -> None:
    url, out = sys.argv[1:]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for view, theme in VIEWS.items():
            page = browser.new_page(viewport={"width": 1240, "height": 860}, color_scheme=theme)
            page.goto(f"{url}#/{view}")
            page.get_by_text("to do").first.wait_for(state="attached")
            while page.locator("[data-k=todo] dd").text_content() != "0":
                page.wait_for_timeout(500)
            page.wait_for_timeout(4000)  # for the pictures of tiles
            shot = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
            shot.quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(
                Path(out) / f"page_{view}.png", optimize=True
            )
            page.close()
        browser.close()


if __name__ == "__main__":
    main()
