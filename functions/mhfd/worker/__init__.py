"""Functions of the endpoint's worker, called by the registered ones: plain JSON types in and out.

Each answer has `"schema": 1`. One without `"error"` carries rows (`FocusResult.to_dict()`), in the order of the
request, and names the worker and device that made them. An `"error"` is `{"code", "message"}`; nothing was scored:

=============  ==========================================================================
bad_params     the request is wrong: its parameters, options or manifest cannot be used
no_backend     this worker cannot score; the message says what to install
cannot_write   the rows cannot be written
not_installed  no mhfd on this endpoint (from `mhfd.remote`), or not what archives need: pyarrow
=============  ==========================================================================

Settings of the worker, all from the environment (`user_environment.yaml` of the endpoint):

===================  ==========================================================================
GCS_LOCAL_MAPS       '{"<collection uuid>": "/mnt/x"}': where collections are on this machine
MHFD_BACKEND         "auto" (default), "cupy", "cupy-fft", "numba" or "numpy"
MHFD_MAX_PIXELS      pixels of the largest tile that is scored; 2^28 by default
MHFD_OUT_ROOTS       folders in which tasks may write, separated as in PATH; empty: none; not set: all
MHFD_RESULT_DIR      folder for rows too many for one answer
MHFD_ROOTS           folders from which tasks may read, likewise; collections are limited to their folders in any case
MHFD_SPOOL_DIR       folder in which every row is kept until someone removes it
===================  ==========================================================================
"""

from __future__ import annotations

from mhfd.worker.about import describe, warmup
from mhfd.worker.archive import control_run, finish_run, plan_run, rows_of, score_shard
from mhfd.worker.rows import MAX_RESULT_BYTES, read_rows, read_spool
from mhfd.worker.tasks import score_inline, score_paths

__all__ = [
    "MAX_RESULT_BYTES",
    "control_run",
    "describe",
    "finish_run",
    "plan_run",
    "read_rows",
    "read_spool",
    "rows_of",
    "score_inline",
    "score_paths",
    "score_shard",
    "warmup",
]
