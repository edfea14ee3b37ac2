"""The record of a replay: when each file was written, and what it should hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from mhfd.text import json_text
from mhfd_client.files.whole import check_writable, write_whole
from mhfd_client.replay.plan import ReplayPlan
from mhfd_client.replay.writing import Step, hash_file, replay

Json = dict[str, Any]

SCHEMA = 1


@dataclass
class Manifest:
    """The record of a replay, file by file; `note` adds its steps.

    A file's `state` is "whole", "unfinished" (left so on purpose, or a list that was still growing), or "removed"
    (it was half-written when the replay was interrupted). `reacquired`: a second take replaced a different first.
    """

    plan: ReplayPlan
    into: Path
    began: datetime = field(default_factory=lambda: datetime.now(timezone.utc))
    entries: dict[str, Json] = field(default_factory=dict)
    last_s: float = 0.0

    def note(self, step: Step) -> None:
        entry = self.entries.setdefault(
            step.path,
            {
                "path": step.path, "kind": "tile" if step.is_tile else "other", "style": step.style,
                "state": "unfinished", "size": None, "sha256": None, "reacquired": False, "takes": [],
            },
        )  # fmt: skip
        self.last_s = step.at_s
        takes: list[Json] = entry["takes"]
        if step.take == len(takes):
            takes.append({"began": self._time(step.at_s), "ended": None, "size": None, "sha256": None})
        if step.sha256 is not None:
            takes[-1].update(ended=self._time(step.at_s), size=step.size, sha256=step.sha256)
            state = "whole" if step.what == "finished" else "unfinished"
            reacquired = len({take["sha256"] for take in takes}) > 1
            entry.update(size=step.size, sha256=step.sha256, state=state, reacquired=reacquired)

    def to_dict(self, *, interrupted: bool = False) -> Json:
        """The manifest as plain JSON types; files cut short by an interruption are as found on disk."""
        return {
            "schema": SCHEMA,
            "run": str(self.plan.run),
            "into": str(self.into),
            "seed": self.plan.seed,
            "began": self._time(0.0),
            "ended": self._time(self.last_s),
            "interrupted": interrupted,
            "files": [self._settled(entry) for entry in self.entries.values()],
        }

    def _settled(self, entry: Json) -> Json:
        file = self.into / entry["path"]
        if entry["takes"][-1]["sha256"] is not None:
            return entry
        if not file.exists():
            return {**entry, "state": "removed", "size": None, "sha256": None}
        if entry["sha256"] is None:
            return {**entry, "size": file.stat().st_size, "sha256": hash_file(file)}
        return entry  # the second take was under another name: the first is still there

    def _time(self, at_s: float) -> str:
        moment = self.began + timedelta(seconds=at_s)
        return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def manifest_path(into: Path) -> Path:
    """The default manifest file: beside the folder, which then holds only the run."""
    into = into.resolve()
    return into.with_name(into.name + ".replay.json")


def run_replay(
    plan: ReplayPlan, into: Path, manifest: Path | None = None, progress: Callable[[int, int], None] | None = None
) -> Json:
    """Replay the whole run and write the manifest, even when interrupted.

    Parameters
    ----------
    manifest : file; by default `manifest_path(into)`
    progress : called with the number of tiles written and the number in all

    Returns
    -------
    The manifest; "interrupted" is true after Ctrl-C.
    """
    file = manifest or manifest_path(into)
    check_writable(file)
    account, interrupted = Manifest(plan, into), True
    steps, tiles, total = replay(plan, into), 0, plan.n_tiles
    try:
        for step in steps:
            account.note(step)
            tiles += step.is_tile and step.take == 0 and step.sha256 is not None
            if progress is not None:
                progress(tiles, total)
        interrupted = False
    except KeyboardInterrupt:
        pass  # the manifest says so
    finally:
        steps.close()
        told = account.to_dict(interrupted=interrupted)
        if account.entries:  # not if it was refused at the start
            write_whole(file, json_text(told, indent=1) + "\n")
    return told
