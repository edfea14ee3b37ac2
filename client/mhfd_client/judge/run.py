"""The verdicts of a run: one function for all that speak of tiles, so that they say the same.

A verdict compares a tile with the sharp tiles of its run, so it may change as more arrive. It is never stored: it is
made from the rows in the ledger, or of files just scored, in the order in which the tiles were taken.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace

from mhfd.contract import FocusResult, ParamsError, Provenance, Remark, read_acquisition, split_page
from mhfd.judge import Reference, VerdictRule, judge, references_of
from mhfd_client.judge.calibration import Calibration, kept_calibrations, with_defocus
from mhfd_client.judge.darker import with_darker_tiles
from mhfd_client.judge.identical import identical_frame, with_identical_frames
from mhfd_client.judge.sections import sections_of
from mhfd_client.ledger import Json, KeptReference, Ledger, State, TileRow
from mhfd_client.naming import Layout

JUDGED = (
    "verdict", "confidence", "blur_px", "blur_nm", "blur_error_px", "blur_by_direction_px", "blur_map_px",
    "worst_block", "flag_px", "reference", "doubts", "defocus_um", "defocus_interval_um",
)  # fmt: skip
"""The keys of a row that the judge fills in."""

DEFAULT_INSTRUMENT = "default"
SCORED: tuple[State, ...] = ("scored",)


@dataclass(frozen=True)
class Tile:
    """A scored tile, as far as its verdict needs it.

    Attributes
    ----------
    name : public name
    taken : what orders the tiles of a run: section, time of the file, number in the ledger
    result : what the verdict is made of; once judged, with the verdict
    """

    tile_id: int
    name: str
    tile_sha256: str | None
    scored_at: float
    taken: tuple[int, int, int]
    section: int | None
    result: FocusResult


@dataclass(frozen=True)
class Standard:
    """How the tiles of a run are judged.

    Attributes
    ----------
    instrument : whose kept references count
    references : those
    calibrations : of the instrument, the newest first
    """

    rule: VerdictRule
    instrument: str = DEFAULT_INSTRUMENT
    references: tuple[Reference, ...] = ()
    calibrations: tuple[Calibration, ...] = ()

    def judge(self, tiles: Iterable[Tile], more: Sequence[Reference] = ()) -> list[Tile]:
        """The tiles in the order in which they were taken, judged.

        Parameters
        ----------
        more : references beside those that were kept
        """
        ordered = sorted(tiles, key=lambda tile: tile.taken)
        sections = [tile.section for tile in ordered]
        judged = judge(
            [tile.result for tile in ordered], self.rule, sections=sections, references=[*more, *self.references]
        )
        judged = with_defocus(with_darker_tiles(judged, sections), self.calibrations)
        return [replace(tile, result=result) for tile, result in zip(ordered, judged, strict=True)]


def standard_of(ledger: Ledger, run_id: int, *, max_blur_px: float | None = None) -> Standard:
    """How a run is judged: by the thresholds that its watch left in the ledger.

    Parameters
    ----------
    max_blur_px : instead of the run's
    """
    kept = ledger.rule(run_id)
    known = {each.name for each in fields(VerdictRule)}
    given = {key: value for key, value in kept.items() if key in known}
    if max_blur_px is not None:
        given["max_blur_px"] = max_blur_px
    instrument = str(kept.get("instrument") or DEFAULT_INSTRUMENT)
    return instrument_standard(ledger, instrument, VerdictRule(**given), but=run_id)


def instrument_standard(
    ledger: Ledger, instrument: str, rule: VerdictRule | None = None, *, but: int | None = None
) -> Standard:
    """How tiles of an instrument are judged.

    Parameters
    ----------
    but : the run whose own references do not count
    """
    found = [_reference(each) for each in ledger.references(instrument) if but is None or each.run_id != but]
    references = tuple(each for each in found if each is not None)
    return Standard(rule or VerdictRule(), instrument, references, kept_calibrations(ledger, instrument))


def judge_run(ledger: Ledger, run_id: int, standard: Standard | None = None) -> list[Tile]:
    """All scored tiles of a run, each in its newest generation, judged, in the order in which they were taken."""
    standard = standard or standard_of(ledger, run_id)
    tiles: dict[int, Tile] = {}
    copies: dict[int, int] = {}
    for row in ledger.rows(run_id, states=SCORED):
        if tile := tile_of(row):
            tiles[row.tile_id] = tile
            if row.identical_to is not None:
                copies[row.tile_id] = row.identical_to
    names = {row.tile_id: row.name for row in ledger.get(set(copies.values()))} if copies else {}
    for tile_id, earlier in copies.items():
        remark = identical_frame(names.get(earlier, "an earlier tile"))
        result = tiles[tile_id].result
        tiles[tile_id] = replace(tiles[tile_id], result=replace(result, remarks=(*result.remarks, remark)))
    return standard.judge(tiles.values())


def judge_results(
    results: Sequence[FocusResult],
    standard: Standard | None = None,
    *,
    root: str | None = None,
    layout: Layout | None = None,
) -> list[FocusResult]:
    """Results that are in no ledger, judged as a run in one is; in the order given.

    Parameters
    ----------
    root : the folder that all are in, if it is one run's: names of folders above it tell no section
    layout : how to read their names; None: each by itself
    """
    tiles = tiles_of(results, root, layout)
    remarked = with_identical_frames(tile.result for tile in tiles)
    judged = (standard or Standard(VerdictRule())).judge(
        replace(tile, result=row) for tile, row in zip(tiles, remarked, strict=True)
    )
    return [tile.result for tile in sorted(judged, key=lambda tile: tile.tile_id)]


def tiles_of(results: Sequence[FocusResult], root: str | None = None, layout: Layout | None = None) -> list[Tile]:
    """Results that are in no ledger as tiles, in the order in which they were taken, numbered by place in the list.

    Parameters
    ----------
    root, layout : as in `judge_results`
    """
    sections = sections_of([row.path for row in results], root, layout)
    tiles = [
        Tile(
            number, row.path, row.provenance.tile_sha256, 0.0,
            (-1 if section is None else section, _mtime_ns(row.path), number), section, row,
        )
        for number, (row, section) in enumerate(zip(results, sections, strict=True))
    ]  # fmt: skip
    return sorted(tiles, key=lambda tile: tile.taken)


def _mtime_ns(path: str) -> int:
    """When a file was written; 0 where that is not known, as of arrays and of files on an endpoint."""
    try:
        return os.stat(split_page(path)[0]).st_mtime_ns  # noqa: PTH116 - 10^5 `Path` objects take seconds
    except (OSError, ValueError):
        return 0


def tile_of(row: TileRow) -> Tile | None:
    """A row of the ledger; None without a result."""
    if row.result is None or row.result.get("status") != "scored":
        return None
    section = row.position.section if row.position else None
    return Tile(
        tile_id=row.tile_id,
        name=row.name,
        tile_sha256=row.tile_sha256,
        scored_at=row.scored_at or 0.0,
        taken=(-1 if section is None else section, row.mtime_ns, row.tile_id),
        section=section,
        result=evidence(row.name, row.result),
    )


def evidence(name: str, row: Json) -> FocusResult:
    """What a verdict is made of, from a row that was checked when it was stored.

    `FocusResult.from_dict` looks at every key: for a run of 10^5 tiles that takes ten times as long.
    """
    about = row["provenance"]
    shape, picture = row.get("shape"), row.get("picture")
    return FocusResult(
        path=name,
        status="scored",
        provenance=Provenance(
            mhfd=about["mhfd"],
            params_sha256=about["params_sha256"],
            backend="",
            device="",
            measure=about.get("measure") or 1,
        ),
        shape=(shape[0], shape[1]) if shape else None,
        dtype=row.get("dtype"),
        picture=tuple(picture) if picture else None,
        pixel_size_nm=row.get("pixel_size_nm"),
        features=row.get("features"),
        features_per_mpx=row.get("features_per_mpx"),
        focus_score=row.get("focus_score"),
        noise=row.get("noise"),
        content=row.get("content"),
        anisotropy=row.get("anisotropy"),
        saturated=row.get("saturated"),
        grey=row.get("grey"),
        spectrum=row.get("spectrum"),
        acquisition=read_acquisition(row.get("acquisition")),
        remarks=tuple(Remark(**each) for each in row.get("remarks") or ()),
    )


def judged_keys(result: FocusResult) -> Json:
    """What the judge filled in, as JSON, and all remarks."""
    full = result.to_dict()
    return {key: full[key] for key in (*JUDGED, "remarks")}


def keep_references(
    ledger: Ledger, run_id: int, instrument: str | None = None, *, anyway: bool = False
) -> list[KeptReference]:
    """Keep the sharp tiles of a run for later ones; those kept.

    A run that is blurred throughout must not become what the next is compared with: what is kept is replaced only by
    tiles that are no blurrier.

    Parameters
    ----------
    instrument : the name to keep them under; by default that of the run's watch
    anyway : replace what is kept in any case
    """
    standard = standard_of(ledger, run_id)
    tiles = judge_run(ledger, run_id, standard)
    references = references_of([tile.result for tile in tiles], name="this run")
    return keep(ledger, run_id, instrument or standard.instrument, references, anyway=anyway)


def keep(
    ledger: Ledger, run_id: int, instrument: str, references: Iterable[Reference], *, anyway: bool = False
) -> list[KeptReference]:
    """Keep these references of a run, as `keep_references` does; those kept."""
    known = {each.setting: each for each in ledger.references(instrument)}
    kept = []
    for reference in references:
        setting = str(reference.setting)
        before = _reference(known[setting]) if setting in known else None
        if anyway or before is None or known[setting].run_id == run_id or not reference.is_blurrier_than(before):
            numbers = replace(reference, name=f"run {run_id}").to_dict()
            entry = KeptReference(instrument, setting, reference.tiles, time.time(), run_id, numbers)
            ledger.keep_reference(entry)
            kept.append(entry)
    return kept


def _reference(kept: KeptReference) -> Reference | None:
    """None for one that this version cannot read."""
    try:
        return Reference.from_dict(kept.reference)
    except ParamsError:
        return None
