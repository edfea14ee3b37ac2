"""How far a job is, how fast, and when it will be done."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

WINDOW_S = 900.0
LEAST_S = 1.0


@dataclass(frozen=True)
class Progress:
    """A job in numbers.

    Attributes
    ----------
    done, shards : done and all
    tiles_done, tiles : the same in tiles
    in_flight : shards
    tiles_per_s : over the last quarter of an hour; None before the first shard
    eta_s : seconds until the last shard is done at this rate; None without a rate
    """

    done: int
    shards: int
    tiles_done: int
    tiles: int
    in_flight: int = 0
    tiles_per_s: float | None = None

    @property
    def eta_s(self) -> float | None:
        return (self.tiles - self.tiles_done) / self.tiles_per_s if self.tiles_per_s else None


class Rate:
    """Tiles a second over the last `WINDOW_S`, pauses included; times are those of one clock."""

    def __init__(self, now_s: float) -> None:
        self._came: deque[tuple[float, int]] = deque()
        self._begun_s = now_s

    def add(self, now_s: float, tiles: int) -> None:
        self._came.append((now_s, tiles))
        while self._came and self._came[0][0] < now_s - WINDOW_S:
            self._begun_s = self._came.popleft()[0]

    def tiles_per_s(self, now_s: float) -> float | None:
        """None before the first tiles."""
        tiles = sum(count for _, count in self._came)
        return tiles / max(LEAST_S, now_s - self._begun_s) if tiles else None


def duration(seconds: float) -> str:
    """For people: "40 s", "12 min", "5.8 h", "3.1 days"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} days"
