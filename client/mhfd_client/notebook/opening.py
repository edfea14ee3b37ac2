"""Which run, of which ledger: as the commands have it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeAlias

from mhfd_client.config import ledger_path, load_config
from mhfd_client.ledger import Ledger, Run, open_ledger

Where: TypeAlias = "str | os.PathLike[str] | None"


@contextmanager
def opened(run: Where, ledger: Where) -> Iterator[tuple[Ledger, Run]]:
    """The ledger, only to be read, and the run.

    Parameters
    ----------
    run : its folder; None: the run opened last
    ledger : a file or postgresql:// URL; None: MHFD_LEDGER, else the configuration's

    Raises
    ------
    LedgerError, ConfigError
        There is no such run or ledger, or it cannot be opened; the message says what to do.
    """
    given = None if ledger is None else os.fspath(ledger)
    with open_ledger(ledger_path(load_config(), given), readonly=True) as found:
        yield found, found.find_run(None if run is None else os.fspath(run))
