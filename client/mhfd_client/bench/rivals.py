"""Other blob finders at many scales, set to do what mhfd does as nearly as they can."""

from __future__ import annotations

import math
from contextlib import nullcontext
from typing import Any
from unittest import mock

import numpy as np
from numpy.typing import NDArray

from mhfd.contract import FocusParams
from mhfd.kernel.measures import MIN_RESPONSE
from mhfd_client.bench.paper import limits

BLOB_DOG_NOTE = (
    "as many scales over the same range, but in equal ratios; float32; detection only: its pruning of overlapping "
    "blobs, which takes far longer still, is taken out; threshold 0.05, maxima over scale too"
)
BLOB_DOG_THRESHOLD = 0.05  # of the grey range; detection takes as long at any


def blob_dog(blob: Any, xp: Any, tile: Any, params: FocusParams, *, pruned: bool = False) -> int:
    """Blobs that scikit-image or cuCIM finds before it prunes them, or after.

    Parameters
    ----------
    blob : the module `skimage.feature.blob`, or cuCIM's
    xp : NumPy or CuPy, of which `tile` is an array
    tile : (rows, cols) integers, or floats in [0, 1]
    """
    image = tile.astype(xp.float32)
    image = 1 - image / np.iinfo(tile.dtype).max if tile.dtype.kind in "iu" else 1 - image  # it looks for bright blobs
    # A hair above the root, since the number of steps is rounded down.
    ratio = (params.max_t / params.min_t) ** (1 / (params.n_scales - 0.001))
    as_they_are = mock.patch.object(blob, "_prune_blobs", lambda blobs, *_, **__: blobs)
    with nullcontext() if pruned else as_they_are:
        blobs = blob.blob_dog(
            image,
            min_sigma=params.min_t,
            max_sigma=params.max_t,
            sigma_ratio=ratio,
            threshold=BLOB_DOG_THRESHOLD,
            overlap=0.5 if pruned else 1,  # 0.5: as by default
            exclude_border=False,
        )
    return len(blobs)


def opencv_cascade(cv2: Any, tile: NDArray[Any], params: FocusParams) -> int:
    """The same count without noise statistics: each Gaussian from the one before, in OpenCV's own functions.

    Parameters
    ----------
    cv2 : the module; it uses all cores
    tile : (rows, cols)
    """
    low, high = limits(np, tile, params.saturate)
    smooth = np.clip((tile.astype(np.float32) - np.float32(low)) / np.float32((high - low) or 1.0), 0, 1)
    strongest = np.full(tile.shape, -np.inf, np.float32)
    scale = np.zeros(tile.shape, np.uint8)
    response, louder = np.empty_like(strongest), np.empty_like(scale)
    reached = 0.0
    for i, t in enumerate(params.scales):
        step = math.sqrt(t * t - reached * reached)
        smoother = cv2.GaussianBlur(smooth, (0, 0), step, borderType=cv2.BORDER_REFLECT)  # half-sample symmetric
        if i:
            cv2.subtract(smoother, smooth, dst=response)
            cv2.multiply(response, reached, dst=response)
            cv2.compare(response, strongest, cv2.CMP_GT, dst=louder)
            cv2.max(scale, cv2.min(louder, float(i - 1)), dst=scale)  # i only grows
            cv2.max(response, strongest, dst=strongest)
        smooth, reached = smoother, t
    peaks = cv2.compare(strongest, cv2.dilate(strongest, np.ones((3, 3), np.uint8)), cv2.CMP_GE)
    peaks &= cv2.compare(strongest, MIN_RESPONSE, cv2.CMP_GT)
    return int(cv2.countNonZero(peaks))
