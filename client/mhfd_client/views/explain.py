"""An explanation for people: two to six lines, and the blur by part of the tile as a small table."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from mhfd._version import __version__
from mhfd.contract import Remark
from mhfd.text import counted
from mhfd_client.judge.explain import Explanation, Past
from mhfd_client.judge.words import DOUBTS, blur_in_full
from mhfd_client.ledger import Decision

if TYPE_CHECKING:
    from rich.table import Table

NOTHING = ("no_content", "cannot_tell", "failed")
CHOICES = {"open": "left open", "retake": "to be taken again", "accept": "accepted", "ignore": "ignored"}


def lines(told: Explanation) -> list[str]:
    """The explanation, the most important first. Names in it are as they are: make them `visible` where they leave."""
    found = (_verdict(told), _blur(told), _doubts(told), _remarks(told), _past(told), _decisions(told), _version(told))
    return [line for line in found if line]


def _version(told: Explanation) -> str:
    """Which mhfd scored the tile, where that is not this one: while two versions are in use."""
    scored_by = told.result.provenance.mhfd if told.result else __version__
    return "" if scored_by == __version__ else f"scored by mhfd {scored_by}; this is {__version__}"


def blur_table(told: Explanation) -> Table | None:
    """The blur of each of 4 x 4 parts, the most blurred in brackets; None where it is not known."""
    from rich.table import Table

    result = told.result
    if result is None or not result.blur_map_px or result.worst_block is None:
        return None
    table = Table(box=None, show_header=False, pad_edge=False, title_justify="left", title_style="")
    for _ in result.blur_map_px[0]:
        table.add_column(justify="right", no_wrap=True)
    for r, line in enumerate(result.blur_map_px):
        table.add_row(*(part_text(each, worst=(r, c) == result.worst_block) for c, each in enumerate(line)))
    return table


def part_text(blur_px: float | None, *, worst: bool) -> str:
    """A cell of the map: "0.4", "[3.4]" for the worst; "-" where it shows nothing to focus on."""
    told = "-" if blur_px is None else f"{blur_px:.1f}"
    return f"[{told}]" if worst else f" {told} "


def _verdict(told: Explanation) -> str:
    result = told.result
    if told.trouble:
        return f"{told.tile}: failed: {told.trouble.message} ({told.trouble.code}); {told.trouble.remedy}"
    if result is None:
        return f"{told.tile}: {told.waiting}"
    line = f"{told.tile}: {(told.verdict or 'cannot_tell').replace('_', ' ')}"
    if result.confidence is not None:
        line += f", confidence {result.confidence:.2f}"
    if told.verdict == "no_content" and result.content is not None:
        line += f": {result.content:.1%} of it shows structure, {told.rule.min_content:.0%} are needed"
    elif threshold := _threshold(told):
        line += f"; {threshold}"
    return line


def _threshold(told: Explanation) -> str:
    """How far the tile is from the threshold."""
    result, limit = told.result, told.rule.max_blur_px
    if result is None or result.blur_px is None or told.verdict in NOTHING:
        return ""
    whose = "the run's" if told.run_id is not None else "this one"
    if result.flag_px is None:
        return f"flagged at no threshold; {whose} is {limit:.2g} px"
    return f"flagged at any threshold below {result.flag_px:.2g} px; {whose} is {limit:.2g}"


def _blur(told: Explanation) -> str:
    result = told.result
    if result is None:
        return ""
    parts = [blur_in_full(result, told.near)]
    if not parts[0] and result.focus_score is not None and told.verdict != "no_content":
        parts[0] = f"blur unknown, focus score {result.focus_score:.2f}"
    parts += [_defocus(told)]
    if told.usual_px is not None and parts[0]:
        parts.append(f"usual here {told.usual_px:.1f} ({counted(told.usual_tiles, 'sharp tile')})")
    if result.reference and parts[0]:
        parts.append(f"reference: {result.reference}")
    return "; ".join(part for part in parts if part)


def _defocus(told: Explanation) -> str:
    result = told.result
    if result is None or result.defocus_um is None:
        return ""
    size = f"{result.defocus_um:.2g} um out of focus"
    if result.defocus_interval_um is None:
        return size
    low, high = result.defocus_interval_um
    return f"{size} (95 %: {low:.2g} to {high:.2g})"


def _doubts(told: Explanation) -> str:
    result = told.result
    if result is None or not result.doubts:
        return ""
    why = "; ".join(DOUBTS.get(each, each) for each in result.doubts)  # type: ignore[call-overload]
    return f"{'why' if result.confidence is None else 'not surer because'}: {why}"


def _remarks(told: Explanation) -> str:
    remarks: tuple[Remark, ...] = told.result.remarks if told.result else ()
    return "; ".join(f"{each.message} ({each.code})" for each in remarks)


def _past(told: Explanation) -> str:
    parts = []
    if told.history:
        blurs = ", ".join(f"{_blur_of(each)} in section {each.section}" for each in told.history)
        parts.append(f"at this place before: {blurs}")
    if told.earlier:
        parts.append(f"taken again: was {', before that '.join(map(_taken, told.earlier))}")
    if told.taken_again_as:
        parts.append(f"taken again since, as {told.taken_again_as}")
    return "; ".join(parts)


def _taken(past: Past) -> str:
    return past.verdict or "never scored" if past.blur_px is None else f"{past.blur_px:.1f} px"


def _blur_of(past: Past) -> str:
    if past.blur_px is None:
        return (past.verdict or "not scored").replace("_", " ")
    return f"{past.blur_px:.1f} px"


def _decisions(told: Explanation) -> str:
    return "; ".join(_decision(each) for each in told.decisions)


def _decision(each: Decision) -> str:
    when = f"{datetime.fromtimestamp(each.decided_at):%Y-%m-%d %H:%M}"
    note = f" ({each.note})" if each.note else ""
    return f"{CHOICES[each.decision]} by {each.who or 'somebody'}, {when}{note}"
