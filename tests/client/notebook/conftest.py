"""A run with two bad tiles, in a ledger."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

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
