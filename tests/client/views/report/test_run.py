"""What a report says of a run is what its construction makes true."""

from __future__ import annotations

import base64
import io
import re
import time
from collections.abc import Callable

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from mhfd import __version__
from mhfd_client.judge.retakes import retake_list
from mhfd_client.judge.standing import judged_now
from mhfd_client.ledger import Decision, Missing
from mhfd_client.naming.position import Position
from mhfd_client.views.picture import CROP_PX, data_uri
from mhfd_client.views.report import page
from mhfd_client.views.report.axis import axis_of
from mhfd_client.views.report.chart import draw_chart
from mhfd_client.views.report.gathering import PICTURES_AT_MOST, of_run
from mhfd_client.views.report.map import draw_map
from mhfd_client.views.report.model import Report
from mhfd_client.views.report.page import render_report
from mhfd_client.views.report.pictures import pair
from page_run import RIGHT_HALF, Filling, Wafer

Fill = Callable[[Wafer], Filling]

WORST, MILD, BROKEN = (7, 1, 2), (9, 0, 1), (4, 2, 3)
WAFER = Wafer(odd={WORST: 4.0, MILD: 2.0, BROKEN: None}, blank=frozenset({(2, 0)}))


def told(filling: Filling) -> Report:
    return of_run(filling.ledger, filling.run, time.time())


def grey(uri: str) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))))


def text_of(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html.partition("</style>")[2]))


def test_the_worst_tile_stands_first_beside_the_same_place_in_the_section_before(fill: Fill) -> None:
    first, second = told(fill(WAFER)).again
    assert (first.entry.name, second.entry.name) == (WAFER.name(WORST), WAFER.name(MILD))
    assert first.reason.startswith("out of focus, blur ")
    assert first.sharp is not None and first.sharp.name == WAFER.name((6, 1, 2))
    assert "same place in section 6" in first.beside
    assert first.state == "open"


def test_a_bad_section_before_is_passed_over(fill: Fill) -> None:
    wafer = Wafer(odd={(7, 1, 2): 4.0, (6, 1, 2): 3.0})
    first, second = told(fill(wafer)).again
    assert {each.sharp.name for each in (first, second) if each.sharp} == {wafer.name((5, 1, 2))}


def test_of_the_first_section_the_nearest_sharp_tile_is_shown_and_not_called_the_same_place(fill: Fill) -> None:
    (first,) = told(fill(Wafer(odd={(1, 1, 1): 4.0}))).again
    assert first.sharp is not None
    assert "nearest sharp tile" in first.beside


def test_both_crops_are_the_pixels_of_their_files_with_the_same_black_and_white(fill: Fill) -> None:
    filling = fill(WAFER)
    again = told(filling).again[0]
    pictures = [grey(crop.uri) for crop in pair(again)]
    pixels = [tifffile.imread(filling.root / WAFER.name(spot)) for spot in (WORST, (6, 1, 2))]
    assert [each.shape for each in pictures] == [each.shape for each in pixels] == [(CROP_PX, CROP_PX)] * 2
    levels: dict[int, int] = {}
    for picture, tile in zip(pictures, pixels, strict=True):
        for level, shown in zip(tile.ravel().tolist(), picture.ravel().tolist(), strict=True):
            assert levels.setdefault(level, shown) == shown


def test_the_crop_is_taken_where_the_tile_is_blurred(fill: Fill) -> None:
    """The right half is: the left of the crop may not lie in the sharp one."""
    wafer = Wafer(side_px=1024, sections=8, rows=2, cols=2, odd={(7, 1, 1): 3 * RIGHT_HALF})
    filling = fill(wafer)
    again = told(filling).again[0]
    shown = grey(pair(again)[0].uri).astype(float)
    tile = tifffile.imread(filling.root / wafer.name((7, 1, 1))).astype(float)
    fits = [np.corrcoef(shown.ravel(), tile[y : y + 256, 512:768].ravel())[0, 1] for y in range(0, 769, 128)]
    fits += [np.corrcoef(shown.ravel(), tile[y : y + 256, 768:].ravel())[0, 1] for y in range(0, 769, 128)]
    fits += [np.corrcoef(shown.ravel(), tile[y : y + 256, 640:896].ravel())[0, 1] for y in range(0, 769, 128)]
    assert max(fits) > 0.99


def test_a_file_that_is_gone_says_so_and_the_others_are_shown(fill: Fill) -> None:
    filling = fill(WAFER)
    (filling.root / WAFER.name(WORST)).unlink()
    report = told(filling)
    tile, sharp = pair(report.again[0])
    assert (tile.uri, sharp.lack) == ("", "")
    assert "not there any more" in tile.lack
    assert all(crop.uri for crop in pair(report.again[1]))
    assert "not there any more" in text_of(render_report(report))


def test_a_file_that_became_a_link_or_was_written_again_is_not_shown(fill: Fill) -> None:
    filling = fill(WAFER)
    worst, mild = (filling.root / WAFER.name(spot) for spot in (WORST, MILD))
    secret = filling.root.parent / "secret.tif"
    worst.rename(secret)
    worst.symlink_to(secret)
    tifffile.imwrite(mild, np.zeros((256, 256), np.uint8))
    first, second = told(filling).again
    assert "behind a link" in pair(first)[0].lack
    assert "written again" in pair(second)[0].lack


def test_without_any_file_there_still_is_a_report(fill: Fill) -> None:
    report = told(fill(Wafer(odd={WORST: 4.0}, pictures=False)))
    html = render_report(report)
    assert "not there any more" in html
    assert WAFER.name(WORST) in html


def test_a_failed_tile_stands_with_what_to_do(fill: Fill) -> None:
    report = told(fill(WAFER))
    (failed,) = report.failed
    assert (failed.code, failed.tiles[0][0]) == ("truncated", WAFER.name(BROKEN))
    assert "take the tile again" in failed.remedy
    assert "What to do: write the file anew" in text_of(render_report(report))


def test_the_counts_are_those_of_the_run(fill: Fill) -> None:
    filling = fill(WAFER)
    filling.ledger.set_missing(filling.run.run_id, [Missing(None, Position(5, None, 0, 0), "gap")], 1.0)
    counts = told(filling).counts()
    assert counts["again"] == 3
    assert (counts["out_of_focus"], counts["failed"], counts["missing"]) == (2, 1, 1)
    assert counts["no_content"] == WAFER.sections
    assert counts["in_focus"] == 12 * 12 - 12 - 3


def test_a_decision_takes_a_tile_off_the_list(fill: Fill) -> None:
    filling = fill(WAFER)
    (row,) = filling.ledger.pages(filling.run.run_id, WAFER.name(WORST))
    filling.ledger.decide(filling.run.run_id, Decision(row.tile_id, "accept", "Ana", 1.8e9, "charging"))
    report = told(filling)
    assert [each.entry.name for each in report.again] == [WAFER.name(MILD)]
    assert [each.entry.name for each in report.others] == [WAFER.name(WORST)]
    assert "accept by Ana" in report.others[0].decided
    axis = axis_of(report.entries, ())
    assert [spot.hollow for spot in draw_map(axis, report.entries, ()).spots if WAFER.name(WORST) in spot.title] == [
        True
    ]


def test_the_list_to_copy_is_that_of_the_command(fill: Fill) -> None:
    filling = fill(WAFER)
    report = told(filling)
    entries = retake_list(filling.ledger, filling.run.run_id, judged_now(filling.ledger, filling.run.run_id))
    assert [each["tile"] for each in report.copied] == [each.row.name for each in entries]
    assert {each["reason"] for each in report.copied} == {each.reason for each in entries}


def test_the_chart_is_in_the_order_of_acquisition_with_alarms_and_the_return_of_the_focus(fill: Fill) -> None:
    filling = fill(WAFER)
    ledger, run_id = filling.ledger, filling.run.run_id
    last = ledger.summary(run_id).last_scored_at or 0.0
    event, _ = ledger.begin_event(run_id, "worsening", "", {"text": "focus is getting worse"}, last - 1e6)
    ledger.end_event(event.event_id, last + 1)
    report = told(filling)
    axis = axis_of(report.entries, report.missing)
    chart = draw_chart(axis, report.entries, report.alarms, report.rule.max_blur_px)
    assert chart is not None and chart.measure == "blur" and chart.limit_y is not None
    assert [moment.word.rpartition(" ")[0] for moment in chart.moments] == ["Blur rising", "Focus back"]
    assert chart.moments[0].x < 1 and chart.moments[1].x > 99
    marks = {mark.title.partition(":")[0]: mark for mark in chart.marks}
    assert marks[WAFER.name(WORST)].x == pytest.approx(100 * (6 + 6.5 / 12) / 12, abs=0.01)
    assert marks[WAFER.name(WORST)].y < marks[WAFER.name(MILD)].y < chart.limit_y
    assert all(dot.y > chart.limit_y for dot in chart.dots)


def test_the_map_has_a_pixel_a_tile_and_a_gap_where_one_is_missing(fill: Fill) -> None:
    filling = fill(Wafer(odd={WORST: 4.0}, missing=frozenset({(5, 0, 0)})))
    filling.ledger.set_missing(filling.run.run_id, [Missing(None, Position(5, None, 0, 0), "gap")], 1.0)
    report = told(filling)
    axis = axis_of(report.entries, report.missing)
    drawn = draw_map(axis, report.entries, report.missing)
    for uri, colour in ((drawn.light, (200, 64, 10)), (drawn.dark, (244, 99, 42))):
        picture = Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))
        assert picture.size == (12, 12)
        cells = np.asarray(picture.convert("RGBA"))
        assert np.argwhere(cells[..., 3] == 0).tolist() == [[0, 4]]
        assert np.argwhere((cells[..., :3] == colour).all(2)).tolist() == [[6, 6]]
    assert [spot.verdict for spot in drawn.spots[:2]] == ["out_of_focus", "missing"]


def test_names_that_tell_no_section_still_have_their_map(fill: Fill) -> None:
    report = told(fill(WAFER))
    entries = [page.Entry(entry.number, f"{k}.tif", None, entry.verdict) for k, entry in enumerate(report.entries)]
    axis = axis_of(entries, ())
    assert not axis.is_placed
    assert len(set(axis.places.values())) == len(entries)


def test_of_a_long_run_those_to_look_at_come_first_and_the_rest_is_counted(
    fill: Fill, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "ROWS_AT_MOST", 5)
    html = render_report(told(fill(WAFER)))
    body = html.partition('id="tiles"')[2].partition("<tbody>")[2].partition("</tbody>")[0]
    names = re.findall(r"<bdi>(.*?)</bdi>", body)
    assert len(names) == 5
    assert set(names[:3]) == {WAFER.name(spot) for spot in (WORST, MILD, BROKEN)}
    assert "5 of 144 tiles are here, those to look at first; 139 are left out. `mhfd export`" in text_of(html)


def test_the_pictures_of_the_longest_list_stay_below_12_mb(rng: np.random.Generator) -> None:
    """Noise is what PNG packs worst."""
    noise = Image.fromarray(rng.integers(0, 256, (CROP_PX, CROP_PX), np.uint8))
    assert 2 * PICTURES_AT_MOST * len(data_uri(noise)) < 12e6


def test_the_settings_are_those_of_the_run(fill: Fill) -> None:
    filling = fill(WAFER)
    filling.ledger.set_rule(filling.run.run_id, {"max_blur_px": 1.25, "instrument": "Merlin"}, 1.0)
    text = text_of(render_report(told(filling)))
    for name, value in (("out of focus above", "1.25 px"), ("instrument", "Merlin"), ("n_scales", "16")):
        assert f"{name} {value}" in text
    assert f"mhfd {__version__} cpu: 144 tiles" in text
