"""The specimen: tissue as a function of place.

Neurites fill all space, bent by a random warp and filled with organelles, so sections continue one another in z and
neighbouring tiles share their overlap.
"""

from __future__ import annotations

import numpy as np

from mhfd_client.simulate.cut import BLOCK_NM, Cut
from mhfd_client.simulate.cytoplasm import draw_cytoplasm, grain
from mhfd_client.simulate.fields import Array, SmoothField, Warp
from mhfd_client.simulate.neurites import Neurites
from mhfd_client.simulate.organelles import place_organelles, place_synapses
from mhfd_client.simulate.plan import MARGIN_PX, SECTION_NM, RunPlan
from mhfd_client.simulate.tubes import lay_tubes


class Specimen:
    """The tissue of a run; `view` cuts one tile's scene out of one section."""

    def __init__(self, plan: RunPlan) -> None:
        self.plan = plan
        rng, size_nm = plan.rng("tissue"), plan.size_nm
        self._warp = Warp(rng, size_nm)
        self._shade = SmoothField(rng, size_nm, 700.0)
        self._reticulum = SmoothField(rng, size_nm, 110.0)
        self._neurites = Neurites(rng, size_nm)
        self._tubes = lay_tubes(rng, size_nm, self._neurites)
        self._organelles = place_organelles(rng, self._neurites)
        self._synapses = place_synapses(rng, self._neurites)

    def view(self, section: int, row: int, col: int) -> Array:
        """The scene of one tile, with its margin: (tile_px + 2 MARGIN_PX) squared, in [0, 1], 1 is white."""
        plan, pixel_nm = self.plan, self.plan.pixel_size_nm
        block = max(1, round(BLOCK_NM / pixel_nm))
        whole = -(-plan.scene_px // block) * block
        rows, cols = (n * plan.step_px - MARGIN_PX + np.arange(whole) for n in (row, col))
        z, (y, x) = section * SECTION_NM, (index.astype(np.float64) * pixel_nm for index in (rows, cols))

        place, bend = self._warp.sample(z, y, x, pixel_nm)
        cut = Cut(self._neurites, place, bend, self._shade.sample(z, y, x)[0], block)
        for tube in self._tubes:
            tube.insert(cut)
        draw_cytoplasm(cut, self._neurites, grain(plan, section, rows, cols), self._reticulum.sample(z, y, x)[0])
        for organelle in self._organelles:
            organelle.draw(cut)
        for synapse in self._synapses:
            synapse.draw_vesicles(cut)
        cut.draw_membranes()
        for synapse in self._synapses:
            synapse.draw_density(cut)
        for tube in self._tubes:
            tube.draw(cut)
        return np.clip(cut.light[: plan.scene_px, : plan.scene_px], 0, 1)
