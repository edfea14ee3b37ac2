"""Which of the files that wait goes first."""

from typing import Literal

Order = Literal["fresh", "newest", "oldest"]
"""Newest first, oldest first, or "fresh": what was seen in the last minutes newest first, then the oldest."""
