"""A plain installation has no SciPy: the NumPy kernel counts the same without it."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.fft
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from mhfd.contract import FocusParams
from mhfd.kernel import fourier, regions
from mhfd.kernel.fft import ByNumpy
from mhfd.kernel.fourier import Arrays
from phantoms import as_uint8, texture

ROOT = Path(__file__).parents[3]
PLAIN = Arrays(np, ByNumpy, strip_rows=128)
HIDE = """
import sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("scipy", "numba"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Hidden())
"""


def run_without(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run Python without SciPy and numba."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(str(ROOT / each) for each in ("functions", "client"))}
    return subprocess.run(
        [sys.executable, "-c", HIDE + code, *map(str, arguments)], capture_output=True, text=True, env=environment
    )


@pytest.mark.parametrize("norm", [None, "forward", "ortho"])
@pytest.mark.parametrize("shape", [(3, 64, 64), (1, 61, 50), (2, 1, 7)])
def test_transforms_are_those_of_scipy(shape: tuple[int, ...], norm: str | None) -> None:
    images = np.random.default_rng(2).random(shape, dtype=np.float32)
    there, expected = ByNumpy.rfft2(images, norm=norm), scipy.fft.rfft2(images, norm=norm)
    assert there.dtype == expected.dtype == np.complex64
    np.testing.assert_allclose(there, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    back = ByNumpy.irfft2(there, s=shape[-2:], norm=norm, overwrite_x=True)
    assert back.dtype == np.float32
    np.testing.assert_allclose(back, images, atol=1e-6)


@pytest.mark.parametrize("params", [FocusParams(), FocusParams(mode="paper"), FocusParams(polarity="both")])
@pytest.mark.parametrize("shape", [(300, 320), (257, 129)])
def test_the_kernel_counts_the_same(shape: tuple[int, int], params: FocusParams) -> None:
    rng = np.random.default_rng(1)
    tile = as_uint8(0.5 + 0.15 * texture(shape, rng) + rng.normal(0, 0.01, shape))
    ours, features = fourier.measure(tile, params, PLAIN)
    theirs, expected = fourier.measure(tile, params)
    assert not PLAIN.has_cosines and fourier.NUMPY.has_cosines
    assert sum(ours.features_by_scale) > 100
    assert ours.features_by_scale == theirs.features_by_scale
    assert ours.focus_score == pytest.approx(theirs.focus_score, abs=1e-6)
    np.testing.assert_array_equal(features.rows, expected.rows)


def test_regions_that_are_large_in_one_direction_only_do_not_count() -> None:
    mask = np.zeros((12, 12), dtype=bool)
    mask[1, :] = True  # one row, wide
    mask[4:7, 2:5] = True  # 3 x 3
    mask[7, 5] = True  # touches its corner
    mask[10:, 9:] = True  # 2 x 3
    for count in (regions.large, regions.large_by_numpy):
        assert count(mask, 3, 3) == 10
        assert count(mask, 2, 3) == 16
        assert count(mask, 1, 1) == mask.sum()
        assert count(np.zeros_like(mask), 1, 1) == 0


@given(arrays.arrays(bool, st.tuples(st.integers(1, 14), st.integers(1, 14))), st.integers(1, 5), st.integers(1, 5))
def test_regions_are_those_of_scipy(mask: Any, high: int, wide: int) -> None:
    assert regions.large_by_numpy(mask, high, wide) == regions.large(mask, high, wide)


def test_a_winding_region_is_one() -> None:
    """A spiral whose label has to come all the way round."""
    mask = np.zeros((41, 41), dtype=bool)
    y = x = 20
    for turn in range(1, 20):
        for dy, dx, steps in ((0, 1, 2 * turn - 1), (1, 0, 2 * turn - 1), (0, -1, 2 * turn), (-1, 0, 2 * turn)):
            for _ in range(steps):
                mask[y, x] = True
                y, x = min(y + dy, 40), min(x + dx, 40)
    assert regions.large_by_numpy(mask, 30, 30) == regions.large(mask, 30, 30) > 0


def test_a_plain_installation_scores_and_says_what_else_it_needs(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    tile = as_uint8(0.5 + 0.15 * texture((256, 256), rng) + rng.normal(0, 0.01, (256, 256)))
    tifffile.imwrite(tmp_path / "a.tif", tile)
    main = "from mhfd_client.cli import main; main(sys.argv[1:])"
    scored = run_without(main, "score", tmp_path / "a.tif", "--json")
    assert scored.returncode == 0, scored.stderr
    (row,) = json.loads(scored.stdout)
    assert row["features"] == sum(fourier.measure(tile, FocusParams())[0].features_by_scale)
    for command in ("simulate", "demo"):
        refused = run_without(main, command, tmp_path / "run") if command == "simulate" else run_without(main, command)
        assert refused.returncode == 78
        assert f"mhfd {command} needs scipy" in refused.stderr and "[demo]" in refused.stderr


def test_only_what_measures_or_simulates_imports_scipy_at_once() -> None:
    found = set()
    for package in (ROOT / "functions" / "mhfd", ROOT / "client" / "mhfd_client"):
        for path in package.rglob("*.py"):
            names = [
                alias.name if isinstance(node, ast.Import) else node.module or ""
                for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
                if isinstance(node, ast.Import | ast.ImportFrom)
                for alias in node.names
            ]
            if any(name.partition(".")[0] == "scipy" for name in names):
                found.add(path.relative_to(package).as_posix())
    assert {each for each in found if each.split("/")[0] not in ("simulate", "bench")} == {"kernel/reference.py"}
