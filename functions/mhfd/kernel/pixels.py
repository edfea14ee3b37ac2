"""The tile a kernel reads: in memory, or left in its file and read by rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

BLOCK_BYTES = 2**24


class Pixels(Protocol):
    """A grey tile that gives its rows: an array, a memory map, or a reader of a file."""

    @property
    def shape(self) -> tuple[int, int]: ...

    @property
    def dtype(self) -> np.dtype[Any]: ...

    @property
    def size(self) -> int: ...

    def __getitem__(self, rows: slice, /) -> NDArray[Any]:
        """Neighbouring rows as (n, cols), C-contiguous, of `dtype` in native byte order; read-only.

        A reader raises `TileError` if the file is not a grey tile or cannot be read.
        """
        ...


def row_blocks(tile: Pixels, rows_at_a_time: int | None = None) -> Iterator[tuple[int, NDArray[Any]]]:
    """All rows once, from the top, as (first row, block); by default in blocks of about 16 MiB."""
    rows, cols = tile.shape
    step = rows_at_a_time or max(1, BLOCK_BYTES // max(1, cols * tile.dtype.itemsize))
    for first in range(0, rows, step):
        yield first, tile[first : first + step]


def thinned(tile: Pixels, every: int) -> NDArray[Any]:
    """Each n-th pixel of each n-th row; of a tile that stays in its file only a few rows are in memory at a time."""
    # Blocks start at multiples of `every`, so the rows taken are evenly spaced.
    return np.concatenate([block[::every, ::every] for _, block in row_blocks(tile, 64 * every)])
