"""Identity of a tile: hex SHA-256 of type, shape and pixels, whatever the file format."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mhfd.ahead import Later
from mhfd.kernel.pixels import Pixels, row_blocks

if TYPE_CHECKING:
    from hashlib import _Hash

_LEAST_BYTES = 64  # of a tile that is hashed beside others


def tile_sha256(pixels: Pixels) -> str:
    """The identity of one tile."""
    digest = begun(pixels)
    for _, block in row_blocks(pixels):
        digest.update(as_hashed(block))
    return digest.hexdigest()


def takes_many() -> bool:
    """Whether `identities` of several tiles are faster than those of one after the other."""
    return _MANY.made is not None


def identities(tiles: Sequence[NDArray[Any]]) -> list[str]:
    """The identities of several tiles: of those of equal shape and type, many at a time where that is faster."""
    first, alike = tiles[0], len({(each.shape, each.dtype) for each in tiles}) == 1
    if alike and first.nbytes >= _LEAST_BYTES and (many := _MANY.made):
        return many(_prefix(first.dtype, first.shape), [np.frombuffer(as_hashed(each), np.uint8) for each in tiles])
    return [tile_sha256(each) for each in tiles]


def _many() -> Callable[[bytes, Sequence[NDArray[np.uint8]]], list[str]] | None:
    from mhfd.scoring.compiled_sha256 import digests, is_faster

    return digests if is_faster() else None


_MANY = Later(_many)


def begun(pixels: Pixels) -> _Hash:
    """The digest, before its rows."""
    return hashlib.sha256(_prefix(pixels.dtype, pixels.shape))


def as_hashed(rows: NDArray[Any]) -> memoryview:
    """The bytes of rows, little-endian."""
    return np.ascontiguousarray(rows, rows.dtype.newbyteorder("<")).data


@lru_cache(16)
def _prefix(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    return f"{dtype.newbyteorder('<').str} {shape}".encode()
