"""What is said of one tile is what its construction makes true."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pytest
import tifffile

from mhfd.contract import ErrorCode, FocusParams, FocusResult
from mhfd.judge import VerdictRule
from mhfd.text import json_text
from mhfd_client.judge.explain import PAST_SECTIONS, Explanation, explain, explain_file
from mhfd_client.judge.find import find_tile, nearest_tile
from mhfd_client.judge.run import judge_run, judged_keys
from mhfd_client.judge.usual import LEAST_USUAL, USUAL_TILES
from mhfd_client.ledger import Decision, Ledger, LedgerError, Run, SeenFile, open_ledger
from mhfd_client.naming.position import Position
from mhfd_client.views.explain import blur_table, lines
from phantoms import as_uint8, texture
from spectra import ABOUT, Smear, row, spectrum

RIGHT_HALF = np.array([[0.0, 0.0, 3.0, 3.0]] * 4)
RUN = "run"


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with open_ledger(tmp_path / "ledger.db") as found:
        yield found


@pytest.fixture
def run(ledger: Ledger, tmp_path: Path) -> Run:
    return ledger.open_run(str(tmp_path / RUN), FocusParams(), layout="auto", endpoint="local")


Take = Callable[..., None]


@pytest.fixture
def take(ledger: Ledger, run: Run) -> Take:
    """Store a tile; the later one was taken later, whatever it is called."""
    clock = iter(range(1, 10_000))

    def take(name: str, result: FocusResult | None, position: Position | None = None, *, pages: int = 1) -> None:
        now = next(clock)
        ledger.see(run.run_id, [(SeenFile(name, 10, now), position)], float(now))
        if result is None:
            return
        (tile,) = ledger.take(run.run_id, "seen", 9, now=0)
        hashes = [f"{name} {now} {page}" for page in range(pages)]
        ledger.finish(tile.tile_id, [(sha256, (4, 4)) for sha256 in hashes], float(now))
        stored = [each for each in ledger.rows(run.run_id, states=["ready"]) if each.path == name]
        if result.status == "scored":
            results = [replace(result, provenance=replace(ABOUT, tile_sha256=each.tile_sha256)) for each in stored]
        else:
            results = [result for _ in stored]
        ledger.store([(each.tile_id, one) for each, one in zip(stored, results, strict=True)], float(now))

    return take


def told(ledger: Ledger, name: str) -> Explanation:
    found = find_tile(ledger, name)
    assert found is not None
    return explain(ledger, *found)


def said(ledger: Ledger, name: str) -> str:
    return "\n".join(lines(told(ledger, name)))


@pytest.fixture
def sharp(take: Take, rng: np.random.Generator) -> None:
    """Four sections of four sharp tiles."""
    for section in range(4):
        for k in range(4):
            take(name_of(section, k), row(spectrum(rng)), Position(section=section, row=k // 2, col=k % 2))


def name_of(section: int, k: int) -> str:
    return f"s{section:04}_r{k // 2}_c{k % 2}.tif"


def at(section: int, k: int = 0) -> Position:
    return Position(section=section, row=k // 2, col=k % 2)


# --- Blur, where and in which direction -------------------------------------------------------------------------


@pytest.mark.usefixtures("sharp")
def test_a_tile_blurred_in_its_right_half_says_so(ledger: Ledger, take: Take, rng: np.random.Generator) -> None:
    take("bad.tif", row(spectrum(rng, RIGHT_HALF)), at(4))
    found = told(ledger, "bad.tif")
    assert found.to_dict()["part"] == "right half"
    assert found.to_dict()["part_px"] == pytest.approx(3.0, abs=0.3)
    assert f"right half {found.to_dict()['part_px']:.1f} px" in said(ledger, "bad.tif")


@pytest.mark.usefixtures("sharp")
@pytest.mark.parametrize(
    ("deg", "along", "across"),
    [(0, "along the rows", "down the columns"), (90, "down the columns", "along the rows"), (45, "at 45", "at 135")],
)
def test_an_astigmatic_tile_names_its_direction_and_the_sharp_one(
    ledger: Ledger, take: Take, rng: np.random.Generator, deg: float, along: str, across: str
) -> None:
    take("bad.tif", row(spectrum(rng, smear=Smear(3.0, deg))), at(4))
    text = said(ledger, "bad.tif")
    assert "astigmatic" in text
    said_of = re.search(rf"blur (\d\.\d) px \(\d+ nm\) {along}.*?, (\d\.\d) px {across}", text)
    assert said_of is not None
    assert float(said_of[1]) == pytest.approx(3.0, abs=0.4)
    assert float(said_of[2]) < 1.0


@pytest.mark.usefixtures("sharp")
def test_a_tile_blurred_alike_is_blurred_in_all_directions(
    ledger: Ledger, take: Take, rng: np.random.Generator
) -> None:
    take("bad.tif", row(spectrum(rng, 2.0)), at(4))
    assert "blur 2.0 px (8 nm) in all directions" in said(ledger, "bad.tif")
    assert "tiles of this run" in said(ledger, "bad.tif")


@pytest.mark.usefixtures("sharp")
def test_the_text_map_has_each_part_and_marks_the_worst(ledger: Ledger, take: Take, rng: np.random.Generator) -> None:
    cells = np.zeros((4, 4))
    cells[2, 1] = 3.0
    take("bad.tif", row(spectrum(rng, cells)), at(4))
    table = blur_table(told(ledger, "bad.tif"))
    assert table is not None
    columns = [list(column.cells) for column in table.columns]
    assert str(columns[1][2]).startswith("[")
    assert sum(str(cell).startswith("[") for column in columns for cell in column) == 1


@pytest.mark.usefixtures("sharp")
def test_a_calibrated_tile_has_its_defocus(ledger: Ledger, take: Take, rng: np.random.Generator) -> None:
    take("bad.tif", row(spectrum(rng, 2.0)), at(4))
    found = told(ledger, "bad.tif")
    assert found.result is not None
    assert "um out of focus" not in "\n".join(lines(found))
    calibrated = replace(found, result=replace(found.result, defocus_um=3.2))
    assert "; 3.2 um out of focus; " in "\n".join(lines(calibrated))
    assert calibrated.to_dict()["defocus_um"] == 3.2


# --- What is usual, the threshold, and doubts -------------------------------------------------------------------


def test_usual_is_the_median_of_the_sharp_tiles_before(ledger: Ledger, take: Take, rng: np.random.Generator) -> None:
    for n in range(USUAL_TILES + 20):
        take(f"{n:04}.tif", row(spectrum(rng, 2.0 if n % 7 == 3 else 0.0)))
    last = f"{USUAL_TILES + 19:04}.tif"
    before = [tile.result for tile in judge_run(ledger, 1) if tile.name < last]
    blurs = [each.blur_px for each in before if each.verdict == "in_focus" and each.blur_px is not None]
    found = told(ledger, last)
    assert (found.usual_px, found.usual_tiles) == (median(blurs[-USUAL_TILES:]), USUAL_TILES)


@pytest.mark.usefixtures("sharp")
def test_the_first_tile_has_the_first_ones_after_it(ledger: Ledger) -> None:
    assert told(ledger, name_of(0, 0)).usual_tiles == LEAST_USUAL


@pytest.mark.usefixtures("sharp")
@pytest.mark.parametrize("sigma_px", [0.9, 1.6, 3.0])
def test_the_threshold_that_is_told_is_that_at_which_the_verdict_changes(
    ledger: Ledger, run: Run, take: Take, rng: np.random.Generator, sigma_px: float
) -> None:
    take("t.tif", row(spectrum(rng, sigma_px)), at(4))
    flag_px = told(ledger, "t.tif").to_dict()["flag_px"]
    assert f"below {flag_px:.2g} px; the run's is 1.1" in said(ledger, "t.tif")
    for factor, verdict in ((0.999, "out_of_focus"), (1.001, "in_focus")):
        ledger.set_rule(run.run_id, {"max_blur_px": flag_px * factor}, 1.0)
        assert told(ledger, "t.tif").verdict == verdict


def test_too_few_tiles_to_compare_with_is_the_reason(ledger: Ledger, take: Take, rng: np.random.Generator) -> None:
    take("only.tif", row(spectrum(rng)))
    assert "why: there is nothing to compare it with" in said(ledger, "only.tif")


def test_a_small_reference_is_the_reason(ledger: Ledger, take: Take, rng: np.random.Generator) -> None:
    for n in range(6):
        take(f"{n}.tif", row(spectrum(rng)))
    assert "few_tiles" in [each["code"] for each in told(ledger, "3.tif").to_dict()["doubts"]]
    assert "not surer because: there are few tiles to compare it with" in said(ledger, "3.tif")


@pytest.mark.usefixtures("sharp")
def test_it_says_what_export_says(ledger: Ledger, take: Take, rng: np.random.Generator) -> None:
    take("bad.tif", row(spectrum(rng, 2.0)), at(4))
    for tile in judge_run(ledger, 1):
        keys = judged_keys(tile.result)
        found = told(ledger, tile.name).to_dict()
        assert {key: found[key] for key in keys if key != "doubts"} == {k: v for k, v in keys.items() if k != "doubts"}
        assert [each["code"] for each in found["doubts"]] == keys["doubts"]


@pytest.mark.usefixtures("sharp")
def test_a_judged_run_at_hand_is_not_judged_again(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    judged = judge_run(ledger, 1)
    before = told(ledger, name_of(2, 1))
    monkeypatch.delattr("mhfd_client.judge.explain.judge_run")
    found = find_tile(ledger, name_of(2, 1))
    assert found is not None
    assert explain(ledger, *found, judged) == before


# --- Tiles without blur -----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("sharp")
def test_a_tile_without_content_says_how_much_it_has(ledger: Ledger, take: Take) -> None:
    take("bare.tif", row(None, content=0.012), at(4))
    text = said(ledger, "bare.tif")
    assert "no content" in text
    assert "1.2% of it shows structure, 5% are needed" in text
    assert blur_table(told(ledger, "bare.tif")) is None


def failed(code: ErrorCode, message: str = "it ends early") -> FocusResult:
    return FocusResult.failed("bad.tif", code, message, replace(ABOUT, tile_sha256=None))


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        ("truncated", "take the tile again"),
        ("permission_denied", "mhfd retry --failed --code permission_denied"),
        ("missing_codec", "pip install"),
        ("worker_lost", "mhfd doctor"),
        ("internal", "report it"),
        ("no_pixel_size", "parameters"),
    ],
)
def test_a_failed_tile_says_why_and_what_to_do(ledger: Ledger, take: Take, code: ErrorCode, remedy: str) -> None:
    take("bad.tif", failed(code))
    text = said(ledger, "bad.tif")
    assert f"bad.tif: failed: it ends early ({code})" in text
    assert remedy in text
    assert told(ledger, "bad.tif").to_dict()["verdict"] == "failed"


def test_a_waiting_tile_says_for_what(ledger: Ledger, run: Run, take: Take) -> None:
    take("new.tif", None)
    assert said(ledger, "new.tif") == "new.tif: its file was seen, and not yet read"
    (tile,) = ledger.take(run.run_id, "seen", 9, now=0)
    ledger.finish(tile.tile_id, [("p", (4, 4))], 2.0)
    assert "waits to be sent" in said(ledger, "new.tif")
    ledger.stage([(tile.tile_id, None)], 3.0)
    assert "waits for its turn" in said(ledger, "new.tif")
    ledger.submit([tile.tile_id], "local", 4.0)
    assert "local is scoring it, attempt 1" in said(ledger, "new.tif")
    assert told(ledger, "new.tif").to_dict()["verdict"] is None


def test_a_stalled_tile_and_one_that_is_gone_say_so(ledger: Ledger, run: Run, take: Take) -> None:
    take("cut.tif", None)
    take("gone.tif", None)
    ledger.stalled([found_row(ledger, "cut.tif").tile_id], "truncated", 9.0)
    ledger.mark_gone(run.run_id, ["gone.tif"], 9.0)
    assert "mhfd retry --stalled" in said(ledger, "cut.tif")
    assert "vanished" in said(ledger, "gone.tif")
    assert told(ledger, "gone.tif").state == "gone"


# --- History ----------------------------------------------------------------------------------------------------


def test_the_same_place_in_the_last_sections_is_told(ledger: Ledger, take: Take, rng: np.random.Generator) -> None:
    for section in range(8):
        for k in range(2):
            blur = 2.0 if (section, k) == (5, 0) else 0.0
            take(name_of(section, k), row(spectrum(rng, blur)), at(section, k))
    found = told(ledger, name_of(7, 0))
    assert [each.section for each in found.history] == [6, 5, 4, 3, 2][:PAST_SECTIONS]
    assert {each.tile for each in found.history} == {name_of(section, 0) for section in range(2, 7)}
    assert found.history[1].blur_px == pytest.approx(2.0, abs=0.3)
    assert "2.0 px in section 5" in said(ledger, name_of(7, 0)) or "1.9 px in section 5" in said(ledger, name_of(7, 0))
    assert found.beside is not None
    assert found.beside.tile == name_of(6, 0)
    assert told(ledger, name_of(6, 0)).beside == found.history[2]  # section 5 is blurred: the next sharp one


def test_without_a_place_the_tile_beside_it_is_the_last_sharp_one(
    ledger: Ledger, take: Take, rng: np.random.Generator
) -> None:
    for n in range(12):
        take(f"{n:02}.tif", row(spectrum(rng, 2.0 if n > 9 else 0.0)))
    found = told(ledger, "11.tif")
    assert found.history == ()
    assert found.beside is not None
    assert found.beside.tile == "09.tif"


@pytest.mark.usefixtures("sharp")
def test_what_was_taken_before_is_told_with_its_blur_and_who_decided(
    ledger: Ledger, run: Run, take: Take, rng: np.random.Generator
) -> None:
    take("t.tif", row(spectrum(rng, 3.0)), at(4))
    bad = find_tile(ledger, "t.tif")
    assert bad is not None
    ledger.decide(run.run_id, Decision(bad[1].tile_id, "retake", "Ada", 1.8e9, "edge"))
    take("t.tif", row(spectrum(rng)), at(4))
    found = told(ledger, "t.tif")
    assert (found.generation, found.verdict) == (2, "in_focus")
    (earlier,) = found.earlier
    assert earlier.verdict == "out_of_focus"
    assert earlier.blur_px == pytest.approx(3.0, abs=0.3)
    text = said(ledger, "t.tif")
    assert "taken again: was" in text
    assert "to be taken again by Ada, 2027-01-1" in text
    assert "(edge)" in text
    assert explain(ledger, *bad).taken_again_as is None  # as it was read, before it was taken again
    (old,) = ledger.earlier_takes(found_row(ledger, "t.tif"))
    assert explain(ledger, run, old).taken_again_as == "t.tif"
    assert explain(ledger, run, old).verdict == "out_of_focus"


def found_row(ledger: Ledger, name: str) -> Any:
    found = find_tile(ledger, name)
    assert found is not None
    return found[1]


# --- Finding ----------------------------------------------------------------------------------------------------


def test_a_tile_is_found_by_name_and_by_path(
    ledger: Ledger, take: Take, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    take("s1/t.tif", row(None))
    (tmp_path / RUN / "s1").mkdir(parents=True)
    for name in ("s1/t.tif", str(tmp_path / RUN / "s1" / "t.tif")):
        assert found_row(ledger, name).path == "s1/t.tif"
    monkeypatch.chdir(tmp_path / RUN / "s1")
    assert found_row(ledger, "t.tif").path == "s1/t.tif"
    assert find_tile(ledger, "u.tif") is None


def test_a_page_is_found_and_a_stack_needs_one(ledger: Ledger, take: Take) -> None:
    take("stack.tif", row(None), pages=3)
    assert found_row(ledger, "stack.tif#page=2").page == 2
    assert find_tile(ledger, "stack.tif#page=3") is None
    with pytest.raises(LedgerError, match=r"holds 3 tiles: say which, like stack\.tif#page=2"):
        find_tile(ledger, "stack.tif")


def test_of_two_runs_the_last_opened_counts_unless_one_is_named(ledger: Ledger, run: Run, take: Take) -> None:
    take("t.tif", row(None))
    other = ledger.open_run(str(Path(run.root).parent / "other"), FocusParams(), layout="auto", endpoint="local")
    ledger.see(other.run_id, [(SeenFile("t.tif", 1, 1), None)], 1.0)
    assert [find_tile(ledger, "t.tif", each)[0].run_id for each in (None, run)] == [other.run_id, run.run_id]  # type: ignore[index]


def test_a_wrong_name_suggests_the_nearest(ledger: Ledger, take: Take) -> None:
    for name in ("s1/a_r0_c0.tif", "s1/a_r0_c1.tif", "s2/b.tif"):
        take(name, row(None))
    assert nearest_tile(ledger, "s1/a_r0_c2.tif") in ("s1/a_r0_c0.tif", "s1/a_r0_c1.tif")
    assert nearest_tile(ledger, "b.tif") == "s2/b.tif"
    assert nearest_tile(ledger, "zzzzzz") is None


# --- Files without a run ----------------------------------------------------------------------------------------


def test_a_file_in_no_run_has_nothing_to_compare_with(tmp_path: Path, rng: np.random.Generator) -> None:
    tifffile.imwrite(tmp_path / "t.tif", as_uint8(texture((256, 256), rng)))
    found = explain_file(str(tmp_path / "t.tif"))
    assert (found.verdict, found.run_id, found.usual_tiles) == ("cannot_tell", None, 0)
    assert "nothing to compare it with" in "\n".join(lines(found))


def test_a_file_that_is_no_image_says_so(tmp_path: Path) -> None:
    (tmp_path / "t.tif").write_bytes(b"no image")
    found = explain_file(str(tmp_path / "t.tif"))
    assert found.trouble is not None
    assert (found.verdict, found.trouble.code) == ("failed", "not_an_image")


# --- JSON -------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("sharp")
def test_all_explanations_have_the_same_keys_of_plain_types(
    ledger: Ledger, take: Take, rng: np.random.Generator
) -> None:
    take("bad.tif", row(spectrum(rng, RIGHT_HALF)), at(4))
    take("failed.tif", failed("corrupt"))
    take("new.tif", None)
    found = [told(ledger, name).to_dict() for name in ("bad.tif", "failed.tif", "new.tif")]
    assert len({tuple(each) for each in found}) == 1
    for each in found:
        assert json.loads(json_text(each)) == plain(each)


def plain(value: Any) -> Any:
    """Tuples as lists."""
    if isinstance(value, Mapping):
        return {key: plain(each) for key, each in value.items()}
    return [plain(each) for each in value] if isinstance(value, Sequence) and not isinstance(value, str) else value


def test_the_rule_of_the_run_is_told(ledger: Ledger, run: Run, take: Take, rng: np.random.Generator) -> None:
    ledger.set_rule(run.run_id, {"max_blur_px": 1.7}, 1.0)
    take("t.tif", row(spectrum(rng)))
    assert told(ledger, "t.tif").rule == VerdictRule(max_blur_px=1.7)
