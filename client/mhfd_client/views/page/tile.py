"""What the page shows of one tile: what `mhfd explain` says of it, and where it lies."""

from __future__ import annotations

from dataclasses import asdict

from mhfd.contract import read_acquisition
from mhfd.text import visible
from mhfd_client.judge.explain import Explanation
from mhfd_client.ledger import Json, Missing, TileRow
from mhfd_client.views.explain import lines
from mhfd_client.views.status import utc


def tile_facts(row: TileRow, told: Explanation, place: tuple[int, int], verdict: str) -> Json:
    """All that the page shows of one tile; at most 12 kB.

    Parameters
    ----------
    place : section, and number of the place in it
    verdict : as the columns have it
    """
    result, stored = told.result, row.result or {}
    section, position = place
    return {
        "n": row.tile_id,
        "name": row.name,
        "path": row.path,
        "page": row.page,
        "section": section,
        "position": position,
        "place": asdict(row.position) if row.position else None,
        "state": row.state,
        "generation": row.generation,
        "verdict": verdict,
        "explanation": " ".join(sentences := in_sentences(told)),
        "lines": sentences,
        "explain": told.to_dict(),
        "remarks": [each.message for each in result.remarks] if result else [],
        "blur_px": result.blur_px if result else None,
        "blur_error_px": result.blur_error_px if result else None,
        "blur_nm": result.blur_nm if result else None,
        "blur_by_direction_px": result.blur_by_direction_px if result else None,
        "blur_map_px": result.blur_map_px if result else None,
        "worst_block": result.worst_block if result else None,
        "flag_px": result.flag_px if result else None,
        "shape": row.shape,
        "pixel_nm": stored.get("pixel_size_nm"),
        "focus_score": stored.get("focus_score"),
        "features": stored.get("features"),
        "content": stored.get("content"),
        "noise": stored.get("noise"),
        "confidence": result.confidence if result else None,
        "reference": result.reference if result else None,
        "defocus_um": result.defocus_um if result else None,
        "stage_mm": stage_mm(read_acquisition(stored.get("acquisition")).stage_um),
        "time_s": row.scored_at,
        "device": (stored.get("provenance") or {}).get("device"),
        "usual": {"blur_px": told.usual_px},
        "decisions": [
            {"what": each.decision, "by": each.who, "at": utc(each.decided_at), "note": each.note}
            for each in told.decisions
        ],
    }


def missing_facts(n: int, missing: Missing, place: tuple[int, int]) -> Json:
    """The same of a tile of which no file came: its name, if that is known, its place, and why it should be there."""
    said = visible(f"Missing: {missing.why}.")
    section, position = place
    return {
        "n": n,
        "name": missing.name,
        "section": section,
        "position": position,
        "place": asdict(missing.position) if missing.position else None,
        "verdict": "missing",
        "explanation": said,
        "lines": [said],
        "remarks": [],
        "shape": None,
        "decisions": [],
    }


def in_sentences(told: Explanation) -> list[str]:
    """The lines of `mhfd explain` as sentences, without the tile's name, which the page shows above."""
    first, *others = lines(told)
    said = (visible(each) for each in (first.removeprefix(f"{told.tile}: "), *others))
    return [f"{each[:1].upper()}{each[1:]}." for each in said]


def stage_mm(stage_um: tuple[float, ...] | None) -> list[float] | None:
    """Where the stage was, as the page shows it."""
    return None if stage_um is None else [round(each / 1000, 4) for each in stage_um]
