"""The questions of `mhfd init`: their texts, their defaults, and how answers are parsed."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from itertools import count
from pathlib import Path
from typing import Protocol, TypeVar, get_args
from uuid import UUID

from pydantic import BaseModel, ValidationError

from mhfd_client.config.base import checked_ledger, default_ledger
from mhfd_client.config.endpoint import DataMapping, TransferEntry
from mhfd_client.config.load import problems
from mhfd_client.config.profile import Profile
from mhfd_client.config.writing import Answers, Way
from mhfd_client.naming import LayoutError, LayoutName, check_layout, detect

T = TypeVar("T")
Table = TypeVar("Table", bound=BaseModel)

FOLDER = "Which folder does the microscope write to?"
LAYOUT = f"Which layout? {', '.join(get_args(LayoutName)).replace('regex', 'regex PATTERN')}"
ENDPOINT = "Where to score? local (this machine), or the UUID of an endpoint (NAME=UUID to name it)"
WAY = """\
How do tiles get there?
   inline (inside the task), shared PATH (the same disk: this folder's path on the endpoint),
   or globus DESTINATION_COLLECTION SOURCE_COLLECTION"""
LEDGER = "Where to keep the ledger? A file on a disk of this machine, or postgresql://USER@HOST/DATABASE"


class Ask(Protocol):
    """Answers a question: a person, or the default."""

    def __call__(self, question: str, usual: str | None, understand: Callable[[str], T]) -> T: ...


def interview(given: Mapping[str, str | None], ask: Ask) -> Answers:
    """Ask at most five questions, numbered as they are asked; skip those that `given` answers.

    Parameters
    ----------
    given : flag -> its text

    Raises
    ------
    ValueError
        A given text is not valid; the message names the flag.
    """

    numbers = count(1)

    def answer(flag: str, question: str, usual: str | None, understand: Callable[[str], T]) -> T:
        if not (text := given.get(flag)):
            return ask(f"{next(numbers)}. {question}", usual, understand)
        try:
            return understand(text)
        except ValueError as error:
            raise ValueError(f"{flag}: {error}") from error

    folder = answer("--folder", FOLDER, None, understand_path)
    likely = None if given.get("--layout") else looks_like(folder)
    layout = answer("--layout", LAYOUT, likely, understand_layout)
    endpoint, uuid = answer("--endpoint", ENDPOINT, "local", understand_endpoint)
    way = Way() if uuid is None else answer("--transfer", WAY, "inline", understand_way)
    ledger = answer("--ledger", LEDGER, str(default_ledger()), understand_ledger)
    return Answers(
        folder=folder,
        layout=layout.layout,
        pattern=layout.pattern,
        endpoint=endpoint,
        uuid=uuid,
        way=way,
        ledger=ledger,
    )


def understand_path(text: str) -> Path:
    """The absolute path, without the quotes that terminals add when a folder is dropped on them."""
    if not (path := _unquoted(text)):
        raise ValueError("write a path")
    return Path(os.path.abspath(Path(path).expanduser()))  # noqa: PTH100  # resolve() would follow links


def understand_layout(text: str) -> Profile:
    """Parse a layout's name, or "regex PATTERN" with or without quotes."""
    name, _, pattern = text.strip().partition(" ")
    try:
        check_layout(name)
    except LayoutError as error:
        raise ValueError(str(error)) from error
    return _table(Profile, layout=name, pattern=_unquoted(pattern) or None)


def understand_endpoint(text: str) -> tuple[str, UUID | None]:
    """The entry's name and UUID; "local" has none."""
    if text.strip() == "local":
        return "local", None
    name, _, uuid = text.strip().rpartition("=")
    try:
        found = UUID(uuid)
    except ValueError as error:
        raise ValueError(f"'{uuid}' is not a UUID: write local, or a UUID, or NAME=UUID") from error
    if name == "local":
        raise ValueError("'local' is this machine: give the endpoint another name")
    return name or "hpc", found


def understand_way(text: str) -> Way:
    """Parse "inline", "shared PATH", "globus DESTINATION [SOURCE]" or "auto"."""
    method, _, rest = text.strip().partition(" ")
    rest = _unquoted(rest)
    if method in ("inline", "auto") and not rest:
        return Way(method=_table(TransferEntry, method=method).method)
    if method == "shared":
        if not rest.startswith("/"):
            raise ValueError("write the folder's path on the endpoint after 'shared', like shared /scratch/em")
        return Way(method="shared", endpoint_root=_table(DataMapping, root=rest).root)
    if method == "globus":
        destination, _, source = rest.partition(" ")
        source = source.strip() or connect_personal() or ""
        return _globus(destination, source)
    raise ValueError("write inline, or shared and a path, or globus and two UUIDs")


def _globus(destination: str, source: str) -> Way:
    try:
        return Way(method="globus", source_collection=UUID(source), destination_collection=UUID(destination))
    except ValueError as error:
        raise ValueError(
            "write globus and the UUIDs of two collections, the destination's first (app.globus.org/collections)"
        ) from error


def understand_ledger(text: str) -> str | None:
    """None for the default place, which is better left out of the file."""
    where = checked_ledger(text.strip(), Path.cwd())
    return None if where == str(default_ledger()) else where


def looks_like(folder: Path) -> str:
    """The layout of the files in the folder; "auto" while it is unclear."""
    if not folder.is_dir():
        return "auto"
    try:
        found = detect(folder)
    except OSError:  # a share that has just gone
        return "auto"
    return "auto" if found == "plain" else found


def connect_personal() -> str | None:
    """UUID of this machine's Globus Connect Personal, if it runs one."""
    try:
        from globus_sdk import LocalGlobusConnectPersonal
    except ImportError:
        return None
    return LocalGlobusConnectPersonal().endpoint_id


def _unquoted(text: str) -> str:
    text = text.strip()
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" else text


def _table(model: type[Table], **values: object) -> Table:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise ValueError("; ".join(each.message for each in problems(error))) from error
