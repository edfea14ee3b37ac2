"""The interface of a GPU for the fused kernels; `mhfd.cuda` implements it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class Memory(Protocol):
    """Memory of a device, freed with this object."""

    @property
    def address(self) -> int: ...


class Stream(Protocol):
    """Work that a device does in order. Only `synchronize` waits for it."""

    def upload(self, address: int, data: NDArray[Any]) -> None:
        """Copy a C-contiguous array to the device; `data` must not change before `synchronize` if it is pinned."""

    def download(self, data: NDArray[Any], address: int) -> None:
        """Copy from the device into a C-contiguous array, complete after `synchronize`."""

    def fetch(self, address: int, other: Device, other_address: int, nbytes: int) -> None:
        """Copy from the memory of a device of the same kind, or this one."""

    def zero(self, address: int, nbytes: int) -> None: ...

    def launch(
        self,
        kernel: str,
        grid: tuple[int, int, int],
        block: tuple[int, int, int],
        args: Sequence[np.generic],
        shared: int,
    ) -> None:
        """Run a kernel of the CUDA source; `shared`: bytes of shared memory."""

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        """Record the calls that `work` makes on this stream; the returned function replays them, as often as called.

        `work` may run once or twice meanwhile. It must not wait for the device.
        """

    def mark(self) -> Any:
        """A point in the work, for `milliseconds`."""

    def milliseconds(self, earlier: Any, later: Any) -> float:
        """Time the device took from one mark to another, once it has synchronised."""

    def synchronize(self) -> None:
        """Wait until all work is done."""


class Device(Protocol):
    """A GPU, or a stand-in for one. Used by several threads at a time, each with streams of its own.

    `empty` raises MemoryError. Any method raises `mhfd.BackendError` when the device fails.
    """

    @property
    def name(self) -> str: ...

    def free_bytes(self) -> int: ...

    def empty(self, nbytes: int) -> Memory: ...

    def pinned(self, nbytes: int) -> NDArray[np.uint8]:
        """(nbytes,) host memory; copies from and to it run beside the device's work."""

    def is_pinned(self, data: NDArray[Any]) -> bool:
        """Whether an array begins where such memory, of this device or another one, does."""

    def stream(self) -> Stream: ...
