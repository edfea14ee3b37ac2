"""Answers -> rows or errors."""

from __future__ import annotations

import pytest

from mhfd.contract import FocusParams, ParamsError
from mhfd_client.compute.protocol import Json, NotInstalledError, ResultTooLargeError, TaskFailedError
from mhfd_client.dispatch import answers
from mhfd_client.dispatch.pack import Tile
from scripted import rows_for


def tiles(*names: str) -> list[Tile]:
    return [Tile(name, name, None, FocusParams()) for name in names]


def refusal(code: str) -> Json:
    return {"schema": 1, "error": {"code": code, "message": "what to do"}}


def test_rows_come_in_order_under_our_names() -> None:
    answer = rows_for("", ["/scratch/b.tif", "/scratch/a.tif"])
    assert [row.path for row in answers.rows(answer, tiles("b.tif", "a.tif"), "dgx")] == ["b.tif", "a.tif"]


def test_missing_mhfd_is_told_of() -> None:
    with pytest.raises(NotInstalledError, match="what to do"):
        answers.rows(refusal("not_installed"), tiles("a"), "dgx")


def test_bad_parameters_are_told_of() -> None:
    with pytest.raises(ParamsError, match="what to do"):
        answers.rows(refusal("bad_params"), tiles("a"), "dgx")


def test_other_refusal_fails_the_task() -> None:
    with pytest.raises(TaskFailedError, match="no_backend"):
        answers.rows(refusal("no_backend"), tiles("a"), "dgx")


@pytest.mark.parametrize("answer", [None, [], {"schema": 2}, {"schema": 1, "rows": [{}, {}]}, {"schema": 1, "rows": 5}])
def test_answer_of_another_version_says_so(answer: object) -> None:
    with pytest.raises(TaskFailedError, match="same version"):
        answers.rows(answer, tiles("a", "b"), "dgx")


@pytest.mark.parametrize("error", ["no", ["no"], 7])
def test_an_error_of_another_kind_fails_the_task(error: object) -> None:
    with pytest.raises(TaskFailedError, match="not an object"):
        answers.rows({"schema": 1, "error": error}, tiles("a"), "dgx")


def test_rows_in_a_file_name_the_file() -> None:
    answer = {"schema": 1, "rows": None, "rows_file": "/scratch/rows.jsonl", "count": 2}
    with pytest.raises(ResultTooLargeError, match=r"/scratch/rows\.jsonl"):
        answers.rows(answer, tiles("a", "b"), "dgx")


def test_file_that_turns_out_to_hold_several_tiles_is_a_failed_row() -> None:
    answer = rows_for("", ["s#page=0", "s#page=1", "a"])
    first, second = answers.rows(answer, tiles("s", "a"), "dgx")
    assert first.error is not None
    assert first.error.code == "several_tiles"
    assert second.status == "scored"


def test_tile_without_a_row_fails_the_task() -> None:
    with pytest.raises(TaskFailedError, match="none for b"):
        answers.rows(rows_for("", ["a"]), tiles("a", "b"), "dgx")


@pytest.mark.parametrize("change", [{"focus_score": "abc"}, {"features": 1e40}, {"provenance": None}, {"path": 5}])
def test_a_row_that_cannot_be_read_fails_alone(change: Json) -> None:
    answer = rows_for("", ["a", "b", "c"])
    answer["rows"][1] |= change
    first, second, third = answers.rows(answer, tiles("a", "b", "c"), "dgx")
    assert (first.status, third.status) == ("scored", "scored")
    assert second.error is not None
    assert (second.path, second.error.code) == ("b", "bad_result")


def test_a_row_that_is_not_an_object_fails_alone() -> None:
    answer = rows_for("", ["a", "b"])
    answer["rows"][0] = "a"
    first, second = answers.rows(answer, tiles("a", "b"), "dgx")
    assert first.error is not None
    assert (first.path, first.error.code, second.status) == ("a", "bad_result", "scored")
