"""An entry of the configuration -> the implementation of `Transfer` for it."""

from __future__ import annotations

from pathlib import Path

from mhfd_client.config import GlobusEndpoint, LocalEndpoint, TransferEntry
from mhfd_client.transfer.protocol import Transfer
from mhfd_client.transfer.shared import SharedTransfer


def open_transfer(entry: GlobusEndpoint | LocalEndpoint, *, root: Path, run: str) -> Transfer:
    """The implementation for an entry of the configuration; nothing is started or asked yet.

    Parameters
    ----------
    root : the run's folder
    run : a name of the run that stays the same when it is taken up again

    Raises
    ------
    TransferRefusedError
        The entry lacks what its method needs.
    """
    if isinstance(entry, LocalEndpoint):
        return SharedTransfer()
    settings = entry.transfer or TransferEntry()
    method = _best_method(entry, settings, root) if settings.method == "auto" else settings.method
    if method == "shared":
        return SharedTransfer(entry.data)
    if method == "inline":
        from mhfd_client.transfer.inline import InlineTransfer

        return InlineTransfer()
    from mhfd_client.transfer.globus import GlobusTransfer
    from mhfd_client.transfer.staging import Staging

    staging = Staging(settings, root=root, run=run)
    return GlobusTransfer(entry.uuid, settings, staging, requests_per_10_s=entry.limits.requests_per_10_s)


def _best_method(entry: GlobusEndpoint, settings: TransferEntry, root: Path) -> str:
    if any(mapping.local_root and mapping.at_endpoint(str(root), None, "") for mapping in entry.data):
        return "shared"
    return "inline" if settings.destination_collection is None else "globus"
