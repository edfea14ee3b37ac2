"""Memory of tiles is used again when no array needs it, and not before."""

from __future__ import annotations

import gc

import numpy as np
import pytest

from loopback.fixtures import collect
from mhfd.images.memory import Recycled, empty


@pytest.fixture(autouse=True)
def _others_garbage() -> None:
    """What other tests have left is collected, and not laid to these."""
    collect()


def test_memory_is_used_again_when_the_last_array_of_it_ends() -> None:
    memory = Recycled()
    one = memory(4096)
    tile = one.view(np.uint16).reshape(32, 64)
    row = tile[3, 5:]
    place = one.ctypes.data
    del one, tile
    gc.collect()
    other = memory(4096)  # a row of the first is still there
    assert other.ctypes.data != place
    row[:] = 7
    del row
    gc.collect()
    assert memory(4096).ctypes.data == place
    assert memory(4097).size == 4097


def test_no_more_memory_is_kept_than_some() -> None:
    memory = Recycled()
    arrays = [memory(2**26) for _ in range(6)]
    del arrays
    gc.collect()
    assert memory._kept == 2**28


def test_an_array_has_the_shape_and_type_asked_for() -> None:
    array = empty((3, 5), np.dtype(">u2"))
    assert (array.shape, array.dtype) == ((3, 5), np.dtype(">u2"))
    array[...] = 258
    assert array.tobytes()[:2] == b"\1\2"
