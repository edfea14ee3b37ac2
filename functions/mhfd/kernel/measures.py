"""The numbers a kernel returns, and the constants and formulas that all kernels share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mhfd.contract import FocusParams
from mhfd.kernel import regions
from mhfd.spectrum import Spectrum

TRUNCATE = 6.0
"""Gaussians are sampled at whole pixels, cut at TRUNCATE standard deviations, and sum to one."""

MIN_NOISE = 1e-3
"""Least noise assumed of any tile (fraction of its range): about the rounding of 8 bits."""

MIN_RESPONSE = 1e-6
"""M above this is > 0: float32 transforms leave rounding of about 1e-7 on flat ground."""

MIN_STEP = 1e-3
"""Difference in grey between the darker and the lighter pixels that is needed to fit a slope of the noise."""

MEAN_MARGIN = MIN_STEP / 3
"""Pixels up to this far above the mean count as darker: rounding must not decide for pixels at the mean."""

LINE_LAGS = (1, 2, 8, 16)
"""Lags in pixels of the autocovariance along rows and columns: Vollath's two, and two beyond fine structure."""

TEXTURE_ANISOTROPY = 0.5
"""Part of the texture that may differ between rows and columns before it counts as row noise."""

CONTENT_BLOCK_PX = 16
"""Side of the blocks whose means are compared to find content."""

CONTENT_SIGMAS = 4.0
CONTENT_CONTRAST = 0.02
LOSSY_CONTRAST = 0.08
"""A block is content if it differs from its neighbours by so many deviations of the noise, and by so much of the tile's
range: in clean tiles the noise alone is too small, since resin has faint streaks. JPEG takes the fine noise away, by
which the noise is known, and leaves what is as coarse as a block."""

CONTENT_BLOCKS = 5
"""Content is at least so many blocks high and wide: a scale bar, a line of text and a bright streak are not."""

ANISOTROPY_SIGMAS = 5.0
"""F4 must exceed this many of its standard deviations on white noise before its direction counts."""

FEATURES_PER_MPX_HALF = 100.0
"""At this density of features the focus score reaches half of its sharpness: resin stays near zero."""

STRUCTURE_POWER = 0.6
"""Of the variance of structure that the focus score is divided by. 1/2 makes it linear in contrast; 1 tells synthetic
blur best, and gets the order of real focal series wrong."""


@dataclass(frozen=True)
class FeatureList:
    """Where the features are, for overlays; arrays of equal length, in raster order.

    Attributes
    ----------
    rows, cols : (n,) integer pixel positions
    scale_index : (n,) index i of the scale where the response is largest
    scales_px : (n,) that scale t_i in pixels
    strengths : (n,) response M, as a fraction of the tile's range
    """

    rows: NDArray[np.int64]
    cols: NDArray[np.int64]
    scale_index: NDArray[np.int64]
    scales_px: NDArray[np.float64]
    strengths: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def radii_px(self) -> NDArray[np.float64]:
        """(n,) radius of the disc that answers most strongly at each feature's scale."""
        return math.sqrt(2) * self.scales_px

    def by_scale(self, n_scales: int) -> list[int]:
        """Number of features at each scale."""
        return [int(count) for count in np.bincount(self.scale_index, minlength=n_scales)]

    def __repr__(self) -> str:
        return f"FeatureList({len(self)} features)"


@dataclass(frozen=True)
class NoiseModel:
    """Noise whose variance is affine in the local grey level, as shot noise is.

    `variance` applies at the tile's mean, `grey`; `slope` is its rise per unit of local mean; all on the
    normalised tile.
    """

    variance: float
    slope: float
    grey: float

    @property
    def sigma(self) -> float:
        """Root of the mean variance over the tile: the `noise` of the result."""
        return math.sqrt(self.variance)

    def at(self, grey: NDArray[Any]) -> NDArray[Any]:
        """Standard deviation where the local mean is `grey`; same shape."""
        variance = np.maximum(self.variance + self.slope * (grey - self.grey), self.variance / 4)
        return np.asarray(np.sqrt(np.maximum(variance, MIN_NOISE**2)))


@dataclass(frozen=True)
class Shade:
    """Noise of the darker or the lighter pixels of a tile; a `NoiseModel` is fitted to both."""

    share: float  # of the tile's pixels
    grey: float  # their mean
    variance: float  # of the noise


@dataclass(frozen=True)
class Covariances:
    """Autocovariances of the normalised tile; axes: down the columns, along the rows, two diagonals."""

    down: tuple[float, float, float, float]  # lags LINE_LAGS
    along: tuple[float, float, float, float]
    falling: tuple[float, float]  # lags (1, 1), (2, 2)
    rising: tuple[float, float]  # lags (1, -1), (2, -2)

    @classmethod
    def of(cls, found: Sequence[float]) -> Covariances:
        """From twelve numbers in the order of the attributes."""
        a, b, c, d, e, f, g, h, *diagonals = found
        falling, rising = (diagonals[0], diagonals[1]), (diagonals[2], diagonals[3])
        return cls(down=(a, b, c, d), along=(e, f, g, h), falling=falling, rising=rising)

    @property
    def vollath_f4(self) -> float:
        """Lag-1 minus lag-2 autocovariance, both axes added (Vollath 1987, F4)."""
        return (self.down[0] - self.down[1]) + (self.along[0] - self.along[1])

    @property
    def anisotropy(self) -> float | None:
        """Length of the two-fold directional ratio of F4, 0 to 1; None where F4 is not positive.

        Two axis pairs (0/90 and 45/135 degrees) make it see every direction of blur.
        """

        def ratio(a: float, b: float) -> float:
            return max(-1.0, min(1.0, (a - b) / (a + b))) if a + b > 0 else 0.0

        if self.vollath_f4 <= 0:
            return None
        straight = ratio(self.down[0] - self.down[1], self.along[0] - self.along[1])
        diagonal = ratio(self.falling[0] - self.falling[1], self.rising[0] - self.rising[1])
        return min(1.0, math.hypot(straight, diagonal))

    @property
    def blurrier_f4(self) -> float:
        """F4 of the axis where it is less, twice: as much as `vollath_f4` where both are alike.

        Noise that a scan correlates along its rows, and stripes down the columns, add to one axis only.
        """
        return 2 * min(self.down[0] - self.down[1], self.along[0] - self.along[1])

    @property
    def structure(self) -> float:
        """Variance of structure between 2 and 8 px: free of white noise and of slow shading."""
        return max(0.0, (self.down[1] - self.down[2] + self.along[1] - self.along[2]) / 2)


@dataclass(frozen=True)
class Measures:
    """All numbers of one tile; names as in `mhfd.contract.FocusResult`."""

    features_by_scale: tuple[int, ...]
    focus_score: float
    characteristic_scale_px: float | None
    noise: float
    content: float | None
    anisotropy: float | None
    saturated: float
    vollath_f4: float
    spectrum: Spectrum | None = None
    lossy_content: float | None = None  # `content` if the pixels went through JPEG

    @property
    def features(self) -> int:
        return sum(self.features_by_scale)


def gaussian(t: float) -> NDArray[np.float64]:
    """Sampled Gaussian of standard deviation t px, (2 r + 1,) with r = ceil(TRUNCATE t), sum 1."""
    radius = math.ceil(TRUNCATE * t)
    g = np.exp(-0.5 * (np.arange(-radius, radius + 1) / t) ** 2)
    return np.asarray(g / g.sum())


def noise_gains(scales: list[float]) -> NDArray[np.float64]:
    """(n,) standard deviation of D_i for white noise of unit standard deviation (docs/measure.md, step 5).

    Parameters
    ----------
    scales : t_1 .. t_{n+1} in pixels
    """
    t, u = np.array(scales[:-1]), np.array(scales[1:])
    variance = 1 / (4 * np.pi * t**2) + 1 / (4 * np.pi * u**2) - 1 / (np.pi * (t**2 + u**2))
    return np.asarray(t * np.sqrt(variance))


def content_threshold(noise: float, contrast: float = CONTENT_CONTRAST) -> float:
    """Least distance of a content block's mean from its two neighbours' mean, as a fraction of the range."""
    of_noise = noise / CONTENT_BLOCK_PX * math.sqrt(1.5)  # of one mean minus the mean of two
    return max(CONTENT_SIGMAS * of_noise, contrast)


def noise_model(shades: Sequence[Shade], row_factor: float) -> NoiseModel:
    """The line through one or two shades, variances multiplied by `row_factor`."""
    variance = sum(shade.share * shade.variance for shade in shades)
    rise = shades[-1].variance - shades[0].variance
    step = shades[-1].grey - shades[0].grey
    return NoiseModel(
        variance=max(variance * row_factor, MIN_NOISE**2),
        slope=max(0.0, rise / step) * row_factor if step >= MIN_STEP else 0.0,
        grey=sum(shade.share * shade.grey for shade in shades),
    )


def row_noise_factor(corner: float, down: float, along: float) -> float:
    """Ratio of the variance of slow noise to that of the finest noise, at least 1.

    A scan's limited bandwidth correlates the noise along the rows, so differences of neighbours
    in a row underestimate it. Tissue has no preferred axis, hence what row-to-row differences
    show beyond column-to-column differences is noise; the subtracted share allows for texture
    that happens to be directional.

    Parameters
    ----------
    corner : variance from fourth differences along both axes
    down, along : variance from fourth differences along one axis, smoothed across it
    """
    corner = max(corner, MIN_NOISE**2)
    texture = max(0.0, along - corner)
    return 1.0 + max(0.0, down - along - TEXTURE_ANISOTROPY * texture) / corner


def focus_score(covariances: Covariances, noise: float, features_per_mpx: float) -> float:
    """Sharpness of the fine structure, weighted by the evidence that there is structure at all.

    `100 F / (structure + noise^2 / 10 + 1e-4)^0.6 * n / (n + 100)`, F twice the lesser F4 of the two axes, n in
    features per 10^6 px. F4 is quadratic in contrast; dividing by the structure's variance to the power 0.6 takes
    contrast, dose, shading and empty parts of the tile out of it.
    Chosen on tiles of known focus and on a real focal series; see docs/accuracy.md.
    """
    sharpness = max(0.0, covariances.blurrier_f4)
    spread = math.pow(covariances.structure + 0.1 * noise**2 + 1e-4, STRUCTURE_POWER)
    return 100 * sharpness / spread * features_per_mpx / (features_per_mpx + FEATURES_PER_MPX_HALF)


def block_means(image: Any) -> Any:
    """Means of the whole 16 x 16 px blocks of a normalised tile, (rows // 16, cols // 16) float64, on its device."""
    side = CONTENT_BLOCK_PX
    rows, cols = image.shape[0] // side, image.shape[1] // side
    blocks = image[: rows * side, : cols * side].reshape(rows, side, cols, side)
    return blocks.sum(axis=(1, 3), dtype=np.float64) / side**2


def block_differences(blocks: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """How far blocks are from the mean of their neighbours left and right, and of those above and below; 0 at edges.

    What whole rows or columns have in common is taken off first. None for tiles below 48 x 48 px.

    Parameters
    ----------
    blocks : `block_means` of the normalised tile, as are the results in shape
    """
    if min(blocks.shape) < 3:
        return None
    plane = blocks - _median(blocks, axis=1)
    plane = plane - _median(plane, axis=0)
    along, down = np.zeros(plane.shape), np.zeros(plane.shape)
    along[:, 1:-1] = np.abs(plane[:, 1:-1] - (plane[:, :-2] + plane[:, 2:]) / 2)
    down[1:-1] = np.abs(plane[1:-1] - (plane[:-2] + plane[2:]) / 2)
    return along, down


def _median(blocks: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """`np.median`, which takes ten times as long for a few thousand numbers; the axis stays."""
    ordered, half = np.sort(blocks, axis=axis), blocks.shape[axis] // 2
    middle = [half] if blocks.shape[axis] % 2 else [half - 1, half]
    return np.asarray(ordered.take(middle, axis=axis).mean(axis=axis, keepdims=True))


def content(
    differences: tuple[NDArray[np.float64], NDArray[np.float64]] | None,
    noise: float,
    contrast: float = CONTENT_CONTRAST,
) -> float | None:
    """Fraction of 16 px blocks with structure in or beside them; None without differences.

    Differences beyond the noise in both directions are structure. Curtains and lines differ in one direction only.
    Defocus leaves block means alone, so a blurred tile keeps its content, and a tile that is resin but for one corner
    the share of that corner.

    Parameters
    ----------
    differences : `block_differences` of the normalised tile
    noise : its standard deviation
    contrast : least difference
    """
    if differences is None:
        return None
    along, down = differences
    least = content_threshold(noise, contrast)
    structured = _widened(along > least) & _widened(down > least)
    high, wide = (min(CONTENT_BLOCKS, length) for length in structured.shape)
    return regions.large(structured, high, wide) / structured.size


def _widened(chosen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """True for a chosen block and for those beside it."""
    framed = np.zeros((chosen.shape[0] + 2, chosen.shape[1] + 2), np.bool_)  # `np.pad` takes longer than all else
    framed[1:-1, 1:-1] = chosen
    wide = framed[:, :-2] | framed[:, 1:-1] | framed[:, 2:]
    return np.asarray(wide[:-2] | wide[1:-1] | wide[2:])


def summarise(
    size: int,
    features_by_scale: Sequence[int],
    noise: NoiseModel,
    covariances: Covariances,
    blocks: NDArray[np.float64],
    saturated: float,
    params: FocusParams,
    spectrum: Spectrum | None = None,
) -> Measures:
    """All numbers of one tile of `size` pixels from what a kernel found in it."""
    chance = 2 * noise.sigma**2 / math.sqrt(size)  # standard deviation of F4 on white noise
    directional = covariances.vollath_f4 > ANISOTROPY_SIGMAS * chance
    features = sum(features_by_scale)
    differences = block_differences(blocks)
    scale_sum = sum(count * t for count, t in zip(features_by_scale, params.scales, strict=False))
    return Measures(
        features_by_scale=tuple(features_by_scale),
        focus_score=focus_score(covariances, noise.sigma, features / size * 1e6),
        characteristic_scale_px=scale_sum / features if features else None,
        noise=noise.sigma,
        content=content(differences, noise.sigma),
        lossy_content=content(differences, noise.sigma, LOSSY_CONTRAST),
        anisotropy=covariances.anisotropy if directional else None,
        saturated=saturated,
        vollath_f4=covariances.vollath_f4,
        spectrum=spectrum,
    )
