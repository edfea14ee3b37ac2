"""The live page with a long run: first paint, first data, preview of a threshold, frames a second while the map is
panned and zoomed, memory.

    python benchmarks/page.py [--sections 2400] [--positions 42] [--out raw.csv]

The page's own server sends made-up columns of sections x positions tiles, with drift, flagged, missing and blank ones;
Chromium shows them in a window of 1400 x 1000. Each number is the median of --repeats fresh pages. Needs Playwright and
Chromium, as the tests do.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from mhfd.contract import FocusParams
from mhfd_client.ledger import open_ledger
from mhfd_client.serving.server import Server
from mhfd_client.views.page.app import page_app
from mhfd_client.views.page.columns import Row
from mhfd_client.views.page.follow import Follower
from mhfd_client.views.page.pictures import Pictures
from mhfd_client.views.page.safety import Safety
from mhfd_client.views.page.served import Page

COLUMNS = 7
CHROMIUM = "/usr/bin/chromium"
STARTED = """() => new Promise((done) => {
  const look = () => {
    const shown = document.querySelector('.counts .big')?.textContent && document.querySelector('.strip a');
    if (shown) done(performance.now()); else requestAnimationFrame(look);
  };
  look();
})"""
PAINT = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? NaN"
MOVES = """async ({ kind, frames }) => {
  const canvas = document.querySelector('.map canvas'), box = canvas.getBoundingClientRect(), gaps = [];
  const send = (type, x, more) => canvas.dispatchEvent(new (type === 'wheel' ? WheelEvent : PointerEvent)(type, {
    clientX: box.left + x, clientY: box.top + box.height / 2, pointerId: 1, bubbles: true, cancelable: true, ...more,
  }));
  canvas.setPointerCapture = () => {};
  if (kind === 'pan') send('pointerdown', box.width / 2);
  let last = await new Promise(requestAnimationFrame);
  for (let k = 0; k < frames; k++) {
    if (kind === 'pan') send('pointermove', box.width / 2 + 200 * Math.sin(k / 9), { buttons: 1 });
    else send('wheel', box.width / 2, { deltaY: k < frames / 2 ? -25 : 25 });
    const now = await new Promise(requestAnimationFrame);
    gaps.push(now - last);
    last = now;
  }
  if (kind === 'pan') send('pointerup', box.width / 2);
  return gaps;
}"""
MEMORY = ("usedSize", "embedderHeapUsedSize", "backingStorageSize")
"""Of scripts, of the page's elements, and of its arrays."""
PREVIEW = """async () => {
  const line = document.querySelector('#line'), took = [];
  line.focus();
  for (let k = 0; k < 20; k++) {
    const start = performance.now();
    line.dispatchEvent(new KeyboardEvent('keydown', { key: k % 2 ? 'PageUp' : 'PageDown', bubbles: true }));
    await new Promise(requestAnimationFrame);
    await new Promise((done) => setTimeout(done));
    took.push(performance.now() - start);
  }
  return took;
}"""


def rows(sections: int, positions: int) -> Iterator[Row]:
    """A run with what real ones have: drift, single bad tiles, gaps, resin."""
    rng = np.random.default_rng(3)
    for n in range(sections * positions):
        section, position = divmod(n, positions)
        blur = 0.42 + 0.08 * rng.standard_normal() + 0.6 * (section % 400 > 380)
        kind, verdict = rng.random(), "in_focus"
        if position >= positions - 3:
            verdict = "no_content"
        elif kind < 0.001:
            blur, verdict = 2.4, "out_of_focus" if kind < 0.0007 else "astigmatic"
        elif kind < 0.003:
            verdict = "missing"
        known = None if verdict in ("no_content", "missing") else float(abs(blur))
        score = None if known is None else 8 / (1 + known**2)
        yield Row(n + 1, section + 1, position, verdict, known, known, score, known and known / 0.5, 1.0)


@contextmanager
def served(sections: int, positions: int) -> Iterator[str]:
    """The URL of a page over such a run."""
    with tempfile.TemporaryDirectory() as folder:
        ledger = open_ledger(Path(folder) / "ledger.db")
        run = ledger.open_run(folder, FocusParams(), layout="auto", endpoint="local")
        follower = Follower(ledger, run)
        follower.start()
        follower.places.learn((None, *divmod(p, COLUMNS), None) for p in range(positions))
        follower.columns.fill(list(rows(sections, positions)))
        pictures = Pictures(Path(folder))
        server = Server(page_app(Page(follower, pictures, Safety(listens_at="127.0.0.1"))), ("127.0.0.1", 0), None)
        server.start()
        try:
            yield server.url
        finally:
            server.close()
            follower.close()
            pictures.close()
            ledger.close()


def measured(page: Any, url: str) -> dict[str, float]:
    """One fresh page: milliseconds and frames a second."""
    page.goto(f"{url}/#/now", wait_until="commit")
    data = page.evaluate(STARTED)
    found = {"first paint, ms": page.evaluate(PAINT), "first data, ms": data}
    found["preview, ms"] = statistics.median(page.evaluate(PREVIEW))
    page.evaluate("location.hash = '#/map'")
    page.wait_for_timeout(500)
    for kind in ("zoom", "pan"):
        if kind == "pan":  # of a part of the run
            page.evaluate(MOVES, {"kind": "zoom", "frames": 0})
            for _ in range(3):
                page.click("[data-zoom='2']")
        gaps = page.evaluate(MOVES, {"kind": kind, "frames": 120})
        found[f"{kind}, frames/s"] = 1000 * len(gaps) / sum(gaps)
        found[f"{kind}, slowest twentieth, ms"] = float(np.quantile(gaps, 0.95))
    heap = page.context.new_cdp_session(page).send("Runtime.getHeapUsage")
    found["memory, MB"] = sum(heap.get(key, 0) for key in MEMORY) / 1e6
    found["DOM nodes"] = page.evaluate("document.querySelectorAll('*').length")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sections", type=int, default=2400)
    parser.add_argument("--positions", type=int, default=42)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    from playwright.sync_api import sync_playwright

    with served(args.sections, args.positions) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        found = []
        for _ in range(args.repeats):
            page = browser.new_page(viewport={"width": 1400, "height": 1000})
            page.set_default_timeout(120_000)
            found.append(measured(page, url))
            page.close()
        browser.close()
    tiles = args.sections * args.positions
    for what in found[0]:
        print(f"{tiles:,} tiles: {what:32} {statistics.median(each[what] for each in found):8.1f}")
    if args.out:
        with args.out.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("tiles", "what", "repeat", "value"))
            writer.writerows((tiles, what, k, value) for k, each in enumerate(found) for what, value in each.items())


if __name__ == "__main__":
    sys.exit(main())
