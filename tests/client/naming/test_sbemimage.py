"""The ids that SBEMimage gives tiles: its `utils.tile_id` writes grid, tile and slice with 4, 4 and 5 digits."""

from __future__ import annotations

import pytest

from mhfd_client.naming.sbemimage import tile_id, tile_key


@pytest.mark.parametrize(
    ("path", "identity", "key"),
    [
        ("tiles/g0000/t0065/stack_g0000_t0065_s00314.tif", "0000.0065.00314", "0.65"),
        ("tiles/g0012/t0000/a_b_g0012_t0000_s123456.ome.tif", "0012.0000.123456", "12.0"),
        ("STACK_G0001_T0002_S00003.TIFF", "0001.0002.00003", "1.2"),
        ("tiles/a0003/r0001/t0002/stack_a0003_r0001_t0002.ome.tif", None, None),  # of an array
        ("s0001_r0_c1.tif", None, None),
    ],
)
def test_ids_are_read_from_names(path: str, identity: str | None, key: str | None) -> None:
    assert (tile_id(path), tile_key(path)) == (identity, key)
