"""What a plot shows is what was measured."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from matplotlib.collections import EllipseCollection
from PIL import Image

import mhfd
from mhfd.contract import FocusResult, Provenance, Verdict
from mhfd.kernel.pixels import thinned
from phantoms import discs

ABOUT = Provenance(mhfd="0.4.0", params_sha256="p", backend="numpy", device="cpu")


def circles(figure: Any) -> EllipseCollection:
    (found,) = [each for axes in figure.axes for each in axes.collections if isinstance(each, EllipseCollection)]
    return found


def said(figure: Any) -> str:
    return str(figure.get_suptitle())


CENTRES = [(30.0, 40.0), (30.0, 90.0), (70.0, 60.0)]
RADIUS = 6.0


@pytest.fixture
def tile() -> np.ndarray[Any, Any]:
    return discs((100, 130), CENTRES, RADIUS)


def test_circles_lie_round_the_discs(tile: np.ndarray[Any, Any]) -> None:
    drawn = circles(mhfd.plot(tile, backend="numpy"))
    where = {(row, col): width for (col, row), width in zip(drawn.get_offsets(), drawn.get_widths(), strict=True)}
    assert set(CENTRES) <= set(where)
    for centre in CENTRES:
        assert where[centre] / 2 == pytest.approx(RADIUS, abs=np.sqrt(2))  # scales are a pixel apart


def test_bars_are_the_features_by_scale(tile: np.ndarray[Any, Any]) -> None:
    row = mhfd.score(tile, backend="numpy")
    bars = [axes.containers[0] for axes in mhfd.plot(tile, backend="numpy").axes if axes.containers]
    assert [bar.get_height() for bar in bars[0]] == list(row.features_by_scale or ())


def test_title_has_the_numbers(tile: np.ndarray[Any, Any]) -> None:
    row = mhfd.score(tile, backend="numpy")
    text = said(mhfd.plot(tile, backend="numpy", pixel_size_nm=4.6))
    assert "array, 100 x 130 px of 4.6 nm" in text
    assert f"focus score {row.focus_score:.2f}" in text


def test_a_result_is_drawn_from_its_page_with_its_verdict(tile: np.ndarray[Any, Any], tmp_path: Path) -> None:
    file = tmp_path / "stack$x$.tif"  # matplotlib takes what is between these for a formula
    grey = (255 * np.stack([np.full_like(tile, 0.5), tile])).astype(np.uint8)
    tifffile.imwrite(file, grey, photometric="minisblack")
    row = mhfd.score_many([file], backend="numpy")[1]
    judged = replace(row, verdict="out_of_focus", blur_px=2.9, blur_nm=13.0)
    figure = mhfd.plot(judged, backend="numpy")
    assert "stack$x$.tif#page=1" in said(figure)
    assert "out of focus, blur 2.9 px (13 nm)" in said(figure)
    assert len(circles(figure).get_offsets()) == row.features > 0  # type: ignore[operator]
    assert Image.open(io.BytesIO(figure._repr_png_())).size == (900, 500)


def test_a_result_without_a_tile_to_draw_says_so(tile: np.ndarray[Any, Any]) -> None:
    with pytest.raises(mhfd.ParamsError, match="plot the array itself"):
        mhfd.plot(mhfd.score(tile, backend="numpy"))
    with pytest.raises(mhfd.TileError, match="no such file"):
        mhfd.plot(FocusResult.failed("gone.tif", "not_found", "gone.tif: no such file", ABOUT))


def test_a_tile_without_content_is_drawn() -> None:
    figure = mhfd.plot(np.full((64, 64), 7, np.uint8), backend="numpy")
    assert len(circles(figure).get_offsets()) == 0
    assert figure._repr_png_()


def test_pixels_are_thinned_evenly() -> None:
    tile = np.arange(200 * 300).reshape(200, 300)
    assert np.array_equal(thinned(tile, 3), tile[::3, ::3])
    assert np.array_equal(thinned(tile, 1), tile)


def row(verdict: Verdict | None, **keys: Any) -> FocusResult:
    return FocusResult(path="a.tif", status="scored", provenance=ABOUT, verdict=verdict, **keys)


def points(figure: Any) -> dict[str, Sequence[tuple[float, float]]]:
    """Label -> where its marks are."""
    (axes,) = figure.axes
    return {each.get_label(): [tuple(at) for at in each.get_offsets()] for each in axes.collections}


def test_the_plot_of_results_has_a_mark_a_tile() -> None:
    results = mhfd.Results(
        [
            row("in_focus", blur_px=0.25),
            row("out_of_focus", blur_px=3.0),
            row("in_focus", blur_px=0.5),
            row("no_content"),
            row("cannot_tell"),
        ]
    )
    figure = results.plot()
    assert points(figure) == {
        "2 in focus": [(0, 0.25), (2, 0.5)],
        "1 out of focus": [(1, 3.0)],
        "1 no content": [(3, 0.0)],
        "1 cannot tell": [(4, 0.0)],
    }
    assert figure.axes[0].get_ylabel() == "blur, px"
    assert figure._repr_png_()


def test_without_blur_the_plot_shows_the_score() -> None:
    figure = mhfd.Results([row(None, focus_score=4.0)]).plot()
    assert points(figure) == {"1 not judged": [(0, 4.0)]}
    assert figure.axes[0].get_ylabel() == "focus score"


def test_no_results_make_an_empty_plot() -> None:
    assert points(mhfd.Results().plot()) == {}
