"""The order in which waiting files are taken."""

from typing import Literal

Order = Literal["fresh", "newest", "oldest"]
"""Newest first, oldest first, or "fresh": files of the last minutes newest first, then the oldest first."""
