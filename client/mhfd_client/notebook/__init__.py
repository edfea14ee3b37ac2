"""A run in a notebook: a cell that follows it while it is watched, and its tiles as tables.

    from mhfd_client import notebook
    notebook.follow("D:/run7")            # until its watch ends, or the cell is interrupted
    notebook.frame("D:/run7")             # what `mhfd export` writes, for pandas
    notebook.results("D:/run7").plot()

All of it only reads the ledger.
"""

from mhfd_client.notebook.follow import follow
from mhfd_client.notebook.tables import frame, results

__all__ = ["follow", "frame", "results"]
