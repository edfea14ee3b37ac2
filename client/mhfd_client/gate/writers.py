"""Whether another process has a file open for writing. Windows knows; elsewhere nobody does."""

from __future__ import annotations

import sys
from pathlib import Path

_SHARING_VIOLATION, _LOCK_VIOLATION = 32, 33


def is_locked(error: OSError) -> bool:
    return getattr(error, "winerror", None) in (_SHARING_VIOLATION, _LOCK_VIOLATION)


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
        """Open a file in a way that fails while a writer has it, and let go of it at once.

        Readers are let be: a viewer, or a virus scanner, says nothing of whether the file is finished. And whoever
        wants to open the file in the same instant is hindered only if it is to write.
        """
        handle = _kernel32.CreateFileW(str(file), _GENERIC_READ, _SHARE_READ_AND_DELETE, None, _OPEN_EXISTING, 0, None)
        if handle == _INVALID:
            raise ctypes.WinError(ctypes.get_last_error())
        _kernel32.CloseHandle(handle)

else:

    def refuse_writers(file: Path) -> None:
        """There are no such locks here."""
