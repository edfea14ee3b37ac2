"""Real receivers on this machine."""

from __future__ import annotations

from receivers import certificate, dead_port, desktop, http, mail, no_proxy

__all__ = ["certificate", "dead_port", "desktop", "http", "mail", "no_proxy"]
