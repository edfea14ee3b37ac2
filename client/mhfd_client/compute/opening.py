"""An entry of the configuration -> its implementation of `Compute`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mhfd_client.compute.protocol import Compute
from mhfd_client.config import LocalEndpoint

if TYPE_CHECKING:
    from mhfd_client.config import GlobusEndpoint


def open_compute(name: str, entry: GlobusEndpoint | LocalEndpoint) -> Compute:
    """The `Compute` for an entry of the configuration; nothing is started or sent yet."""
    if isinstance(entry, LocalEndpoint):
        from mhfd_client.compute.local import LocalCompute

        return LocalCompute(entry.workers)
    from mhfd_client.compute.globus import GlobusCompute

    return GlobusCompute(name, entry)
