"""Rows -> verdicts: how blurred a tile is against the sharp tiles of its run, where, and how sure that is.

Pure: reads no pixels, so old results can be judged again, with another threshold too. docs/verdicts.md explains it.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mhfd.contract import DEFAULT_BLUR_PX, Doubt, FocusResult, Verdict
from mhfd.judge.blur import Array, Spectra
from mhfd.judge.doubts import weighed
from mhfd.judge.evidence import Evidence
from mhfd.judge.folder import judge_by_folder
from mhfd.judge.reference import KEPT_TILES, LEAST_TILES, SURE_TILES, Reference, Sharpest, sharpest, unpacked
from mhfd.judge.rule import VerdictRule
from mhfd.judge.setting import MOST, Setting, setting_of
from mhfd.judge.tissue import Group, groups
from mhfd.spectrum import CELLS, Spectrum
from mhfd.text import counted

FLAGGED_SLOPE, SHARP_SLOPE = 4.0, 4.0
"""Confidence by ln(D / limit), chosen on runs of known focus (docs/accuracy.md)."""

DOUBTED, FEW_SURE, LOSSY_SURE = 0.65, 0.85, 0.69
"""Most confidence where the reference may be blurred, in focus by few tiles, of tiles compressed with loss."""

SHARP_BEND, TRUST = (-1.2, -0.6, 0.5, 1.0), (DOUBTED, 1.0, 1.0, DOUBTED)
"""px^2 (`own_blur`), and the confidence that a reference is sharp, in between by a line. Tissue in focus was between
-0.5 and 0.6, blurred by 1.5 px at 2; by a wide disc, whose spectrum rises beyond its first zero, at -3 and less."""

SUSPECT_MOST = 3.5
"""px^2. Below, a tile of what may be a new tissue is not called blurred."""

SECTION_TILES = 4
"""Neighbours in order that stand in for a section where that is not known."""

BROKEN = frozenset(("constant_rows", "repeated_rows"))


def judge(
    results: Iterable[FocusResult],
    rule: VerdictRule | None = None,
    *,
    sections: Sequence[int | None] | None = None,
    references: Iterable[Reference] = (),
) -> list[FocusResult]:
    """The results with `verdict`, `confidence` and all that is said of their blur filled in, in the order given.

    Each is compared with the sharp ones of its setting and tissue. What this says of the first k results is what was to
    be said when the k-th arrived.

    Parameters
    ----------
    results : in the order in which the tiles were taken
    sections : of each its section, None where that is not known
    references : sharp tiles of earlier runs; of several of one setting the first counts
    """
    rule = rule or VerdictRule()
    rows = list(results)
    where = [None] * len(rows) if sections is None else list(sections)
    spectra = unpacked([row.spectrum if row.status == "scored" else None for row in rows])
    judged = [_without_peers(row, rule) for row in rows]
    old = [i for i, row in enumerate(rows) if judged[i] is None and spectra[i] is None and row.spectrum is None]
    for i, row in zip(old, judge_by_folder([rows[i] for i in old], rule), strict=True):
        judged[i] = row
    alike: dict[Setting, list[int]] = defaultdict(list)
    for i, row in enumerate(rows):
        if judged[i] is None and spectra[i] is not None:
            alike[setting_of(row)].append(i)
    kept = _by_setting(references)
    for setting, members in alike.items():
        chosen = [(rows[i], spectrum, where[i]) for i in members if (spectrum := spectra[i])]
        for i, row in zip(members, _Alike(chosen, rule, kept.get(setting)).judged(), strict=True):
            judged[i] = row
    return [each or _undecided(row, "unreadable_spectrum") for each, row in zip(judged, rows, strict=True)]


def _without_peers(row: FocusResult, rule: VerdictRule) -> FocusResult | None:
    """The verdict on a tile that needs no others for it; else None."""
    if row.status == "failed":
        return replace(row, verdict="failed", confidence=None)
    if row.content is None:
        return _undecided(row, "too_small")
    if row.content < rule.min_content:
        sure = 1 / (1 + math.exp(-1.5 - 3 * (rule.min_content - row.content) / rule.min_content))
        confidence, doubts = weighed(sure, {})
        return replace(row, verdict="no_content", confidence=confidence, doubts=doubts)
    return None


def _undecided(row: FocusResult, why: Doubt) -> FocusResult:
    return replace(row, verdict="cannot_tell", confidence=None, doubts=(why,))


def _by_setting(references: Iterable[Reference]) -> dict[Setting, Reference]:
    found: dict[Setting, Reference] = {}
    for each in references:
        found.setdefault(each.setting, each)
    return found


def _sections(where: Sequence[int | None], tiles: Sequence[int]) -> list[list[int]]:
    """The tiles by section, in order; neighbours stand in for one where it is not known."""
    found: list[list[int]] = []
    last: int | None = None
    for tile, section in zip(tiles, where, strict=True):
        room = section is not None or (bool(found) and len(found[-1]) < SECTION_TILES)
        if found and section == last and room:
            found[-1].append(tile)
        else:
            found.append([tile])
        last = section
    return found


class _Alike:
    """Tiles of one setting. Those of a kept reference come first, then those to judge.

    Parameters
    ----------
    chosen : result, spectrum and section of each tile to judge
    """

    def __init__(
        self,
        chosen: Sequence[tuple[FocusResult, Spectrum, int | None]],
        rule: VerdictRule,
        kept: Reference | None,
    ) -> None:
        earlier = [each for each in unpacked(kept.spectra) if each] if kept else []
        self._rule, self._kept, self._first = rule, kept, len(earlier)
        self._rows = [row for row, _, _ in chosen]
        self._sections = [section for _, _, section in chosen]
        self._spectra = Spectra([*earlier, *(spectrum for _, spectrum, _ in chosen)])

    def judged(self) -> list[FocusResult]:
        """The results, in order."""
        first, found = self._first, dict[int, FocusResult]()
        broken = [first + i for i, row in enumerate(self._rows) if _is_broken(row)]  # nobody's reference
        whole = [first + i for i, row in enumerate(self._rows) if not _is_broken(row)]
        sections = _sections([self._sections[i - first] for i in whole], whole)
        last: tuple[Group, Sharpest | None] = Group(), None
        for group in groups(self._spectra, sections, range(first)):
            members = np.array(group.members, dtype=np.int64)
            last = group, sharpest(self._spectra, members, kept=group.kept)
            found |= self._judge([i for i in group.members if i >= first], *last)
        for i, row in self._judge(broken, *last).items():
            sharp = row.verdict == "in_focus"
            found[i] = _undecided(row, "broken_scan") if sharp else row
        return [found[first + i] for i in range(len(self._rows))]

    def _judge(self, tiles: Sequence[int], group: Group, reference: Sharpest | None) -> dict[int, FocusResult]:
        """Judge tiles against the sharpest of a group."""
        rows = {i: self._rows[i - self._first] for i in tiles}
        if reference is None or len(group.members) < LEAST_TILES or not tiles:
            return {i: _undecided(row, "nothing_to_compare") for i, row in rows.items()}
        evidence = Evidence.of(self._spectra, tiles, reference)
        flags = evidence.flags()
        ratio = (self._rule.max_blur_px / DEFAULT_BLUR_PX) ** 2
        worst, gap = evidence.astigmatism()
        blur = _Blur.of(evidence)
        caps, name = _caps(reference, flags, group), self._name(group, reference)
        suspects = set(group.suspects)
        found = {}
        for k, (i, row) in enumerate(rows.items()):
            d, flagged = float(evidence.d[k]), bool(flags[k] > ratio)
            if not math.isfinite(d) and not flagged:
                found[i] = replace(_undecided(row, "drowned"), reference=name)
                continue
            verdict: Verdict = "in_focus"
            if flagged:
                verdict = "astigmatic" if gap[k] > 0 and worst[k] > evidence.limit * ratio else "out_of_focus"
            by_margin = _by_margin(float(flags[k]) / ratio, flagged=flagged)
            its_caps: dict[Doubt, float] = {"lossy": LOSSY_SURE} if _is_lossy(row) else {} if flagged else caps
            confidence: float | None
            confidence, doubts = weighed(by_margin, its_caps)
            part_only = d <= evidence.limit * ratio  # another tissue would differ in all parts
            if flagged and i in suspects and not part_only and not d > SUSPECT_MOST:
                verdict, confidence, doubts = "cannot_tell", None, ("new_tissue",)
            found[i] = replace(
                row, verdict=verdict, confidence=confidence, doubts=doubts, reference=name,
                **blur.keys(k, row.pixel_size_nm, flags[k]),
            )  # fmt: skip
        return found

    def _name(self, group: Group, reference: Sharpest) -> str:
        """For people: which tiles the reference is made of."""
        earlier = set(group.kept)
        of_run = sum(int(i) not in earlier for i in reference.best)
        told = [f"{counted(of_run, 'tile')} of this run"] if of_run else []
        if self._kept and of_run < len(reference.best):
            told.append(f"{len(reference.best) - of_run} of {self._kept.name}")
        return " and ".join(told)


def _is_broken(row: FocusResult) -> bool:
    return any(remark.code in BROKEN for remark in row.remarks)


def _is_lossy(row: FocusResult) -> bool:
    return row.acquisition.lossy or any(remark.code == "lossy" for remark in row.remarks)


def _caps(reference: Sharpest, flags: Array, group: Group) -> dict[Doubt, float]:
    """The largest confidence that a tile is in focus: as large as that the reference is; by what doubts it.

    A run that is blurred throughout has no sharp tiles to show it. Its reference bends off a power law more than
    tissue does; and where most tiles are worse than it, it may be the less blurred part of a blurred run.
    """
    if group.kept:  # its sharp tiles were chosen among those of an earlier run too
        return {}
    bend = reference.own_blur
    by_bend = float(np.interp(bend, SHARP_BEND, TRUST)) if math.isfinite(bend) else DOUBTED
    by_share = float(np.interp(np.mean(flags > 1) if len(flags) else 0, (0.3, 0.5), (1.0, DOUBTED)))
    by_count = 1.0 if len(group.members) >= SURE_TILES else FEW_SURE
    return {"reference_blurred": by_bend, "most_are_worse": by_share, "few_tiles": by_count}


def _by_margin(flag: float, *, flagged: bool) -> float:
    """Confidence: from 0.5 on the line to 1 far from it, by the ratio of D to its limit."""
    margin = min(abs(math.log(max(flag, 1e-3))), 10.0)
    return 1 / (1 + math.exp(-(FLAGGED_SLOPE if flagged else SHARP_SLOPE) * margin))


@dataclass(frozen=True)
class _Blur:
    """The numbers of blur of m tiles, in px, None where nothing can be said; worst: index of the most blurred cell."""

    whole: list[float | None]
    error: list[float | None]
    by_direction: list[list[float | None]]
    by_cell: list[list[list[float | None]]]
    worst: list[int]

    @classmethod
    def of(cls, evidence: Evidence) -> _Blur:
        d, error = evidence.d, evidence.error
        # of the root of D: half the span between the roots of its ends
        half = (np.sqrt(np.maximum(d + error, 0)) - np.sqrt(np.maximum(d - error, 0))) / 2
        cells = evidence.cells.reshape(len(d), -1)
        return cls(
            whole=_listed(_root(d)),
            error=_listed(half),
            by_direction=_listed(_root(evidence.directions)),
            by_cell=_listed(_root(evidence.cells)),
            worst=np.where(np.isfinite(cells), cells, -np.inf).argmax(1).tolist(),
        )

    def keys(self, k: int, size: float | None, flag: float) -> dict[str, Any]:
        """What a result says of blur: of the k-th tile.

        Parameters
        ----------
        size : of a pixel, nm
        flag : the largest threshold, squared, in units of the default's, at which it is flagged
        """
        blur, cells = self.whole[k], self.by_cell[k]
        known = any(each is not None for line in cells for each in line)
        return {
            "blur_px": blur,
            "blur_nm": round(blur * size, 2) if blur is not None and size is not None and size < MOST else None,
            "blur_error_px": self.error[k],
            "blur_by_direction_px": tuple(self.by_direction[k]),
            "blur_map_px": tuple(map(tuple, cells)),
            "worst_block": divmod(self.worst[k], CELLS) if known else None,
            "flag_px": DEFAULT_BLUR_PX * math.sqrt(flag) if flag > 0 else None,
        }


def _root(d: Array) -> Array:
    return np.asarray(np.sqrt(np.maximum(d, 0)))


def _listed(px: Array) -> Any:
    """As lists of numbers of three decimals, None for NaN."""
    found = np.round(px, 3).astype(object)
    found[~np.isfinite(px)] = None
    return found.tolist()


def references_of(judged: Sequence[FocusResult], *, name: str) -> list[Reference]:
    """Of each setting of a judged run the sharp tiles to keep for the next one; none where they are too few."""
    alike: dict[Setting, list[FocusResult]] = defaultdict(list)
    for row in judged:
        if row.verdict == "in_focus" and row.spectrum is not None and row.blur_px is not None:
            alike[setting_of(row)].append(row)
    found = []
    for setting, rows in alike.items():
        if len(rows) < SURE_TILES:
            continue
        best = sorted(rows, key=lambda row: row.blur_px or 0.0)[: max(SURE_TILES, len(rows) // 2)]
        every = -(-len(best) // KEPT_TILES)
        spectra = tuple(str(row.spectrum) for row in best[::every])
        found.append(Reference(name, setting, len(best), spectra))
    return found
