"""The microscope: point-spread function, contrast, shot noise, detector, 8 bits."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage, special

from mhfd_client.simulate.fields import Array
from mhfd_client.simulate.plan import MARGIN_PX, Exposure, RunPlan, TileTruth


def expose(scene: Array, exposure: Exposure, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Take a picture of `scene`.

    Parameters
    ----------
    scene : (rows + 2 MARGIN_PX, cols + 2 MARGIN_PX) in [0, 1], 1 is white
    exposure : its blur, dose, contrast and brightness
    rng : of the noise

    Returns
    -------
    (rows, cols) uint8
    """
    truth = exposure.truth
    image = _spread(scene, exposure.probe_px, exposure.spread_px)[MARGIN_PX:-MARGIN_PX, MARGIN_PX:-MARGIN_PX]
    image = np.clip(0.5 + truth.contrast * (image - 0.5) + truth.brightness, 0.02, 1.0)
    # Machines differ in the last digit of exp or sin; rounding keeps that out of the file.
    image = np.rint(image * 1024) / 1024
    noise = rng.poisson(image * 2 * truth.dose) / (2 * truth.dose) - image
    noise = ndimage.convolve1d(noise, (0.05, 0.9, 0.05), axis=1)  # the detector's bandwidth, along the scan
    noise += rng.normal(0, 0.003, (image.shape[0], 1)) + rng.normal(0, 0.006, image.shape)
    levels: Array = np.clip(np.rint((image + noise) * 255), 0, 255)
    return levels.astype(np.uint8)


def resin(plan: RunPlan, truth: TileTruth) -> Array:
    """Bare resin: light, with a slow shading and nothing to focus on; of the shape that `expose` takes."""
    slope = plan.rng("resin", truth.section, truth.row, truth.col).uniform(-0.03, 0.03, 2)
    ramp = np.linspace(-1, 1, plan.scene_px)
    return np.asarray(0.78 + slope[0] * ramp[:, None] + slope[1] * ramp[None, :], np.float64)


def _spread(scene: Array, probe_px: float, spread_px: tuple[float, float]) -> Array:
    """Convolve with a Gaussian probe and an elliptic disc of the given standard deviations."""
    v, u = fft.fftfreq(scene.shape[0])[:, None], fft.rfftfreq(scene.shape[1])[None, :]
    transfer = np.exp(-2 * (np.pi * probe_px) ** 2 * (u**2 + v**2))
    # A disc of radius R has standard deviation R / 2 along each axis.
    phase = np.maximum(4 * np.pi * np.hypot(spread_px[0] * v, spread_px[1] * u), 1e-9)
    transfer *= 2 * special.j1(phase) / phase
    return np.asarray(fft.irfft2(fft.rfft2(scene) * transfer, s=scene.shape), np.float64)
