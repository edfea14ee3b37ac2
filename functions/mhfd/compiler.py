"""numba, for all loops that are compiled: it must not be imported elsewhere (a rule of the linter).

numba colours its messages, and it makes hundreds that nobody ever sees: it asks what fits, and catches the error. Where
colorama is installed (it comes with Globus Compute's SDK, and with click on Windows), each time it takes `sys.stdout`
and `sys.stderr` away for a moment, and puts back what it found before. In a thread that compiles while the main thread
prints, this took a notebook's output away, or put back a progress bar's when the bar had ended. Here it leaves them.
"""

from __future__ import annotations

from contextlib import nullcontext

import numba
from numba import njit, types
from numba.core import cgutils, errors, event
from numba.extending import intrinsic, models, register_model
from numba.np.numpy_support import carray

__all__ = ["carray", "cgutils", "event", "intrinsic", "models", "njit", "numba", "register_model", "types"]

# Not by NUMBA_DISABLE_ERROR_MESSAGE_HIGHLIGHTING: numba reads all of its variables again when one has changed, and
# forgets what was set in `numba.config`.
if hasattr(errors, "ColorShell"):
    errors.ColorShell = nullcontext
