"""Text from outside where it leaves: on a terminal, in a cell, in JSON."""

from __future__ import annotations

import json
import unicodedata
from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostile import NAMES, TEXTS
from mhfd.text import cell, counted, is_unicode, json_text, visible

ORDERS = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("run/s0001_r0_c0.tif", "run/s0001_r0_c0.tif"),
        (r"C:\run\t.tif", r"C:\run\t.tif"),
        ("Schnitt ä 切片 🔬.tif", "Schnitt ä 切片 🔬.tif"),
        ("می\u200cخواهم", "می\u200cخواهم"),  # Persian is spelt with a joiner
        ("a\x1b[2Jb", r"a\x1b[2Jb"),
        ("a\x9b2Jb", r"a\x9b2Jb"),
        ("a\x7f\x00b", r"a\x7f\x00b"),
        ("a\r\n\tb", r"a\r\n\tb"),
        ("a\u2028\u2029b", r"a\u2028\u2029b"),
        ("\u202efit.tif", r"\u202efit.tif"),
        (b"M\xe9tal".decode(errors="surrogateescape"), r"M\xe9tal"),
        ("\ud800", r"\ud800"),
    ],
)
def test_what_a_terminal_obeys_or_hides_is_written_out(text: str, shown: str) -> None:
    assert visible(text) == shown


@given(TEXTS)
def test_visible_text_is_one_line_that_a_terminal_only_shows(text: str) -> None:
    shown = visible(text)
    assert not any(unicodedata.category(each) in ("Cc", "Cs", "Zl", "Zp") for each in shown)
    assert not any(unicodedata.bidirectional(each) in ORDERS for each in shown)
    assert len(shown.splitlines()) <= 1
    assert shown.encode().decode() == shown == visible(shown)


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@A1", "  =1", "\uff1d1", "\uff0b1", "\uff0d1", "\uff20A1"])
def test_a_text_that_a_spreadsheet_would_compute_gets_a_quote(text: str) -> None:
    assert cell(text) == f"'{text}"


@given(TEXTS)
def test_no_cell_begins_as_a_formula(text: str) -> None:
    shown = str(cell(text))
    assert shown.lstrip()[:1] not in tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")
    assert shown == visible(shown)


@given(st.floats(allow_nan=False) | st.integers() | st.none())
def test_a_number_stays_a_number(value: float | None) -> None:
    assert cell(value) is value


def test_a_time_in_a_cell_is_iso_8601() -> None:
    assert cell(datetime(2026, 1, 31, 14, 30, tzinfo=timezone.utc)) == "2026-01-31T14:30:00+00:00"


@given(st.dictionaries(TEXTS, st.lists(TEXTS | st.integers() | st.none())))
def test_json_is_ascii_that_every_reader_takes(value: object) -> None:
    text = json_text(value)
    assert text.isascii()
    assert json.dumps(json.loads(text), ensure_ascii=False).encode()  # no half of a pair is left


@pytest.mark.parametrize("name", [name for name in NAMES if is_unicode(name)])
def test_json_keeps_every_text_that_is_unicode(name: str) -> None:
    assert json.loads(json_text({name: [name]})) == {name: [name]}


def test_json_refuses_what_is_no_number() -> None:
    with pytest.raises(ValueError):
        json_text(float("nan"))


def test_a_number_agrees_with_its_noun() -> None:
    assert [counted(n, "tile") for n in (0, 1, 2)] == ["0 tiles", "1 tile", "2 tiles"]
    assert counted(1, "copy", "copies") == "1 copy"
    assert counted(3, "copy", "copies") == "3 copies"
