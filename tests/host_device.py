"""The CUDA kernels on the processor: the CUDA source compiled by the machine's C++ compiler, memory in NumPy arrays.

It shows that the kernels compute the right numbers in any order of threads; it says nothing of speed.
"""

from __future__ import annotations

import ctypes
import hashlib
import re
import shutil
import subprocess
import tempfile
import threading
import weakref
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mhfd.kernel.fused.device import Device
from mhfd.kernel.fused.source import source

SHIM = Path(__file__).with_name("cuda_on_host.hpp")

# Products and sums are rounded separately unless the source writes fmaf: the same on every machine.
FLAGS = ("-std=c++17", "-O2", "-march=native", "-ffp-contract=off", "-shared", "-fPIC", "-w")


def compiler() -> str | None:
    return shutil.which("g++") or shutil.which("clang++")


@cache
def library(backwards: bool) -> ctypes.CDLL:
    """The CUDA source, compiled once; tests that run side by side share the library."""
    found = compiler()
    if not found:
        pytest.skip("no C++ compiler to run the CUDA kernels on the processor: install g++")
    kernels = sorted(set(kernel_names()))
    text = f'#include "{SHIM.name}"\n{source()}\n' + "".join(f"EXPORT({name})\n" for name in kernels)
    flags = [*FLAGS, "-DBACKWARDS"] if backwards else FLAGS
    known = hashlib.sha256("\0".join([text, SHIM.read_text(), found, *flags]).encode()).hexdigest()[:16]
    folder = Path(tempfile.gettempdir()) / f"mhfd-host-{known}"
    target = folder / "fused.so"
    if not target.exists():
        folder.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as work:
            (Path(work) / "fused.cpp").write_text(text)
            made = Path(work) / "fused.so"
            command = [found, *flags, f"-I{SHIM.parent}", "-o", str(made), str(Path(work) / "fused.cpp")]
            subprocess.run(command, check=True)
            made.replace(target)  # atomically: another process sees all of it or nothing
    return ctypes.CDLL(str(target))


def kernel_names() -> list[str]:
    """Kernels of the CUDA source, including those made by macros."""
    text = source()
    names = re.findall(r"^KERNEL\([^)]*\) (\w+)\(", text, re.MULTILINE)
    names += [f"smooth_{k}" for k in re.findall(r"^SMOOTH\((\d+)\)", text, re.MULTILINE)]
    names += [f"merge_{level}" for level in re.findall(r"^MERGE\((\d+)\)", text, re.MULTILINE)]
    names += [f"pair_{first}_{second}" for first, second in re.findall(r"^PAIR\((\d+), (\d+)\)", text, re.MULTILINE)]
    for kind in re.findall(r"^FOR_TYPE\((\w\d)\)", text, re.MULTILINE):
        names += [f"{name}_{kind}" for name in ("histogram", "normalise", "mean")]
    return names


class HostMemory:
    def __init__(self, device: HostDevice, nbytes: int) -> None:
        self._bytes = np.full(nbytes, 0xFF, np.uint8)  # not zero, like a GPU's memory; as floats, NaN
        self.address = int(self._bytes.ctypes.data)
        device.take(nbytes)
        weakref.finalize(self, device.take, -nbytes)


class HostStream:
    """Does everything at once, except while it records."""

    def __init__(self, backwards: bool) -> None:
        self._backwards = backwards
        self._recorded: list[Callable[[], None]] | None = None

    def _do(self, work: Callable[[], None]) -> None:
        if self._recorded is None:
            work()
        else:
            self._recorded.append(work)

    def upload(self, address: int, data: NDArray[Any]) -> None:
        assert data.flags.c_contiguous
        self._do(lambda: _move(address, data.ctypes.data, data.nbytes))

    def download(self, data: NDArray[Any], address: int) -> None:
        assert data.flags.c_contiguous
        self._do(lambda: _move(data.ctypes.data, address, data.nbytes))

    def fetch(self, address: int, other: Device, other_address: int, nbytes: int) -> None:
        self._do(lambda: _move(address, other_address, nbytes))

    def zero(self, address: int, nbytes: int) -> None:
        self._do(lambda: ctypes.memset(address, 0, nbytes) and None)

    def launch(
        self,
        kernel: str,
        grid: tuple[int, int, int],
        block: tuple[int, int, int],
        args: Sequence[np.generic],
        shared: int,
    ) -> None:
        function = getattr(library(self._backwards), f"host_{kernel}")
        values = [np.array(arg) for arg in args]
        pointers = (ctypes.c_void_p * len(values))(*(value.ctypes.data for value in values))
        triple = ctypes.c_uint * 3

        def run() -> None:
            assert max(grid[1:]) < 65536, "more blocks than CUDA allows"
            status = function(triple(*grid), triple(*block), ctypes.c_size_t(shared), pointers, len(values))
            assert status == 0, f"{kernel} was launched with the wrong arguments: {values}"

        self._do(run)

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        self._recorded = recorded = []
        work()
        self._recorded = None

        def replay() -> None:
            for step in recorded:
                step()

        return replay

    def mark(self) -> float:
        return perf_counter()

    def milliseconds(self, earlier: float, later: float) -> float:
        return 1e3 * (later - earlier)

    def synchronize(self) -> None:
        pass


def _move(to: int, origin: int, nbytes: int) -> None:
    ctypes.memmove(to, origin, nbytes)


class HostDevice:
    """Stands in for a GPU; counts the memory taken.

    Parameters
    ----------
    memory : bytes it has
    backwards : run the last thread first
    """

    name = "host"

    def __init__(self, memory: int = 2**30, *, backwards: bool = False) -> None:
        self.memory, self.taken, self.peak = memory, 0, 0
        self._backwards = backwards
        self._pinned: weakref.WeakValueDictionary[int, NDArray[np.uint8]] = weakref.WeakValueDictionary()
        self._lock = threading.Lock()

    def take(self, nbytes: int) -> None:
        with self._lock:
            self.taken += nbytes
            self.peak = max(self.peak, self.taken)

    def free_bytes(self) -> int:
        return self.memory - self.taken

    def empty(self, nbytes: int) -> HostMemory:
        if nbytes > self.free_bytes():
            raise MemoryError(f"{nbytes} bytes requested, {self.free_bytes()} are free")
        return HostMemory(self, nbytes)

    def pinned(self, nbytes: int) -> NDArray[np.uint8]:
        given = np.full(nbytes, 0xFF, np.uint8)
        self._pinned[given.ctypes.data] = given
        return given

    def is_pinned(self, data: NDArray[Any]) -> bool:
        return data.ctypes.data in self._pinned

    def stream(self) -> HostStream:
        return HostStream(self._backwards)
