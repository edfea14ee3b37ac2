"""The axis that map and chart share: section by section, and in a section place by place."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mhfd_client.ledger import Missing
from mhfd_client.naming.position import Position
from mhfd_client.views.page.columns import NOWHERE
from mhfd_client.views.page.places import Places, label
from mhfd_client.views.report.model import Entry

MISSING = -1
"""Number of the first missing tile; the others have those below."""

WIDTH_PX = 1000
"""Of map and chart on a screen, about: how far apart numbers on the axis are."""

ROOM_PX = 84


@dataclass(frozen=True)
class Axis:
    """Where tiles are.

    Attributes
    ----------
    first, sections, positions : lowest section, number of sections, number of places in a section
    places : number of a tile -> section and place; tiles that fit nowhere are left out
    labels : of the places, "r0 c1"; empty where names tell none
    is_placed : False where names tell no sections: tiles then stand in lines, one after the other
    """

    first: int
    sections: int
    positions: int
    places: dict[int, tuple[int, int]]
    labels: tuple[str, ...]
    is_placed: bool

    def across(self, number: int) -> float:
        """Of the chart: per cent from the left, in the order in which tiles are taken."""
        section, place = self.places[number]
        return 100 * (section - self.first + (place + 0.5) / self.positions) / self.sections

    def middle(self, section: int) -> float:
        """Per cent from the left of the middle of a section."""
        return 100 * (section - self.first + 0.5) / self.sections

    def ticks(self) -> list[tuple[int, float]]:
        """Round numbers of sections, and where they stand."""
        step, k = 1, 0
        while step * WIDTH_PX / self.sections < ROOM_PX:
            k += 1
            step = (1, 2, 5)[k % 3] * 10 ** (k // 3)
        begin = -(-self.first // step) * step
        return [(section, self.middle(section)) for section in range(begin, self.first + self.sections, step)]


def axis_of(entries: Sequence[Entry], missing: Iterable[Missing]) -> Axis:
    """The axis of a run; its missing tiles have the numbers `MISSING`, `MISSING` - 1, ..."""
    known = {entry.number: entry.position or Position() for entry in entries}
    known.update((MISSING - k, each.position) for k, each in enumerate(missing) if each.position is not None)
    places = Places()
    places.learn(position.cell for position in known.values())
    found = {number: places.place(number, position.section, position.cell) for number, position in known.items()}
    found = {number: where for number, where in found.items() if NOWHERE not in where}
    sections = [section for section, _ in found.values()] or [0]
    return Axis(
        min(sections),
        max(sections) - min(sections) + 1,
        1 + max((place for _, place in found.values()), default=0),
        found,
        tuple(label(cell) for cell in places.cells),
        any(position.section is not None for position in known.values()),
    )
