"""A run's verdicts from its ledger, and what it keeps for the next one."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mhfd.contract import FocusParams, FocusResult
from mhfd.judge import Reference
from mhfd_client.judge.run import DEFAULT_INSTRUMENT, judge_run, judged_keys, keep_references, standard_of
from mhfd_client.ledger import Ledger, Run, SeenFile, open_ledger
from spectra import ABOUT, row, run, spectrum

PARAMS = FocusParams()


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    with tempfile.TemporaryDirectory() as folder, open_ledger(Path(folder) / "ledger.db") as found:
        yield found


def stored(ledger: Ledger, results: Sequence[FocusResult], root: str, instrument: str | None = None) -> Run:
    """A run whose tiles have these results."""
    opened = ledger.open_run(root, PARAMS, layout="auto", endpoint="local")
    if instrument is not None:
        ledger.set_rule(opened.run_id, {"instrument": instrument}, 1.0)
    for n, each in enumerate(results):
        result = replace(each, path=f"{n:04}.tif", provenance=replace(ABOUT, tile_sha256=f"{root}{n}"))
        ledger.see(opened.run_id, [(SeenFile(result.path, 10, n + 1), None)], float(n))
        (tile,) = ledger.take(opened.run_id, "seen", 9, now=0)
        ledger.finish(tile.tile_id, [(f"{root}{n}", (4, 4))], float(n))
        ledger.store([(tile.tile_id, result)], float(n))
    return opened


def verdicts(ledger: Ledger, run: Run) -> list[str | None]:
    return [tile.result.verdict for tile in judge_run(ledger, run.run_id)]


def kept_by(ledger: Ledger, instrument: str = DEFAULT_INSTRUMENT) -> list[int | None]:
    """Which runs the references of an instrument are of."""
    return [each.run_id for each in ledger.references(instrument)]


def test_a_run_is_judged_from_its_rows(ledger: Ledger, rng: np.random.Generator) -> None:
    found = judge_run(ledger, stored(ledger, run(rng, [*np.zeros(12), 2.0]), "a").run_id)
    assert [tile.name for tile in found] == [f"{n:04}.tif" for n in range(13)]
    assert [tile.result.verdict for tile in found] == ["in_focus"] * 12 + ["out_of_focus"]
    keys = judged_keys(found[-1].result)
    assert keys["blur_px"] == pytest.approx(2.0, abs=0.2)
    assert keys["worst_block"] and keys["blur_map_px"] and keys["reference"]


def test_the_first_run_keeps_its_sharp_tiles(ledger: Ledger, rng: np.random.Generator) -> None:
    first = stored(ledger, run(rng, [*np.zeros(20), *np.full(5, 2.0)]), "a", "sem1")
    (kept,) = keep_references(ledger, first.run_id)
    assert ledger.references() == [kept]
    assert (kept.instrument, kept.run_id) == ("sem1", first.run_id)
    assert kept.setting == str(Reference.from_dict(kept.reference).setting)


def test_a_run_with_too_few_sharp_tiles_keeps_none(ledger: Ledger, rng: np.random.Generator) -> None:
    assert keep_references(ledger, stored(ledger, run(rng, np.zeros(5)), "a").run_id) == []
    assert keep_references(ledger, stored(ledger, [row(None)] * 20, "b").run_id) == []
    assert ledger.references() == []


@pytest.mark.parametrize(("sigma", "replaced"), [(0.0, True), (1.2, False), (2.0, False)])
def test_only_tiles_that_are_no_blurrier_take_the_place_of_kept_ones(
    ledger: Ledger, sigma: float, replaced: bool, rng: np.random.Generator
) -> None:
    """A run that is blurred throughout must not become what the next one is compared with."""
    first = stored(ledger, run(rng, np.zeros(20)), "a")
    keep_references(ledger, first.run_id)
    second = stored(ledger, run(rng, np.full(20, sigma)), "b")
    keep_references(ledger, second.run_id)
    assert kept_by(ledger) == [second.run_id if replaced else first.run_id]


def test_who_asks_for_it_replaces_what_is_kept(ledger: Ledger, rng: np.random.Generator) -> None:
    """The microscope's best may have become worse, for good."""
    keep_references(ledger, stored(ledger, run(rng, np.zeros(20)), "a").run_id, "sem1")
    blurrier = stored(ledger, run(rng, [*np.zeros(20), *np.full(40, 0.6)]), "b")
    keep_references(ledger, blurrier.run_id, "sem1", anyway=True)
    assert kept_by(ledger, "sem1") == [blurrier.run_id]


def test_what_is_kept_judges_the_first_tiles_of_the_next_run(ledger: Ledger, rng: np.random.Generator) -> None:
    first = stored(ledger, run(rng, np.zeros(20)), "a", "sem1")
    keep_references(ledger, first.run_id)
    second = stored(ledger, run(rng, [0.0, 2.0, 0.0]), "b", "sem1")
    assert verdicts(ledger, second) == ["in_focus", "out_of_focus", "in_focus"]
    assert f"run {first.run_id}" in str(judge_run(ledger, second.run_id)[0].result.reference)


def test_a_run_that_is_blurred_throughout_is_found_by_what_is_kept(ledger: Ledger, rng: np.random.Generator) -> None:
    keep_references(ledger, stored(ledger, run(rng, np.zeros(20)), "a").run_id)
    bad = stored(ledger, run(rng, np.full(30, 2.0)), "b")
    assert verdicts(ledger, bad) == ["out_of_focus"] * 30


def test_another_instrument_has_its_own(ledger: Ledger, rng: np.random.Generator) -> None:
    keep_references(ledger, stored(ledger, run(rng, np.zeros(20)), "a", "sem1").run_id)
    other = stored(ledger, run(rng, [0.0, 2.0, 0.0]), "b", "sem2")
    assert verdicts(ledger, other) == ["cannot_tell"] * 3


def test_another_setting_has_its_own(ledger: Ledger, rng: np.random.Generator) -> None:
    keep_references(ledger, stored(ledger, run(rng, np.zeros(20)), "a").run_id)
    coarse = [row(spectrum(rng), pixel_size_nm=8.0) for _ in range(20)]
    run_id = stored(ledger, coarse, "b").run_id
    assert {tile.result.reference for tile in judge_run(ledger, run_id)} == {"6 tiles of this run"}
    keep_references(ledger, run_id)
    assert len(ledger.references()) == 2


def test_a_run_is_not_judged_by_what_it_left_itself(ledger: Ledger, rng: np.random.Generator) -> None:
    """Judged again, it says what it said."""
    once = stored(ledger, run(rng, np.zeros(20)), "a")
    before = judge_run(ledger, once.run_id)
    keep_references(ledger, once.run_id)
    assert standard_of(ledger, once.run_id).references == ()
    assert judge_run(ledger, once.run_id) == before


@pytest.mark.parametrize("damage", [{"name": 3}, {"setting": []}, {"spectra": ["9:from the future"]}])
def test_a_kept_reference_that_cannot_be_read_does_not_count(
    ledger: Ledger, damage: dict[str, Any], rng: np.random.Generator
) -> None:
    (kept,) = keep_references(ledger, stored(ledger, run(rng, np.zeros(20)), "a").run_id)
    ledger.keep_reference(replace(kept, reference={**kept.reference, **damage}))
    second = stored(ledger, run(rng, np.zeros(20)), "b")
    assert standard_of(ledger, second.run_id).references == ()
    assert [each.run_id for each in keep_references(ledger, second.run_id)] == [second.run_id]
