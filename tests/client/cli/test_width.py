"""On a terminal of any width each name is whole, or cut in its middle where a picture is drawn again and again."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from rich.console import Console
from rich.text import Text

from hostile import row
from mhfd.contract import FocusParams
from mhfd_client.judge.retakes import Retake
from mhfd_client.ledger import Json, Ledger, Run, SeenFile, open_ledger
from mhfd_client.naming.position import Position
from mhfd_client.views import retakes, terminal
from mhfd_client.views.status import lines, read_status
from mhfd_client.views.width import padded, shortened, width_of

LONG = "stack_2026-01-31_merlin_grid_0007_section_00012_region_3_row_0004_col_0017_take_2.tif"
WIDE = "切片" * 20 + "_r0_c1.tif"
NAMES = ("a.tif", LONG, WIDE)
WIDTHS = (40, 60, 80, 200)


@pytest.mark.parametrize("width", range(0, 100, 7))
@pytest.mark.parametrize("name", NAMES)
def test_a_shortened_name_fits_and_keeps_both_ends(name: str, width: int) -> None:
    short = shortened(name, width)
    assert width_of(short) <= width
    if width_of(name) <= width:
        assert short == name
    elif width >= 12:
        begin, _, end = short.partition("…")
        assert name.startswith(begin) and name.endswith(end) and begin and end


def test_a_wide_letter_takes_two_columns() -> None:
    assert (width_of("切片"), width_of(padded("切片", 7)), padded("abc", 2)) == (4, 7, "abc")


def terminal_shows(width: int, names: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> str:
    """What `mhfd score` prints on a terminal of this width, as the lines that the program ends."""
    out = io.StringIO()
    monkeypatch.setattr(
        terminal, "Console", lambda **_: Console(file=out, width=width, force_terminal=True, color_system=None)
    )
    results = [row(name, verdict="out_of_focus", blur_px=2.5, remarks=()) for name in names]
    terminal.print_table(results, show_all=True)
    return out.getvalue()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("names", [NAMES, ("a.tif", "b.tif"), (LONG,), (WIDE, "b.tif")])
def test_each_name_of_a_table_is_whole_on_one_line(
    width: int, names: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = terminal_shows(width, names, monkeypatch)
    rows = [line for line in shown.splitlines() if any(name in line for name in names)]
    assert len(rows) == len(names)  # so it can be copied, however the terminal folds the line
    assert shown.count("out_of_focus") == len(names)
    for line in shown.splitlines():
        may_be_longer = line in names or line.startswith((f"{len(names)} tile", "in "))
        assert width_of(line) <= width or may_be_longer, line


def test_a_wide_terminal_has_all_measures_and_a_narrow_one_the_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    wide, narrow = (terminal_shows(width, ("a.tif",), monkeypatch) for width in (120, 40))
    assert "anisotropy" in wide and "focus score" in wide
    assert "anisotropy" not in narrow and "blur px" in narrow
    assert re.search(r"^  out_of_focus  blur 2.5 px  score 2.00$", terminal_shows(40, (LONG,), monkeypatch), re.M)


@pytest.fixture
def run(tmp_path: Path) -> tuple[Ledger, Run]:
    """A run whose tiles with these names failed."""
    ledger = open_ledger(tmp_path / "l.db")
    opened = ledger.open_run(str(tmp_path / LONG), FocusParams(), layout="auto", endpoint="local")
    for k, name in enumerate(NAMES):
        ledger.see(opened.run_id, [(SeenFile(name, 10, 1), Position(section=1, row=0, col=k))], 100.0)
        (tile,) = ledger.take(opened.run_id, "seen", 9, now=0)
        ledger.store([(tile.tile_id, row(name, message="it is damaged"))], 200.0)
    return ledger, opened


def status_of(run: tuple[Ledger, Run]) -> Json:
    with run[0]:
        return read_status(*run, 300.0)


def test_a_printed_status_has_whole_names(run: tuple[Ledger, Run]) -> None:
    text = "\n".join(line.plain for line in lines(status_of(run)))
    assert all(f"  {name}: " in text for name in NAMES)


@pytest.mark.parametrize("width", WIDTHS)
def test_a_status_that_is_drawn_again_breaks_no_name(run: tuple[Ledger, Run], width: int) -> None:
    out = io.StringIO()
    Console(file=out, width=width, color_system=None).print(Text("\n").join(lines(status_of(run), width)))
    shown = out.getvalue().splitlines()
    assert all(width_of(line) <= width for line in shown)
    for name in NAMES:
        assert any(line.lstrip().startswith(f"{shortened(name, width - 3)}:") for line in shown), name


@pytest.mark.parametrize("width", [None, *WIDTHS])
def test_names_of_retakes_stand_below_each_other_only_where_there_is_room(
    run: tuple[Ledger, Run], width: int | None
) -> None:
    with run[0] as ledger:
        entries = [Retake(each, row(each.name, message="it is damaged")) for each in ledger.rows(run[1].run_id)]
    _, *tiles, _ = retakes.table(entries, width)
    assert all(f"  {name}" in line for name, line in zip(NAMES, tiles, strict=True))
    places = {width_of(line.partition("row 0")[0]) for line in tiles}
    assert (len(places) == 1) == (width is None or width == 200)
