"""The page's list: that of `mhfd retakes`, and at its end the tiles of which nothing can be told."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict

from mhfd.text import visible
from mhfd_client.judge.retakes import Retake
from mhfd_client.ledger import Json
from mhfd_client.views.page.follow import Follower
from mhfd_client.views.page.tile import stage_mm
from mhfd_client.views.status import utc

UNSURE_AT_MOST = 2000
"""Tiles that cannot be told, the last of them: in a run that has no reference yet that is every one."""


def listed(follower: Follower, since: float | None = None) -> list[Json]:
    """The tiles to take again, section by section; then those that cannot be told.

    Parameters
    ----------
    since : only places whose last result came from that time on
    """
    entries = follower.retakes()
    unsure = _unsure(follower, {each.row.tile_id for each in entries})
    return [_shown(each, follower) for each in (*entries, *unsure) if since is None or each.came_at >= since]


def _unsure(follower: Follower, but: Collection[int]) -> list[Retake]:
    wanted = sorted(set(follower.columns.of_verdicts(("cannot_tell",))) - set(but))[-UNSURE_AT_MOST:]
    judged = ((row, follower.result(row.tile_id)) for row in follower.ledger.get(wanted))
    return [Retake(row, result) for row, result in judged if result is not None]


def _shown(entry: Retake, follower: Follower) -> Json:
    section, position = follower.place(entry.row)
    return {
        "n": entry.row.tile_id,
        "section": section,
        "position": position,
        "name": entry.row.name,
        "place": asdict(entry.row.position) if entry.row.position else None,
        "verdict": entry.result.verdict,
        "blur_px": entry.result.blur_px,
        "why": visible(entry.reason),
        "stage_mm": stage_mm(entry.stage_um),
        "time_s": entry.row.scored_at,
        "state": entry.status,
        "by": entry.decision.who if entry.decision else None,
        "at": utc(entry.decision.decided_at) if entry.decision else None,
    }
