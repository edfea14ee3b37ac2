"""Missing tiles as rows of the map: the ledger has no row of them, so they have numbers of their own."""

from __future__ import annotations

from collections.abc import Sequence

from mhfd_client.ledger import Missing
from mhfd_client.views.page.columns import MISSING_FROM, NOWHERE, Row
from mhfd_client.views.page.places import Places

SHOWN = 10_000
"""Missing tiles that are rows, at most."""


class MissingRows:
    """The numbers of the missing tiles of a run."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[int, int, str], int] = {}
        self._known: dict[int, Missing] = {}
        self._made = 0

    def of(self, n: int) -> Missing | None:
        """The tile of a number."""
        return self._known.get(n)

    def take(self, missing: Sequence[Missing], places: Places) -> tuple[list[Row], list[int]]:
        """Rows of the tiles that are missing now and were not before; the numbers of those that are there by now."""
        places.learn(each.position.cell for each in missing if each.position)
        wanted = {(*_where(each, places), each.name or ""): each for each in missing}
        gone = [self._numbers.pop(key) for key in self._numbers.keys() - wanted.keys()]
        new = [self._row(key) for key in wanted if key not in self._numbers]
        self._known = {self._numbers[key]: each for key, each in wanted.items()}
        return new, gone

    def _row(self, key: tuple[int, int, str]) -> Row:
        self._made += 1
        n = self._numbers[key] = MISSING_FROM + self._made
        section, position, _ = key
        return Row(n, section, position, "missing")


def _where(each: Missing, places: Places) -> tuple[int, int]:
    if each.position is None:
        return NOWHERE, NOWHERE
    return places.place(MISSING_FROM, each.position.section, each.position.cell)
