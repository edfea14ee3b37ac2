"""What the registered functions call, on the endpoint's worker: plain JSON types in, plain JSON types out.

Each answer has `"schema": 1`. One that has no `"error"` carries rows (`FocusResult.to_dict()`), in the order of what
was asked, and says which worker and device made them. An `"error"` is `{"code", "message"}`, and nothing was scored:

=============  ==========================================================================
bad_params     the request is wrong: parameters, or a manifest, that cannot be used
no_backend     this worker has no way to score; the message says what to install
busy           another run scores this folder now
cannot_write   there is no place for the rows
not_installed  (from `mhfd.remote`) no mhfd on this endpoint
=============  ==========================================================================

Settings of the worker, all from the environment (`user_environment.yaml` of the endpoint):

===================  ==========================================================================
GCS_LOCAL_MAPS       '{"<collection uuid>": "/mnt/x"}': where collections are on this machine
MHFD_BACKEND         "auto" (default), "cupy", "cupy-fft", "numba" or "numpy"
MHFD_RESULT_DIR      folder for rows that are too many for an answer
MHFD_SPOOL_DIR       folder in which every row is kept until someone removes it
===================  ==========================================================================
"""

from __future__ import annotations

from mhfd.worker.about import describe, warmup
from mhfd.worker.archive import score_run
from mhfd.worker.rows import MAX_RESULT_BYTES, read_rows, read_spool
from mhfd.worker.tasks import score_inline, score_paths

__all__ = [
    "MAX_RESULT_BYTES",
    "describe",
    "read_rows",
    "read_spool",
    "score_inline",
    "score_paths",
    "score_run",
    "warmup",
]
