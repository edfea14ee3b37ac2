"""One zip file with all that a helper at a distance needs, and nothing that must stay here.

Each part is gathered by itself: one that cannot be read is an error in its place, and does not end the bundle,
which is made most often where something is broken.
"""

from __future__ import annotations

import json
import locale
import os
import platform
import shutil
import sqlite3
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from mhfd._version import __version__
from mhfd.text import json_text
from mhfd_client.config import Config, ledger_path
from mhfd_client.config.base import default_path
from mhfd_client.config.load import read_text, toml_loads
from mhfd_client.doctor import Check
from mhfd_client.files.whole import written
from mhfd_client.ledger import open_ledger
from mhfd_client.logs import LOG_NAME
from mhfd_client.upkeep.redaction import Redaction

LOG_FILES = 6  # the newest of each folder
LOG_BYTES = 2**20  # the end of each file


@dataclass(frozen=True)
class Entry:
    """One file of a bundle: its name in it, its size in bytes before it is compressed, and what it tells."""

    name: str
    size: int
    what: str


def write_bundle(target: Path, config: Config, config_file: Path | None, checks: Sequence[Check]) -> list[Entry]:
    """Write a bundle, and list what it holds.

    Parameters
    ----------
    target : the zip file; it appears when it is complete
    config : what could be read of it; only its folders and the names of its variables are taken from here
    config_file : the file as it was named; its text is read anew, so that a faulty one is told, too
    checks : the doctor's answer

    Raises
    ------
    OSError
        The file cannot be written.
    """
    redaction = Redaction.here(name for entry in config.notify.values() for name in entry.variables)
    parts: list[tuple[str, str, Callable[[], Any]]] = [
        ("machine.json", "mhfd, Python, system, and room on the disks", lambda: _machine(config)),
        ("packages.json", "the packages installed, with their versions", _packages),
        ("environment.json", "names of environment variables, no values", lambda: sorted(os.environ)),
        ("config.json", "the configuration", lambda: _config(config_file)),
        (
            "ledger.json",
            "the ledger: version of its tables, tiles by state, watches; no tiles",
            lambda: _ledger(config),
        ),
        ("doctor.json", "what `mhfd doctor` found", lambda: [asdict(check) for check in checks]),
    ]
    entries = []
    with written(target) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as bundle:

        def put(name: str, text: str, what: str) -> None:
            bundle.writestr(name, text)
            entries.append(Entry(name, len(text.encode()), what))

        for name, what, gather in parts:
            put(name, json_text(redaction.value(_gathered(gather)), indent=2) + "\n", what)
        for name, path in _log_files(config):
            put(name, _gathered_text(lambda path=path: _tail(path, redaction)), "the end of a log file")  # type: ignore[misc]
    return entries


def _gathered(gather: Callable[[], Any]) -> Any:
    try:
        return gather()
    except Exception as error:  # any: a bundle is made where something is broken, and tells what
        return {"error": f"{type(error).__name__}: {error}"}


def _gathered_text(gather: Callable[[], str]) -> str:
    found = _gathered(gather)
    return found if isinstance(found, str) else json_text(found) + "\n"


def _machine(config: Config) -> dict[str, Any]:
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "mhfd": __version__,
        "python": sys.version,
        "executable": sys.executable,
        "platform": platform.platform(),
        "machine": platform.machine(),
        "processors": os.cpu_count(),
        "sqlite": sqlite3.sqlite_version,
        "encodings": [locale.getpreferredencoding(False), sys.getfilesystemencoding()],
        "disks": [_room(folder) for folder in dict.fromkeys(_folders(config))],
    }


def _folders(config: Config) -> Iterator[Path]:
    where = ledger_path(config)
    if "://" not in where:
        yield Path(where).parent
    yield from (profile.folder for profile in config.profiles.values() if profile.folder is not None)
    yield from log_folders(config)
    yield Path(tempfile.gettempdir())


def _room(folder: Path) -> dict[str, Any]:
    try:
        usage = shutil.disk_usage(folder)
    except OSError as error:
        return {"folder": str(folder), "error": str(error)}
    return {"folder": str(folder), "free_bytes": usage.free, "total_bytes": usage.total}


def _packages() -> dict[str, str]:
    found = {each.metadata["Name"]: each.version for each in distributions() if each.metadata["Name"]}
    return dict(sorted(found.items(), key=lambda each: each[0].lower()))


def _config(config_file: Path | None) -> dict[str, Any]:
    """The tables of the file; comments, in which people note anything, are left out."""
    file = config_file or default_path()
    if not file.exists():
        return {"file": str(file), "found": False}
    return {
        "file": str(file),
        "found": True,
        "content": json.loads(json.dumps(toml_loads(read_text(file)), default=str)),
    }


def _ledger(config: Config) -> dict[str, Any]:
    where = ledger_path(config)
    told: dict[str, Any] = {"where": where}
    if "://" not in where:
        told["bytes"] = {
            each.name: each.stat().st_size for each in sorted(Path(where).parent.glob(f"{Path(where).name}*"))
        }
    with open_ledger(where, readonly=True) as ledger:
        told["tables_version"] = ledger.tables_version
        told["runs"] = []
        for run in ledger.runs():
            summary = ledger.summary(run.run_id)
            events = [event.kind for event in ledger.events(run.run_id, open_only=True)]
            told["runs"].append({
                "run_id": run.run_id, "folder": run.root, "layout": run.layout, "endpoint": run.endpoint,
                "created_at": run.created_at, "opened_at": run.opened_at, "params": run.params.to_dict(),
                "counts": dict(summary.counts), "gone": summary.gone, "superseded": summary.superseded,
                "stalled": summary.stalled, "sending": summary.sending, "missing": summary.missing,
                "per_minute": summary.per_minute, "waiting_since": summary.waiting_since,
                "last_scored_at": summary.last_scored_at, "heartbeat_at": summary.heartbeat_at,
                "heartbeat": summary.heartbeat, "open_events": events,
            })  # fmt: skip
    return told


def log_folders(config: Config) -> list[Path]:
    """The folders with log files that profiles or the environment name, each once."""
    named = [profile.log_dir for profile in config.profiles.values()]
    told = os.environ.get("MHFD_LOG_DIR")
    return list(dict.fromkeys(each for each in (*named, Path(told) if told else None) if each is not None))


def _log_files(config: Config) -> Iterator[tuple[str, Path]]:
    """Name in the bundle, and file: the newest logs of each profile's folder; nothing else that lies there."""
    for number, folder in enumerate(log_folders(config), start=1):
        try:
            names = [each.name for each in os.scandir(folder) if each.is_file(follow_symlinks=False)]
        except OSError:  # machine.json tells what is the matter with the folder
            continue
        for name in sorted(filter(LOG_NAME.fullmatch, names))[-LOG_FILES:]:
            yield f"logs/{number}/{name}", folder / name


def _tail(path: Path, redaction: Redaction) -> str:
    """The last whole lines of a log; a line that is not JSON is text, and redacted as such."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - LOG_BYTES))
        lines = file.read().decode("utf-8", "replace").splitlines()
    return "".join(f"{_log_line(line, redaction)}\n" for line in lines[1 if size > LOG_BYTES else 0 :])


def _log_line(line: str, redaction: Redaction) -> str:
    try:
        return json_text(redaction.value(json.loads(line)))
    except (ValueError, RecursionError):
        return redaction.text(line)
