"""Threads that share the rows of a plane, and memory that lasts from tile to tile."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mhfd.kernel.partition import row_ranges

CACHE_LINE = 64
"""Bytes."""


class _Kept(threading.local):
    """What a calling thread keeps from tile to tile: memory by name, and the threads that help it."""

    def __init__(self) -> None:
        self.blocks: dict[str, NDArray[np.uint8]] = {}
        self.helpers: tuple[int, ThreadPoolExecutor] | None = None

    def help(self, others: int) -> ThreadPoolExecutor:
        """So many threads, started when they are first needed."""
        if self.helpers is None or self.helpers[0] != others:
            self.helpers = others, ThreadPoolExecutor(others, thread_name_prefix="mhfd-kernel")
        return self.helpers[1]

    def forget(self) -> None:
        """Whoever still writes there writes to memory that nobody gets again."""
        self.blocks, self.helpers = {}, None


_kept = _Kept()

if hasattr(os, "register_at_fork"):  # a forked process has none of its parent's threads
    os.register_at_fork(after_in_child=_kept.forget)


class Share:
    """A loop over rows, `loop(*arguments, first, last)`, to be shared by threads.

    Parameters
    ----------
    loop : does rows first <= row < last
    rows : all that are to be done
    least : rows below which a part is not worth its own thread
    """

    def __init__(self, loop: Callable[..., Any], rows: range, *arguments: Any, least: int = 1) -> None:
        self.loop, self.rows, self.arguments, self.least = loop, rows, arguments, least

    def parts(self, threads: int) -> list[Callable[[], Any]]:
        """The loop over consecutive parts of the rows, as many as are worth their own thread."""
        count = max(1, min(threads, len(self.rows) // self.least))
        return [self._part(a, b) for a, b in row_ranges(len(self.rows), count, 1)]

    def _part(self, first: int, last: int) -> Callable[[], Any]:
        start = self.rows.start
        return lambda: self.loop(*self.arguments, start + first, start + last)


class Workers:
    """Threads that share loops over rows, and the memory for their results.

    Parameters
    ----------
    threads : how many work at a time, including the calling one
    keep : `array` reuses the calling thread's memory: the system clears fresh memory first, which takes a tenth of
        a tile's time.
    """

    def __init__(self, threads: int, *, keep: bool = False) -> None:
        self.threads, self._keep = threads, keep

    def run(self, loop: Callable[..., Any], rows: range, *arguments: Any, least: int = 1) -> list[Any]:
        """Results of `loop(*arguments, first, last)` for consecutive parts of the rows, in order."""
        return self.run_all(Share(loop, rows, *arguments, least=least))[0]

    def run_all(self, *shares: Share) -> list[list[Any]]:
        """Results of several loops, each as from `run`; none may depend on another of them.

        Threads wait for each other once, at the end.
        """
        parts = [share.parts(self.threads) for share in shares]
        found: list[list[Any]] = [[None] * len(calls) for calls in parts]

        def work(k: int) -> None:
            for results, calls in zip(found, parts, strict=True):
                if k < len(calls):
                    results[k] = calls[k]()

        others: list[Future[None]] = []
        try:
            most = max(map(len, parts), default=0)
            others.extend(_kept.help(self.threads - 1).submit(work, k) for k in range(1, most))  # keeps what is begun
            work(0)
            for other in others:
                other.result()
        except BaseException:  # Ctrl-C and a thread that cannot be started, too
            _kept.forget()
            raise
        finally:
            wait(others)
        return found

    def array(self, name: str, shape: tuple[int, ...], dtype: Any = np.float32) -> NDArray[Any]:
        """An uninitialised array, valid until the next of that name."""
        if not self._keep:
            return aligned_empty(shape, dtype)
        size = math.prod(shape) * np.dtype(dtype).itemsize
        if name not in _kept.blocks or _kept.blocks[name].size < size:
            _kept.blocks[name] = aligned_empty((size,), np.uint8)
        array: NDArray[Any] = _kept.blocks[name][:size].view(dtype).reshape(shape)
        return array


def aligned_empty(shape: tuple[int, ...], dtype: Any = np.float32) -> NDArray[Any]:
    """An uninitialised array that begins at a line of the cache: vectors that cross lines cost twice."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    room = np.empty(size + CACHE_LINE, np.uint8)
    skip = -room.ctypes.data % CACHE_LINE
    array: NDArray[Any] = room[skip : skip + size].view(dtype).reshape(shape)
    return array
