"""Plan a replay: the files of a run, and how and when each is written."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from random import Random
from typing import Literal, get_args

from mhfd.contract import IMAGE_SUFFIXES, ExitCode, MhfdError
from mhfd_client.files.names import is_image_name, natural_order
from mhfd_client.replay.listing import Blocks, read_blocks

Style = Literal["whole", "chunks", "preallocated", "renamed", "paused"]
"""How a file gets its bytes: at once; piece by piece; zeros of full length first; under another name first; with a
pause in the middle."""

RETAKES, UNFINISHED = 0.05, 0.03  # shares of the tiles; one at least


class ReplayError(MhfdError):
    """The run cannot be replayed as asked; no existing file was touched."""


class ReplayStoppedError(ReplayError):
    """A file could not be read or written; the manifest lists what was written until then."""

    exit_code = ExitCode.TEMPORARY


@dataclass(frozen=True, kw_only=True)
class Act:
    """One file of the run and how it is written.

    Attributes
    ----------
    path : in the output folder, POSIX separators
    source : in the run
    start_s : after the beginning
    first : another tile, whose picture is written first; the right one follows `retake_s` later
    unfinished : its last part is never written
    """

    path: str
    source: str
    start_s: float
    is_tile: bool = True
    style: Style = "whole"
    first: str | None = None
    retake_s: float = 0.0
    unfinished: bool = False


@dataclass(frozen=True, kw_only=True)
class Listing:
    """A text file in which the microscope notes each tile once it is written; `blocks` as `read_blocks` gives them."""

    path: str
    source: str
    blocks: Blocks


@dataclass(frozen=True, kw_only=True)
class ReplayPlan:
    """The files to write, and when. The same run and seed give the same plan.

    Attributes
    ----------
    acts : in order of start
    paced : False: in this order, as fast as possible
    write_s, pause_s : time to write a half-written file, and its pause in the middle; real seconds at any
        speed
    """

    run: Path
    acts: tuple[Act, ...]
    lists: tuple[Listing, ...] = ()
    paced: bool = True
    write_s: float = 0.5
    pause_s: float = 3.0
    seed: int = 1

    @property
    def n_tiles(self) -> int:
        return sum(act.is_tile for act in self.acts)


@dataclass(frozen=True)
class _File:
    path: str
    mtime_ns: int
    is_tile: bool


def plan_replay(
    run: Path,
    *,
    speed: float = 10.0,
    rate: float | None = None,
    max_gap_s: float = 10.0,
    half_written: bool = False,
    faults: bool = False,
    repeat: int = 1,
    seed: int = 1,
    write_s: float = 0.5,
    pause_s: float = 3.0,
    retake_s: float = 5.0,
) -> ReplayPlan:
    """List the files of the run and decide how each is written.

    Parameters
    ----------
    run : folder; hidden files and folders are left out
    speed : divides the intervals between the files' times; infinite: no waiting at all. If all tiles have the same
        time, their interval is one second.
    rate : instead, tiles a second
    max_gap_s : no interval is longer
    half_written : files grow, pause, are preallocated or renamed; some tiles are taken again
    faults : some tiles are never finished
    repeat : number of replays; the second goes to `again-0002`, ...
    retake_s : mean time until a tile is taken again

    Raises
    ------
    ReplayError
        the run cannot be read, or holds no images.
    """
    files = sorted(_files(run), key=lambda file: natural_order(file.path))
    tiles = [file.path for file in files if file.is_tile]
    if not tiles:
        raise ReplayError(f"{run} holds no images ({', '.join(sorted(IMAGE_SUFFIXES))}); name the folder of a run.")
    lists = {file.path: read_blocks(run, file.path, tiles) for file in files if not file.is_tile}
    acts = _in_time(
        [file for file in files if not lists.get(file.path)],
        speed=1.0 if math.isinf(speed) else speed,
        rate=rate,
        max_gap_s=max_gap_s,
    )
    if half_written:
        acts = _retaken(_styled(acts, seed), seed, retake_s)
    if faults:
        acts = _unfinished(acts, seed)
    return ReplayPlan(
        run=run,
        acts=tuple(_repeated(acts, repeat, max_gap_s=max_gap_s)),
        lists=tuple(_repeated_lists(lists, repeat)),
        paced=rate is not None or not math.isinf(speed),
        write_s=write_s,
        pause_s=pause_s,
        seed=seed,
    )


def _files(run: Path) -> Iterator[_File]:
    def refuse(error: OSError) -> None:
        raise ReplayError(f"{error.filename} cannot be listed: {error.strerror}.") from error

    for parent, folders, names in os.walk(run, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            file = Path(parent, name)
            if not name.startswith(".") and file.is_file():  # not a link to nowhere
                is_tile = is_image_name(name)
                yield _File(file.relative_to(run).as_posix(), file.stat().st_mtime_ns, is_tile)


def _in_time(files: Sequence[_File], *, speed: float, rate: float | None, max_gap_s: float) -> list[Act]:
    """Order by the files' times if these differ, else tiles in natural order after other files."""
    timed = len({file.mtime_ns for file in files if file.is_tile}) > 1
    ordered = sorted(files, key=lambda file: file.mtime_ns if timed else file.is_tile)
    acts: list[Act] = []
    now_s, before, any_tile = 0.0, ordered[0], False
    for file in ordered:
        if timed and rate is None:
            now_s += min((file.mtime_ns - before.mtime_ns) / 1e9 / speed, max_gap_s)
        elif file.is_tile and any_tile:
            now_s += min(1 / (rate or speed), max_gap_s)
        acts.append(Act(path=file.path, source=file.path, start_s=now_s, is_tile=file.is_tile))
        before, any_tile = file, any_tile or file.is_tile
    return acts


def _styled(acts: Iterable[Act], seed: int) -> list[Act]:
    return [replace(act, style=Random(f"{seed} style {act.path}").choice(get_args(Style)[1:])) for act in acts]


def _retaken(acts: list[Act], seed: int, retake_s: float) -> list[Act]:
    """Give some tiles a neighbour's picture first. Their own comes last, so the end is as in the run."""
    tiles = [act for act in acts if act.is_tile]
    chosen = _some([act.path for act in tiles], RETAKES, f"{seed} retake")
    retaken: dict[str, Act] = {}
    for before, act, after in zip([None, *tiles], tiles, [*tiles[1:], None], strict=False):
        near = next((each for each in (before, after) if each and _suffix(each) == _suffix(act)), None)
        if act.path in chosen and near is not None:
            later_s = retake_s * Random(f"{seed} later {act.path}").uniform(0.5, 1.5)
            retaken[act.path] = replace(act, first=near.source, retake_s=later_s)
    return [retaken.get(act.path, act) for act in acts]


def _unfinished(acts: list[Act], seed: int) -> list[Act]:
    chosen = _some([act.path for act in acts if act.is_tile and act.first is None], UNFINISHED, f"{seed} unfinished")

    def left(act: Act) -> Act:  # one under another name would be removed at the end, not left
        styles: list[Style] = ["chunks", "preallocated"]
        return replace(act, unfinished=True, style=Random(f"{seed} left {act.path}").choice(styles))

    return [left(act) if act.path in chosen else act for act in acts]


def _some(paths: Sequence[str], share: float, salt: str) -> set[str]:
    """This share of the paths, one at least: those that draw the lowest numbers."""
    return set(sorted(paths, key=lambda path: Random(f"{salt} {path}").random())[: max(1, round(share * len(paths)))])


def _suffix(act: Act) -> str:
    return PurePosixPath(act.path).suffix.lower()


def _repeated(acts: Sequence[Act], repeat: int, *, max_gap_s: float) -> Iterator[Act]:
    period_s = acts[-1].start_s + min(1.0, max_gap_s)
    for number in range(repeat):
        for act in acts:
            yield replace(act, path=_folder(number) + act.path, start_s=act.start_s + number * period_s)


def _repeated_lists(lists: dict[str, Blocks], repeat: int) -> Iterator[Listing]:
    for number in range(repeat):
        folder = _folder(number)
        for path, blocks in lists.items():
            if blocks:
                placed = tuple((tile and folder + tile, end) for tile, end in blocks)
                yield Listing(path=folder + path, source=path, blocks=placed)


def _folder(number: int) -> str:
    return f"again-{number + 1:04d}/" if number else ""
