"""Fixtures that more than one folder of tests uses."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(scope="session")
def em_tiles() -> Path:
    """The folder of real tiles: MHFD_EM_TILES, else shared/em beside the repository."""
    beside = Path(__file__).parents[2] / "shared" / "em"
    folder = Path(os.environ.get("MHFD_EM_TILES", beside))
    if not folder.is_dir():
        pytest.skip("no EM tiles")
    return folder


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(1)
