"""Write the file of `mhfd init`: five answers -> a configuration with comments."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID

from mhfd_client.config.base import ConfigError, Frozen, default_path
from mhfd_client.config.describe import TABLES, keys
from mhfd_client.config.endpoint import METHODS
from mhfd_client.config.load import load_config
from mhfd_client.config.toml import toml, toml_key

HEADER = """\
# How mhfd watches this microscope, and where its tiles are scored. A line like "# key = value" shows a default or an
# example: remove the "# " to change it. Relative paths start at this file's folder. To see the values in effect:
# mhfd config show. To find mistakes: mhfd config validate. Write no secrets here.
"""

COMMENT_COLUMN = 36


@dataclass(frozen=True, kw_only=True)
class Way:
    """How tiles get to an endpoint.

    Attributes
    ----------
    endpoint_root : with "shared": the watched folder's path on the endpoint; with "globus": the destination's path on
        the workers, None if they know it
    """

    method: METHODS = "inline"
    endpoint_root: str | None = None
    source_collection: UUID | None = None
    destination_collection: UUID | None = None


@dataclass(frozen=True, kw_only=True)
class Answers:
    """The user's answers, needed before anything can be watched.

    Attributes
    ----------
    folder : that the microscope writes to
    endpoint : name of its entry; "local" is this machine
    uuid : of the endpoint; None for this machine
    functions_file : of the endpoint, relative to the configuration's folder
    ledger : None for the default place
    """

    folder: Path
    layout: str = "auto"
    pattern: str | None = None
    endpoint: str = "local"
    uuid: UUID | None = None
    functions_file: str = "functions.json"
    way: Way = Way()
    ledger: str | None = None
    profile: str = "microscope"


def configuration(answers: Answers) -> str:
    """The file's text: every key of every table that applies, with its meaning.

    Raises
    ------
    ConfigError
        A name cannot be written in a text file.
    """
    try:
        return "\n".join([HEADER, *_tables(answers)])
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _tables(answers: Answers) -> Iterator[str]:
    yield _table("", {"profile": answers.profile, "ledger": answers.ledger})
    watched = {"endpoint": answers.endpoint, "layout": answers.layout, "pattern": answers.pattern}
    yield _table("profiles.NAME", {**watched, "folder": answers.folder}, answers.profile)
    if answers.uuid is not None:
        entry = {"uuid": answers.uuid, "functions_file": answers.functions_file}
        yield _table("endpoints.NAME", entry, answers.endpoint)
        way = answers.way
        transfer: dict[str, Any] = {"method": way.method}
        if way.method == "shared":
            data = {"local_root": answers.folder, "root": way.endpoint_root}
            yield _table("endpoints.NAME.data", data, answers.endpoint)
        else:
            transfer |= {key: getattr(way, key) for key in ("source_collection", "destination_collection")}
            transfer |= {"endpoint_root": way.endpoint_root}
        yield _table("endpoints.NAME.transfer", transfer, answers.endpoint)
        yield _table("endpoints.NAME.limits", {}, answers.endpoint)
    yield _table("endpoints.local", {})


def _table(kind: str, values: Mapping[str, Any], name: str = "") -> str:
    model: type[Frozen] = TABLES[kind]
    heading = [f"[{kind.replace('NAME', toml_key(name))}]"] if kind else []
    return "\n".join([*heading, *_lines(model, values)]) + "\n"


def _lines(model: type[Frozen], values: Mapping[str, Any]) -> Iterator[str]:
    for key in keys(model):
        value = values.get(key.name)
        said = value is not None and value != key.default
        shown = value if said else key.example if key.default is None else key.default
        yield f"{'' if said else '# '}{key.name} = {toml(shown)}".ljust(COMMENT_COLUMN) + f"  # {key.text}"


def refuse_existing(file: Path, *, force: bool) -> None:
    """Raise if the file exists and `force` is False."""
    if file.exists() and not force:
        raise ConfigError(f"{file} exists: edit it, or replace it with --force (a copy is kept)")


def write(file: Path, text: str, *, force: bool = False) -> Path | None:
    """Check that a configuration loads, and write it; return the copy of the file before, if there was one.

    Raises
    ------
    ConfigError
        The file exists and `force` is False, or the text does not load; nothing was changed.
    """
    refuse_existing(file, force=force)
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f"{file.name}.new")
    try:
        draft.write_text(text, encoding="utf-8", newline="\n")
        load_config(draft)
        backup = _copy(file) if file.exists() else None
        draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)
    return backup


def _copy(file: Path) -> Path:
    names = (file.with_name(f"{file.name}.bak{number or ''}") for number in count())
    backup = next(each for each in names if not each.exists())
    shutil.copy2(file, backup)
    return backup


def next_commands(answers: Answers, file: Path) -> Iterator[str]:
    """The commands to run next, ready to copy."""
    functions = file.parent / answers.functions_file
    if answers.uuid is not None and not functions.exists():
        register = command_line("mhfd", "register", "--file", str(functions))
        yield f"{register}  # or put the file that you were given there"
    where = [] if file == default_path() else ["--config", str(file)]
    at = [] if answers.uuid is None else ["--endpoint", answers.endpoint]
    yield command_line("mhfd", "doctor", *at, *where)
    yield command_line("mhfd", "watch", *where)


def command_line(*words: str) -> str:
    """A command as it is typed in this system's terminal."""
    return subprocess.list2cmdline(words) if sys.platform == "win32" else shlex.join(words)
