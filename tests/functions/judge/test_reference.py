"""What is kept of a run for the next one, written and read."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mhfd.contract import FocusResult, ParamsError
from mhfd.judge import Reference, Setting, judge, references_of, setting_of
from mhfd.judge.reference import KEPT_TILES, SURE_TILES
from mhfd.spectrum import Spectrum
from spectra import row, run, spectrum

SETTING = Setting(1024, 2048, 4.0, 1.5, "fei", 3)


def kept(rng: np.random.Generator, sigma: float = 0.0, n: int = 20) -> Reference:
    """The reference of a run whose tiles are all of one blur."""
    return Reference("run 1", SETTING, n, tuple(spectrum(rng, sigma).pack() for _ in range(n)))


# --- Settings -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("setting", [SETTING, Setting(1, 1, None, None, None, 1)])
def test_a_setting_survives_json(setting: Setting) -> None:
    assert Setting.from_list(json.loads(json.dumps(list(setting)))) == setting


def test_whole_numbers_are_sizes_too() -> None:
    assert Setting.from_list([1024, 2048, 4, 1, None, 3]) == Setting(1024, 2048, 4.0, 1.0, None, 3)


@pytest.mark.parametrize(
    "given",
    [
        None, 3, "1024", {}, [], [1024, 2048], ["a", 1, None, None, None, 1], [1, 1, "4", None, None, 1],
        [1.5, 1, None, None, None, 1], [1, 1, None, None, 7, 1],
    ],
)  # fmt: skip
def test_what_is_no_setting_is_refused(given: Any) -> None:
    with pytest.raises(ParamsError, match="setting"):
        Setting.from_list(given)


def test_a_setting_is_told_in_words() -> None:
    assert str(SETTING) == "1024 x 2048 px, 4 nm/px, 1.5 us, fei, measure 3"
    assert str(Setting(1, 2, None, None, None, 1)) == "1 x 2 px, measure 1"


@pytest.mark.parametrize(
    ("size", "taken"),
    [(4.0012, 4.0), (4.06, 4.06), (None, None), (float("nan"), None), pytest.param(10**400, None, id="10^400")],
)
def test_sizes_count_to_three_digits(size: Any, taken: float | None) -> None:
    assert setting_of(row(None, pixel_size_nm=size)).pixel_size_nm == taken


# --- References -----------------------------------------------------------------------------------------------------


def test_a_reference_survives_json(rng: np.random.Generator) -> None:
    reference = kept(rng)
    assert Reference.from_dict(json.loads(json.dumps(reference.to_dict()))) == reference


@pytest.mark.parametrize(
    "damage",
    [
        lambda given: None,
        lambda given: [],
        lambda given: {},
        lambda given: {**given, "name": 3},
        lambda given: {**given, "tiles": "many"},
        lambda given: {**given, "spectra": []},
        lambda given: {**given, "spectra": "1:AAAA"},
        lambda given: {**given, "spectra": [given["spectra"][0][:-4]]},
        lambda given: {**given, "spectra": [None]},
        lambda given: {**given, "spectra": [7]},
        lambda given: {**given, "setting": None},
        lambda given: {key: value for key, value in given.items() if key != "setting"},
    ],
)
def test_what_is_no_reference_is_refused(damage: Callable[[Any], Any], rng: np.random.Generator) -> None:
    with pytest.raises(ParamsError):
        Reference.from_dict(damage(kept(rng, n=2).to_dict()))


def test_a_reference_whose_noise_is_not_known_harms_nothing(rng: np.random.Generator) -> None:
    """It can be read, but tells nothing."""
    whole = spectrum(rng)
    whole.along_rows[:] = np.nan
    rows = run(rng, [*np.zeros(12), 2.0])
    bad = Reference("bad", setting_of(rows[0]), 8, (whole.pack(),) * 8)
    assert [each.verdict for each in judge(rows, references=[bad])] == ["in_focus"] * 12 + ["out_of_focus"]


@pytest.mark.parametrize(("sigma", "blurrier"), [(0.0, False), (0.3, False), (1.0, True), (2.0, True), (3.0, True)])
def test_the_blurrier_of_two_is_known(sigma: float, blurrier: bool, rng: np.random.Generator) -> None:
    assert kept(rng, sigma).is_blurrier_than(kept(rng)) is blurrier
    assert not kept(rng).is_blurrier_than(kept(rng, sigma))


# --- What a run leaves ----------------------------------------------------------------------------------------------


def test_sharp_tiles_are_kept_and_their_number_is_bounded(rng: np.random.Generator) -> None:
    rows = run(rng, np.tile([0.0, 0.0, 2.0], 60))
    (reference,) = references_of(judge(rows), name="run 7")
    blurred = {each.spectrum for each in rows[2::3]}
    assert (reference.name, reference.setting) == ("run 7", setting_of(rows[0]))
    assert SURE_TILES <= len(reference.spectra) <= KEPT_TILES
    assert not blurred & set(reference.spectra)
    assert reference.tiles <= 120


def test_each_setting_has_its_own(rng: np.random.Generator) -> None:
    sizes = (4.0, 8.0)
    rows = [row(spectrum(rng), pixel_size_nm=sizes[i % 2]) for i in range(40)]
    assert sorted(each.setting.pixel_size_nm or 0 for each in references_of(judge(rows), name="run")) == [4.0, 8.0]


def test_a_run_with_too_few_sharp_tiles_leaves_none(rng: np.random.Generator) -> None:
    rows = run(rng, np.zeros(SURE_TILES - 1))
    assert references_of(judge(rows), name="run") == []
    assert references_of(run(rng, np.zeros(20)), name="not judged") == []
    assert references_of(judge([row(None, f"{i}.tif") for i in range(20)]), name="without spectra") == []


def test_what_is_kept_judges_the_next_run(rng: np.random.Generator) -> None:
    def told(rows: list[FocusResult]) -> list[str | None]:
        return [each.verdict for each in judge(rows, references=references)]

    references = references_of(judge(run(rng, np.zeros(20))), name="run 1")
    assert told(run(rng, [2.0, 0.0])) == ["out_of_focus", "in_focus"]


def test_what_is_kept_can_be_unpacked(rng: np.random.Generator) -> None:
    (reference,) = references_of(judge(run(rng, np.zeros(20))), name="run 1")
    assert all(Spectrum.unpack(each).share == 1 for each in reference.spectra)
