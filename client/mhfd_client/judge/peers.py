"""The tiles that a tile is compared with: the one rule of alerts, export and status."""

from __future__ import annotations

from mhfd.judge import Group, Measured, Peers, describe
from mhfd_client.ledger import Ledger


def read_peers(ledger: Ledger, run_id: int, group: Group) -> Peers | None:
    """The `Peers` of a group: all its scored tiles, of a very large folder a sample (`Ledger.measures`)."""
    return describe(Measured("scored", *each) for each in ledger.measures(run_id, *group))
