"""A threshold that somebody chooses on the page counts for the watch that runs, until the configuration's changes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import tifffile

from mhfd_client.config import Settings, load_config, resolve
from mhfd_client.ledger import Json, open_ledger
from mhfd_client.pipeline.assembly import open_watch
from mhfd_client.views.page.opening import Door, open_doors
from mhfd_client.views.status import lines, read_status
from page_client import Asker, until
from page_run import Wafer, tissue

BAD = (2, 1, 1)
WAFER = Wafer(sections=3, rows=2, cols=3, odd={BAD: 2.6})
CONFIG = "[endpoints.local]\nworkers = 1\n[profiles.p]\npoll_s = 0.5\nsettle_s = 0.2\n"


@dataclass
class Watched:
    """A folder, its ledger, and what was announced."""

    folder: Path
    announced: list[str] = field(default_factory=list)

    @property
    def ledger(self) -> str:
        return str(self.folder.parent / "ledger.db")

    def settings(self, **verdict: float) -> Settings:
        return resolve(
            load_config(self.folder.parent / "config.toml"),
            "p",
            {"ledger": self.ledger, "verdict": verdict},
            environ={},
        )

    @contextmanager
    def watch(self) -> Iterator[Asker]:
        """As long as the block lasts; yields its page."""
        pages: list[str] = []
        config = load_config(self.folder.parent / "config.toml")
        with open_watch(
            self.folder, config, self.settings(), once=False, tell=lambda _: None, announce=self.announced.append,
            serve=lambda pipeline, run: open_doors(
                self.ledger, run, lambda _: None, lambda _: None, listen=None, door=Door(), tell_page=pages.append
            ),
        ) as pipeline:  # fmt: skip
            thread = threading.Thread(target=pipeline.run)
            thread.start()
            try:
                yield Asker(pages[0])
            finally:
                pipeline.stop()
                thread.join(60)

    def open_again(self, **verdict: float) -> Json:
        """The run's rule after a watch was started again with this configuration."""
        config = load_config(self.folder.parent / "config.toml")
        with open_watch(self.folder, config, self.settings(**verdict), once=True, tell=lambda _: None):
            return self.status()["threshold"]

    def status(self) -> Json:
        """As `mhfd status` has it."""
        with open_ledger(self.ledger, readonly=True) as ledger:
            return read_status(ledger, ledger.find_run(), time.time())


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    (tmp_path / "config.toml").write_text(CONFIG)
    folder = tmp_path / "run"
    folder.mkdir()
    for spot in WAFER.spots():
        tifffile.imwrite(folder / WAFER.name(spot), tissue(spot, WAFER))
    return Watched(folder)


def test_a_threshold_of_the_page_reaches_the_watch(watched: Watched) -> None:
    name = WAFER.name(BAD)
    with watched.watch() as page:
        until(lambda: any(f"out of focus: {name}" in line for line in watched.announced))
        until(lambda: watched.status()["verdicts_by"] == "watch")
        assert page.post("/api/limit", {"max_blur_px": 30.0, "by": "Ana", "was": 1.1}).status == 200
        until(lambda: any(f"now in focus: {name}" in line for line in watched.announced))
        until(lambda: watched.status()["verdicts_by"] == "watch")
        status = watched.status()
    assert (status["threshold"]["max_blur_px"], status["threshold"]["chosen_by"]) == (30.0, "Ana")
    assert status["verdicts"]["out_of_focus"] == 0 and status["to_look_at"] == 0
    assert any(line.plain.startswith("threshold: 30.00 px, chosen by Ana") for line in lines(status))
    assert watched.open_again()["chosen_by"] == "Ana", "the configuration is the same"
    assert watched.open_again(max_blur_px=0.9) == {"max_blur_px": 0.9, "chosen_by": None, "chosen_at": None}
    assert watched.open_again() == {"max_blur_px": 1.1, "chosen_by": None, "chosen_at": None}
