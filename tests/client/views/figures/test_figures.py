"""The paper's figures: their tables hold what is drawn, and what is drawn is what was given."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

pytest.importorskip("matplotlib")

from hostile import NAMES
from mhfd.contract import FocusParams, FocusResult
from mhfd.judge.focal import FocalFit, Interval, Series
from mhfd_client.bench.race import Summary
from mhfd_client.judge.calibration import FocalSeries
from mhfd_client.views.figures.drawn import Drawn, write
from mhfd_client.views.figures.features import NoPairError, Pair, Shown, figure_1, pair_of_run, pair_of_series
from mhfd_client.views.figures.focal import figure_2a, figure_2b
from mhfd_client.views.figures.speed import figure_3a, figure_3b, figure_4
from page_run import Wafer, open_filling
from phantoms import as_uint8, discs
from spectra import row

BEST, K, FLOOR = 100.0, 0.5, 0.25
AWAY = (-3.0, -1.0, 0.0, 2.0)
COUNTS = tuple(1024 // 2**i for i in (3, 1, 0, 2))  # halved with each micrometre: r is -1, the slope -ln 2
PUBLISHED = (100, 100, 200, 200)
NOT_IN_A_FILE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


def series(names: Sequence[str] = ("a.tif", "b.tif", "c.tif", "d.tif"), *, bracketed: bool = True) -> FocalSeries:
    """Four frames of which everything is known."""
    d = np.array([(K * away) ** 2 + FLOOR for away in AWAY])
    fit = FocalFit(best=Interval(BEST, BEST - 0.25, BEST + 0.25), k=Interval(K, K, K), floor=FLOOR)
    distances = tuple(BEST + away for away in AWAY)
    return FocalSeries(
        rows=tuple(row(None, name, features=n) for name, n in zip(names, COUNTS, strict=True)),
        distances_um=distances,
        paper=PUBLISHED,
        failed=(),
        series=Series(
            fit=fit if bracketed else FocalFit(reason="not_bracketed"),
            used=(0, 1, 2, 3),
            distances=np.array(distances),
            d=d,
            error=np.full(4, 0.1),
        ),
    )


def table(folder: Path, figure: Drawn) -> list[dict[str, str]]:
    """The lines of its CSV file."""
    files = write(figure, folder)
    assert [path.suffix for path in files] == [".svg", ".png", ".csv"]
    with files[-1].open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def numbers(lines: Sequence[dict[str, str]], item: str, *columns: str) -> list[tuple[float, ...]]:
    return [tuple(float(line[name]) for name in columns) for line in lines if line["item"] == item]


def drawn(axes: Any) -> list[tuple[float, ...]]:
    """Every point of every line of a plot."""
    return [tuple(point) for line in axes.lines for point in line.get_xydata().tolist()]


def words(folder: Path, name: str) -> str:
    """The text in an SVG."""
    return " ".join(ElementTree.parse(folder / f"{name}.svg").getroot().itertext())


# --- 2a, 2b ---------------------------------------------------------------------------------------------------------


def test_counts_that_halve_with_each_micrometre_give_their_law(tmp_path: Path) -> None:
    lines = table(tmp_path, figure_2b(series()))
    for ours in [line for line in lines if line["item"] == "features, law"]:
        assert float(ours["r"]) == pytest.approx(-1)
        assert float(ours["slope_per_um"]) == pytest.approx(-math.log(2))
        assert math.exp(float(ours["intercept"])) == pytest.approx(1024)
    assert "features: r = −1.0000, slope −0.693 per µm" in words(tmp_path, "figure-2b")
    x, y = [3.0, 1.0, 0.0, 2.0], np.log(PUBLISHED)
    published = next(line for line in lines if line["item"] == "count as published, law")
    assert float(published["r"]) == pytest.approx(np.corrcoef(x, y)[0, 1])


def test_the_table_of_2b_holds_what_is_drawn(tmp_path: Path) -> None:
    figure = figure_2b(series())
    lines = table(tmp_path, figure)
    told = [(float(line["from_focus_um"]), float(line["features"])) for line in lines]
    assert sorted(drawn(figure.canvas.axes[0])) == sorted(told)
    assert numbers(lines, "features", "from_focus_um", "features") == list(zip((3, 1, 0, 2), COUNTS, strict=True))


def test_the_table_of_2a_holds_what_is_drawn(tmp_path: Path) -> None:
    figure = figure_2a(series())
    lines = table(tmp_path, figure)
    top, below = figure.canvas.axes
    assert drawn(top) == numbers(lines, "frame", "from_focus_um", "features") == list(zip(AWAY, COUNTS, strict=True))
    curve = numbers(lines, "parabola", "from_focus_um", "d_px2")
    assert drawn(below)[: len(curve)] == curve
    assert set(numbers(lines, "frame", "from_focus_um", "d_px2")) <= set(drawn(below))
    assert numbers(lines, "best focus, 95 %", "from_focus_um") == [(-0.25,), (0.25,)]


def test_the_parabola_goes_through_what_was_made_by_it(tmp_path: Path) -> None:
    lines = table(tmp_path, figure_2a(series()))
    for x, d in numbers(lines, "parabola", "from_focus_um", "d_px2"):
        assert d == pytest.approx((K * x) ** 2 + FLOOR)
    for x, d, error in numbers(lines, "frame", "from_focus_um", "d_px2", "d_error_px2"):
        assert (d, error) == (pytest.approx((K * x) ** 2 + FLOOR), 0.1)


def test_without_best_focus_distances_count_from_the_sharpest_frame(tmp_path: Path) -> None:
    found = series(bracketed=False)
    lines = table(tmp_path, figure_2a(found))
    assert not numbers(lines, "parabola", "d_px2")
    table(tmp_path, figure_2b(found))
    assert "from the sharpest frame" in figure_2a(found).says and "from the sharpest frame" in figure_2b(found).says
    for name in ("figure-2a", "figure-2b"):
        assert "from the sharpest frame (at 100 µm)" in words(tmp_path, name)
        assert "f′" not in words(tmp_path, name)


def test_frames_that_cannot_be_compared_still_have_their_counts(tmp_path: Path) -> None:
    found = replace(series(), series=Series(FocalFit(reason="flat", declined="flat")), paper=(None, 0, None, None))
    figure = figure_2a(found)
    assert len(figure.canvas.axes) == 1
    assert len(numbers(table(tmp_path, figure), "frame", "features")) == 4
    assert {line["item"] for line in table(tmp_path, figure_2b(found))} == {"features", "features, law"}


# --- 3a, 3b, 4 ------------------------------------------------------------------------------------------------------


def time(figure: str, name: str, side: int, n_scales: int, ms: float, lap: str = "kernel") -> Summary:
    return Summary(
        figure=figure, contestant=name, device="cpu", side=side, n_scales=n_scales, lap=lap, runs=3,
        median_ms=ms, q1_ms=0.9 * ms, q3_ms=1.2 * ms, ratio=None, features=1,
    )  # type: ignore[arg-type]  # fmt: skip


BY_SCALES = [time("3a", name, 512, n, base * n) for name, base in (("one", 1.0), ("other", 3.0)) for n in (1, 4, 16)]
BY_SIDE = [time("3b", "one", side, 16, side**2 / 1e4) for side in (256, 512, 1024)]
PHASES = [time("4", "one", 512, 16, ms, lap) for lap, ms in (("copy in", 1.0), ("responses", 5.0), ("gather", 2.0))]
TIMES = [*BY_SCALES, *BY_SIDE, *PHASES]


def curves_of(figure: Drawn) -> list[tuple[float, ...]]:
    """The points of the curves, without the ends of their errors."""
    containers = figure.canvas.axes[0].containers
    return [tuple(point) for each in containers for point in each.lines[0].get_xydata().tolist()]


def test_the_tables_of_3a_and_3b_hold_what_is_drawn(tmp_path: Path) -> None:
    for make, given, column in ((figure_3a, BY_SCALES, "n_scales"), (figure_3b, BY_SIDE, "side_px")):
        figure = make(TIMES)
        assert figure is not None
        lines = table(tmp_path, figure)
        assert [(float(line[column]), float(line["median_ms"])) for line in lines] == curves_of(figure)
        times = [line for line in lines if line["q1_ms"]]
        assert [float(line["median_ms"]) for line in times] == [each.median_ms for each in given]
        assert [(float(line["q1_ms"]), float(line["q3_ms"])) for line in times] == [
            (each.q1_ms, each.q3_ms) for each in given
        ]


@pytest.mark.parametrize(("make", "column", "power"), [(figure_3a, "n_scales", 1), (figure_3b, "side_px", 2)])
def test_the_slope_beside_the_curves_is_that_of_the_paper(tmp_path: Path, make: Any, column: str, power: int) -> None:
    lines = table(tmp_path, make(TIMES))
    first, last = [line for line in lines if not line["q1_ms"]]
    growth = float(last["median_ms"]) / float(first["median_ms"])
    assert growth == pytest.approx((float(last[column]) / float(first[column])) ** power)
    ends = [float(line["median_ms"]) for line in lines if line["q1_ms"] and line[column] == last[column]]
    assert float(last["median_ms"]) < min(ends)


def test_the_pieces_of_a_bar_follow_each_other(tmp_path: Path) -> None:
    figure = figure_4(TIMES)
    assert figure is not None
    lines = table(tmp_path, figure)
    told = [(line["phase"], float(line["from_ms"]), float(line["to_ms"])) for line in lines]
    assert told == [("copy in", 0, 1), ("responses", 1, 6), ("gather", 6, 8)]
    bars = [(patch.get_x(), patch.get_x() + patch.get_width()) for patch in figure.canvas.axes[0].patches]
    assert bars == [(begin, end) for _, begin, end in told]


def test_without_times_there_is_no_figure() -> None:
    copied = [time("3a", "one", 512, 4, 1.0, "copied")]
    assert [make([]) for make in (figure_3a, figure_3b, figure_4)] == [None] * 3
    assert figure_3a(copied) is None  # the paper's figure is of the kernel
    assert figure_3a([time("3a", "one", 512, 4, 0.0)]) is None  # a logarithm has no place for 0


def test_a_single_time_has_no_slope_beside_it(tmp_path: Path) -> None:
    figure = figure_3b(BY_SIDE[:1])
    assert figure is not None
    assert len(table(tmp_path, figure)) == 1


# --- 1 --------------------------------------------------------------------------------------------------------------

CENTRES = [(40, 40), (40, 100), (100, 70), (160, 200)]
RADIUS = 6.0


def noisy(picture: NDArray[np.float64]) -> NDArray[np.uint8]:
    return as_uint8(picture + np.random.default_rng(3).normal(0, 0.01, picture.shape))


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    """Four discs, and one that is left of them."""
    for name, centres in (("sharp.png", CENTRES), ("blurred.png", CENTRES[2:3])):
        Image.fromarray(noisy(discs((256, 256), centres, RADIUS))).save(tmp_path / name)
    sharp, blurred = (Shown(name, name, "here", tmp_path / f"{name}.png", 0, 8.0) for name in ("sharp", "blurred"))
    return Pair(sharp, blurred, FocusParams())


def test_each_disc_has_its_circle(pair: Pair, tmp_path: Path) -> None:
    lines = table(tmp_path, figure_1(pair))
    for panel, centres in (("sharp", CENTRES[:3]), ("blurred", CENTRES[2:3])):
        part, *circles = [line for line in lines if line["panel"] == panel]
        assert (part["item"], int(part["features"])) == ("part", len(circles))
        near = [line for line in circles if float(line["size_px"]) > RADIUS / 2]
        assert sorted((int(line["y_px"]), int(line["x_px"])) for line in near) == sorted(centres)
        assert [float(line["size_px"]) for line in near] == pytest.approx([RADIUS] * len(near), abs=1.0)
    assert f"sharp: {lines[0]['features']} features" in words(tmp_path, "figure-1")
    assert "blurred: 1 feature " in words(tmp_path, "figure-1")
    assert "200 nm" in words(tmp_path, "figure-1")


def test_both_tiles_are_shown_at_the_place_where_the_sharp_one_has_most(pair: Pair, tmp_path: Path) -> None:
    figure = figure_1(pair)
    parts = [line for line in table(tmp_path, figure) if line["item"] == "part"]
    assert len({(part["x_px"], part["y_px"], part["size_px"]) for part in parts}) == 1
    top, left, side = (int(float(parts[0][name])) for name in ("y_px", "x_px", "size_px"))
    assert sum(top <= y < top + side and left <= x < left + side for y, x in CENTRES) == 3
    for axes, name in zip(figure.canvas.axes, ("sharp", "blurred"), strict=True):
        with Image.open(tmp_path / f"{name}.png") as tile:
            there = np.asarray(tile)[top : top + side, left : left + side]
        assert np.array_equal(axes.images[0].get_array(), there)


def test_both_tiles_have_the_same_black_and_white(pair: Pair) -> None:
    limits = {axes.images[0].get_clim() for axes in figure_1(pair).canvas.axes}
    assert len(limits) == 1


def test_the_circles_drawn_are_those_of_the_table(pair: Pair, tmp_path: Path) -> None:
    figure = figure_1(pair)
    lines = [line for line in table(tmp_path, figure) if line["item"] == "feature"]
    shown = [tuple(place) for axes in figure.canvas.axes for place in axes.collections[0].get_offsets().tolist()]
    assert shown == [(float(line["x_px"]), float(line["y_px"])) for line in lines]


def test_a_file_that_is_gone_is_said(pair: Pair) -> None:
    pair.blurred.file.unlink()
    with pytest.raises(NoPairError, match=r"blurred\.png"):
        figure_1(pair)


def test_of_a_series_the_sharpest_and_the_most_blurred_frame_are_shown() -> None:
    known = pair_of_series(series())
    assert (known.sharp.name, known.blurred.name) == ("c.tif", "a.tif")
    assert (known.sharp.panel, known.blurred.says) == ("in focus", "f − f′ = −3.0 µm")
    beside = pair_of_series(series(bracketed=False))
    assert (beside.sharp.panel, beside.blurred.says) == ("sharpest frame", "working distance 97 µm")
    with pytest.raises(NoPairError, match="declined"):
        pair_of_series(replace(series(), series=Series(FocalFit(reason="flat", declined="declined"))))


def test_of_a_run_the_most_blurred_tile_is_shown_beside_the_sharp_one_before_it(tmp_path: Path) -> None:
    wafer = Wafer(sections=8, rows=2, cols=2, odd={(4, 0, 1): 2.0, (6, 1, 0): 4.0, (5, 1, 0): 4.0, (1, 0, 0): 6.0})
    filling = open_filling(tmp_path, wafer)
    with filling.ledger as ledger:
        filling.add(wafer.spots())
        pair = pair_of_run(ledger, filling.run)
        assert pair.blurred.name in ("s0005_r1_c0.tif", "s0006_r1_c0.tif")  # s0001_r0_c0.tif has none before it
        assert (pair.sharp.name, pair.sharp.says) == ("s0004_r1_c0.tif", "section 4, blur 0.1 px")
        assert figure_1(pair).name == "figure-1"
        pair.blurred.file.write_bytes(b"")
        assert pair_of_run(ledger, filling.run).blurred.name != pair.blurred.name
        for name in ("s0004_r0_c1.tif", "s0005_r1_c0.tif", "s0006_r1_c0.tif"):
            (filling.root / name).unlink(missing_ok=True)
        with pytest.raises(NoPairError):
            pair_of_run(ledger, filling.run)


# --- Files ----------------------------------------------------------------------------------------------------------


def every_figure(pair: Pair, found: FocalSeries, times: Sequence[Summary]) -> list[Drawn]:
    figures = (figure_1(pair), figure_2a(found), figure_2b(found), figure_3a(times), figure_3b(times), figure_4(times))
    return [each for each in figures if each is not None]


def test_pictures_are_one_column_wide_and_the_same_numbers_give_the_same_bytes(pair: Pair, tmp_path: Path) -> None:
    for name in ("once", "again"):
        for figure in every_figure(pair, series(), TIMES)[::2]:
            write(figure, tmp_path / name)
    files = sorted(path.name for path in (tmp_path / "once").iterdir())
    assert len(files) == 3 * 3
    for name in files:
        assert (tmp_path / "once" / name).read_bytes() == (tmp_path / "again" / name).read_bytes(), name
    for path in (tmp_path / "once").glob("*.png"):
        with Image.open(path) as picture:
            assert picture.width == pytest.approx(85 / 25.4 * 300, abs=1)
            assert 300 < picture.height < 1500


def test_names_of_strangers_are_inert(pair: Pair, tmp_path: Path) -> None:
    names = ["$\\frac{1}{0", *(each for each in NAMES if re.search("script|\x1b.52|\u2028|=1|tal|half|Schnitt", each))]
    odd = [replace(each, contestant=name) for name in names for each in TIMES]
    strange = replace(pair, sharp=replace(pair.sharp, name=NAMES[0], panel=NAMES[6], says=NAMES[3]))
    for figure in (figure_1(strange), figure_2b(series(NAMES[11:15])), figure_3a(odd), figure_4(odd)):
        assert figure is not None
        for line in table(tmp_path, figure):
            for text in line.values():
                assert not NOT_IN_A_FILE.search(text)
                assert not re.match(r"\s*[=+@]", text)
        root = ElementTree.parse(tmp_path / f"{figure.name}.svg").getroot()
        assert {each.tag.rpartition("}")[2] for each in root.iter()}.isdisjoint({"script", "iframe", "img"})
    assert "$\\frac{1}{0 (cpu)" in words(tmp_path, "figure-3a")


def test_a_users_own_style_does_not_count(tmp_path: Path) -> None:
    import matplotlib

    write(figure_2b(series()), tmp_path / "plain")
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "black", "text.usetex": True}):
        write(figure_2b(series()), tmp_path / "styled")
        assert matplotlib.rcParams["font.size"] == 30
    plain, styled = (tmp_path / name / "figure-2b.svg" for name in ("plain", "styled"))
    assert plain.read_bytes() == styled.read_bytes()


def test_rows_without_counts_are_drawn_as_gaps(tmp_path: Path) -> None:
    found = series()
    rows: tuple[FocusResult, ...] = (replace(found.rows[0], features=None), *found.rows[1:])
    lines = table(tmp_path, figure_2a(replace(found, rows=rows)))
    assert [line["features"] for line in lines if line["item"] == "frame"] == ["", *map(str, COUNTS[1:])]
