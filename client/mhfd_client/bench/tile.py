"""The tile that is measured: simulated tissue, or a picture of the user's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mhfd.images import read_tile
from mhfd_client.simulate.microscope import expose
from mhfd_client.simulate.plan import RunPlan, plan_exposures
from mhfd_client.simulate.tissue import Specimen

SIMULATED_SIDE = 1024


def picture(path: Path | None, side: int) -> NDArray[Any]:
    """The picture to cut tiles from: at most (side, side), from the file or simulated.

    Raises
    ------
    TileError
        the file cannot be read.
    """
    if path is not None:
        return np.ascontiguousarray(read_tile(path).pixels[0:side][:, :side])
    plan = RunPlan(sections=1, rows=1, cols=1, tile_px=min(side, SIMULATED_SIDE), bad_fraction=0.0, blank_fraction=0.0)
    scene = Specimen(plan).view(0, 0, 0)
    return expose(scene, plan_exposures(plan)[0], plan.rng("noise", 0, 0, 0))


def cut(source: NDArray[Any], side: int) -> NDArray[Any]:
    """(side, side) of the picture; a smaller one is extended by its mirror images."""
    missing = [(0, max(0, side - length)) for length in source.shape]
    return np.ascontiguousarray(np.pad(source[:side, :side], missing, mode="symmetric"))
