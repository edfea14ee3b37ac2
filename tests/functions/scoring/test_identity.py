"""The identity of a tile is SHA-256 of type, shape and pixels, however many tiles are hashed at a time."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from mhfd.scoring import identity

compiled_sha256 = pytest.importorskip("mhfd.scoring.compiled_sha256", exc_type=ImportError)


@pytest.mark.parametrize("length", [64, 65, 119, 120, 127, 128, 1000, 4096])
@pytest.mark.parametrize("prefix", [b"", b"|u1 (1024, 1024)", b"x" * 55, b"x" * 56, b"x" * 64])
def test_many_at_a_time_are_hashed_as_hashlib_does(length: int, prefix: bytes) -> None:
    rng = np.random.default_rng(length)
    for count in (1, compiled_sha256.LANES // 2, compiled_sha256.LANES, compiled_sha256.LANES + 1):
        messages = [rng.integers(0, 256, length, np.uint8) for _ in range(count)]
        expected = [hashlib.sha256(prefix + each.tobytes()).hexdigest() for each in messages]
        assert compiled_sha256.digests(prefix, messages) == expected


@pytest.mark.parametrize("dtype", ["u1", "<u2", ">u2", "<f4"])
@pytest.mark.parametrize("many", [compiled_sha256.digests, None])
def test_many_tiles_have_the_identities_of_each(dtype: str, many: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity._MANY, "made", many)
    rng = np.random.default_rng(1)
    tiles = [rng.integers(0, 250, (9, 17)).astype(dtype) for _ in range(5)]
    assert identity.identities(tiles) == [identity.tile_sha256(each) for each in tiles]
    assert len(set(identity.identities(tiles))) == len(tiles)


def test_tiles_of_different_shapes_may_come_together() -> None:
    tiles = [np.zeros((rows, 64), np.uint8) for rows in range(1, 6)]
    assert identity.identities(tiles) == [identity.tile_sha256(each) for each in tiles]


def test_an_identity_is_told_by_type_and_shape() -> None:
    assert identity.tile_sha256(np.zeros((2, 3), np.uint8)) == hashlib.sha256(b"|u1 (2, 3)" + bytes(6)).hexdigest()
    assert identity.tile_sha256(np.ones((1, 2), ">u2")) == hashlib.sha256(b"<u2 (1, 2)\1\0\1\0").hexdigest()
