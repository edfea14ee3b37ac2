"""Both kernels, for facts that hold of each."""

from __future__ import annotations

import pytest

from mhfd.kernel import cpu, reference
from phantoms import Kernel


@pytest.fixture(params=[cpu.measure, reference.measure], ids=["cpu", "reference"])
def measure(request: pytest.FixtureRequest) -> Kernel:
    kernel: Kernel = request.param
    return kernel
