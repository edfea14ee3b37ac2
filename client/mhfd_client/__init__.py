"""The microscope PC's half of mhfd: finds tiles, has them scored, judges each in the context of its run.

    >>> from mhfd_client import Client
    >>> with Client("dgx") as client:
    ...     results = client.score(["run/s0001_r0_c0.tif"])

Importing this package is quick: the module of a name is loaded on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mhfd_client.client import Client
    from mhfd_client.compute.protocol import ComputeError
    from mhfd_client.config import ConfigError, load_config

__all__ = ["Client", "ComputeError", "ConfigError", "load_config"]

_HOMES = {"Client": "client", "ComputeError": "compute.protocol", "ConfigError": "config", "load_config": "config"}


def __getattr__(name: str) -> Any:
    """Load a name's module when it is first used (PEP 562)."""
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(f"mhfd_client.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'mhfd_client' has no attribute {name!r}")
