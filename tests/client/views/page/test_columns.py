"""Tiles as columns, and where they lie."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mhfd_client.views.page.columns import NOWHERE, Columns, Row
from mhfd_client.views.page.places import Cell, Places

NO_CELL = (None, None, None, None)


def cell(row: int, col: int) -> Cell:
    return None, row, col, None


def test_cells_are_numbered_in_order_whatever_comes_first() -> None:
    places = Places()
    places.learn([cell(0, 1), cell(1, 0), cell(0, 0), cell(1, 1), NO_CELL])
    found = [places.place(n, 7, cell(row, col)) for n, (row, col) in enumerate([(0, 0), (0, 1), (1, 0), (1, 1)])]
    assert found == [(7, 0), (7, 1), (7, 2), (7, 3)]
    assert places.columns == 2


def test_a_cell_that_comes_last_changes_no_number() -> None:
    places = Places()
    places.learn([cell(0, 0)])
    places.learn([cell(0, 1)])
    assert places.version == 0
    places.learn([cell(-1, 0)])
    assert places.version == 1 and places.place(1, 1, cell(0, 0)) == (1, 1)


def test_tiles_without_a_place_are_laid_one_after_another() -> None:
    places = Places()
    assert [places.place(n, 5, NO_CELL) for n in (11, 12, 11)] == [(5, 0), (5, 1), (5, 0)]
    assert [places.place(n, None, NO_CELL) for n in range(101)][-1] == (1, 0)
    assert places.columns == 0


def test_a_section_that_fits_no_column_is_nowhere() -> None:
    places = Places()
    places.learn([cell(0, 0)])
    assert places.place(1, 20_261_128, cell(0, 0)) == (NOWHERE, 0)


def test_only_what_changes_is_new() -> None:
    columns = Columns()
    row = Row(1, 1, 0, "in_focus", blur_px=0.42, flag_px=0.51, focus_score=7.31, time_s=1.5)
    assert columns.put(row) and not columns.put(row)
    assert columns.put(replace(row, verdict="out_of_focus"))
    assert columns.counts()["out_of_focus"] == 1 and columns.counts()["in_focus"] == 0


def test_columns_grow() -> None:
    columns = Columns()
    columns.fill([Row(n, n // 10, n % 10, "in_focus", flag_px=n / 1000) for n in range(1, 3001)])
    assert len(columns) == 3000 and columns.flagged_above(2.9005) == 100
    assert columns.row(2999) == Row(2999, 299, 9, "in_focus", flag_px=columns.row(2999).flag_px)  # type: ignore[union-attr]


def test_of_many_changes_those_are_told_that_show() -> None:
    columns = Columns()
    columns.fill([Row(n, 1, n, "todo", blur_px=None if n == 3 else 0.5) for n in (1, 2, 3)])
    assert columns.change([3, 2, 1], {"blur_px": [float("nan"), 0.50001, 0.6]}) == [1]
    assert [row.blur_px for row in columns.of_section(1)] == [pytest.approx(0.6), 0.5, None]


def test_a_preview_counts_only_what_a_threshold_can_change() -> None:
    columns = Columns()
    columns.fill([Row(1, 1, 0, "cannot_tell", flag_px=3.0), Row(2, 1, 1, "astigmatic", flag_px=3.0)])
    assert columns.flagged_above(1.0) == 1
