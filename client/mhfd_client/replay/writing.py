"""Write many files at once, each by a generator that writes a part and yields how long to pause."""

from __future__ import annotations

import hashlib
import heapq
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal

from mhfd_client.replay.plan import Act, Listing, ReplayError, ReplayPlan, ReplayStoppedError, Style

What = Literal["began", "grew", "finished", "left"]
Sleep = Callable[[float], None]

CHUNKS = 4
TEMPORARY = ".tmp"


@dataclass(frozen=True, kw_only=True)
class Step:
    """One thing that was just done to a file.

    Attributes
    ----------
    at_s : since the beginning
    take : 0, or 1 when the tile is taken again
    size, sha256 : of the file, once it is finished or left
    """

    path: str
    what: What
    is_tile: bool
    style: Style
    at_s: float = 0.0
    take: int = 0
    size: int | None = None
    sha256: str | None = None


def replay(
    plan: ReplayPlan, into: Path, *, clock: Callable[[], float] = time.monotonic, sleep: Sleep = time.sleep
) -> Generator[Step, None, None]:
    """Write the run into the folder, step by step; yields each step when it is done.

    When closed or interrupted, it removes the files begun and not finished, except those to be left unfinished.

    Raises
    ------
    ReplayError
        `into` holds one of the files already, or is in the run or contains it.
    ReplayStoppedError
        a file cannot be read or written.
    """
    _refuse_overwriting(plan, into)
    desk, lists = _Desk(plan, into, sleep), _Lists(plan, into)
    due: list[tuple[float, int, Act | Iterator[tuple[Step, float]]]]
    due = [(act.start_s, number, act) for number, act in enumerate(plan.acts)]
    heapq.heapify(due)
    start_s = clock()
    try:
        yield from lists.begin()
        while due:
            at_s, number, file = heapq.heappop(due)
            if plan.paced:
                if (ahead_s := at_s - (clock() - start_s)) > 0:
                    sleep(ahead_s)
                at_s = max(at_s, clock() - start_s)  # when late, a pause is still a full pause
            writing = desk.write(file) if isinstance(file, Act) else file
            done = next(writing, None)
            if done is None:
                continue
            step, rest_s = replace(done[0], at_s=at_s), done[1]
            heapq.heappush(due, (at_s + rest_s, number, writing))
            yield step
            if step.is_tile and step.take == 0 and step.sha256 is not None:
                yield from lists.after(step)
    except OSError as error:
        reason = f"{error.filename or into}: {error.strerror or error}"
        raise ReplayStoppedError(f"{reason}. The replay stops here; the manifest lists what is written.") from error
    finally:
        desk.clear()


def _refuse_overwriting(plan: ReplayPlan, into: Path) -> None:
    run, target = plan.run.resolve(), into.resolve()
    if target.is_relative_to(run) or run.is_relative_to(target):
        raise ReplayError(f"{into} and the run {plan.run} overlap; name a folder elsewhere.")
    for path in [*(act.path for act in plan.acts), *(each.path for each in plan.lists)]:
        if (into / path).exists():
            raise ReplayError(f"{into / path} is there already; name an empty folder, so that nothing is overwritten.")


@dataclass
class _Desk:
    """Writes files; `begun` are those begun and not finished."""

    plan: ReplayPlan
    into: Path
    sleep: Sleep
    begun: set[Path] = field(default_factory=set)

    def clear(self) -> None:
        for file in self.begun:
            with suppress(OSError):  # it may be gone with its folder
                file.unlink(missing_ok=True)

    def write(self, act: Act) -> Iterator[tuple[Step, float]]:
        """Each step of one file, and the pause after it."""
        takes = [act.source] if act.first is None else [act.first, act.source]
        for take, source in enumerate(takes):
            for step, rest_s in self._take(act, self.plan.run / source):
                again = step.what == "finished" and take + 1 < len(takes)
                yield replace(step, take=take), act.retake_s if again else rest_s

    def _take(self, act: Act, source: Path) -> Iterator[tuple[Step, float]]:
        target, style = self.into / act.path, act.style
        file = target.with_name(target.name + TEMPORARY) if style == "renamed" else target
        size, digest = source.stat().st_size, hashlib.sha256()
        told = Step(path=act.path, what="grew", is_tile=act.is_tile, style=style)

        target.parent.mkdir(parents=True, exist_ok=True)
        self.begun.add(file)
        self._insist(partial(_lay_out, file, size if style == "preallocated" else 0))
        rests_s = self._rests_s(style)
        if style == "preallocated":
            yield replace(told, what="began"), rests_s[0]
        start = 0
        for number, rest_s in enumerate(rests_s, start=1):
            end = size * number // (len(rests_s) + 1)
            self._insist(partial(_copy, source, file, start, end, digest.update))
            yield replace(told, what="grew" if start else "began"), rest_s
            start = end
        if act.unfinished:
            self.begun.discard(file)
            yield replace(told, what="left", size=file.stat().st_size, sha256=hash_file(file)), 0.0
            return
        self._insist(partial(_copy, source, file, start, size, digest.update))
        if file != target:
            self._insist(partial(file.replace, target))
        self.begun.discard(file)
        yield replace(told, what="finished", size=size, sha256=digest.hexdigest()), 0.0

    def _rests_s(self, style: Style) -> list[float]:
        if style == "whole":
            return []
        return [self.plan.pause_s] if style == "paused" else [self.plan.write_s / CHUNKS] * CHUNKS

    def _insist(self, action: Callable[[], object]) -> None:
        """Try again: Windows denies access while the file is open elsewhere, as in a watch of the folder."""
        for _ in range(40):
            try:
                action()
            except PermissionError:  # noqa: PERF203 - what the loop is for
                self.sleep(0.05)
            else:
                return
        action()


def _lay_out(file: Path, size: int) -> None:
    with file.open("wb") as out:
        out.truncate(size)


def _copy(source: Path, target: Path, start: int, end: int, seen: Callable[[bytes], object]) -> None:
    """Copy bytes start to end to the same place; reopen each time, as thousands may be half-written at once."""
    with target.open("r+b") as out, source.open("rb") as given:
        given.seek(start)
        out.seek(start)
        while start < end and (piece := given.read(min(2**20, end - start))):
            out.write(piece)
            seen(piece)
            start += len(piece)


def hash_file(file: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with file.open("rb") as given:
        while piece := given.read(2**20):
            digest.update(piece)
    return digest.hexdigest()


class _Lists:
    """The microscope's own lists: a line is written once its tile and those of all lines before are."""

    def __init__(self, plan: ReplayPlan, into: Path) -> None:
        self._plan, self._into = plan, into
        self._next = {each.path: 0 for each in plan.lists}
        self._written = {""}
        self._waiting: dict[str, list[Listing]] = {}

    def begin(self) -> Iterator[Step]:
        for each in self._plan.lists:
            target = self._into / each.path
            target.parent.mkdir(parents=True, exist_ok=True)
            _lay_out(target, 0)
            yield self._grow(each, 0.0)

    def after(self, tile: Step) -> Iterator[Step]:
        self._written.add(tile.path)
        for each in self._waiting.pop(tile.path, []):
            yield self._grow(each, tile.at_s)

    def _grow(self, each: Listing, at_s: float) -> Step:
        first = until = self._next[each.path]
        while until < len(each.blocks) and each.blocks[until][0] in self._written:
            until += 1
        start, end = (each.blocks[number - 1][1] if number else 0 for number in (first, until))
        target = self._into / each.path
        _copy(self._plan.run / each.source, target, start, end, lambda _: None)
        self._next[each.path] = until
        grown = Step(path=each.path, what="grew" if first else "began", is_tile=False, style="chunks", at_s=at_s)
        if until == len(each.blocks):
            return replace(grown, what="finished", size=end, sha256=hash_file(target))
        self._waiting.setdefault(each.blocks[until][0], []).append(each)
        return grown
