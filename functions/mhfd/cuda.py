"""NVIDIA GPUs through CuPy, which in mhfd only this module imports, once a GPU is requested."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from time import perf_counter
from typing import Any
from uuid import UUID
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from mhfd.contract import BackendError, FocusParams, TileError
from mhfd.extras import install_hint
from mhfd.kernel import fourier
from mhfd.kernel.fused import Fused
from mhfd.kernel.fused.device import Device, Memory
from mhfd.kernel.fused.source import PAIR_SHARED_BYTES, source
from mhfd.kernel.measures import FeatureList, Measures
from mhfd.kernel.pixels import Pixels

COMPILE_OPTIONS = ("-std=c++17",)

LEAST_CAPABILITY = 7, 0
"""Compute capability of the oldest GPUs that the CUDA source is compiled for in the tests."""

OUT_OF_MEMORY = 2
"""cudaErrorMemoryAllocation, and CUDA_ERROR_OUT_OF_MEMORY."""


def _install() -> str:
    return f"{install_hint('gpu13')} (driver 580 or newer) or {install_hint('gpu12')}"


# --- Is there a GPU? ----------------------------------------------------------------------------------------------


@cache
def has_driver() -> bool:
    """True if NVIDIA's driver is installed; then there usually is a GPU too."""
    try:
        ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
    except OSError:
        return False
    return True


@cache
def unavailable() -> str | None:
    """The reason why no GPU can be used here, and the remedy; None if one can. Quick without a driver."""
    if not has_driver():
        return "no NVIDIA driver is installed on this machine; choose the backend numba or numpy"
    try:
        cupy = import_module("cupy")
    except ImportError as error:
        return f"CuPy cannot be imported ({error}): {_install()}"
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        return f"no GPU answers ({error}): run nvidia-smi; if the driver is older than CuPy's CUDA, {_install()}"
    return None if count else "the NVIDIA driver finds no GPU; check CUDA_VISIBLE_DEVICES and nvidia-smi"


def device_count() -> int:
    """Number of GPUs that answer; 0 without CuPy or without a driver."""
    return 0 if unavailable() else int(_cupy().cuda.runtime.getDeviceCount())


def pci_bus_id(number: int) -> str | None:
    """Where the GPU of that number is on the PCI bus, "0000:07:00.0"; None where nobody tells."""
    if unavailable():
        return None
    cupy = _cupy()
    try:
        return str(cupy.cuda.runtime.deviceGetPCIBusId(number))
    except cupy.cuda.runtime.CUDARuntimeError:
        return None


@cache
def array_code(number: int) -> ArrayCode:
    """The array code on the GPU of that number; arguments and errors as in `device`."""
    gpu = device(number)
    return ArrayCode(gpu.name, gpu.selected, arrays())


def arrays() -> fourier.Arrays:
    """CuPy for the array code, on one device: whichever is selected when its arrays are made."""
    cupy = _cupy()
    return fourier.Arrays(cupy, import_module("cupyx.scipy.fft"), fuse=cupy.fuse)


@cache
def device(number: int) -> CupyDevice:
    """GPU of that number, from 0; the first call compiles the kernels (CuPy caches them on disk)."""
    if reason := unavailable():
        raise BackendError(reason)
    if not 0 <= number < device_count():
        raise BackendError(f"there is no GPU {number}: this machine has {device_count()}, numbered from 0")
    return CupyDevice(number)


@cache
def kernel(number: int) -> Fused:
    """The fused kernels on the GPU of that number; arguments and errors as in `device`."""
    return Fused(device(number))


def _cupy() -> Any:
    return import_module("cupy")


# --- Array code on a GPU -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ArrayCode:
    """`fourier` on one device: the paper's method, tile by tile or in batches that are transformed as one.

    Attributes
    ----------
    device : its name
    selected : the context in which this thread's arrays are on it
    arrays : the library that makes them
    """

    device: str
    memory = None
    selected: Callable[[], AbstractContextManager[None]]
    arrays: fourier.Arrays

    def measure(self, tile: Pixels, params: FocusParams) -> tuple[Measures, FeatureList]:
        """Every number of one tile; see `fourier.measure`."""
        with self.selected():
            return fourier.measure(tile, params, self.arrays)

    def submit(self, tiles: Sequence[NDArray[Any]], params: FocusParams) -> Measured:
        """Measure tiles of one shape and type together, in smaller batches where the device has no room for all.

        Raises
        ------
        TileError
            "out_of_memory": not even one fits.
        BackendError
            the device failed.
        """
        start = perf_counter()
        measures = self._together(tiles, params)
        return Measured(measures, kernel_ms=1e3 * (perf_counter() - start))

    def _together(self, tiles: Sequence[NDArray[Any]], params: FocusParams) -> list[Measures]:
        try:
            with self.selected():
                return [found for found, _ in fourier.measure_batch(np.stack(tiles), params, self.arrays)]
        except MemoryError as error:
            if len(tiles) == 1:
                rows, cols = tiles[0].shape
                raise TileError(
                    "out_of_memory",
                    f"{self.device} has no room for the planes of a tile of {rows} x {cols} pixels: choose the "
                    'backend "cupy", which works in strips',
                ) from error
        half = len(tiles) // 2
        return self._together(tiles[:half], params) + self._together(tiles[half:], params)


@dataclass(frozen=True)
class Measured:
    """A finished batch; implements `mhfd.backends.Pending`. `kernel_ms` includes copying."""

    measures: list[Measures]
    kernel_ms: float
    copy_ms: float = 0.0

    def result(self) -> list[Measures]:
        return self.measures


# --- One GPU ------------------------------------------------------------------------------------------------------


_PINNED: WeakValueDictionary[int, NDArray[np.uint8]] = WeakValueDictionary()
"""Pinned memory in use, by address; any device can copy from it."""


class CupyDevice:
    """A GPU; implements `mhfd.kernel.fused.device.Device`.

    Attributes
    ----------
    number : as CUDA counts the devices it may see
    name : of the model
    uuid : of the device
    """

    def __init__(self, number: int) -> None:
        self._cupy = _cupy()
        self.number = number
        with self.selected():
            properties = self._cupy.cuda.runtime.getDeviceProperties(number)
            self.name = str(properties["name"].decode())
            self.uuid = UUID(bytes=bytes(properties["uuid"]))
            capability = properties["major"], properties["minor"]
            if capability < LEAST_CAPABILITY:
                raise BackendError(
                    f"{self.name} has compute capability {capability[0]}.{capability[1]}, and mhfd needs at least "
                    f"{LEAST_CAPABILITY[0]}.{LEAST_CAPABILITY[1]}: choose another backend"
                )
            self._module = self._cupy.RawModule(code=source(), options=COMPILE_OPTIONS)
            self._module.compile()
        self.kernel: Callable[[str], Any] = cache(self._kernel)

    def _kernel(self, name: str) -> Any:
        """A kernel of the source, on this device."""
        kernel = self._module.get_function(name)
        if name.startswith("pair_"):  # beyond what a block gets unasked
            kernel.max_dynamic_shared_size_bytes = PAIR_SHARED_BYTES
        return kernel

    @contextmanager
    def selected(self) -> Iterator[None]:
        """Send this thread's CUDA calls to this device; turn CUDA's errors into ours."""
        cuda = self._cupy.cuda
        try:
            with cuda.Device(self.number):
                yield
        except (cuda.runtime.CUDARuntimeError, cuda.driver.CUDADriverError) as error:
            if getattr(error, "status", None) == OUT_OF_MEMORY:
                raise MemoryError(f"GPU {self.number} is out of memory") from error
            raise BackendError(
                f"GPU {self.number} failed ({error}): run nvidia-smi, and restart the process to use it again"
            ) from error
        except cuda.compiler.CompileException as error:
            raise BackendError(
                f"the kernels could not be compiled for GPU {self.number} ({str(error)[:500]}): reinstall, "
                f"{_install()}, so that the CUDA headers match"
            ) from error

    def free_bytes(self) -> int:
        with self.selected():
            return int(self._cupy.cuda.runtime.memGetInfo()[0])

    def empty(self, nbytes: int) -> Memory:
        with self.selected():
            return CupyMemory(self._cupy.cuda.Memory(nbytes))

    def pinned(self, nbytes: int) -> NDArray[np.uint8]:
        with self.selected():
            given = np.asarray(import_module("cupyx").empty_pinned(nbytes, np.uint8))
        _PINNED[given.ctypes.data] = given
        return given

    def is_pinned(self, data: NDArray[Any]) -> bool:
        return data.ctypes.data in _PINNED

    def stream(self) -> CupyStream:
        return CupyStream(self)


class CupyMemory:
    """Memory directly from CUDA, not from a pool: freeing it waits until the device no longer uses it."""

    def __init__(self, memory: Any) -> None:
        self._memory = memory
        self.address = int(memory.ptr)


class CupyStream:
    """A queue of work; implements `mhfd.kernel.fused.device.Stream`."""

    def __init__(self, gpu: CupyDevice) -> None:
        self._gpu = gpu
        self._cuda = _cupy().cuda
        with gpu.selected():
            self._stream = self._cuda.Stream(non_blocking=True)

    def upload(self, address: int, data: NDArray[Any]) -> None:
        self._copy(address, data.ctypes.data, data.nbytes, self._cuda.runtime.memcpyHostToDevice)

    def download(self, data: NDArray[Any], address: int) -> None:
        self._copy(data.ctypes.data, address, data.nbytes, self._cuda.runtime.memcpyDeviceToHost)

    def _copy(self, to: int, origin: int, nbytes: int, kind: int) -> None:
        with self._gpu.selected():
            self._cuda.runtime.memcpyAsync(to, origin, nbytes, kind, self._stream.ptr)

    def fetch(self, address: int, other: Device, other_address: int, nbytes: int) -> None:
        if not isinstance(other, CupyDevice):
            raise TypeError(f"a GPU can fetch only from a GPU, not from {other!r}")
        with self._gpu.selected():
            self._cuda.runtime.memcpyPeerAsync(
                address, self._gpu.number, other_address, other.number, nbytes, self._stream.ptr
            )

    def zero(self, address: int, nbytes: int) -> None:
        with self._gpu.selected():
            self._cuda.runtime.memsetAsync(address, 0, nbytes, self._stream.ptr)

    def launch(
        self,
        kernel: str,
        grid: tuple[int, int, int],
        block: tuple[int, int, int],
        args: Sequence[np.generic],
        shared: int,
    ) -> None:
        with self._gpu.selected(), self._stream:
            self._gpu.kernel(kernel)(grid, block, tuple(args), shared_mem=shared)

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        work()  # loads the kernels, which a recording may not
        self.synchronize()
        with self._gpu.selected():
            self._stream.begin_capture()
            try:
                work()
            finally:
                graph = self._stream.end_capture()

        def replay() -> None:
            with self._gpu.selected():
                graph.launch(self._stream)

        return replay

    def mark(self) -> Any:
        with self._gpu.selected():
            event = self._cuda.Event()
            event.record(self._stream)
            return event

    def milliseconds(self, earlier: Any, later: Any) -> float:
        with self._gpu.selected():
            return float(self._cuda.get_elapsed_time(earlier, later))

    def synchronize(self) -> None:
        with self._gpu.selected():
            self._stream.synchronize()
