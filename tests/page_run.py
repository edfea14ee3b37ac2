"""A run in a ledger, with pictures and without scoring: spectra of known blur, judged for real."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import gaussian_filter

from mhfd.contract import FocusParams, FocusResult
from mhfd.judge import setting_of
from mhfd.judge.focal import Interval
from mhfd_client.judge.calibration import Calibration
from mhfd_client.judge.run import DEFAULT_INSTRUMENT
from mhfd_client.ledger import KeptCalibration, Ledger, Missing, Run, SeenFile, open_ledger
from mhfd_client.naming.position import Position
from spectra import ABOUT, Smear, row, spectrum

Spot = tuple[int, int, int]
"""Section, row, column."""

RIGHT_HALF = np.tile([0.0, 0.0, 1.0, 1.0], (4, 1))
PHASES = 6
"""Different sections of one position; then they come again, backwards."""


@dataclass(frozen=True)
class Wafer:
    """What a run looks like.

    Attributes
    ----------
    blur_px : of a section: drift
    odd : tiles with a blur of their own, of the whole tile or of its 4 x 4 parts; None: could not be read
    smeared : astigmatic tiles
    blank : positions without content, as (row, column)
    missing : positions for which no file came
    """

    sections: int = 12
    rows: int = 3
    cols: int = 4
    side_px: int = 256
    blur_px: Callable[[int], float] = lambda section: 0.0
    odd: Mapping[Spot, ArrayLike | None] = field(default_factory=dict)
    smeared: Mapping[Spot, Smear] = field(default_factory=dict)
    blank: frozenset[tuple[int, int]] = frozenset()
    missing: frozenset[Spot] = frozenset()
    pictures: bool = True

    def spots(self) -> Iterator[Spot]:
        """In the order in which the tiles are taken."""
        for section in range(1, self.sections + 1):
            for place in np.ndindex(self.rows, self.cols):
                yield section, *place

    def name(self, spot: Spot) -> str:
        section, r, c = spot
        return f"s{section:04}_r{r}_c{c}.tif"

    def sigma_px(self, spot: Spot) -> ArrayLike | None:
        return self.odd.get(spot, self.blur_px(spot[0]))

    def pixels(self, spot: Spot) -> str:
        """What stands for a tile's SHA-256: a sharp retake has other pixels."""
        return f"{self.name(spot)}, blur {self.sigma_px(spot)}"

    def result(self, spot: Spot, rng: np.random.Generator) -> FocusResult:
        """The row that an endpoint would have sent."""
        about = replace(ABOUT, params_sha256=FocusParams().sha256, tile_sha256=self.pixels(spot))
        keys: dict[str, Any] = {"provenance": about, "shape": (self.side_px, self.side_px), "pixel_size_nm": 4.6}
        sigma = self.sigma_px(spot)
        if sigma is None:
            return FocusResult.failed(self.name(spot), "truncated", "the file ends after 412 of 1,024 rows", about)
        if spot[1:] in self.blank:
            return row(None, self.name(spot), content=0.01, focus_score=0.1, **keys)
        sharp = 8.0 / (1 + float(np.mean(np.square(sigma))) + 0.05 * rng.random())
        found = spectrum(rng, sigma, smear=self.smeared.get(spot, Smear(0, 0)))
        return row(found, self.name(spot), focus_score=sharp, features=int(400 * sharp), noise=0.02, **keys)


@cache
def _fields(r: int, c: int, side_px: int) -> NDArray[np.float32]:
    """(3, side, side) smooth chance, with a deviation of 1."""
    white = np.random.default_rng([r, c]).standard_normal((3, side_px, side_px), np.float32)
    smooth = np.stack([gaussian_filter(each, side_px / 36, mode="wrap") for each in white])
    return np.asarray(smooth / smooth.std((1, 2), keepdims=True))


def tissue(spot: Spot, wafer: Wafer) -> NDArray[np.uint8]:
    """(side, side) pixels: membranes, cytoplasm, noise; neighbours in depth show nearly the same."""
    section, r, c = spot
    turn = 0.35 * (PHASES - abs(section % (2 * PHASES) - PHASES))
    fields = _fields(r, c, wafer.side_px)
    cells = np.cos(turn) * fields[0] + np.sin(turn) * fields[1]
    picture = 165 + 22 * fields[2] - 110 * np.exp(-((cells % 0.9 - 0.45) ** 2) / 0.006)
    if spot[1:] in wafer.blank:
        picture = np.full_like(picture, 166.0)
    picture = _blurred(picture, wafer.sigma_px(spot), wafer.smeared.get(spot))
    noise = np.random.default_rng([section, r, c]).standard_normal(picture.shape, np.float32)
    return np.asarray(np.clip(picture + 9 * noise, 0, 255).astype(np.uint8))


def _blurred(picture: NDArray[np.float32], sigma: ArrayLike | None, smear: Smear | None) -> NDArray[np.float32]:
    if smear is not None:
        return np.asarray(gaussian_filter(picture, (0.3, smear.px)))
    if sigma is None or not np.any(sigma):
        return picture
    blurred = np.asarray(gaussian_filter(picture, float(np.max(sigma))))
    if np.ndim(sigma) == 0:
        return blurred
    part = np.repeat(np.repeat(np.asarray(sigma) > 0, len(picture) // 4, 0), len(picture) // 4, 1)
    return np.where(part, blurred, picture)


class Filling:
    """Fills a ledger with a wafer's tiles, a few or all at a time."""

    def __init__(self, ledger: Ledger, root: Path, wafer: Wafer) -> None:
        self.ledger, self.root, self.wafer = ledger, root, wafer
        self.root.mkdir(parents=True, exist_ok=True)
        self.run: Run = ledger.open_run(str(root), FocusParams(), layout="auto", endpoint="local")
        self.ledger.set_rule(self.run.run_id, {}, time.time())
        self._rng = np.random.default_rng(5)
        self._drawn: dict[object, Path] = {}

    def see(self, spots: Iterable[Spot]) -> list[tuple[int, Spot]]:
        """Tiles that are there and not scored; their numbers."""
        wafer, now = self.wafer, time.time()
        wanted = [spot for spot in spots if spot not in wafer.missing]
        by_name = {wafer.name(spot): spot for spot in wanted}
        files = [(self._file(spot), Position(section=spot[0], row=spot[1], col=spot[2])) for spot in wanted]
        run_id = self.run.run_id
        with self.ledger.transaction():
            self.ledger.see(run_id, files, now)
            rows = self.ledger.take(run_id, "seen", len(wanted), order="oldest", now=now)
            for each in rows:
                side = wafer.side_px
                self.ledger.finish(each.tile_id, [(wafer.pixels(by_name[each.path]), (side, side))], now)
        return sorted((each.tile_id, by_name[each.path]) for each in rows)

    def score(self, seen: Iterable[tuple[int, Spot]], now: float | None = None) -> None:
        """Results for these."""
        found = [(n, self.wafer.result(spot, self._rng)) for n, spot in seen]
        self.ledger.store(found, time.time() if now is None else now)

    def take_again(self, spot: Spot) -> int:
        """The tile once more, and sharp; the number of its newest generation."""
        (self.root / self.wafer.name(spot)).unlink()
        self.wafer = replace(self.wafer, odd={k: v for k, v in self.wafer.odd.items() if k != spot})
        self._drawn.pop(spot, None)
        (n,) = self.add([spot])
        return n

    def miss(self, spots: Iterable[Spot]) -> None:
        """Note these as missing, as a watch does."""
        gone = [
            Missing(self.wafer.name((s, r, c)), Position(section=s, row=r, col=c), "not in the grid")
            for s, r, c in spots
        ]
        self.ledger.set_missing(self.run.run_id, gone, time.time())

    def calibrate(self, px_per_um: float) -> None:
        """As `mhfd calibrate` does: blur grows by so much."""
        setting, slope = setting_of(self.wafer.result(next(self.wafer.spots()), self._rng)), Interval(*[px_per_um] * 3)
        found = Calibration(setting, slope, Interval(0.0, 0.0, 0.0), {})
        self.ledger.keep_calibration(KeptCalibration(DEFAULT_INSTRUMENT, str(setting), time.time(), found.to_dict()))

    def add(self, spots: Iterable[Spot]) -> list[int]:
        """Tiles with their results; their numbers."""
        seen = self.see(spots)
        self.score(seen)
        return [n for n, _ in seen]

    def _file(self, spot: Spot) -> SeenFile:
        path = self.root / self.wafer.name(spot)
        order = (spot[0] * 1000 + spot[1] * 30 + spot[2]) * 10**9
        if not self.wafer.pictures:
            return SeenFile(path.name, 1000, order)
        self._draw(spot, path)
        state = path.stat()
        return SeenFile(path.name, state.st_size, state.st_mtime_ns)

    def _draw(self, spot: Spot, path: Path) -> None:
        """Plain tiles of one position share a few pictures: a long run needs no room of its own."""
        section, *place = spot
        own = spot in self.wafer.odd or spot in self.wafer.smeared or self.wafer.blur_px(section) > 0
        like = spot if own else (PHASES - abs(section % (2 * PHASES) - PHASES), *place)
        if like in self._drawn:
            path.hardlink_to(self._drawn[like])
        else:
            tifffile.imwrite(path, tissue(spot, self.wafer))
            self._drawn[like] = path


def open_filling(folder: Path, wafer: Wafer, name: str = "cortex-w07") -> Filling:
    """A ledger in the folder, and a run of this name beside it."""
    return Filling(open_ledger(folder / "ledger.db"), folder / name, wafer)
