"""The backend is a value: chosen once, passed along, recorded in every result."""

from __future__ import annotations

import importlib.util
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from time import perf_counter
from typing import Any, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from mhfd.contract import BackendError, BackendName, FocusParams, ParamsError, Partition
from mhfd.extras import install_hint
from mhfd.images.memory import Allocate
from mhfd.kernel.measures import FeatureList, Measures
from mhfd.kernel.pixels import Pixels

log = logging.getLogger(__name__)

FEW_BYTES = 2**21
"""Loading numba and its machine code takes as long as the NumPy path takes for four times this."""

STANDIN_PIXELS = 2**24
"""Array code keeps whole planes: a larger tile waits for the compiled kernel."""


class Pending(Protocol):
    """A batch running on a device.

    Attributes
    ----------
    copy_ms, kernel_ms : for the whole batch, once `result` has returned
    """

    @property
    def copy_ms(self) -> float: ...

    @property
    def kernel_ms(self) -> float: ...

    def result(self) -> list[Measures]:
        """Wait for the numbers, one entry a tile.

        Raises
        ------
        BackendError
            the device no longer answers.
        TileError
            "out_of_memory", even in smaller pieces.
        """
        ...


class Lane(Protocol):
    """A device that takes batches of tiles of equal shape and type, and computes while the next one is copied.

    Attributes
    ----------
    memory : so many bytes, (n,), for a tile that the device can copy from there; None: it takes tiles from anywhere
    """

    @property
    def device(self) -> str: ...

    @property
    def memory(self) -> Allocate | None: ...

    def submit(self, tiles: Sequence[NDArray[Any]], params: FocusParams) -> Pending: ...


@dataclass(frozen=True)
class Backend:
    """One way to run the kernel.

    Attributes
    ----------
    name : as recorded in a result's provenance
    device : "cpu", or the names of the devices
    measure : a tile and parameters in pixels to numbers and features
    lanes : the devices that score many tiles in batches; empty where threads call `measure`
    phases : for benchmarks, `measure` with the milliseconds of each phase; None where unavailable
    standin : the backend that measures a tile while this one is not ready; None if it is this one's turn
    """

    name: str
    device: str
    measure: Callable[[Pixels, FocusParams], tuple[Measures, FeatureList]]
    lanes: tuple[Lane, ...] = ()
    phases: Callable[[Pixels, FocusParams], tuple[dict[str, float], Measures]] | None = None
    standin: Callable[[Pixels, FocusParams], Backend | None] | None = None

    def now(self, tile: Pixels, params: FocusParams) -> Backend:
        """The backend that measures this tile: this one, or its stand-in."""
        return (self.standin and self.standin(tile, params)) or self


def available_cores() -> int:
    """Cores this process may use: fewer than the machine has under a scheduler or in a container."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def select_backend(
    name: str = "auto",
    *,
    devices: Sequence[int] | None = None,
    partition: str = "auto",
    threads: int | None = None,
    meanwhile: bool = False,
) -> Backend:
    """The backend of that name; "auto" takes a GPU that answers, else the fast path on the processor.

    Parameters
    ----------
    name : "cupy" (GPU, fused kernels), "cupy-fft" (GPU, array code as in the paper), "numba" (processor, fused
        loops), "numpy" (processor, array code), or "auto"
    devices : numbers of the GPUs to use, by default the first; on the processor each entry is 0 and stands for one
        share of the work
    partition : how several devices share one tile: "scales" (the paper's), "strips" of rows, or "auto": not shared
        while the tile fits on one
    threads : for one tile on the processor; default: one a core
    meanwhile : while "numba" compiles, at the first run, "numpy" stands in; "auto" does so in any case

    Raises
    ------
    BackendError
        no such backend, or what it needs is missing; the message says what to install.
    ParamsError
        devices or a partition that do not exist.
    """
    _check_choice("partition", partition, Partition, ParamsError)
    _check_choice("backend", name, BackendName, BackendError)
    if devices is not None and not devices:
        raise ParamsError("devices must list at least one device, for instance [0]")
    if name == "auto":
        name, meanwhile = _fastest(), True
        if name == "numba" and (why := _nowhere()):
            _warn_once(f"{why}; tiles are scored by the NumPy path, which gives the same numbers more slowly")
            name = "numpy"
    if name in ("cupy", "cupy-fft"):
        return _gpu(name, list(devices or [0]), partition)
    if devices and any(number != 0 for number in devices):
        raise ParamsError(f"the processor has only device 0, not {list(devices)}; choose a GPU backend")
    threads = threads or available_cores()
    if name == "numba":
        fast = _numba(len(devices or [0]), partition, threads)
        return _with_standin(fast) if meanwhile and len(devices or [0]) == 1 else fast
    if len(devices or [0]) > 1:
        raise BackendError('the NumPy path does not share a tile between devices; choose the backend "numba"')
    return _numpy()


def _numpy() -> Backend:
    from mhfd.kernel import fourier

    return Backend(name="numpy", device="cpu", measure=fourier.measure)


def quickest(name: str, size: int) -> str:
    """The backend for a process that scores `size` bytes of files and ends: "numpy" for few, where "auto" is numba."""
    from mhfd import cuda

    return "numpy" if name == "auto" and size <= FEW_BYTES and cuda.unavailable() else name


def _check_choice(what: str, given: str, allowed: Any, error: type[Exception]) -> None:
    if given not in get_args(allowed):
        choices = ", ".join(f'"{choice}"' for choice in get_args(allowed))
        raise error(f"there is no {what} {given!r} in this version of mhfd; choose one of {choices}")


def _fastest() -> str:
    """The backend that "auto" stands for; warns what a faster one needs."""
    from mhfd import cuda

    if cuda.unavailable() is None:
        return "cupy"
    if cuda.has_driver():
        _warn_once(f"a GPU driver is installed, but {cuda.unavailable()}; the processor scores instead")
    if importlib.util.find_spec("numba"):
        return "numba"
    _warn_once(
        "numba is not installed, so tiles are scored by the NumPy path, which gives the same numbers more slowly; "
        f"to speed up: {install_hint('cpu')}"
    )
    return "numpy"


@cache
def _warn_once(text: str) -> None:
    log.warning(text)


def _nowhere() -> str:
    """Why numba can keep its machine code nowhere; empty if it can."""
    from mhfd.kernel import machine_code

    try:
        machine_code.find_a_place()
    except BackendError as error:
        return str(error)
    return ""


def _with_standin(fast: Backend) -> Backend:
    """`fast`, but until its machine code is there, "numpy" measures the tiles that it has the memory for."""
    from mhfd.kernel import machine_code

    is_made, slow = machine_code.make_meanwhile(), _numpy()

    def standin(tile: Pixels, params: FocusParams) -> Backend | None:
        fits = isinstance(tile, np.ndarray) and tile.size <= STANDIN_PIXELS and params.max_host_bytes is None
        return slow if fits and not is_made() else None

    return fast if is_made() else replace(fast, standin=standin)


def _numba(parts: int, partition: str, threads: int) -> Backend:
    if not importlib.util.find_spec("numba"):
        raise BackendError(f'the backend "numba" needs numba: {install_hint("cpu")}; or choose "numpy"')
    from mhfd.kernel import machine_code

    machine_code.find_a_place()
    from mhfd.kernel import compiled
    from mhfd.kernel.partition import scale_ranges

    def measure(
        tile: Pixels, params: FocusParams, lap: Callable[[str], None] = lambda phase: None
    ) -> tuple[Measures, FeatureList]:
        return compiled.measure(
            tile,
            params,
            threads=threads,
            max_bytes=params.max_host_bytes,
            scale_sets=scale_ranges(params, tile.shape, parts) if partition == "scales" else None,
            strips=parts if partition == "strips" else 1,
            lap=lap,
        )

    def phases(tile: Pixels, params: FocusParams) -> tuple[dict[str, float], Measures]:
        ms: dict[str, float] = {}
        last = perf_counter()

        def lap(phase: str) -> None:
            nonlocal last
            now = perf_counter()
            ms[phase], last = ms.get(phase, 0.0) + 1e3 * (now - last), now

        return ms, measure(tile, params, lap)[0]

    return Backend(name="numba", device="cpu", measure=measure, phases=phases)


def _gpu(name: str, numbers: list[int], partition: str) -> Backend:
    from mhfd import cuda
    from mhfd.kernel.fused import Fused, measure_on

    gpus = [cuda.device(number) for number in numbers]
    names = ", ".join(gpu.name for gpu in gpus)
    if name == "cupy-fft":
        if partition != "auto" and len(gpus) > 1:
            raise BackendError('the array path does not share a tile between devices; choose the backend "cupy"')
        lanes = [cuda.array_code(number) for number in numbers]
        return Backend(name=name, device=names, measure=lanes[0].measure, lanes=tuple(dict.fromkeys(lanes)))

    kernels: list[Fused] = [cuda.kernel(number) for number in numbers]

    def measure(tile: Pixels, params: FocusParams) -> tuple[Measures, FeatureList]:
        if len(kernels) == 1 or (partition == "auto" and kernels[0].takes_whole(tile, params)):
            return kernels[0].measure(tile, params)
        shared = measure_on(kernels, tile, params, "scales" if partition == "scales" else "strips")
        return shared.measures, shared.features

    def phases(tile: Pixels, params: FocusParams) -> tuple[dict[str, float], Measures]:
        shared = measure_on(kernels, tile, params, "strips" if partition == "strips" else "scales")
        spans: dict[str, tuple[float, float]] = {}  # from the first device's start to the last one's end
        for phase in shared.phases:
            start, end = spans.get(phase.name, (phase.start_s, phase.end_s))
            spans[phase.name] = min(start, phase.start_s), max(end, phase.end_s)
        return {name: 1e3 * (end - start) for name, (start, end) in spans.items()}, shared.measures

    return Backend(name=name, device=names, measure=measure, lanes=tuple(dict.fromkeys(kernels)), phases=phases)
