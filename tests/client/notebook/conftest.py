"""A run with two bad tiles in a ledger, and a front end that keeps what it is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from IPython.core.displaypub import DisplayPublisher
from IPython.core.interactiveshell import InteractiveShell

from page_run import Filling, Wafer, open_filling

WAFER = Wafer(sections=6, odd={(4, 1, 2): 2.5, (5, 0, 0): None}, pictures=False)


@pytest.fixture
def filling(tmp_path: Path) -> Iterator[Filling]:
    made = open_filling(tmp_path, WAFER)
    made.add(WAFER.spots())
    with made.ledger:
        yield made


@pytest.fixture
def where(tmp_path: Path) -> tuple[Path, Path]:
    """Folder of the run, file of the ledger."""
    return tmp_path / "cortex-w07", tmp_path / "ledger.db"


class Shown(DisplayPublisher):
    """What a front end is told."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.told: list[dict[str, Any]] = []
        self.then: Callable[[], None] = lambda: None
        self.at = 2  # the publication after which `then` is called

    def publish(self, data: Any, metadata: Any = None, source: Any = None, **more: Any) -> None:
        self.told.append({"html": data["text/html"], **more})
        if len(self.told) == self.at:
            self.then()

    @property
    def last(self) -> str:
        return str(self.told[-1]["html"])


@pytest.fixture
def shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shown]:
    """IPython as a kernel has it, but for the wire."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)  # IPython warns where that is not where it runs
    shell = InteractiveShell.instance(display_pub_class=Shown)
    shell.history_manager.enabled = False  # type: ignore[union-attr]
    publisher = shell.display_pub
    assert isinstance(publisher, Shown)
    yield publisher
    InteractiveShell.clear_instance()
