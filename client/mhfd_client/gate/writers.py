"""Is a file still being written? Windows can tell that a program has it open, Linux that parts were never written."""

from __future__ import annotations

import os
import sys
from pathlib import Path

_SHARING_VIOLATION, _LOCK_VIOLATION = 32, 33


def is_locked(error: OSError) -> bool:
    return getattr(error, "winerror", None) in (_SHARING_VIOLATION, _LOCK_VIOLATION)


def has_holes(file: Path) -> bool:
    """True if some of the file was never written, although its size counts it; False where the system cannot tell."""
    if sys.platform == "win32":
        return False
    handle = os.open(file, os.O_RDONLY)
    try:
        return os.lseek(handle, 0, os.SEEK_HOLE) < os.fstat(handle).st_size
    except OSError:  # an empty file, or a file system that keeps no such account
        return False
    finally:
        os.close(handle)


if sys.platform == "win32":
    import ctypes
    from ctypes import wintypes

    _GENERIC_READ = 0x80000000
    _SHARE_READ_AND_DELETE = 1 | 4
    _OPEN_EXISTING = 3
    _INVALID = wintypes.HANDLE(-1).value

    _kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
    _kernel32.CreateFileW.restype = wintypes.HANDLE
    _kernel32.CreateFileW.argtypes = (
        wintypes.LPCWSTR, wintypes.DWORD, wintypes.DWORD, wintypes.LPVOID, wintypes.DWORD, wintypes.DWORD,
        wintypes.HANDLE,
    )  # fmt: skip
    _kernel32.CloseHandle.argtypes = (wintypes.HANDLE,)

    def refuse_writers(file: Path) -> None:
        """Open a file in a way that fails while a writer has it, and close it at once.

        Readers do not count: a file open in a viewer or a virus scanner may well be finished. A program that opens
        the file in the same instant is refused only if it wants to write.
        """
        handle = _kernel32.CreateFileW(str(file), _GENERIC_READ, _SHARE_READ_AND_DELETE, None, _OPEN_EXISTING, 0, None)
        if handle == _INVALID:
            raise ctypes.WinError(ctypes.get_last_error())
        _kernel32.CloseHandle(handle)

else:

    def refuse_writers(file: Path) -> None:
        """Do nothing: there are no such locks."""
