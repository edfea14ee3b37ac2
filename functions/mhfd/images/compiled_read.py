"""Reads a plain file with a known header in one piece of machine code, by the calls of the C library. Linux only.

Python gives its lock away and takes it back around each call of the system. With many reader threads that is most of
what a small tile costs: they wake each other. Here they give it away once for all calls but the first, which asks for
the file's size.
"""

# mypy: allow-untyped-defs, allow-untyped-calls
# numba infers the types of the loops from their arguments.

from __future__ import annotations

import os
from typing import Any

import numpy as np

from mhfd.compiler import njit, types

_faccessat: Any = types.ExternalFunction("faccessat", types.int32(types.int32, types.voidptr, types.int32, types.int32))
_open: Any = types.ExternalFunction("open", types.int32(types.voidptr, types.int32))
_lseek: Any = types.ExternalFunction("lseek", types.int64(types.int32, types.int64, types.int32))
_pread: Any = types.ExternalFunction("pread", types.int64(types.int32, types.voidptr, types.uint64, types.int64))
_close: Any = types.ExternalFunction("close", types.int32(types.int32))

_HERE, _EXISTS, _NO_FOLLOW = -100, 0, 0x100  # AT_FDCWD, F_OK, AT_SYMLINK_NOFOLLOW
# It was a file a moment ago: if it is a pipe now, that must not be waited for.
_HOW = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)
_END = os.SEEK_END


@njit(nogil=True, cache=True)
def is_there(path):
    """Whether a path leads to anything, a broken link included; (n,) uint8, which ends with a 0."""
    return _faccessat(_HERE, path.ctypes, _EXISTS, _NO_FOLLOW) == 0


@njit(nogil=True, cache=True)
def read_known(path, beside, size, starts, stops, asked, offset, pixels):
    """Read pixels if a file has this size and, where they are asked for, these bytes; whether it did.

    Parameters
    ----------
    path : (n,) uint8, the file's, which ends with a 0
    beside : likewise; a file of this path must not be there
    starts, stops : (k,) int64, of each piece of bytes in the file
    asked : (m,) uint8, the pieces, one after another
    offset : of the pixels in the file
    pixels : (size,) uint8, is filled
    """
    if is_there(beside):
        return False
    file = _open(path.ctypes, _HOW)
    if file < 0:
        return False
    same = _lseek(file, 0, _END) == size and _has(file, starts, stops, asked) and _filled(file, pixels, offset)
    _close(file)
    return same


@njit(nogil=True, cache=True)
def _has(file, starts, stops, asked):
    found, done = np.empty_like(asked), 0
    for start, stop in zip(starts, stops):  # noqa: B905 - numba knows no `strict`
        n = stop - start
        if not _filled(file, found[done : done + n], start):
            return False
        done += n
    return np.array_equal(found, asked)


@njit(nogil=True, cache=True)
def _filled(file, to, offset):
    """Read as many bytes as there is room for; False where the file ends before, or a call fails."""
    done = 0
    while done < to.size:
        n = _pread(file, to[done:].ctypes, to.size - done, offset + done)
        if n <= 0:
            return False
        done += n
    return True
