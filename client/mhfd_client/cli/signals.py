"""Ctrl-C, SIGTERM and a window that is closed, for commands that end in good order."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def on_signals(handler: Callable[[int, FrameType | None], None]) -> Generator[None, None, None]:
    """Call `handler` for each signal that asks this process to end, until the block ends."""
    numbers = [signal.SIGINT, signal.SIGTERM]
    if sys.platform == "win32":
        numbers.append(signal.SIGBREAK)  # closing the window
    before = [(number, signal.signal(number, handler)) for number in numbers]
    try:
        yield
    finally:
        for number, former in before:
            signal.signal(number, former)
