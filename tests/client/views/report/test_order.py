"""The report puts first what is worst, by the blur that it tells."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import tifffile

from mhfd.contract import FocusResult, Provenance
from mhfd_client.views.report.gathering import of_results
from mhfd_client.views.report.page import render_report

ABOUT = Provenance(mhfd="0", params_sha256="0", backend="numpy", device="cpu")
SHARP, SOFT = (0.2,) * 4, (4.1,) * 4


def test_a_tile_whose_half_is_lost_comes_before_one_that_is_a_little_blurred(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    """Over the whole tile the half-blurred one reads 0.4 px; the other 1.5 px."""
    rows = []
    for name, blur_px, blur_map_px in (
        ("little", 1.5, ((1.5,) * 4,) * 4),
        ("half", 0.4, (SHARP, SHARP, SOFT, SOFT)),
    ):
        path = tmp_path / f"{name}.tif"
        tifffile.imwrite(path, rng.integers(0, 255, (64, 64), dtype=np.uint8))
        rows.append(
            FocusResult(
                path=str(path), status="scored", provenance=ABOUT, shape=(64, 64), dtype="uint8", focus_score=2.0,
                verdict="out_of_focus", blur_px=blur_px, blur_map_px=blur_map_px, worst_block=(2, 0),
            )
        )  # fmt: skip
    page = render_report(of_results(rows, "run", 0.0))
    again = page[page.index("<h2>Take again") : page.index("All tiles")]
    assert re.findall(r"(little|half)\.tif", again)[:1] == ["half"]
    assert "0.4 (4.1)" in page[page.index("All tiles") :]
