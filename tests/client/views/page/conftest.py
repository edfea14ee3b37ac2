"""Fixtures of the page's tests."""

from __future__ import annotations

from browsing import browser, studio

__all__ = ["browser", "studio"]
