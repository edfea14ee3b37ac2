"""What a focal series teaches about an instrument: blur in pixels becomes defocus in micrometres.

`mhfd.judge.focal` fits the series. Kept in the ledger by instrument and setting; verdicts of that setting carry it.
"""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mhfd._version import __version__
from mhfd.contract import FocusParams, FocusResult, ParamsError, split_page
from mhfd.judge.focal import Interval, Series, measure_series
from mhfd.judge.setting import Setting, setting_of
from mhfd.text import counted, shown, visible
from mhfd_client.ledger import Json, KeptCalibration, Ledger

NORMAL_95 = 1.96
"""Standard errors to each side of a 95 % interval."""

UM = {"working_distance_um": 1.0, "working_distance_mm": 1000.0}
"""Columns of a table of distances, and micrometres in their unit."""

NAMED = 3
"""Names in a message, at most."""


@dataclass(frozen=True)
class Calibration:
    """How blur grows with defocus, in one setting.

    Attributes
    ----------
    px_per_um : of `blur_px`, as verdicts have it
    best_um : working distance of best focus when the series was taken
    details : all that is known of the series, for people
    """

    setting: Setting
    px_per_um: Interval
    best_um: Interval
    details: Json

    def to_dict(self) -> Json:
        """A JSON object."""
        return {
            "setting": list(self.setting),
            "px_per_um": list(self.px_per_um),
            "best_focus_um": list(self.best_um),
            **self.details,
        }

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Calibration:
        """Read what `to_dict` wrote.

        Raises
        ------
        ParamsError
            It is something else.
        """
        px_per_um = _interval(given, "px_per_um")
        if not px_per_um.value > 0:
            raise ParamsError(f"px_per_um of a calibration is above 0, not {px_per_um.value:g}")
        details = {key: given[key] for key in given if key not in ("setting", "px_per_um", "best_focus_um")}
        return cls(Setting.from_list(given.get("setting")), px_per_um, _interval(given, "best_focus_um"), details)

    def defocus_um(self, blur_px: float, error_px: float | None) -> tuple[float, tuple[float, float]]:
        """How far from best focus, and the 95 % interval; blur does not tell the side.

        The tiles that blur is measured against count as in focus.
        """
        value = blur_px / self.px_per_um.value
        of_blur = NORMAL_95 * (error_px or 0.0) / self.px_per_um.value
        of_scale = value * (self.px_per_um.high - self.px_per_um.low) / (2 * self.px_per_um.value)
        half = math.hypot(of_blur, of_scale)
        return round(value, 3), (round(max(value - half, 0.0), 3), round(value + half, 3))


def _interval(given: Mapping[str, Any], key: str) -> Interval:
    values = given.get(key)
    if not isinstance(values, list) or len(values) != 3 or not all(isinstance(each, int | float) for each in values):
        raise ParamsError(f"{key} of a calibration is a list of three numbers, not {shown(values)}")
    return Interval(*map(float, values))


def kept_calibrations(ledger: Ledger, instrument: str) -> tuple[Calibration, ...]:
    """Those of an instrument that this version can read, the newest first."""
    found = map(_readable, ledger.calibrations(instrument))
    return tuple(each for each in found if each is not None)


def _readable(kept: KeptCalibration) -> Calibration | None:
    try:
        return Calibration.from_dict(kept.calibration)
    except ParamsError:
        return None


def with_defocus(results: Iterable[FocusResult], calibrations: Sequence[Calibration]) -> list[FocusResult]:
    """Judged results, in the order given, with their defocus where their setting is calibrated."""
    known: dict[Setting, Calibration] = {}
    for each in calibrations:
        known.setdefault(each.setting, each)
    return [_with_defocus(row, known) for row in results] if known else list(results)


def _with_defocus(row: FocusResult, known: Mapping[Setting, Calibration]) -> FocusResult:
    if row.blur_px is None or (calibration := known.get(setting_of(row))) is None:
        return row
    value, interval = calibration.defocus_um(row.blur_px, row.blur_error_px)
    return replace(row, defocus_um=value, defocus_interval_um=interval)


# --- A series ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Law:
    """ln(features) = intercept + slope * distance in um, by least squares.

    Attributes
    ----------
    r : Pearson's
    """

    r: float
    slope: float
    intercept: float

    @classmethod
    def of(cls, distances_um: Sequence[float], counts: Sequence[int | None]) -> Law | None:
        """None where fewer than three counts are above 0, or all distances are alike."""
        pairs = [(x, math.log(n)) for x, n in zip(distances_um, counts, strict=True) if n]
        if len(pairs) < 3:
            return None
        xs, ys = zip(*pairs, strict=True)
        mx, my = sum(xs) / len(xs), sum(ys) / len(ys)
        xx = sum((x - mx) ** 2 for x in xs)
        yy = sum((y - my) ** 2 for y in ys)
        xy = sum((x - mx) * (y - my) for x, y in pairs)
        if not xx or not yy:
            return None
        return cls(xy / math.sqrt(xx * yy), xy / xx, my - xy / xx * mx)

    def to_dict(self) -> Json:
        """A JSON object."""
        return {"r": self.r, "slope_per_um": self.slope, "intercept": self.intercept}


@dataclass(frozen=True)
class FocalSeries:
    """A focal series, scored and fitted.

    Attributes
    ----------
    rows : of the frames that could be scored, by distance
    distances_um : of each
    paper : the published count of each, None where it was not taken
    failed : rows of the others
    """

    rows: tuple[FocusResult, ...]
    distances_um: tuple[float, ...]
    paper: tuple[int | None, ...]
    failed: tuple[FocusResult, ...]
    series: Series

    def origin_um(self) -> float:
        """f', from which distances are counted; that of the sharpest frame where f' is not known."""
        if self.series.fit.best is not None:
            return self.series.fit.best.value
        if self.series.d is not None and self.series.distances is not None:
            return float(self.series.distances[self.series.d.argmin()])
        return self.distances_um[0] if self.distances_um else 0.0

    def from_focus(self) -> list[float]:
        """Of each frame in um, without sign."""
        origin = self.origin_um()
        return [abs(each - origin) for each in self.distances_um]

    def laws(self) -> tuple[Law | None, Law | None]:
        """How ln(features) falls with |f - f'| (paper, fig. 2b), and ln of the published count."""
        away = self.from_focus()
        return Law.of(away, [row.features for row in self.rows]), Law.of(away, self.paper)

    def calibration(self) -> Calibration | None:
        """What to keep; None where the series was refused, or does not bracket the focus."""
        best, px_per_um = self.series.fit.best, self.series.verdict_k()
        if best is None or px_per_um is None:
            return None
        told = self.to_dict()
        keys = ("k_px_per_um", "floor_px2", "by_direction_um", "astigmatism_um", "features", "paper_features")
        details = {key: told[key] for key in keys}
        return Calibration(
            setting_of(self.rows[self.series.used[0]]),
            px_per_um,
            best,
            {**details, "frames": len(self.series.used), "mhfd": __version__},
        )

    def to_dict(self) -> Json:
        """A JSON object: what `mhfd calibrate --json` prints."""
        fit, (law, paper) = self.series.fit, self.laws()
        of_used = {i: k for k, i in enumerate(self.series.used)}
        d, error = self.series.d, self.series.error
        return {
            "declined": fit.declined,
            "reason": fit.reason,
            "bracketed": fit.best is not None,
            "best_focus_um": _listed(fit.best),
            "k_px_per_um": _listed(fit.k),
            "px_per_um": _listed(self.series.verdict_k()),
            "slope_px2_per_um": _listed(fit.slope),
            "floor_px2": fit.floor,
            "by_direction_um": [_listed(each) for each in fit.by_direction],
            "astigmatism_um": [_listed(each) for each in fit.astigmatism],
            "features": law and law.to_dict(),
            "paper_features": paper and paper.to_dict(),
            "frames": [
                {
                    "path": row.path,
                    "working_distance_um": distance,
                    "d_px2": float(d[of_used[i]]) if d is not None and i in of_used else None,
                    "d_error_px2": float(error[of_used[i]]) if error is not None and i in of_used else None,
                    "features": row.features,
                    "paper_features": count,
                    "focus_score": row.focus_score,
                }
                for i, (row, distance, count) in enumerate(zip(self.rows, self.distances_um, self.paper, strict=True))
            ],
            "failed": [{"path": row.path, "message": row.error and row.error.message} for row in self.failed],
        }


def _listed(told: Interval | None) -> list[float] | None:
    return None if told is None else [float(each) for each in told]


def read_series(files: Sequence[str], distances: Path | None = None, *, backend: str = "auto") -> FocalSeries:
    """Score the frames of a focal series, and fit them.

    Parameters
    ----------
    distances : table with the columns `file` and `working_distance_um` or `working_distance_mm`; by default the
        headers of the files tell

    Raises
    ------
    ParamsError
        A distance is not known, or the table cannot be read.
    """
    from mhfd.scoring import score_many

    table = None if distances is None else read_distances(distances)
    rows = score_many(files, None, backend)
    scored = [row for row in rows if row.status == "scored"]
    known = _from_headers(scored) if table is None else _from_table(scored, table, distances)
    order = sorted(range(len(scored)), key=known.__getitem__)
    scored, known = [scored[i] for i in order], [known[i] for i in order]
    paper = score_many([split_page(row.path)[0] for row in scored], FocusParams(mode="paper"), backend)
    counts = {row.path: row.features for row in paper}
    return FocalSeries(
        rows=tuple(scored),
        distances_um=tuple(known),
        paper=tuple(counts.get(row.path) for row in scored),
        failed=tuple(row for row in rows if row.status == "failed"),
        series=measure_series(scored, known),
    )


def _from_headers(rows: Sequence[FocusResult]) -> list[float]:
    told = [row.acquisition.working_distance_mm for row in rows]
    lacking = [row.path for row, each in zip(rows, told, strict=True) if each is None]
    if lacking:
        raise ParamsError(
            f"{_names(lacking)}: the file tells no working distance: name a table with --distances "
            "(columns file, working_distance_um)"
        )
    return [1000.0 * each for each in told if each is not None]


def _from_table(rows: Sequence[FocusResult], table: Mapping[str, float], where: Path | None) -> list[float]:
    """By the path of the file, else by its name."""
    by_name: dict[str, set[float]] = {}
    for name, each in table.items():
        by_name.setdefault(Path(name).name, set()).add(each)
    found: list[float] = []
    lacking = []
    for row in rows:
        here = {table[row.path]} if row.path in table else by_name.get(Path(row.path).name, set())
        if len(here) == 1:
            found.append(next(iter(here)))
        else:
            lacking.append(row.path)
    if lacking:
        raise ParamsError(f"{where} has no distance, or several, for {_names(lacking)}")
    return found


def _names(paths: Sequence[str]) -> str:
    more = f" and {len(paths) - NAMED} more" if len(paths) > NAMED else ""
    return ", ".join(visible(each) for each in paths[:NAMED]) + more


def read_distances(path: Path) -> dict[str, float]:
    """File -> working distance in um, from a table.

    Raises
    ------
    ParamsError
        It cannot be read; the message says where.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ParamsError(f"{path}: {getattr(error, 'strerror', None) or 'is no text in UTF-8'}") from error
    reader = csv.DictReader(text.splitlines(), skipinitialspace=True)
    columns = [(name or "").strip() for name in reader.fieldnames or ()]
    units = [name for name in UM if name in columns]
    if "file" not in columns or len(units) != 1:
        raise ParamsError(
            f"{path}: the first line names the columns: file, and working_distance_um or working_distance_mm"
        )
    reader.fieldnames = columns
    found: dict[str, float] = {}
    for line in reader:
        name, told = (line.get("file") or "").strip(), (line.get(units[0]) or "").strip()
        try:
            value = float(told) * UM[units[0]]
        except ValueError:
            value = math.nan
        if not name or not math.isfinite(value):
            raise ParamsError(
                f"{path}, line {reader.line_num}: a file and a number, not {shown(name)} and {shown(told)}"
            )
        if found.get(name, value) != value:
            raise ParamsError(f"{path}, line {reader.line_num}: {visible(name)} has another distance above")
        found[name] = value
    if not found:
        raise ParamsError(f"{path} has no lines below its head")
    return found


def keep(ledger: Ledger, instrument: str, calibration: Calibration) -> KeptCalibration:
    """Store a calibration, in place of that of the same instrument and setting."""
    kept = KeptCalibration(instrument, str(calibration.setting), time.time(), calibration.to_dict())
    ledger.keep_calibration(kept)
    return kept


def in_words(kept: KeptCalibration) -> str:
    """A kept calibration, for people."""
    found = _readable(kept)
    if found is None:
        return f"{kept.instrument}: {kept.setting}: of a version of mhfd that this one cannot read"
    frames = found.details.get("frames")
    of = f", {counted(frames, 'frame')}" if isinstance(frames, int) else ""
    low, high = found.px_per_um.low, found.px_per_um.high
    return f"{kept.instrument}: {kept.setting}: {found.px_per_um.value:.3g} px/um ({low:.3g} to {high:.3g}){of}"
