"""What is said of one tile, and why: the verdict, its evidence, its history, and what people decided.

    found = find_tile(ledger, "s0003/t12.tif")
    told = explain(ledger, *found)

A scored tile is judged with its whole run, by the function that everything else uses, so that all say the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from mhfd import score
from mhfd.contract import ErrorCode, FocusResult, TileError, page_path, split_page
from mhfd.judge import Reference, VerdictRule, references_of
from mhfd_client.judge.run import JUDGED, Standard, Tile, judge_results, judge_run, judged_keys, standard_of, tile_of
from mhfd_client.judge.usual import Alike
from mhfd_client.judge.words import DOUBTS, blur_in_full, part_in_words, part_px
from mhfd_client.ledger import Decision, Json, Ledger, Run, State, TileRow

PAST_SECTIONS = 5
LOOKED_AT = 100
"""Tiles at the same place that are looked at for a sharp one."""

DEFAULT_RULE = VerdictRule()
_BEFORE_SENT: tuple[State, ...] = ("seen", "ready", "staged")
_READ_AGAIN: tuple[ErrorCode, ...] = ("not_found", "permission_denied", "read_failed")
_TAKE_AGAIN: tuple[ErrorCode, ...] = (
    "empty_file", "not_an_image", "truncated", "corrupt", "zero_size", "not_finite", "colour", "unsupported",
)  # fmt: skip
_PARAMETERS: tuple[ErrorCode, ...] = ("no_pixel_size", "scale_out_of_range", "too_large")


@dataclass(frozen=True)
class Past:
    """Another tile beside which this one is looked at.

    Attributes
    ----------
    tile : public name
    path, page : of its file, relative to the run's folder
    """

    tile: str
    path: str
    page: int
    section: int | None
    verdict: str | None
    blur_px: float | None

    def to_dict(self) -> Json:
        return {"tile": self.tile, "section": self.section, "verdict": self.verdict, "blur_px": self.blur_px}


@dataclass(frozen=True)
class Trouble:
    """Why a tile has no measures, and what to do."""

    code: str
    message: str
    remedy: str


@dataclass(frozen=True)
class Explanation:
    """All that is said of a tile.

    Attributes
    ----------
    tile : public name, as `mhfd status` tells it; of a file that is in no run, its path
    path, page : of its file; relative to `folder` where there is one
    folder, run_id : of its run; None for a file that is in none
    state : of the ledger; "gone" where the file vanished before it was scored; None without a ledger
    generation : 1, and one more each time the file was taken again
    result : judged; None where it has none yet
    usual_px, usual_tiles : median blur of the sharp tiles around it, and how many those are
    near : results of the tiles taken shortly before and after
    trouble : of a tile that failed
    waiting : of one without a result, what it waits for
    history : the same place in the last sections, the nearest first
    earlier : what was taken here before and taken again, the newest first; `blur_px` is approximate
    taken_again_as : the tile that took the place of this one
    decisions : of people, about this tile and what was taken here before; the oldest first
    beside : a sharp tile to look at beside it: of the same place in an earlier section, else one it is compared with
    """

    tile: str
    path: str
    page: int = 0
    folder: str | None = None
    run_id: int | None = None
    state: str | None = None
    generation: int = 1
    position: Json | None = None
    result: FocusResult | None = None
    rule: VerdictRule = DEFAULT_RULE
    usual_px: float | None = None
    usual_tiles: int = 0
    near: tuple[FocusResult, ...] = ()
    trouble: Trouble | None = None
    waiting: str | None = None
    history: tuple[Past, ...] = ()
    earlier: tuple[Past, ...] = ()
    taken_again_as: str | None = None
    decisions: tuple[Decision, ...] = ()
    beside: Past | None = None

    @property
    def verdict(self) -> str | None:
        """None where there is none yet."""
        if self.trouble:
            return "failed"
        return self.result.verdict if self.result else None

    def to_dict(self) -> Json:
        """As plain JSON types; docs/explain.md lists the keys."""
        result = self.result
        judged = judged_keys(result) if result else {**dict.fromkeys(JUDGED), "doubts": [], "remarks": []}
        doubts = judged.pop("doubts")
        return {
            "schema": 1,
            "tile": self.tile,
            "folder": self.folder,
            "run_id": self.run_id,
            "state": self.state,
            "generation": self.generation,
            "position": self.position,
            **judged,
            "verdict": self.verdict,
            "defocus_um": result.defocus_um if result else None,
            "defocus_interval_um": list(result.defocus_interval_um or ()) or None if result else None,
            "doubts": [{"code": each, "message": DOUBTS.get(each, each)} for each in doubts],
            "blur_in_words": blur_in_full(result, self.near) if result else "",
            "part": (part_in_words(result) if result else "") or None,
            "part_px": part_px(result) if result and part_in_words(result) else None,
            "content": result.content if result else None,
            "focus_score": result.focus_score if result else None,
            "mhfd": result.provenance.mhfd if result else None,
            "max_blur_px": self.rule.max_blur_px,
            "min_content": self.rule.min_content,
            "usual_px": self.usual_px,
            "usual_tiles": self.usual_tiles,
            "error": asdict(self.trouble) if self.trouble else None,
            "waiting": self.waiting,
            "history": [each.to_dict() for each in self.history],
            "earlier": [each.to_dict() for each in self.earlier],
            "taken_again_as": self.taken_again_as,
            "decisions": [asdict(each) for each in self.decisions],
            "beside": self.beside.to_dict() if self.beside else None,
        }


def explain(
    ledger: Ledger,
    run: Run,
    row: TileRow,
    judged: Sequence[Tile] | None = None,
    sharp: Sequence[Reference] | None = None,
) -> Explanation:
    """Explain a tile of a run.

    Parameters
    ----------
    judged : `judge_run` of the run, if it is at hand
    sharp : the reference of that, by which tiles are judged that are not in it; needed if `judged` has no spectra
    """
    tile = tile_of(row) if row.state == "scored" else None
    standard = standard_of(ledger, run.run_id)
    takes, before = ledger.earlier_takes(row), ledger.same_place(row, LOOKED_AT)
    if judged is None:
        judged = judge_run(ledger, run.run_id, standard) if tile or takes or before else ()
    by_id = {each.tile_id: each for each in judged}
    if sharp is None:
        is_apart = tile is not None and tile.tile_id not in by_id
        sharp = references_of([each.result for each in judged], name="this run") if takes or is_apart else ()
    found = Explanation(
        tile=row.name,
        path=row.path,
        page=row.page,
        folder=run.root,
        run_id=run.run_id,
        state="gone" if row.gone_at is not None and row.state in _BEFORE_SENT else row.state,
        generation=row.generation,
        position=asdict(row.position) if row.position else None,
        rule=standard.rule,
        trouble=trouble_of(row.error_code, row.error_message, in_run=True) if row.state == "failed" else None,
        waiting=None if row.state in ("scored", "failed") else waiting(run, row),
        history=tuple(_past(each, by_id) for each in before),
        earlier=_taken_before(takes, sharp, standard),
        taken_again_as=next((each.name for each in ledger.get([row.superseded_by or 0])), None),
        decisions=tuple(_decisions(ledger, run, [*reversed(takes), row])),
    )
    if tile is None:
        return replace(found, history=found.history[:PAST_SECTIONS])
    tile = by_id.get(tile.tile_id) or _judged_apart(tile, sharp, standard)
    alike = Alike(tile, judged)
    usual = alike.usual()
    good = (each for each in found.history if each.verdict == "in_focus")
    return replace(
        found,
        result=tile.result,
        usual_px=usual.blur_px,
        usual_tiles=usual.tiles,
        near=alike.near(),
        history=found.history[:PAST_SECTIONS],
        beside=next(good, None) or next((_past(each, by_id) for each in ledger.get(alike.sharp_ids())), None),
    )


def explain_file(path: str, page: int | None = None) -> Explanation:
    """Explain a file that is in no run: it is scored here, and there is nothing to compare it with.

    Parameters
    ----------
    page : which tile of a file that holds several; None: the file holds one
    """
    name = path if page is None else page_path(path, page)
    try:
        (result,) = judge_results([score(path, page=page)])
    except TileError as error:
        return Explanation(name, path, page or 0, trouble=trouble_of(error.code, error.message, in_run=False))
    return Explanation(name, path, page or 0, result=result)


def explain_among(
    tile: Tile,
    judged: Sequence[Tile],
    rule: VerdictRule = DEFAULT_RULE,
    same_place: Sequence[Tile] = (),
    *,
    folder: str | None = None,
) -> Explanation:
    """Explain a tile that no ledger has, beside those that it was judged with.

    Parameters
    ----------
    tile : judged
    judged : all of them, in the order in which they were taken
    same_place : those of them at its place in earlier sections, the nearest first
    """
    path, page = split_page(tile.name)
    error = tile.result.error
    alike = Alike(tile, judged)
    usual = alike.usual()
    by_id = {each.tile_id: each for each in judged}
    sharp = next((each for each in same_place if each.result.verdict == "in_focus"), None)
    if sharp is None:
        sharp = next((by_id[i] for i in alike.sharp_ids()), None)
    return Explanation(
        tile.name,
        path,
        page,
        folder=folder,
        result=tile.result,
        rule=rule,
        usual_px=usual.blur_px,
        usual_tiles=usual.tiles,
        near=alike.near(),
        trouble=trouble_of(error.code, error.message, in_run=False) if error else None,
        history=tuple(map(_past_of, same_place[:PAST_SECTIONS])),
        beside=None if sharp is None else _past_of(sharp),
    )


def _past_of(tile: Tile) -> Past:
    path, page = split_page(tile.name)
    return Past(tile.name, path, page, tile.section, tile.result.verdict, tile.result.blur_px)


def _judged_apart(tile: Tile, sharp: Sequence[Reference], standard: Standard) -> Tile:
    """A tile that was taken again, judged by the sharp tiles of its run: it is none of these any more."""
    return standard.judge([tile], sharp)[0]


def _taken_before(takes: Sequence[TileRow], sharp: Sequence[Reference], standard: Standard) -> tuple[Past, ...]:
    tiles = {row.tile_id: tile for row in takes if (tile := tile_of(row))}
    apart = {i: _judged_apart(tile, sharp, standard) for i, tile in tiles.items()}
    return tuple(_past(row, apart) for row in takes)


def _past(row: TileRow, judged: Mapping[int, Tile]) -> Past:
    result = judged[row.tile_id].result if row.tile_id in judged else None
    verdict = result.verdict if result else "failed" if row.state == "failed" else None
    section = row.position.section if row.position else None
    return Past(row.name, row.path, row.page, section, verdict, result.blur_px if result else None)


def _decisions(ledger: Ledger, run: Run, rows: Iterable[TileRow]) -> Iterator[Decision]:
    for row in rows:
        yield from ledger.decisions(run.run_id, tile_id=row.tile_id)


def trouble_of(code: str | None, message: str | None, *, in_run: bool) -> Trouble:
    """Why a tile failed, and what to do."""
    code = code or "internal"
    again = f"`mhfd retry --failed --code {code}`" if in_run else "score it again"
    return Trouble(code, message or "", remedy(code, again))


def remedy(code: str, again: str) -> str:
    """What to do about a failed tile.

    Parameters
    ----------
    again : what has it scored again
    """
    if code in _READ_AGAIN:
        return f"make the file readable, then {again}"
    if code in _TAKE_AGAIN:
        return "write the file anew, or take the tile again: a watch scores a file that has changed"
    if code in _PARAMETERS:
        return "use other parameters: they do not suit this tile"
    if code == "missing_codec":
        return f"install what the reason names (pip install ...) where tiles are scored, then {again}"
    if code == "several_tiles":
        return "say which of its tiles"
    if code == "internal":
        return f"report it as a bug of mhfd; {again} after an update"
    return f"see with `mhfd doctor` whether tiles can be scored at all, then {again}"


def waiting(run: Run, row: TileRow) -> str:
    """What a tile without a result waits for."""
    if row.gone_at is not None and row.state in _BEFORE_SENT:
        return "its file vanished before it was scored: put it back, or take the tile again"
    if row.stalled_at is not None:
        why = row.reason or "unfinished"
        return (
            f"its file looks unfinished ({why}), and is no longer waited for: `mhfd retry --stalled` takes it as it is"
        )
    if row.state == "seen":
        return f"its file is not finished yet ({row.reason})" if row.reason else "its file was seen, and not yet read"
    if row.state == "ready":
        return "its file is on its way to the endpoint" if row.ticket else "its file is complete, and waits to be sent"
    if row.state == "staged":
        return "the endpoint can read its file; it waits for its turn"
    return f"{run.endpoint} is scoring it, attempt {row.attempts}"
