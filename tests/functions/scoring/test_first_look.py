"""A tile that passes the first look is one that no closer look has anything to say about."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mhfd.backends import select_backend
from mhfd.contract import Acquisition, FocusParams, FocusResult
from mhfd.images import Tile
from mhfd.scoring import first_look
from mhfd.scoring.tile import Job, Scorer
from phantoms import as_uint8, texture

PARAMS = FocusParams(n_scales=2, max_t=3)
DTYPES = ("uint8", "uint16")
SHAPES = ((260, 320), (64, 64), (200, 1024), (100, 1031))

Look = Callable[[Any], float]


@pytest.fixture(scope="module")
def compiled() -> Look:
    pytest.importorskip("numba")
    return first_look._compiled()


@pytest.fixture
def row(compiled: Look, monkeypatch: pytest.MonkeyPatch) -> Callable[..., FocusResult]:
    """Scores a tile with the first look or without, and takes out what differs from one time to the next."""

    def scored(pixels: Any, *, looked: bool, **of_tile: Any) -> FocusResult:
        monkeypatch.setattr(first_look._COMPILED, "made", compiled if looked else None)
        tile = Tile(path="a.tif", pixels=pixels, pixel_size_nm=None, **{"acquisition": Acquisition(), **of_tile})
        scorer = Scorer(PARAMS, select_backend("numpy"))
        found = scorer.measure(scorer.load(Job(lambda: tile)))[0].to_dict()
        del found["timing_ms"]
        return FocusResult.from_dict({**found, "timing_ms": None})

    return scored


def tissue(shape: tuple[int, int] = (260, 320), dtype: str = "uint8") -> Any:
    return (0.6 * as_uint8(0.5 + 0.2 * texture(shape, np.random.default_rng(5)))).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_tissue_passes_and_has_the_same_row(
    dtype: str, shape: tuple[int, int], compiled: Look, row: Callable[..., FocusResult]
) -> None:
    tile = tissue(shape, dtype)
    assert np.isfinite(compiled(tile))
    assert row(tile, looked=True) == row(tile, looked=False)


def _repeated(tile: Any) -> None:
    tile[70] = tile[31]


def _streaks(tile: Any) -> None:
    for row in (40, 120, 200):
        tile[row : row + 2, 30:290] = 250


def _broken_off(tile: Any) -> None:
    tile[240:] = 7


def _never_begun(tile: Any) -> None:
    tile[:20] = 7


def _bordered(tile: Any) -> None:
    tile[:, :9] = 0
    tile[:9] = 0


def _on_the_right(tile: Any) -> None:
    tile[:, -9:] = 255


def _with_a_bar(tile: Any) -> None:
    tile[-40:] = 0
    tile[-30:-10, 20:300:6] = 255


def _jpeg(tile: Any) -> None:
    tile += 40 * np.random.default_rng(4).integers(0, 2, (33, 40), tile.dtype).repeat(8, 0).repeat(8, 1)[:260]


FAULTS = (_repeated, _streaks, _broken_off, _never_begun, _bordered, _on_the_right, _with_a_bar, _jpeg)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_odd_does_not_pass_and_is_told_as_ever(
    dtype: str, fault: Callable[[Any], None], compiled: Look, row: Callable[..., FocusResult]
) -> None:
    tile = tissue(dtype=dtype)
    fault(tile)
    assert np.isnan(compiled(tile))
    with_look = row(tile, looked=True)
    assert with_look == row(tile, looked=False)
    assert with_look.remarks or with_look.picture


def test_what_the_file_tells_is_heeded(compiled: Look, row: Callable[..., FocusResult]) -> None:
    tile = tissue()
    for told in ({"acquisition": Acquisition(lossy=True)}, {"picture": (0, 0, 200, 320)}):
        with_look = row(tile, looked=True, **told)
        assert with_look == row(tile, looked=False, **told)
        assert with_look.remarks


@pytest.mark.parametrize("left_out", [{"exclude_top_px": 9}, {"exclude_bottom_px": 9}, {"exclude_bottom_px": 0}])
def test_rows_that_the_user_leaves_out_are_not_asked(
    left_out: dict[str, Any], compiled: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(first_look._COMPILED, "made", compiled)
    tile = Tile(path="a.tif", pixels=tissue(), pixel_size_nm=None, acquisition=Acquisition())
    assert first_look.grey_if_plain(tile, PARAMS) is not None
    assert first_look.grey_if_plain(tile, replace(PARAMS, **left_out)) is None


@pytest.mark.parametrize("dtype", DTYPES)
def test_noise_passes_though_its_stretches_vary_by_chance(dtype: str, compiled: Look) -> None:
    noise = np.random.default_rng(6).integers(0, np.iinfo(dtype).max, (1024, 1024), dtype)
    assert np.isfinite(compiled(noise))


def test_a_part_of_a_page_is_looked_at_as_a_copy_of_it(compiled: Look) -> None:
    part = tissue((300, 1100))[10:, 3:1027]
    assert compiled(part) == compiled(part.copy())
