"""Fixtures of the report's tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from browsing import browser
from page_run import Filling, Wafer, open_filling

__all__ = ["browser", "fill"]


@pytest.fixture
def fill(tmp_path: Path) -> Iterator[Callable[[Wafer], Filling]]:
    """Makes a run of a wafer, with all its tiles scored."""
    with ExitStack() as parts:

        def make(wafer: Wafer) -> Filling:
            filling = open_filling(tmp_path, wafer)
            parts.callback(filling.ledger.close)
            filling.add(wafer.spots())
            return filling

        yield make
