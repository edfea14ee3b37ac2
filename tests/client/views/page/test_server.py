"""The page's URLs, asked over a real connection."""

from __future__ import annotations

import csv
import io
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mhfd.judge import setting_of
from mhfd.judge.focal import Interval
from mhfd.judge.setting import Setting
from mhfd_client.judge.calibration import Calibration
from mhfd_client.judge.run import DEFAULT_INSTRUMENT, judge_run, standard_of
from mhfd_client.ledger import Decision, KeptCalibration, Ledger
from mhfd_client.views.page.columns import VERDICTS
from mhfd_client.views.page.opening import Door
from page_client import Served, served
from page_run import Spot, Wafer

BAD = (3, 1, 1)
WAFER = Wafer(sections=4, rows=2, cols=3, odd={BAD: 2.6, (4, 0, 2): None})


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("page"), WAFER) as page:
        page.wait_judged()
        yield page


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Served]:
    """A page of its own, to change things."""
    with served(tmp_path, WAFER) as page:
        page.wait_judged()
        yield page


def number(page: Served, spot: Spot) -> int:
    """The number of the tile at a spot."""
    name = WAFER.name(spot)
    return next(row.tile_id for row in page.filling.ledger.rows(page.filling.run.run_id) if row.path == name)


def columns(data: bytes) -> tuple[int, dict[str, Any]]:
    """Seq and columns of /api/tiles.bin."""
    magic, version, count, _, seq, _, _ = struct.unpack("<4sIIIQII", data[:32])
    assert (magic, version, len(data)) == (b"MHFD", 1, 32 + 25 * count)
    found, at = {}, 32
    for name, kind in (("n", "<u4"), ("section", "<u2"), ("position", "<u2"), ("verdict", "u1"), ("blur", "<f4"),
                       ("flag", "<f4"), ("score", "<f4"), ("defocus", "<f4")):  # fmt: skip
        found[name] = np.frombuffer(data, kind, count, at)
        at += found[name].nbytes
    return seq, found


def test_all_tiles_come_as_columns_with_the_verdicts_of_the_whole_run(page: Served) -> None:
    _, found = columns(page.get("/api/tiles.bin").body)
    ledger, run_id = page.filling.ledger, page.filling.run.run_id
    said = {tile.tile_id: tile.result for tile in judge_run(ledger, run_id)}
    assert len(found["n"]) == 24
    for i, n in enumerate(found["n"]):
        result, verdict = said.get(int(n)), VERDICTS[found["verdict"][i]]
        assert verdict == (result.verdict if result else "failed")
        if result and result.blur_px is not None:
            assert found["blur"][i] == pytest.approx(result.blur_px, abs=1e-4)
    assert VERDICTS[found["verdict"][list(found["n"]).index(number(page, BAD))]] == "out_of_focus"


def test_of_a_calibrated_instrument_defocus_is_a_column_and_in_the_rows(tmp_path: Path) -> None:
    with served(tmp_path, WAFER, filled=False) as page:
        filling, px_per_um = page.filling, 0.5
        *others, last = WAFER.spots()
        keep_calibration(filling.ledger, setting_of(WAFER.result(last, np.random.default_rng(1))), px_per_um)
        filling.add(others)
        with page.asker.events() as events:
            (n,) = filling.add([last])
            found = events.next("tiles", lambda data: any(row[0] == n and row[9] is not None for row in data["rows"]))
        (told,) = [row for row in found.data["rows"] if row[0] == n]
        assert told[9] == pytest.approx(told[4] / px_per_um, abs=1e-3)
        _, tiles = columns(page.get("/api/tiles.bin").body)
        known = np.isfinite(tiles["blur"])
        assert known.sum() == 23, "all but the tile that failed"
        np.testing.assert_allclose(tiles["defocus"][known], tiles["blur"][known] / px_per_um, atol=1e-3)
        assert np.isnan(tiles["defocus"][~known]).all()


def keep_calibration(ledger: Ledger, setting: Setting, px_per_um: float) -> None:
    """As `mhfd calibrate` leaves it."""
    slope = Interval(px_per_um, px_per_um, px_per_um)
    found = Calibration(setting, slope, Interval(0.0, 0.0, 0.0), {})
    ledger.keep_calibration(KeptCalibration(DEFAULT_INSTRUMENT, str(setting), time.time(), found.to_dict()))


def test_columns_after_a_tile_are_those_of_later_ones(page: Served) -> None:
    _, found = columns(page.get("/api/tiles.bin?after=20").body)
    assert sorted(found["n"]) == [21, 22, 23, 24]


def test_sections_and_positions_are_those_of_the_names(page: Served) -> None:
    _, found = columns(page.get("/api/tiles.bin").body)
    where = dict(
        zip(found["n"].tolist(), zip(found["section"].tolist(), found["position"].tolist(), strict=True), strict=True)
    )
    assert where[number(page, BAD)] == (3, 4)


def test_a_tiles_facts(page: Served) -> None:
    n = number(page, BAD)
    found = page.get(f"/api/tile/{n}").json
    assert found["verdict"] == "out_of_focus" and found["name"] == WAFER.name(BAD)
    assert found["blur_px"] == pytest.approx(2.6, abs=0.4) and found["explanation"].startswith("Out of focus, ")
    assert found["explain"]["beside"]["tile"] == WAFER.name((2, 1, 1))
    assert np.shape(found["blur_map_px"]) == (4, 4)
    assert len(page.get(f"/api/tile/{n}").body) < 12_000


def test_a_failed_tile_says_why(page: Served) -> None:
    found = page.get(f"/api/tile/{number(page, (4, 0, 2))}").json
    assert found["verdict"] == "failed" and "412 of 1,024" in found["explanation"]


def test_a_place_has_a_history(page: Served) -> None:
    rows = page.get("/api/history?position=4&around=3").json["rows"]
    assert [row[1] for row in rows] == [1, 2, 3, 4]
    assert VERDICTS[rows[2][2]] == "out_of_focus"


def test_tiles_to_take_again_are_listed(page: Served) -> None:
    found = page.get("/api/retakes").json["tiles"]
    assert [(each["section"], each["verdict"], each["state"]) for each in found] == [
        (3, "out_of_focus", "open"), (4, "failed", "open")
    ]  # fmt: skip
    rows = list(csv.DictReader(io.StringIO(page.get("/api/retakes?format=csv").body.decode("utf-8-sig"))))
    assert [row["path"] for row in rows] == [each["name"] for each in found]


def test_a_crop_is_the_tiles_pixels_between_its_black_and_white(page: Served) -> None:
    n = number(page, BAD)
    answer = page.get(f"/img/{n}/crop.png?at=10,20&w=64&h=80")
    assert answer.headers["x-mhfd-box"] == "10,20,64,80" and answer.headers["content-type"] == "image/png"
    shown = np.asarray(Image.open(io.BytesIO(answer.body)), np.float64)
    tile = np.asarray(Image.open(page.filling.root / WAFER.name(BAD)), np.float64)[20:100, 10:74]
    assert shown.shape == (80, 64)
    inside = (shown > 0) & (shown < 255)
    fit = np.polyfit(tile[inside], shown[inside], 1)
    assert np.abs(np.polyval(fit, tile[inside]) - shown[inside]).max() < 0.6, "one straight line for all pixels"


def test_two_crops_may_share_one_black_and_white(page: Served) -> None:
    bad, good = number(page, BAD), number(page, (2, 1, 1))
    own = page.get(f"/img/{good}/crop.png?at=0,0&w=64&h=64")
    shared = page.get(f"/img/{good}/crop.png?at=0,0&w=64&h=64&grey={bad}")
    assert own.body != shared.body and own.headers["etag"] != shared.headers["etag"]


def test_a_thumbnail_is_a_small_crop_and_the_whole_says_its_scale(page: Served) -> None:
    n = number(page, BAD)
    for px in (40, 80, 112):
        answer = page.get(f"/img/{n}/thumb.png?px={px}")
        assert Image.open(io.BytesIO(answer.body)).size == (px, px) and len(answer.body) <= 12_800
    whole = page.get(f"/img/{n}/whole.png?px=256")
    assert whole.headers["x-mhfd-scale"] == "1" and Image.open(io.BytesIO(whole.body)).size == (256, 256)


def test_a_picture_is_fetched_once(page: Served) -> None:
    path = f"/img/{number(page, BAD)}/crop.png"
    first = page.get(path)
    assert "immutable" in first.headers["cache-control"]
    again = page.get(path, If_None_Match=first.headers["etag"])
    assert (again.status, again.body) == (304, b"")


def test_features_of_a_part_come_strongest_first(page: Served) -> None:
    found = page.get(f"/api/tile/{number(page, (1, 0, 0))}/features?x=0&y=0&w=128&h=128").json
    assert 0 < len(found["features"]) == found["of"]
    assert all(0 <= x < 128 and 0 <= y < 128 and t >= 1 for x, y, t in found["features"])


@pytest.mark.parametrize(
    "path",
    [
        "/img/1/crop.png?w=63", "/img/1/crop.png?h=1025", "/img/1/crop.png?at=1", "/img/1/crop.png?at=-1,2",
        "/img/1/thumb.png?px=41", "/img/1/whole.png?px=255", "/img/1/crop.png?grey=x", "/img/0/crop.png",
        "/api/tile/-1", "/api/tile/1e3", "/api/tile/99999999999999999999", "/api/tile/%D9%A1", "/api/history",
        "/api/history?position=70000", "/api/retakes?format=xml", "/api/retakes?since=nan", "/api/events?after=x",
        "/api/tile/1/features?w=0", "/api/tiles.bin?after=-1",
    ],
)  # fmt: skip
def test_what_is_out_of_range_is_refused(page: Served, path: str) -> None:
    answer = page.get(path)
    assert answer.status == 422 and answer.json["error"]


@pytest.mark.parametrize("path", ["/api/tile/4711", "/img/4711/crop.png", "/nothing", "/static/nothing.js", "/api/"])
def test_what_is_not_there_is_404(page: Served, path: str) -> None:
    assert page.get(path).status == 404


@pytest.mark.parametrize(
    "path",
    ["/static/../app.py", "/static/..%2fapp.py", "/static/%2e%2e/app.py", "/static//etc/passwd", "/static/..\\app.py",
     "/img/..%2f..%2fetc/crop.png", "/img/1/..%2f..%2fcrop.png"],
)  # fmt: skip
def test_no_path_leads_out_of_the_page(page: Served, path: str) -> None:
    assert page.get(path).status in (404, 422)


def test_a_file_behind_a_link_is_not_shown(fresh: Served, tmp_path: Path) -> None:
    n = number(fresh, (1, 0, 0))
    file = fresh.filling.root / WAFER.name((1, 0, 0))
    elsewhere = tmp_path / "elsewhere.tif"
    file.rename(elsewhere)
    try:
        file.symlink_to(elsewhere)
    except OSError:
        pytest.skip("links cannot be made here")
    answer = fresh.get(f"/img/{n}/whole.png")
    assert answer.status == 404 and "link" in answer.json["error"]


def test_a_file_that_was_written_again_is_not_shown_as_what_was_scored(fresh: Served) -> None:
    n, file = number(fresh, (1, 0, 0)), fresh.filling.root / WAFER.name((1, 0, 0))
    file.unlink()
    file.write_bytes(b"another")
    assert fresh.get(f"/img/{n}/whole.png").status == 404


def test_a_decision_is_kept_and_told(fresh: Served) -> None:
    n = number(fresh, BAD)
    with fresh.asker.events() as events:
        events.next("hello")
        answer = fresh.post("/api/decision", {"n": n, "what": "retake", "by": "Ana", "was": "open"})
        assert answer.status == 200, answer.body
        told = events.next("decision")
    assert (told.data["n"], told.data["what"], told.data["by"]) == (n, "retake", "Ana") and told.seq
    (kept,) = fresh.filling.ledger.decisions(fresh.filling.run.run_id)
    assert (kept.tile_id, kept.decision, kept.who) == (n, "retake", "Ana")
    assert fresh.get("/api/retakes").json["tiles"][0]["state"] == "retake"


def test_who_comes_later_is_told_what_stands(fresh: Served) -> None:
    n = number(fresh, BAD)
    fresh.post("/api/decision", {"n": n, "what": "accept", "by": "Ana", "was": "open"})
    late = fresh.post("/api/decision", {"n": n, "what": "retake", "by": "Ben", "was": "open"})
    assert late.status == 409 and (late.json["what"], late.json["by"]) == ("accept", "Ana")
    assert len(fresh.filling.ledger.decisions(fresh.filling.run.run_id)) == 1


def test_an_accepted_tile_is_not_counted_as_to_take_again(fresh: Served) -> None:
    with fresh.asker.events() as events:
        assert events.next("counts").data["take_again"] == 2
        fresh.post("/api/decision", {"n": number(fresh, BAD), "what": "accept", "was": None})
        events.next("counts", lambda counts: counts["take_again"] == 1)


@pytest.mark.parametrize("line", [0.05, 0.3, 0.8, 2.0])
def test_the_preview_counts_what_applying_flags(fresh: Served, line: float) -> None:
    _, before = columns(fresh.get("/api/tiles.bin").body)
    preview = int(np.count_nonzero(before["flag"] > line))
    with fresh.asker.events() as events:
        events.next("hello")
        answer = fresh.post("/api/limit", {"max_blur_px": line, "by": "Ana", "was": 1.1})
        assert answer.status == 200 and answer.json["flagged"] == preview
        events.next("limit", lambda limit: limit["max_blur_px"] == line)
        run_id = fresh.filling.run.run_id
        judged = judge_run(fresh.filling.ledger, run_id, standard_of(fresh.filling.ledger, run_id))
        flagged = {tile.tile_id for tile in judged if tile.result.verdict in ("out_of_focus", "astigmatic")}
        assert len(flagged) == preview
    with fresh.asker.events() as events:
        events.next("counts", lambda counts: counts["out_of_focus"] + counts["astigmatic"] == preview)


def test_a_threshold_that_was_changed_meanwhile_is_told(fresh: Served) -> None:
    fresh.post("/api/limit", {"max_blur_px": 0.9, "by": "Ana", "was": 1.1})
    late = fresh.post("/api/limit", {"max_blur_px": 1.3, "by": "Ben", "was": 1.1})
    assert late.status == 409 and (late.json["max_blur_px"], late.json["by"]) == (0.9, "Ana")


def test_an_alarm_is_seen_by_the_first(fresh: Served) -> None:
    ledger, run_id = fresh.filling.ledger, fresh.filling.run.run_id
    with fresh.asker.events() as events:
        event, _ = ledger.begin_event(run_id, "worsening", "", {"text": "Blur rising\x1b[31m"}, time.time())
        told = events.next("alarm").data
        assert (told["kind"], told["text"], told["seen_by"]) == ("drift", "Blur rising\\x1b[31m", None)
        fresh.post(f"/api/alarm/{event.event_id}/seen", {"by": "Ana", "was": None})
        assert fresh.post(f"/api/alarm/{event.event_id}/seen", {"by": "Ben", "was": None}).json["seen_by"] == "Ana"
        ledger.end_event(event.event_id, time.time())
        events.next("alarm", lambda alarm: alarm["seen_by"] == "Ana" and alarm["ended"] is not None)


@pytest.mark.parametrize(
    ("path", "given"),
    [
        ("/api/decision", {"n": 1, "what": "delete"}), ("/api/decision", {"n": "x", "what": "open"}),
        ("/api/decision", {"n": 1, "what": "open", "by": "a\nb"}), ("/api/decision", {"n": True, "what": "open"}),
        ("/api/decision", {"n": 1, "what": "open", "by": "a" * 81}), ("/api/decision", [1]), ("/api/limit", {}),
        ("/api/limit", {"max_blur_px": 0}), ("/api/limit", {"max_blur_px": 1e9}), ("/api/limit", {"max_blur_px": "x"}),
        ("/api/alarm/x/seen", {}),
    ],
)  # fmt: skip
def test_what_cannot_be_decided_is_refused(page: Served, path: str, given: Any) -> None:
    assert page.post(path, given).status == 422


def test_a_decision_about_no_tile_or_alarm_is_refused(page: Served) -> None:
    assert page.post("/api/decision", {"n": 4711, "what": "retake"}).status == 404
    assert page.post("/api/alarm/4711/seen", {"by": "Ana"}).status == 404


def test_a_long_body_is_refused(page: Served) -> None:
    assert page.post("/api/decision", {"n": 1, "what": "open", "by": "a" * 5000}).status == 413


def test_read_only_takes_no_decisions(tmp_path: Path) -> None:
    with served(tmp_path, WAFER, Door(readonly=True)) as page:
        with page.asker.events() as events:
            assert events.next("hello").data["readonly"] is True
        assert page.post("/api/decision", {"n": 1, "what": "retake"}).status in (404, 405)
        assert page.post("/api/limit", {"max_blur_px": 1.0}).status in (404, 405)
        assert page.filling.ledger.decisions(page.filling.run.run_id) == []


def test_decisions_of_others_are_told_too(fresh: Served) -> None:
    """`mhfd retakes` may have stored them."""
    n = number(fresh, BAD)
    with fresh.asker.events() as events:
        events.next("hello")
        fresh.filling.ledger.decide(fresh.filling.run.run_id, Decision(n, "ignore", "Cy", time.time()))
        assert events.next("decision").data["by"] == "Cy"


def test_metrics_and_a_sign_of_life(page: Served) -> None:
    pytest.importorskip("prometheus_client")
    text = page.get("/metrics").body.decode()
    assert 'mhfd_tiles{state="scored"} 23.0' in text and 'mhfd_tiles_by_verdict{verdict="out_of_focus"} 1.0' in text
    assert "mhfd_seconds_to_verdict_count 24.0" in text
    assert page.get("/healthz").json == {"ok": True, "watched": False}
