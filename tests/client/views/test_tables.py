"""Tables for a terminal and as CSV, and the status: one line is one line, whatever the names are."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from contextlib import redirect_stdout

import pytest
from hypothesis import given, settings
from rich.text import Text

from hostile import NAMES, TEXTS, row
from mhfd.contract import FocusParams, FocusResult, Remark
from mhfd.text import visible
from mhfd_client.doctor import Check
from mhfd_client.ledger import Json, open_ledger
from mhfd_client.views import terminal
from mhfd_client.views.status import lines, read_status
from mhfd_client.views.width import width_of

OBEYED = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printed(show: Callable[[], object]) -> str:
    out = io.StringIO()
    with redirect_stdout(out):
        show()
    return out.getvalue()


def hostile_rows(name: str) -> list[FocusResult]:
    return [row(name, other=name), row(f"{name}/b", message=name, other=name)]


@settings(max_examples=40, deadline=None)
@given(TEXTS)
def test_the_table_is_lines_of_text_that_a_terminal_only_shows(name: str) -> None:
    out = printed(lambda: terminal.print_table(hostile_rows(name), show_all=True))
    assert not OBEYED.search(out)
    assert out.encode()
    plain = printed(lambda: terminal.print_table(hostile_rows("t.tif"), show_all=True))
    with_folder = out.count("\n") - plain.count("\n")
    assert with_folder in (0, 1)  # the folder that both names share
    assert len(re.findall("^failed: ", out, flags=re.MULTILINE)) == 1


@pytest.mark.parametrize("name", NAMES)
def test_the_table_shows_names_as_they_are_written(name: str) -> None:
    """No markup, no emoji: a name is not for rich to read."""
    out = printed(lambda: terminal.print_table([row(name)], show_all=True))
    assert visible(name.rpartition("/")[2]) in out


@settings(max_examples=100, deadline=None)
@given(TEXTS)
def test_csv_is_a_line_a_tile_and_no_cell_is_a_formula(name: str) -> None:
    out = io.BytesIO()
    terminal.write_csv(hostile_rows(name), out)
    text = out.getvalue().decode("utf-8")
    assert not OBEYED.search(text.replace("\r\n", "\n"))
    found = list(csv.reader(io.StringIO(text)))
    assert len(text.splitlines()) == len(found) == 3
    assert found[1][0] in (visible(name), f"'{visible(name)}")
    numbers = {"-0.001"}
    for each in (cell for cells in found for cell in cells if cell not in numbers):
        assert each.lstrip()[:1] not in tuple("=+-@\uff1d\uff0b\uff0d\uff20")


def test_columns_stand_below_their_headings_whatever_the_names() -> None:
    out = printed(lambda: terminal.print_table([row("r/a.tif"), row("r/\u5207\u7247.tif")], show_all=True))
    heading, *tiles = out.splitlines()[1:4]
    assert all(width_of(line) == width_of(heading) for line in tiles)
    at = width_of(heading[: heading.index("verdict")])
    assert [width_of(line[: line.index("in_focus")]) for line in tiles] == [at, at]


HEADING = "tile   verdict       blur px  focus score  features/Mpx"
TABLE = [
    f"\x1b[1m{HEADING}\x1b[0m",
    "a.tif  \x1b[32min_focus    \x1b[0m                 12.50             3",
    "b.tif  \x1b[1;31mout_of_focus\x1b[0m                  2.00             3",
]


@pytest.mark.parametrize(("columns", "fits"), [(0, True), (-1, False)])
def test_a_terminal_shows_verdicts_in_colours_and_as_many_columns_as_fit(
    columns: int, fits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("COLUMNS", str(len(HEADING) + columns)), ("FORCE_COLOR", "1"), ("TERM", "xterm")):
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("NO_COLOR", raising=False)
    rows = [row("r/a.tif", focus_score=12.5), row("r/b.tif", verdict="out_of_focus")]
    found = printed(lambda: terminal.print_table(rows, show_all=True)).splitlines()[1:4]
    assert found == TABLE if fits else found[0] == f"\x1b[1m{HEADING.split('  focus')[0]}\x1b[0m"


def broken_off(path: str, rows: int) -> FocusResult:
    return row(path, remarks=(Remark(code="constant_rows", message=f"the last {rows} of 1024 rows are constant"),))


def test_a_remark_stands_below_the_table_also_of_a_tile_that_is_in_focus() -> None:
    out = printed(lambda: terminal.print_table([row("r/a.tif", remarks=()), broken_off("r/b.tif", 512)], show_all=True))
    assert "remark: r/b.tif: the last 512 of 1024 rows are constant (constant_rows)\n" in out


def test_the_same_remark_of_many_tiles_is_one_line() -> None:
    rows = [broken_off(f"r/{n}.tif", 100 + n) for n in range(5)]
    out = printed(lambda: terminal.print_table(rows, show_all=True))
    (line,) = [line for line in out.splitlines() if line.startswith("remark: ")]
    assert line == (
        "remark: 5 tiles: the last 100 of 1024 rows are constant (constant_rows): 0.tif, 1.tif, 2.tif and 2 more"
    )


def test_csv_has_the_codes_of_the_remarks() -> None:
    remarks = (Remark(code="lossy", message="x"), Remark(code="saturated", message="y"))
    out = io.BytesIO()
    terminal.write_csv([row("a.tif", remarks=remarks), row("b.tif", remarks=())], out)
    assert [each["remarks"] for each in csv.DictReader(io.StringIO(out.getvalue().decode()))] == ["lossy saturated", ""]


def test_a_negative_number_in_csv_is_a_number() -> None:
    out = io.BytesIO()
    terminal.write_csv([row("t.tif", vollath_f4=-0.5)], out)
    (found,) = csv.DictReader(io.StringIO(out.getvalue().decode()))
    assert float(found["vollath_f4"]) == -0.5


@settings(max_examples=40, deadline=None)
@given(TEXTS)
def test_json_on_the_screen_is_ascii_and_valid(name: str) -> None:
    out = io.BytesIO()
    terminal.write_results(hostile_rows(name), "json", out)
    assert out.getvalue().isascii()
    assert json.dumps([each["path"] for each in json.loads(out.getvalue())], ensure_ascii=False).encode()


@settings(max_examples=40, deadline=None)
@given(TEXTS)
def test_a_check_of_the_doctor_is_two_lines(text: str) -> None:
    out = printed(lambda: terminal.print_check(Check(text, "FAIL", text, text or "x")))
    assert not OBEYED.search(out)
    assert out.count("\n") == 2


AT = "2026-01-31T14:30:00+00:00"


@pytest.fixture(scope="module")
def nothing(tmp_path_factory: pytest.TempPathFactory) -> Json:
    """The status of a run without tiles."""
    with open_ledger(tmp_path_factory.mktemp("ledger") / "l.db") as ledger:
        return read_status(ledger, ledger.open_run("/run", FocusParams(), layout="auto", endpoint="local"), 1e9)


def filled(status: Json, text: str) -> Json:
    """The same with a watcher, a notice and trouble of each kind, all of which say `text`."""
    watcher = {
        "alive": True, "pid": text, "host": text, "since": AT, "last_sign_at": AT, "last_scan_at": AT,
        "transfer": text, "notices": [{"text": text, "since": AT}],
    }  # fmt: skip
    return {
        **status,
        "run": {**status["run"], "folder": text, "endpoint": text},
        "watcher": watcher,
        "counts": {**status["counts"], "failed": 1},
        "stalled": 1,
        "missing": 1,
        "per_minute": 1.0,
        "rate_results": 5,
        "rate_s": 300.0,
        "eta_s": 60,
        "stalled_tiles": [{"tile": text or "x", "reason": text, "changed_at": AT}],
        "missing_tiles": [{"tile": text or "x", "position": None, "why": text, "since": AT}],
        "failed_tiles": [{"tile": text or "x", "code": text, "message": text, "at": AT}],
    }


@settings(max_examples=40, deadline=None)
@given(TEXTS)
def test_the_status_is_the_same_lines_whatever_the_texts_say(nothing: Json, text: str) -> None:
    shown = Text("\n").join(lines(filled(nothing, text))).plain
    assert not OBEYED.search(shown)
    assert shown.count("\n") == Text("\n").join(lines(filled(nothing, "x"))).plain.count("\n") > 7


def test_one_tile_is_one_tile(nothing: Json) -> None:
    assert terminal.summary([row()]).startswith("1 tile: ")
    assert terminal.summary([row(), row()]).startswith("2 tiles: ")
    assert "1 tile a minute" in Text("\n").join(lines(filled(nothing, "x"))).plain
