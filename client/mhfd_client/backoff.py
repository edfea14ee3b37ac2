"""A pause that doubles with each failure in a row."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Backoff:
    """The next pause after each failure: `first_s`, then twice the one before, up to `longest_s`.

    Attributes
    ----------
    pause_s : the last pause; 0 after a success
    """

    first_s: float
    longest_s: float
    pause_s: float = 0.0

    def fail(self) -> float:
        """Count a failure; the seconds to wait."""
        self.pause_s = min(max(self.first_s, 2 * self.pause_s), self.longest_s)
        return self.pause_s

    def succeed(self) -> None:
        """Begin at `first_s` again."""
        self.pause_s = 0.0
