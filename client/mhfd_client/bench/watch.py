"""Milliseconds, by name."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter


@dataclass(frozen=True)
class Laps:
    """One contestant's times for one tile.

    Attributes
    ----------
    ms : milliseconds by name. "kernel": from an array on the contestant's device to the numbers; "copied": from an
        array in the host's memory, left out where that is the same; "file": from a file. Or one a phase.
    features : the number counted, to show that all do comparable work
    """

    ms: dict[str, float]
    features: int


class Watch:
    """Starts when made; each lap is the time since the one before, `total` that since the start."""

    def __init__(self) -> None:
        self.ms: dict[str, float] = {}
        self._start = self._last = perf_counter()

    def lap(self, name: str) -> None:
        now = perf_counter()
        self.ms[name] = (now - self._last) * 1e3
        self._last = now

    @property
    def total(self) -> float:
        return (perf_counter() - self._start) * 1e3
