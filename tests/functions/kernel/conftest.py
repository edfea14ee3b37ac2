"""Fixtures for facts that hold for every kernel."""

from __future__ import annotations

import pytest

from agreement import FAST_KERNELS
from mhfd.kernel import reference
from phantoms import Kernel


@pytest.fixture(params=[*FAST_KERNELS, "reference"], scope="session")
def measure(request: pytest.FixtureRequest) -> Kernel:
    """Each kernel in turn, including the reference."""
    return FAST_KERNELS.get(request.param, reference.measure)


@pytest.fixture(params=FAST_KERNELS, scope="session")
def fast(request: pytest.FixtureRequest) -> Kernel:
    """Each kernel that must agree with the reference."""
    return FAST_KERNELS[request.param]
