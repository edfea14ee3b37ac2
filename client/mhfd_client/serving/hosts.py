"""Which names in a Host header are ours. A page elsewhere may have its own name point here ("DNS rebinding")."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

EVERYWHERE = ("0.0.0.0", "::")


@dataclass(frozen=True)
class Names:
    """The names that a server answers to: its address's, "localhost" and this machine's.

    Attributes
    ----------
    listens_at : the host that it was told to listen at
    any_address : any number of an address, too. No name can be made to point elsewhere by it.
    """

    listens_at: str
    any_address: bool = True

    def has(self, host: str) -> bool:
        """True for a Host header that names us, with or without a port."""
        try:
            name = (urlsplit("//" + host).hostname or "").rstrip(".")
        except ValueError:
            return False
        if self.any_address and is_address(name):
            return True
        return name in {"localhost", "127.0.0.1", "::1", self.listens_at.lower(), socket.gethostname().lower()}


def is_address(name: str) -> bool:
    """True for the number of an address: 10.1.2.3, ::1."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """True where only programs on this machine can connect."""
    if host.lower() == "localhost":
        return True
    return is_address(host) and ipaddress.ip_address(host).is_loopback
