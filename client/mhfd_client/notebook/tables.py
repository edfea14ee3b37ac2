"""The tiles of a run as tables."""

from __future__ import annotations

from typing import Any

from mhfd.contract import FocusResult
from mhfd.show.frames import pandas_frame
from mhfd.show.results import Results
from mhfd_client.notebook.opening import Where, opened
from mhfd_client.views.export import COLUMNS, HAVE_RESULTS, judged_rows, table_rows


def frame(run: Where = None, ledger: Where = None) -> Any:
    """The tiles that have a result as a `pandas.DataFrame`, with the columns of `mhfd export`.

    Parameters
    ----------
    run : its folder; None: the run opened last
    ledger : a file or postgresql:// URL; None: the configuration's

    Raises
    ------
    MissingExtraError
        pandas is not installed.
    LedgerError
        There is no such run or ledger.
    """
    with opened(run, ledger) as (found, which):
        return pandas_frame(table_rows(found, which), COLUMNS)


def results(run: Where = None, ledger: Where = None) -> Results:
    """The same tiles as `Results`, with verdicts; paths are relative to the run's folder. Arguments as in `frame`."""
    with opened(run, ledger) as (found, which):
        rows = judged_rows(found, which, found.rows(which.run_id, states=HAVE_RESULTS))
        return Results(FocusResult.from_dict(result) for _, result in rows if result is not None)
