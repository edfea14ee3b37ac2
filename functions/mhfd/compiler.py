"""numba, for all loops that are compiled: it must not be imported elsewhere (a rule of the linter).

numba's messages shall have no colours. Where colorama is installed (it comes with Globus Compute's SDK, and with click
on Windows), numba takes `sys.stdout` away for a moment to colour a message, and it makes hundreds of them that nobody
ever sees: it asks what fits, and catches the error. In a thread that compiles while the main thread prints, this took a
notebook's output away, or put back a progress bar's when the bar had ended.
"""

from __future__ import annotations

import os
from contextlib import nullcontext

os.environ.setdefault("NUMBA_DISABLE_ERROR_MESSAGE_HIGHLIGHTING", "1")  # is read when numba is imported

import numba
from numba import njit, types
from numba.core import cgutils, errors, event
from numba.extending import intrinsic, models, register_model
from numba.np.numpy_support import carray

__all__ = ["carray", "cgutils", "event", "intrinsic", "models", "njit", "numba", "register_model", "types"]

if hasattr(errors, "ColorShell"):  # somebody imported numba before us
    errors.ColorShell = nullcontext
