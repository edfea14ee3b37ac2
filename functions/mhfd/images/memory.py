"""Where the pixels of plain files are read to: memory that is used again, or from which a device copies.

New memory costs as much as reading into it, for the system clears each page of it first.
"""

from __future__ import annotations

import math
import threading
import weakref
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import numpy as np
from numpy.typing import NDArray

Allocate = Callable[[int], NDArray[np.uint8]]
"""So many bytes, (n,)."""

_MOST_KEPT = 2**28  # bytes


def _fresh(nbytes: int) -> NDArray[np.uint8]:
    return np.empty(nbytes, np.uint8)


_allocate: ContextVar[Allocate] = ContextVar("allocate", default=_fresh)


def read_into(allocate: Allocate) -> None:
    """From now on this thread reads tiles into such memory."""
    _allocate.set(allocate)


def empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """An array of undefined contents in the memory that this thread reads into."""
    found: NDArray[Any] = np.ndarray(shape, dtype, _allocate.get()(math.prod(shape) * dtype.itemsize))
    return found


class Recycled:
    """Memory that is given out again when no array needs it any more; for any number of threads."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # a collection of garbage within `_give_back` may give back, too
        self._free: dict[int, list[bytearray]] = {}
        self._kept = 0

    def __call__(self, nbytes: int) -> NDArray[np.uint8]:
        with self._lock:
            free = self._free.get(nbytes)
            memory = free.pop() if free else None
            self._kept -= nbytes if memory else 0
        memory = memory or bytearray(nbytes)
        # Arrays made of this one keep it, not the bytes; so when it ends, all of them have.
        array = np.frombuffer(memory, np.uint8)
        weakref.finalize(array, self._give_back, memory).atexit = False
        return array

    def _give_back(self, memory: bytearray) -> None:
        with self._lock:
            if self._kept + len(memory) <= _MOST_KEPT:
                self._free.setdefault(len(memory), []).append(memory)
                self._kept += len(memory)
