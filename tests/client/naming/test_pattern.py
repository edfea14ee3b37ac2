"""Users' own patterns: the positions they give, and those refused before they can do harm."""

from __future__ import annotations

import time

import pytest

from mhfd_client.naming import LayoutError, Position, open_layout
from mhfd_client.naming.pattern import EXAMPLE, MAX_PATH, RegexLayout, repeated_choice


def at(pattern: str, path: str) -> Position | None:
    return RegexLayout(pattern).position(path)


def test_the_example_works() -> None:
    assert at(EXAMPLE, "0031/cam_r4_c17.tif") == Position(section=31, row=4, col=17)


def test_all_five_groups_are_taken() -> None:
    pattern = r"(?P<section>\d)(?P<grid>\d)(?P<row>\d)(?P<col>\d)(?P<tile>\d)"
    assert at(pattern, "12345.tif") == Position(1, 2, 3, 4, 5)


def test_a_path_that_the_pattern_is_not_in_is_no_tile() -> None:
    assert at(EXAMPLE, "0031/montage.tif") is None


def test_of_several_matches_the_first_counts() -> None:
    assert at(r"s(?P<section>\d+)", "s1/s2.tif") == Position(section=1)


def test_a_group_that_takes_no_part_is_silent() -> None:
    assert at(r"(?:s(?P<section>\d+)_)?t(?P<tile>\d+)", "t7.tif") == Position(tile=7)


def test_a_group_that_is_no_number_is_silent() -> None:
    assert at(r"(?P<row>[A-Z])(?P<col>\d+)", "B7.tif") == Position(col=7)


def test_a_number_too_long_for_a_column_of_the_ledger_is_silent() -> None:
    assert at(r"(?P<section>\d+)", f"{10**10}.tif") == Position()


def test_a_path_too_long_to_match_is_a_tile_without_a_place() -> None:
    assert at(EXAMPLE, "a" * (MAX_PATH + 1)) == Position()


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        (r"(?P<row>\d+", "not a regular expression: missing \\)"),
        (r"(?P<row>a{99999999999999999999})", "not a regular expression"),
        (r"\d+", "none of the named groups"),
        (r"(?P<sektion>\d+)", r"did you mean 'section'"),
        (r"(?P<zzz>\d+)", "known: "),
        (r"(?P<row>\d+)" + "x" * 1000, "longer than"),
    ],
)
def test_a_pattern_that_cannot_be_used_is_refused_with_an_example(pattern: str, why: str) -> None:
    with pytest.raises(LayoutError, match=why) as caught:
        RegexLayout(pattern)
    assert EXAMPLE in str(caught.value)


def test_a_layout_that_cannot_be_used_is_bad_configuration() -> None:
    with pytest.raises(LayoutError) as caught:
        RegexLayout("(")
    assert caught.value.exit_code == 78


@pytest.mark.parametrize(
    "pattern",
    [
        r"(a+)+",
        r"(?:a*)*b",
        r"((a|b)c)*",
        r"(a|aa)+$",
        r"([0-9]+_?)*x",
        r"(x{1,2}){5}",
        r"(?:(?:a?)){2,}",
        r"(?P<row>(\d+)+)",
        r"((a+)b)+",
        r"(a+)++",
    ],
)
def test_a_repeated_group_that_varies_is_found(pattern: str) -> None:
    assert repeated_choice(pattern) is not None


@pytest.mark.parametrize(
    "pattern",
    [
        EXAMPLE,
        r"(?:tif|tiff)?$",
        r"(?:_[a-z]{3}){2}",
        r"[(+*)]+",
        r"[]+)]*",
        r"\(a+\)+",
        r"(?i)a+(?=b)",
        r"(?:a+)?b",
        r"(?:ab){}+",
    ],
)
def test_a_harmless_pattern_is_not(pattern: str) -> None:
    assert repeated_choice(pattern) is None


@pytest.mark.parametrize("pattern", [r"(a+)+(?P<row>\d)", r".*.*.*.*.*.*.*.*(?P<row>\d+)x", r"(?P<row>\d+).*.*.*.*x"])
def test_a_pattern_that_would_never_end_is_refused_soon(pattern: str) -> None:
    start = time.process_time()
    with pytest.raises(LayoutError):
        RegexLayout(pattern)
    assert time.process_time() - start < 10  # measured: 0.5 s


def test_regex_needs_a_pattern() -> None:
    with pytest.raises(LayoutError, match="needs a pattern, for example"):
        open_layout("regex")


@pytest.mark.parametrize("name", ["auto", "plain", "atlas"])
def test_no_other_layout_takes_a_pattern(name: str) -> None:
    with pytest.raises(LayoutError, match="takes no pattern"):
        open_layout(name, pattern=EXAMPLE)
