"""Two versions of mhfd side by side on one endpoint: each client's tiles are scored by the kernel that it chose."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mhfd import __version__
from mhfd.registry import source_of
from mhfd_client import Client
from mhfd_client.config import parse_config
from other_version import OTHER, write_other_version

if TYPE_CHECKING:
    from loopback.stack import Loopback

RESULT_S = 240.0  # on a machine that does much else


def test_two_kernels_side_by_side(loopback: Loopback, tmp_path: Path) -> None:
    """Workers' environments differ as two virtual environments do; functions call the mhfd that they find there."""
    tree = write_other_version(tmp_path / "other")
    uuid = loopback.client().register_source_code(source_of("score_inline"), "score_inline")
    entry: dict[str, Any] = {"uuid": loopback.endpoint_id, "functions": {"score_inline": uuid}}
    options = {
        "ours": {"engine": "GlobusComputeEngine"},
        "theirs": {"engine": "GlobusComputeEngine", "worker_init": f"export PYTHONPATH={tree}"},
    }
    known = parse_config({
        "endpoints": {name: {**entry, "user_endpoint_config": given} for name, given in options.items()}
    })  # fmt: skip
    tile = np.random.default_rng(3).integers(0, 256, (32, 32), dtype=np.uint8)
    with Client("ours", config=known) as ours, Client("theirs", config=known) as theirs:
        futures = [client.submit(tile) for client in (theirs, ours, theirs)]
        rows = [future.result(RESULT_S) for future in futures]
    assert [row.provenance.mhfd for row in rows] == [OTHER, __version__, OTHER]
    assert len({row.features for row in rows}) == 1
