"""Every fast kernel computes what the reference computes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from agreement import assert_agree, assert_same_companions
from mhfd.contract import FocusParams
from mhfd.images import read_tile
from mhfd.kernel import fourier, reference
from phantoms import EmTile, Kernel, as_uint8, blurred, discs, row_correlated, texture

DEFAULT = FocusParams()


# --- Pictures ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "row", "col"),
    [
        ("vnc-ssTEM/03.tif", 300, 500),
        ("sem-focus-series/series_0_def-13324_astx-466_asty219_base.png", 200, 100),
        ("sbfsem-hela/ROI_6005_4739_81_z0062.tif", 900, 900),
    ],
    ids=["ssTEM", "SEM", "SBF-SEM"],
)
@pytest.mark.parametrize("mode", ["robust", "paper"])
def test_real_tiles(fast: Kernel, em_tile: EmTile, file: str, row: int, col: int, mode: Any) -> None:
    assert_agree(fast, read_tile(em_tile(file)).pixels[row : row + 300, col : col + 260], FocusParams(mode=mode))


def tissue(shape: tuple[int, int], seed: int = 1) -> NDArray[np.float64]:
    """Texture and noise, of grey levels about 0.5."""
    rng = np.random.default_rng(seed)
    return 0.5 + 0.12 * blurred(texture(shape, rng), 0.7) + rng.normal(0, 0.02, shape)


PICTURES: dict[str, Callable[[np.random.Generator], NDArray[Any]]] = {
    "white noise": lambda rng: rng.standard_normal((150, 170)),
    "shot noise": lambda rng: rng.poisson(4, (150, 170)).astype(np.uint8),
    "row-correlated noise": lambda rng: row_correlated(rng.standard_normal((150, 170))),
    "flat": lambda _: np.full((64, 80), 3.5, np.float32),
    "one pixel differs": lambda _: np.eye(1, 80 * 64, 2345).reshape(64, 80),
    "discs without noise": lambda _: discs((120, 130), [(30, 30), (80, 41.3), (60.5, 100)], 6),
    "saturated": lambda rng: (texture((120, 130), rng) > 0.4).astype(np.uint8) * np.uint8(255),
    "half saturated": lambda rng: np.clip(150 * texture((120, 130), rng) + 128, 0, 255).astype(np.uint8),
    "chessboard": lambda _: np.indices((60, 64)).sum(axis=0).astype(np.uint8) % 2,
    "of equal local mean everywhere": lambda rng: np.tile(rng.integers(0, 200, (5, 5), np.uint8), (13, 12)),
    "one row": lambda rng: rng.standard_normal((1, 300)),
    "one column": lambda rng: rng.standard_normal((300, 1)),
    "narrower than the widest Gaussian": lambda rng: rng.standard_normal((13, 200)),
    "odd": lambda _: tissue((101, 143)),
    "prime": lambda _: tissue((127, 211)),
    "uint16": lambda _: (tissue((120, 130)) * 60000).astype(np.uint16),
    "uint16 of few levels": lambda _: (tissue((120, 130)) * 40 + 3000).astype(np.uint16),
    "int16": lambda _: (tissue((120, 130)) * 20000 - 15000).astype(np.int16),
    "int8": lambda _: (tissue((120, 130)) * 200 - 100).astype(np.int8),
    "float32 on an offset of 1e6": lambda _: (tissue((120, 130)) * 1000 + 1e6).astype(np.float32),
    "float64 on an offset of 1e6": lambda _: tissue((120, 130)) + 1e6,
    "tiny numbers": lambda _: tissue((120, 130)) * 1e-30,
    "large numbers": lambda _: (tissue((120, 130)) * 1e30).astype(np.float32),
}


@pytest.mark.parametrize("picture", PICTURES)
def test_pictures(fast: Kernel, picture: str, rng: np.random.Generator) -> None:
    assert_agree(fast, PICTURES[picture](rng))


# --- Parameters -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "params",
    [
        FocusParams(polarity="bright"),
        FocusParams(polarity="both"),
        FocusParams(n_scales=1),
        FocusParams(n_scales=3),
        FocusParams(n_scales=40),
        FocusParams(min_t=0.7),
        FocusParams(min_t=0.2, max_t=2),
        FocusParams(max_t=150),
        FocusParams(min_t=16, max_t=17),
        FocusParams(saturate=0),
        FocusParams(saturate=0.2),
        FocusParams(k_noise=3),
        FocusParams(k_noise=0),
        FocusParams(mode="paper"),
        FocusParams(mode="paper", polarity="both", max_t=80),
    ],
    ids=lambda params: ",".join(f"{k}={v}" for k, v in params.to_dict().items() if v != DEFAULT.to_dict()[k]),
)
def test_parameters(fast: Kernel, params: FocusParams) -> None:
    assert_agree(fast, as_uint8(tissue((97, 120))), params)


def test_without_a_threshold_rounding_is_not_counted(fast: Kernel) -> None:
    assert_agree(fast, discs((64, 64), [(32, 32)], 5), FocusParams(k_noise=0, max_t=3))


# --- Any size, any type -----------------------------------------------------------------------------------------


GREY_TYPES = st.sampled_from([np.uint8, np.uint16, np.int16, np.float32, np.float64])


def grey_noise(rows: int, cols: int, dtype: Any, seed: int) -> NDArray[Any]:
    grey = np.random.default_rng(seed).normal(0.5, 0.1, (rows, cols))
    top = 1 if np.dtype(dtype).kind == "f" else np.iinfo(dtype).max
    return np.asarray((np.clip(grey, 0, 1) * top).astype(dtype))


@settings(max_examples=40, deadline=None, database=None)
@given(
    rows=st.integers(1, 70),
    cols=st.integers(1, 70),
    dtype=GREY_TYPES,
    n_scales=st.integers(1, 8),
    polarity=st.sampled_from(["dark", "bright", "both"]),
    seed=st.integers(0, 2**32 - 1),
)
def test_tiles_of_any_size_and_type(
    fast: Kernel, rows: int, cols: int, dtype: Any, n_scales: int, polarity: Any, seed: int
) -> None:
    # Across a tile narrower than the Gaussian the response is constant but for rounding, and so are its maxima.
    max_t = min(17.0, max(1.5, min(rows, cols)))
    params = FocusParams(n_scales=n_scales, max_t=max_t, polarity=polarity)
    assert_agree(fast, grey_noise(rows, cols, dtype, seed), params)


@settings(max_examples=40, deadline=None, database=None)
@given(rows=st.integers(1, 70), cols=st.integers(1, 70), dtype=GREY_TYPES, seed=st.integers(0, 2**32 - 1))
def test_companions_of_any_size_and_type(fast: Kernel, rows: int, cols: int, dtype: Any, seed: int) -> None:
    tile, params = grey_noise(rows, cols, dtype, seed), FocusParams(n_scales=1)
    assert_same_companions(fast(tile, params)[0], reference.measure(tile, params)[0], tile.size)


def test_the_gaussians_of_both_have_the_width_they_say() -> None:
    spot = np.zeros((61, 61))
    spot[30, 30] = 1
    params = FocusParams(n_scales=1, min_t=2, max_t=5, polarity="bright")
    expected = 2 * (1 / (2 * math.pi * 2**2) - 1 / (2 * math.pi * 5**2))
    slow, _ = reference.maximum_over_scale(reference.dog_stack(spot, params), params)
    quick, _ = fourier.maximum_over_scale(spot.astype(np.float32), params)
    assert [slow[30, 30], quick[30, 30]] == pytest.approx([expected, expected], rel=1e-4)
