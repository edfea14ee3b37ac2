"""The machine code of the compiled loops: whether it lies on disk, and how it gets there without anyone waiting.

numba compiles for the processor it runs on, half a minute of work or more, and keeps what it made in NUMBA_CACHE_DIR,
else beside the package, else in the home. So machine code is not shipped. The first run has it made by a process of
its own (`make_meanwhile`): Ctrl-C, or the end of the command, does not undo what is done. A lock lets one process make
it for all that start at once. A file beside the code says that all of it is there.
"""

from __future__ import annotations

import hashlib
import inspect
import logging
import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mhfd.contract import BackendError, FocusParams

log = logging.getLogger(__name__)

MEANWHILE = (
    "compiling the kernel once, in the background, about half a minute; until then the NumPy path scores, which "
    "counts the same more slowly"
)

SIDE_PX = 512
"""A tile of this side passes through every loop."""

TYPES = ("u1", "u2", "f4")
"""Types of pixels that microscopes write; of another, two small loops are compiled when it is met."""

_PROGRAM = "import sys; sys.path[:] = sys.argv[1:]; from mhfd.kernel import machine_code; machine_code.make_quietly()"


def make() -> None:
    """Have it made, here and now, unless it is; if another process is at it, wait for that.

    Raises
    ------
    BackendError
        nothing can be written where machine code could be kept.
    """
    from filelock import FileLock

    mark = _mark()
    with FileLock(mark.with_suffix(".lock")):
        if not mark.exists():
            _compile()
            mark.touch()


def make_quietly() -> None:
    """`make` in a process that nobody waits for."""
    if hasattr(os, "nice"):  # Windows is told when the process is started
        os.nice(10)
    make()


def make_meanwhile() -> Callable[[], bool]:
    """Have it made by a process of its own, unless it is.

    Returns
    -------
    Whether it is made, when asked again.

    Raises
    ------
    BackendError
        nothing can be written where machine code could be kept.
    """
    from mhfd.compiler import numba

    config: Any = numba.config
    if config.DISABLE_JIT or (mark := _mark()).exists():
        return lambda: True
    if (python := _python()) is None:  # a frozen program would start itself again
        make()
        return lambda: True
    log.info(MEANWHILE)
    return _Process(python, mark, config.CACHE_DIR).is_done


class _Process:
    """Makes the machine code; outlives this process."""

    def __init__(self, python: str, mark: Path, folder: str) -> None:
        self._mark, self._failed = mark, False
        place = {"NUMBA_CACHE_DIR": folder} if folder else {}
        paths = [str(Path(path).absolute()) for path in sys.path]  # "" is this folder
        apart: dict[str, Any] = {"start_new_session": True}  # no Ctrl-C of ours
        if sys.platform == "win32":
            flags = subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP
            apart = {"creationflags": flags | subprocess.BELOW_NORMAL_PRIORITY_CLASS}
        self._process = subprocess.Popen(
            [python, "-I", "-c", _PROGRAM, *paths],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **place},
            **apart,
        )

    def is_done(self) -> bool:
        if self._failed:
            return False
        if self._mark.exists():
            self._process.poll()  # so that the system forgets it
            return True
        if self._process.poll() is not None and not self._mark.exists():
            self._failed = True
            log.warning("the kernel could not be compiled: `mhfd warmup` says why; the slower NumPy path scores")
        return False


def _python() -> str | None:
    """The interpreter, unless this is a program that has one inside."""
    named = Path(sys.executable or "").stem.lower().startswith("python")
    return sys.executable if named and not getattr(sys, "frozen", False) else None


def _compile() -> None:
    """Measure a small tile of each type: numba compiles what it meets, and keeps it."""
    from mhfd.kernel import compiled

    grey = np.random.default_rng(1).integers(0, 256, (SIDE_PX, SIDE_PX))
    for code in TYPES:
        compiled.measure(grey.astype(code), FocusParams())


def _mark() -> Path:
    """The file that says that all is made; its name changes with whatever makes other machine code necessary."""
    find_a_place()
    from mhfd.compiler import numba
    from mhfd.kernel import compiled_loops, compiled_power
    from mhfd.kernel.loops import cascade, interpolation, noise, rows, vectors

    modules = (compiled_loops, compiled_power, cascade, interpolation, noise, rows, vectors)
    sources = [inspect.getsource(module) for module in modules]
    loop: Any = cascade.cascade
    target = loop.targetctx.codegen().magic_tuple()  # what numba itself tells processors apart by
    made_for = repr((numba.__version__, sys.version_info, target, TYPES, sources))
    name = f"mhfd-{hashlib.sha256(made_for.encode()).hexdigest()[:16]}.made"
    return Path(loop.stats.cache_path) / name


def find_a_place() -> None:
    """Where numba can write neither beside the package nor in the home, have it keep its code in a temporary folder.

    Raises
    ------
    BackendError
        it cannot write there either.
    """
    from mhfd.compiler import numba

    config: Any = numba.config
    try:
        numba.njit(cache=True)(find_a_place)
    except RuntimeError as error:
        try:
            config.CACHE_DIR = str(_own_folder())
        except OSError as why:
            message = (
                f"compiled code can be kept nowhere ({error}): set NUMBA_CACHE_DIR to a folder that can be written"
            )
            raise BackendError(message) from why


def _own_folder() -> Path:
    """A temporary folder that nobody else can write to: what lies there is run."""
    user = os.getuid() if sys.platform != "win32" else "code"  # on Windows, the temporary folder is the user's own
    folder = Path(tempfile.gettempdir()) / f"mhfd-{user}"
    folder.mkdir(mode=0o700, exist_ok=True)
    about = folder.lstat()
    if sys.platform != "win32" and (not stat.S_ISDIR(about.st_mode) or about.st_uid != user or about.st_mode & 0o077):
        raise PermissionError(f"{folder} can be written to by others")
    return folder
