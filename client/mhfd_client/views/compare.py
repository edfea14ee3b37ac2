"""Verdicts that changed, as a table for people, JSON, or CSV."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from mhfd.text import counted
from mhfd_client.ledger import Json
from mhfd_client.rescore.compare import Change, Tally, Verdict
from mhfd_client.views.listing import Listing

COLUMNS = (
    "path", "before", "after", "reasons", "blur_px_before", "blur_px_after", "focus_score_before", "focus_score_after",
)  # fmt: skip
SHOWN = 40


def listing(before: str, after: str, found: Iterable[Change], tally: Tally) -> Listing:
    """A comparison in all its forms; `tally` is complete when `found` has ended."""

    def whole(rows: list[Json]) -> Json:
        return {"schema": 1, "before": before, "after": after, **tally_json(tally), "changes": rows}

    return Listing(map(row_of, found), COLUMNS, lines=lambda: lines(before, after, found, tally), whole=whole)


def row_of(change: Change) -> Json:
    """A change as a flat object; `before` and `after` are null where that side lacks the tile."""
    a, b = change.before, change.after
    return {
        "path": change.path,
        "before": _verdict(a),
        "after": _verdict(b),
        "reasons": " ".join(change.reasons),
        "blur_px_before": a and a.blur_px,
        "blur_px_after": b and b.blur_px,
        "focus_score_before": a and a.measures[0],
        "focus_score_after": b and b.measures[0],
    }


def tally_json(tally: Tally) -> Json:
    return {
        "tiles": tally.both,
        "changed": tally.changed,
        "only_before": tally.only_before,
        "only_after": tally.only_after,
        "verdicts": [{"before": a, "after": b, "tiles": n} for (a, b), n in tally.verdicts.most_common()],
        "reasons": dict(tally.reasons.most_common()),
    }


def lines(before: str, after: str, found: Iterable[Change], tally: Tally) -> Iterator[str]:
    """For people: the first changes, then the numbers."""
    changes = iter(found)
    for change in islice(changes, SHOWN):
        yield line(change)
    more = sum(1 for _ in changes)
    if more:
        yield f"... and {more} more: --format csv lists all"
    yield f"{counted(tally.both, 'tile')} in both {before} and {after}; {counted(tally.changed, 'verdict')} changed"
    for (a, b), n in tally.verdicts.most_common():
        yield f"  {a} -> {b}: {n}"
    if tally.reasons:
        yield "  why: " + ", ".join(f"{reason} {n}" for reason, n in tally.reasons.most_common())
    for name, n in ((before, tally.only_before), (after, tally.only_after)):
        if n:
            yield f"  only in {name}: {n}"


def line(change: Change) -> str:
    if change.before is None or change.after is None:
        return f"{change.path}: only {'after' if change.before is None else 'before'}"
    a, b = change.before, change.after
    blur = "" if a.blur_px is None or b.blur_px is None else f", blur {a.blur_px:.2f} -> {b.blur_px:.2f} px"
    return f"{change.path}: {_verdict(a)} -> {_verdict(b)} ({', '.join(change.reasons)}){blur}"


def _verdict(side: Verdict | None) -> str | None:
    return None if side is None else side.verdict or "none"
