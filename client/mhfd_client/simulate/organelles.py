"""Mitochondria, endosomes and synapses: where they lie and how they look in a cut. Lengths in nm, places (z, y, x)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import spatial

from mhfd_client.simulate.cut import Cut, membrane
from mhfd_client.simulate.fields import Array
from mhfd_client.simulate.neurites import Neurites


@dataclass(frozen=True)
class Organelle:
    """A capsule inside one neurite: all within `radius` of the segment `centre` +- `length` * `axis`."""

    centre: Array
    axis: Array
    length: float
    radius: float
    neurite: int
    kind: str  # "mitochondrion" or "endosome"
    across: Array  # direction in which the cristae follow one another

    def draw(self, cut: Cut) -> None:
        """Fill its outline where it runs through its own neurite, and stain its skin."""
        window = cut.window(self.centre, self.radius + self.length)
        if window is None:
            return
        offset = cut.offset(self.centre, window)
        along = np.clip(np.tensordot(self.axis, offset, 1), -self.length, self.length)
        radial = offset - self.axis[:, None, None] * along
        distance = np.sqrt((radial**2).sum(axis=0))
        tilt = np.abs(radial[0]) / np.maximum(distance, 1)
        room = np.where(cut.neurite[window] == self.neurite, cut.depth[window] - 38, -1000.0)
        depth = _soft_min(self.radius - distance, room, 25.0)
        inside = np.clip(depth / 6 + 0.5, 0, 1)
        if self.kind == "mitochondrion":
            wave = np.tensordot(self.across, offset, 1) / 62 * 2 * np.pi
            wave += 1.4 * cut.shade[window]
            cristae = np.clip(1.9 * np.cos(wave) - 0.7, 0, 1) * np.clip((depth - 22) / 8, 0, 1)
            body, opacity = 0.47 * (1 - 0.5 * cristae), 0.9
            skin = 0.5 * membrane(depth, tilt) + 0.42 * membrane(depth - 18, tilt)
        else:
            body, opacity = np.full(depth.shape, 0.84), 1.0
            skin = 0.6 * membrane(depth, tilt)
        light = cut.light[window]
        cut.light[window] = light + inside * (body - light) * opacity
        cut.stain(skin, window)


def place_organelles(rng: np.random.Generator, neurites: Neurites) -> list[Organelle]:
    """Put mitochondria and endosomes where neurites are thick."""
    radii = neurites.radius
    organelles: list[Organelle] = []
    for kind, share, thick, shortest, longest, girth in (
        ("mitochondrion", 0.040, 130.0, 100.0, 450.0, 1.0),
        ("endosome", 0.006, 90.0, 0.0, 60.0, 0.6),
    ):
        for i in np.flatnonzero((radii > thick) & (rng.random(len(radii)) < share * radii / 100)):
            radius = girth * (rng.uniform(0.42, 0.7) * min(radii[i], 260.0))
            length = rng.uniform(shortest, longest)
            aside = rng.normal(0, 0.25, 3) * radii[i]
            across = rng.normal(0, 0.5, 3) + neurites.along[i]
            organelles.append(
                Organelle(
                    centre=neurites.sphere[i] + aside,
                    axis=neurites.along[i],
                    length=length,
                    radius=radius,
                    neurite=int(neurites.owner[i]),
                    kind=kind,
                    across=across / np.linalg.norm(across),
                )
            )
    return organelles


@dataclass(frozen=True)
class Synapse:
    """Two neurites in contact: vesicles in one, and a dark density along both membranes."""

    centre: Array
    towards: Array  # unit vector from the side with vesicles to the other
    radius: float
    neurite: int  # with the vesicles
    vesicles: Array  # (n, 3)

    def draw_vesicles(self, cut: Cut) -> None:
        """Stain a ring for each vesicle that lies in the cut."""
        window = cut.window(self.centre, 600.0)
        if window is None:
            return
        # Their z in this cut is judged at the middle of the cluster, which the warp moves as one.
        middle = (cut.offset(self.centre, window) ** 2).sum(axis=0).argmin()
        place = cut.place[:, window[0], window[1]]
        near = self.vesicles[np.abs(self.vesicles[:, 0] - place[0].flat[middle]) < 30]
        mask = (cut.neurite[window] == self.neurite) & (cut.depth[window] > 20)
        if not len(near) or not mask.any():
            return
        distance, _ = spatial.KDTree(near[:, 1:]).query(place[1:, mask].T, distance_upper_bound=60.0)
        ring = np.zeros(mask.shape)
        ring[mask] = 0.5 * np.exp(-(((distance - 17) / 6.5) ** 2)) - 0.10 * (distance < 12)
        cut.stain(ring, window)

    def draw_density(self, cut: Cut) -> None:
        """Stain the contact: a thin layer on the side with vesicles, a thick one on the other."""
        window = cut.window(self.centre, self.radius)
        if window is None:
            return
        offset = cut.offset(self.centre, window)
        across = np.tensordot(self.towards, offset, 1)
        beside = (offset**2).sum(axis=0) - across**2
        disc = np.exp(-((beside / self.radius**2) ** 2))
        depth = np.maximum(cut.depth[window], 0)
        thin, thick = 0.5 * np.exp(-depth / 14), 0.85 * np.exp(-((depth / 34) ** 2))  # before and behind the cleft
        stain = np.where(cut.neurite[window] == self.neurite, thin, thick)
        cut.stain(disc * np.exp(-((across / 160) ** 2)) * stain, window)


def place_synapses(rng: np.random.Generator, neurites: Neurites) -> list[Synapse]:
    """Put synapses between neighbouring neurites, about one in a cubic micrometre."""
    wanted = 1.1 * neurites.volume_nm3 / 1e9
    synapses: list[Synapse] = []
    for i in rng.choice(np.flatnonzero((neurites.radius > 110) & (neurites.radius < 450)), int(4 * wanted)):
        if len(synapses) >= wanted:
            break
        here, neurite = neurites.sphere[i], int(neurites.owner[i])
        others = [j for j in neurites.heaviest(here[None], 24)[0] if neurites.owner[j] != neurite]
        if not others:
            continue
        gap = neurites.sphere[others[0]] - here
        distance = float(np.linalg.norm(gap))
        towards = gap / distance
        # Halfway, but for the difference of the radii: there the two spheres weigh the same.
        reach = (distance + (neurites.radius[i] ** 2 - neurites.radius[others[0]] ** 2) / distance) / 2
        centre = here + reach * towards
        if reach < 60 or neurites.owner[neurites.heaviest((centre - 20 * towards)[None], 1)[0, 0]] != neurite:
            continue  # a third neurite lies between the two
        n = int(rng.integers(150, 420))
        offsets = rng.normal(0, 140, (n, 3))
        offsets -= (offsets @ towards)[:, None] * towards
        vesicles = centre + offsets - (35 + np.abs(rng.normal(0, 150, n)))[:, None] * towards
        synapses.append(Synapse(centre, towards, float(rng.uniform(110, 200)), neurite, vesicles))
    return synapses


def _soft_min(a: Array, b: Array, softness: float) -> Array:
    """The smaller of two, its corner rounded over about `softness`."""
    h = np.clip(0.5 + 0.5 * (b - a) / softness, 0, 1)
    return np.asarray(b + (a - b) * h - softness * h * (1 - h), np.float64)
