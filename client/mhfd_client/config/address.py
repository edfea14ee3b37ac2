"""Addresses to listen at."""

from __future__ import annotations

from mhfd_client.config.base import ConfigError


def parse_listen(listen: str) -> tuple[str, int]:
    """Host and port of "HOST:PORT"; an IPv6 host is in brackets.

    Raises
    ------
    ConfigError
        It is something else.
    """
    host, colon, port = listen.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not (bare and colon and port.isdecimal() and port.isascii() and len(port) <= 5 and int(port) < 2**16) or (
        ":" in bare and bare == host
    ):
        raise ConfigError(f"'{listen}' is not an address to listen at; write HOST:PORT, for example 127.0.0.1:8765")
    return bare, int(port)
