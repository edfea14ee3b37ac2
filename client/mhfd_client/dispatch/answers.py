"""Answers -> rows: what came back for a task, or what kind of failure it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from mhfd.contract import FocusResult, ParamsError, split_page
from mhfd_client.compute.protocol import Json, NotInstalledError, ResultTooLargeError, TaskFailedError
from mhfd_client.dispatch.pack import Tile, failed_row

SCHEMA = 1


def check(answer: object, endpoint: str) -> Json:
    """An answer of one of our functions that is no refusal.

    Raises
    ------
    NotInstalledError
        The endpoint lacks mhfd.
    ParamsError
        The request is wrong.
    TaskFailedError
        The answer is none of ours, or a refusal of another kind.
    """
    if not isinstance(answer, dict) or answer.get("schema") != SCHEMA:
        raise TaskFailedError(
            f"'{endpoint}' answered in a way that this mhfd does not know ({answer!r:.80}); install the same version "
            "of mhfd on both sides, then run `mhfd register`"
        )
    error = answer.get("error")
    if error is None:
        return answer
    message = f"endpoint '{endpoint}': {error.get('message')}"
    if error.get("code") == "not_installed":
        raise NotInstalledError(message)
    if error.get("code") == "bad_params":
        raise ParamsError(message)
    raise TaskFailedError(f"{message} [{error.get('code')}]")


def rows(answer: object, tiles: Sequence[Tile], endpoint: str) -> list[FocusResult]:
    """One row a tile, in order, under the names that the tiles have here.

    Raises
    ------
    ResultTooLargeError
        The rows went to a file of the endpoint; the message names it.
    MhfdError
        As `check`.
    """
    given = check(answer, endpoint)
    if given.get("rows") is None:
        raise ResultTooLargeError(
            f"the rows of {len(tiles)} tiles were too many for an answer; '{endpoint}' keeps them in "
            f"{given.get('rows_file')}"
        )
    try:
        found = [FocusResult.from_dict(row) for row in given["rows"]]
    except (ParamsError, TypeError, KeyError) as error:
        raise TaskFailedError(
            f"a row from '{endpoint}' cannot be read ({error}); install the same version of mhfd on both sides"
        ) from error
    if len(found) != len(tiles):
        found = list(_by_name(found, tiles, endpoint))
    return [replace(row, path=tile.name) for row, tile in zip(found, tiles, strict=True)]


def _by_name(found: list[FocusResult], tiles: Sequence[Tile], endpoint: str) -> Iterator[FocusResult]:
    """Of a file that this machine could not look into, every page has come."""
    pages: dict[str, list[FocusResult]] = {}
    for row in found:
        pages.setdefault(split_page(row.path)[0], []).append(row)
    for tile in tiles:
        own = pages.get(tile.name, [])
        if len(own) == 1:
            yield own[0]
        elif own:
            message = f"{tile.name} holds {len(own)} tiles; name one, as in {own[0].path}"
            yield failed_row(tile, "several_tiles", message, endpoint)
        else:
            raise TaskFailedError(f"'{endpoint}' sent {len(found)} rows for {len(tiles)} tiles, none for {tile.name}")
