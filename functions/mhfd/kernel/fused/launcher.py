"""A device's memory for one extent, and the launch of kernels on it by the names of its places."""

from __future__ import annotations

import numpy as np

from mhfd.kernel.fused.device import Device
from mhfd.kernel.fused.layout import Extent, MemoryLayout, constants

Argument = str | int | float | np.generic | None
"""Of a kernel: a str names a place in memory, None is null, numbers get 32 bits."""


class Launcher:
    """Launches kernels over all tiles of a batch, on memory laid out for their extent."""

    def __init__(self, device: Device, extent: Extent, plan_of_memory: MemoryLayout) -> None:
        self.device, self.extent, self.layout = device, extent, plan_of_memory
        self.memory = device.empty(plan_of_memory.nbytes)
        self.stream = device.stream()
        self._constants, self._places = constants(extent)
        self.stream.upload(self.at("constants"), self._constants)

    def at(self, name: str, offset: int = 0) -> int:
        """Address of a place in memory."""
        return self.memory.address + self.layout.places[name][0] + offset

    def constant(self, name: str) -> np.generic:
        address: np.generic = np.uint64(self.at("constants", self._places[name]))
        return address

    def launch(
        self,
        kernel: str,
        grid: tuple[int, int],
        block: tuple[int, int],
        *args: Argument,
        shared: int = 0,
    ) -> None:
        """Launch over all tiles of the batch."""
        typed = [self._argument(arg) for arg in args]
        self.stream.launch(kernel, (*grid, self.extent.batch), (*block, 1), typed, shared)

    def _argument(self, arg: Argument) -> np.generic:
        typed: np.generic
        if isinstance(arg, np.generic):
            typed = arg
        elif isinstance(arg, str | None):
            typed = np.uint64(0 if arg is None else self.at(arg))
        else:
            typed = np.float32(arg) if isinstance(arg, float) else np.int32(arg)
        return typed
