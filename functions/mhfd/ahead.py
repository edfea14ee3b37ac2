"""Compiled loops for what many tiles need beside their numbers: made in the background, used as soon as they are there.

They take seconds to compile on a machine that never did. Until then, and where numba is missing, the callers' code for
NumPy and hashlib does the same.
"""

from __future__ import annotations

import importlib.util
import logging
import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from mhfd.contract import BackendError

log = logging.getLogger(__name__)

T = TypeVar("T")

_every: list[Later[Any]] = []
_lock = threading.Lock()
_thread: threading.Thread | None = None


class Later(Generic[T]):
    """What `make` compiles, once `prepare` was called and has come so far; `make` may decline with None."""

    def __init__(self, make: Callable[[], T | None]) -> None:
        self.made: T | None = None
        self._make = make
        _every.append(self)

    def _prepare(self) -> None:
        try:
            self.made = self._make()
        except Exception:  # NumPy does the same
            log.warning("a loop could not be compiled; the slower code replaces it", exc_info=True)


def prepare() -> threading.Thread | None:
    """Begin to compile, once a process; the thread that does, None without numba."""
    global _thread
    with _lock:
        if _thread is None and importlib.util.find_spec("numba"):
            # Not a daemon: the compiler must not be cut off when the interpreter ends.
            _thread = threading.Thread(target=_prepare_all, name="mhfd-compile", daemon=False)
            _thread.start()
        return _thread


def _prepare_all() -> None:
    from mhfd.kernel.machine_code import find_a_place

    try:
        find_a_place()
    except BackendError as error:  # then compiled code cannot be kept
        log.warning("%s; until then slower code looks at the pixels", error)
        return
    for each in _every:
        each._prepare()
