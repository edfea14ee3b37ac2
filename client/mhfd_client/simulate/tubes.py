"""Blood vessels and myelinated axons: where they lie and how they look in a cut. Lengths in nm, places (z, y, x)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mhfd_client.simulate.cut import Cut, membrane
from mhfd_client.simulate.fields import Array
from mhfd_client.simulate.neurites import Neurites


@dataclass(frozen=True)
class Tube:
    """A blood vessel or a myelinated axon, straight before the warp bends it."""

    through: Array
    along: Array  # unit vector
    radius: float
    wall: float
    kind: str  # "vessel" or "axon"
    neurite: int  # that its inside counts as

    def insert(self, cut: Cut) -> None:
        """Make room for the tube: its inside is one neurite, and its wall is a membrane to all others."""
        within = self._within(cut)
        inside = within > -self.wall / 2
        beside = -within - self.wall
        cut.tilt = np.where(inside | (beside < cut.depth), 0.1, cut.tilt)
        cut.depth = np.where(inside, within, np.minimum(cut.depth, beside))
        cut.neurite = np.where(inside, self.neurite, cut.neurite)

    def draw(self, cut: Cut) -> None:
        """Fill wall and lumen."""
        within = self._within(cut)
        lumen = np.clip(within / 8 + 0.5, 0, 1)
        wall = np.clip((within + self.wall) / 8 + 0.5, 0, 1) * (1 - lumen)
        if self.kind == "axon":
            cut.light += wall * (0.17 + 0.08 * np.cos(2 * np.pi * within / 17) - cut.light)  # lamellae of myelin
            return
        lamina = np.clip((within + self.wall + 45) / 14, 0, 1) * (1 - lumen)
        cut.light += lamina * (0.60 - cut.light)
        cut.light += wall * (0.47 + 0.03 * cut.shade - cut.light)
        cut.light += lumen * (0.80 - cut.light)
        cut.stain(0.7 * (membrane(within, 0.1) + membrane(within + self.wall, 0.1)))

    def _within(self, cut: Cut) -> Array:
        """How far each pixel lies inside the wall, (rows, cols); negative in the wall and beyond."""
        offset = cut.offset(self.through)
        along = np.tensordot(self.along, offset, 1)
        return np.asarray(self.radius - np.sqrt((offset**2).sum(axis=0) - along**2), np.float64)


def lay_tubes(rng: np.random.Generator, size_nm: tuple[float, float, float], neurites: Neurites) -> list[Tube]:
    """Lay vessels, then axons, roughly at right angles to the sections and clear of one another."""
    area_um2 = size_nm[1] * size_nm[2] / 1e6
    hosts = np.flatnonzero(neurites.has_tubules)  # one of these lends its cytoplasm to an axon
    tubes: list[Tube] = []
    for kind, per_um2, radii, walls in (
        ("vessel", 1 / 90, (750, 1100), (110, 200)),
        ("axon", 1 / 40, (220, 420), (80, 140)),
    ):
        for _ in range(int(area_um2 * per_um2)):
            along = np.array([1.0, *rng.normal(0, 0.35, 2)])
            through = rng.uniform(0, size_nm)
            radius, wall, host = rng.uniform(*radii), rng.uniform(*walls), int(rng.choice(hosts))
            apart = [np.linalg.norm(through - t.through) > 1.5 * (radius + wall + t.radius + t.wall) for t in tubes]
            if all(apart):
                tubes.append(Tube(through, along / np.linalg.norm(along), radius, wall, kind, host))
    return tubes
