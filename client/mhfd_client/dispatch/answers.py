"""Answers -> rows: parses what came back for a task, or raises its error."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from mhfd.contract import FocusResult, ParamsError, ResultError, split_page
from mhfd.text import counted
from mhfd_client.compute.protocol import Json, NotInstalledError, ResultTooLargeError, TaskFailedError
from mhfd_client.dispatch.pack import Tile, failed_row, not_measured

SCHEMA = 1
SAME_VERSION = "install the same version of mhfd on both sides"


def check(answer: object, endpoint: str) -> Json:
    """Return an answer of one of our functions, checked.

    Raises
    ------
    NotInstalledError
        The endpoint lacks mhfd.
    ParamsError
        The request is wrong.
    TaskFailedError
        The answer is not ours, or a refusal of another kind.
    """
    if not isinstance(answer, dict) or answer.get("schema") != SCHEMA:
        raise TaskFailedError(
            f"'{endpoint}' answered in a way that this mhfd does not know ({answer!r:.80}); install the same version "
            "of mhfd on both sides, then run `mhfd register`"
        )
    error = answer.get("error")
    if error is None:
        return answer
    if not isinstance(error, dict):
        raise TaskFailedError(f"'{endpoint}' answered with an error that is not an object ({error!r:.80})")
    message = f"endpoint '{endpoint}': {error.get('message')}"
    if error.get("code") == "not_installed":
        raise NotInstalledError(message)
    if error.get("code") == "bad_params":
        raise ParamsError(message)
    raise TaskFailedError(f"{message} [{error.get('code')}]")


def rows(answer: object, tiles: Sequence[Tile], endpoint: str) -> list[FocusResult]:
    """One row per tile, in order, under the names that the tiles have here.

    Raises
    ------
    ResultTooLargeError
        The rows went to a file on the endpoint; the message names it.
    MhfdError
        As `check`.
    """
    given = check(answer, endpoint)
    if given.get("rows") is None:
        raise ResultTooLargeError(
            f"the rows of {counted(len(tiles), 'tile')} were too large for an answer; '{endpoint}' keeps them in "
            f"{given.get('rows_file')}"
        )
    if not isinstance(given["rows"], list):
        raise TaskFailedError(f"'{endpoint}' answered without a list of rows; {SAME_VERSION}")
    params_sha256 = tiles[0].params.sha256
    found = [_read(row, params_sha256, endpoint) for row in given["rows"]]
    if len(found) > 1 and all(row.error is not None and row.error.code == "bad_result" for row in found):
        raise TaskFailedError(f"no row from '{endpoint}' can be read; {SAME_VERSION}")
    if len(found) != len(tiles):
        found = list(_by_name(found, tiles, endpoint))
    named = zip(found, tiles, strict=True)
    return [row if row.path == tile.name else replace(row, path=tile.name) for row, tile in named]


def worker(answer: Json) -> str | None:
    """Which process made an answer; None where it does not say."""
    about = answer.get("worker")
    return f"{about.get('host')}/{about.get('pid')}" if isinstance(about, dict) else None


def _read(row: object, params_sha256: str, endpoint: str) -> FocusResult:
    """One row; a failed one in place of a row that cannot be read, so that the others of its task count."""
    try:
        return FocusResult.from_dict(row)
    except ResultError as error:
        path = row.get("path") if isinstance(row, dict) else None
        message = f"its row from '{endpoint}' cannot be read ({error}); {SAME_VERSION}"
        name = path if isinstance(path, str) else ""
        return FocusResult.failed(name, "bad_result", message, not_measured(params_sha256, f"endpoint {endpoint}"))


def _by_name(found: list[FocusResult], tiles: Sequence[Tile], endpoint: str) -> Iterator[FocusResult]:
    """Match rows by name: every page came of a file that is unreadable here."""
    pages: dict[str, list[FocusResult]] = {}
    for row in found:
        pages.setdefault(split_page(row.path)[0], []).append(row)
    for tile in tiles:
        own = pages.get(tile.name, [])
        if len(own) == 1:
            yield own[0]
        elif own:
            message = f"{tile.name} holds {counted(len(own), 'tile')}; name one, as in {own[0].path}"
            yield failed_row(tile, "several_tiles", message, endpoint)
        else:
            sent = f"{counted(len(found), 'row')} for {counted(len(tiles), 'tile')}"
            raise TaskFailedError(f"'{endpoint}' sent {sent}, none for {tile.name}")
