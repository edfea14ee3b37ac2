"""Checks that a fast kernel agrees with the reference, and the kernels that must."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from host_device import HostDevice
from mhfd.contract import FocusParams
from mhfd.kernel import compiled, fourier, reference
from mhfd.kernel.fused import Fused
from mhfd.kernel.measures import Measures
from mhfd.spectrum import CELLS, Spectrum
from phantoms import Kernel

DEFAULT = FocusParams()

FAST_KERNELS: dict[str, Kernel] = {
    "fourier": fourier.measure,
    "fourier as on a device": partial(fourier.measure, arrays=fourier.WHOLE_PLANES),
    "compiled": compiled.measure,
    "fused": Fused(HostDevice()).measure,
}


def assert_agree(kernel: Kernel, tile: NDArray[Any], params: FocusParams = DEFAULT) -> None:
    """Counts within 0.1 % or 2, places of 99.9 % or all but 2, spectra within 1e-3, every other number within 1e-4."""
    fast, fast_features = kernel(tile, params)
    exact, exact_features = reference.measure(tile, params)
    assert_same_companions(fast, exact, tile.size)
    assert_same_spectrum(fast.spectrum, exact.spectrum, tile, params)

    spare = max(2.0, 0.001 * exact.features)
    assert abs(fast.features - exact.features) <= spare
    fast_at, exact_at = (
        {place: i for i, place in enumerate(zip(f.rows, f.cols, strict=True))} for f in (fast_features, exact_features)
    )
    shared = [(fast_at[place], exact_at[place]) for place in fast_at.keys() & exact_at.keys()]
    assert len(shared) >= exact.features - spare
    here, there = np.array(shared, dtype=int).reshape(-1, 2).T
    assert np.allclose(fast_features.strengths[here], exact_features.strengths[there], rtol=1e-4, atol=2e-6)
    assert np.count_nonzero(fast_features.scale_index[here] != exact_features.scale_index[there]) <= spare

    # Among few features, one more or less is a step at any precision.
    step = abs(fast.features - exact.features) / max(1, exact.features)
    assert fast.focus_score == pytest.approx(exact.focus_score, rel=1e-4 + step, abs=1e-4)
    if fast.features == exact.features > 0:
        assert fast.characteristic_scale_px == pytest.approx(exact.characteristic_scale_px, rel=1e-3)


def assert_same_companions(fast: Measures, exact: Measures, pixels: int) -> None:
    """The numbers that do not come from the features."""
    # Rounding may take a pixel across the border of dark and light, which in a tiny tile moves the medians.
    assert fast.noise == pytest.approx(exact.noise, rel=1e-4 + 20 / pixels)
    assert fast.content == exact.content
    assert fast.saturated == exact.saturated
    assert fast.vollath_f4 == pytest.approx(exact.vollath_f4, rel=1e-4, abs=1e-7)
    least = max(1e-5, 10 * exact.noise**2 / np.sqrt(pixels))  # of F4, for its direction to be known
    if abs(exact.vollath_f4 - least) > (0.001 + 100 / pixels) * least:  # near `least` the noise decides
        assert (fast.anisotropy is None) == (exact.anisotropy is None)
    if fast.anisotropy is not None and exact.anisotropy is not None and exact.vollath_f4 > least:
        assert fast.anisotropy == pytest.approx(exact.anisotropy, rel=1e-4, abs=1e-3)


def assert_same_spectrum(
    fast: Spectrum | None, exact: Spectrum | None, tile: NDArray[Any], params: FocusParams = DEFAULT
) -> None:
    """Every number within 1e-3, and beyond what float32 resolves beside the strongest frequency.

    Where the slow power of a block is within 1e-3 of what makes it content, rounding may decide: the counts may then
    differ by as many blocks, and numbers are compared only where they do not.
    """
    doubtful = np.zeros((CELLS, CELLS))
    for block in reference.blocks(reference.normalise(tile, params.saturate)[0]):
        doubtful[block.cell] += abs(block.slow - 3 * block.fine) <= 3e-3 * block.fine or 0.5e-9 < block.slow < 2e-9
    if fast is None or exact is None:
        assert doubtful.any() or fast is exact
        return
    assert np.all(np.abs(fast.blocks - exact.blocks) <= doubtful)
    assert_close(fast.slow, exact.slow)
    assert fast.skewness == pytest.approx(exact.skewness, rel=1e-3, abs=1e-3, nan_ok=True)
    same = fast.blocks == exact.blocks
    assert_close(fast.by_cell[same], exact.by_cell[same])
    if same.all():
        assert fast.share == exact.share
        for name in ("by_direction", "along_rows", "along_cols"):
            assert_close(getattr(fast, name), getattr(exact, name), np.nanmax(exact.by_cell))


def assert_close(fast: NDArray[np.float64], exact: NDArray[np.float64], strongest: float | None = None) -> None:
    """Power within 1e-3, unknown where the other is unknown."""
    if np.isfinite(exact).any():
        strongest = np.nanmax(exact) if strongest is None else strongest
        np.testing.assert_allclose(fast, exact, rtol=1e-3, atol=1e-11 * strongest + 1e-13)
    else:
        assert not np.isfinite(fast).any()
