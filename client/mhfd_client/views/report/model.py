"""What a report says, as frozen values; wherever it was gathered from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mhfd.contract import FocusParams, FocusResult
from mhfd.judge import VerdictRule
from mhfd_client.judge.calibration import Calibration
from mhfd_client.judge.words import TO_LOOK_AT
from mhfd_client.ledger import Json, Missing
from mhfd_client.naming.position import Position
from mhfd_client.views.marks import mark_of

ALARMS = ("out_of_focus", "astigmatic")
"""Verdicts by which a simulated run's bad tiles count as caught."""


@dataclass(frozen=True)
class Entry:
    """One tile of the map, the chart and the table.

    Attributes
    ----------
    number : no two have the same
    verdict : a key of `MARKS`
    result : judged; None where there is none yet
    at : when its result came (Unix seconds); None where that is not known
    state : on the list of tiles to take again: "open", "retake", "accept", "ignore", "closed"; "" of others
    """

    number: int
    name: str
    position: Position | None
    verdict: str
    result: FocusResult | None = None
    at: float | None = None
    state: str = ""


@dataclass(frozen=True)
class Source:
    """The pixels of a tile, if they can still be read.

    Attributes
    ----------
    find : the file; raises `NoPictureError` where it may not be shown, or is not what was scored
    tile_sha256 : of the pixels that were scored; None: `find` sees to it
    """

    name: str
    page: int
    find: Callable[[], Path]
    tile_sha256: str | None = None


@dataclass(frozen=True)
class Again:
    """A tile to take again.

    Attributes
    ----------
    reason : as `mhfd retakes` has it
    more : the lines of `mhfd explain` behind the first
    stage : "48509.0, -1500.0, 10000.0"; "" where the header has none
    decided : what people decided, who, and when
    tile, sharp : what is shown beside each other; None: nothing
    beside : what stands under the sharp tile
    """

    entry: Entry
    reason: str
    state: str
    decided: str
    stage: str = ""
    more: tuple[str, ...] = ()
    tile: Source | None = None
    sharp: Source | None = None
    beside: str = ""


@dataclass(frozen=True)
class Failed:
    """Tiles that could not be scored for one reason.

    Attributes
    ----------
    remedy : what to do
    tiles : name and message of each
    """

    code: str
    remedy: str
    tiles: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Alarm:
    """What happened to the run. Times are Unix seconds.

    Attributes
    ----------
    kind : "worsening", "many", "missing", "endpoint", ...
    ended : None while it lasts
    end : how it ended, in words
    """

    kind: str
    text: str
    began: float
    ended: float | None = None
    end: str = ""
    seen_by: str = ""


@dataclass(frozen=True)
class Report:
    """All that is told.

    Attributes
    ----------
    entries : in the order in which they were taken
    again : the worst first, without those that failed
    others : of the list of tiles to take again: accepted, ignored, closed
    copied : the list of tiles to take again as `mhfd retakes --json` has it
    settings : name and value
    makers : version of mhfd, device, number of results
    truth : kind of each tile by name, where it is known
    shown : a typical sharp tile and the worst one, over which the features are drawn
    """

    title: str
    made_at: float
    entries: Sequence[Entry]
    again: Sequence[Again] = ()
    others: Sequence[Again] = ()
    copied: Sequence[Json] = ()
    failed: Sequence[Failed] = ()
    missing: Sequence[Missing] = ()
    alarms: Sequence[Alarm] = ()
    rule: VerdictRule = VerdictRule()  # noqa: RUF009 - frozen
    params: FocusParams = FocusParams()  # noqa: RUF009 - frozen
    settings: Sequence[tuple[str, str]] = ()
    makers: Sequence[tuple[str, str, int]] = ()
    calibrations: Sequence[Calibration] = ()
    truth: Mapping[str, str] | None = None
    shown: Sequence[tuple[Entry, Source]] = ()

    def counts(self) -> Counter[str]:
        """Tiles by key of `MARKS`, and "again": those to be taken again or decided about."""
        found = Counter(mark_of(entry.verdict) for entry in self.entries)
        found["missing"] = len(self.missing)
        found["again"] = len(self.again) + sum(
            entry.verdict == "failed" and entry.state in ("", "open", "retake") for entry in self.entries
        )
        return found


def confusion(verdicts: Iterable[tuple[str, str | None]], truth: Mapping[str, str]) -> dict[str, Counter[str]]:
    """How many tiles of each true kind got each verdict: {kind: {verdict: count}}.

    Parameters
    ----------
    verdicts : name and verdict of each tile
    truth : kind by name
    """
    table: dict[str, Counter[str]] = {}
    for name, verdict in verdicts:
        if name in truth:
            table.setdefault(truth[name], Counter())[mark_of(verdict)] += 1
    return table


def is_flagged(entry: Entry) -> bool:
    """True for a tile that a person should look at."""
    return entry.verdict in TO_LOOK_AT
