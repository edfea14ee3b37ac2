"""Registered functions: their UUIDs at the service, and the sources behind them.

`functions.json` lists, for each function of `mhfd.remote`, the UUID under which it can be called and the SHA-256 of
the source it was registered from. A function at the service never changes: another source, or another group that may
call it, means a new UUID, and endpoints that list it in `allowed_functions` must be edited and restarted.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import inspect
import json
import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timezone
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID

from mhfd import remote
from mhfd._version import __version__
from mhfd.contract import MhfdError
from mhfd.extras import install_hint

SCHEMA = 1

FUNCTIONS = (
    "score_inline", "score_paths", "plan_run", "score_shard", "finish_run", "control_run", "next_wave",
    "describe", "warmup",
)  # fmt: skip


class RegistryError(MhfdError):
    """functions.json cannot be read, written or made; the message says what to do."""


class Registrar(Protocol):
    """The part of `globus_compute_sdk.Client` (4.19) used."""

    def register_source_code(
        self, source: str, function_name: str, description: str | None = ..., *, public: bool, group: str | None
    ) -> str: ...


@dataclass(frozen=True, kw_only=True)
class FunctionRecord:
    """One registered function.

    Attributes
    ----------
    version, python, sdk : of mhfd, Python and globus-compute-sdk at registration
    uuid : by which it is called
    sha256 : hex, of the source
    date : ISO 8601, UTC
    group : Globus group whose members may call it; None: only the owner, unless `public`
    """

    name: str
    version: str
    uuid: str
    sha256: str
    python: str
    sdk: str | None
    date: str
    group: str | None = None
    public: bool = False


@dataclass(frozen=True, kw_only=True)
class RegistrationPlan:
    """The work for `register`: names in the order of `FUNCTIONS`.

    Attributes
    ----------
    version : of the mhfd whose sources were compared
    changed : registered from another source, or for another group
    gone : registered before, but not in this version
    """

    version: str
    new: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    unchanged: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()

    @property
    def to_register(self) -> tuple[str, ...]:
        return tuple(name for name in FUNCTIONS if name in self.new + self.changed)


@dataclass(frozen=True, kw_only=True)
class Report:
    """The outcome of `run_register`.

    Attributes
    ----------
    registered : functions that got a new UUID; empty in a dry run
    replaced : the old records of `plan.changed`: their UUIDs stay callable where an endpoint still allows them
    records : all functions as `path` now lists them
    allowed_functions : block for an endpoint's config.yaml, "" when there are no records
    """

    path: Path
    dry_run: bool
    plan: RegistrationPlan
    registered: tuple[FunctionRecord, ...]
    replaced: tuple[FunctionRecord, ...]
    records: tuple[FunctionRecord, ...]
    allowed_functions: str


# --- Sources ------------------------------------------------------------------------------------------------------


def source_of(name: str) -> str:
    """Source text of one of `FUNCTIONS`, as registered."""
    if name not in FUNCTIONS:
        raise RegistryError(f"{name!r} is not a registered function; choose from {', '.join(FUNCTIONS)}")
    return inspect.getsource(getattr(remote, name))


def sha256(source: str) -> str:
    """Identity of a source text: hex SHA-256."""
    return hashlib.sha256(source.encode()).hexdigest()


# --- The file -----------------------------------------------------------------------------------------------------


def load(path: str | os.PathLike[str]) -> list[FunctionRecord]:
    """Read functions.json; an absent file has no records.

    Raises
    ------
    RegistryError
        it is not a functions.json, or of another schema.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise RegistryError(f"{path} cannot be read ({error}); check that it is mhfd's functions.json") from error
    try:
        given = json.loads(text)
        if given["schema"] != SCHEMA:
            raise RegistryError(f"{path} has schema {given['schema']!r}, this mhfd reads {SCHEMA}; update mhfd")
        return [_checked(FunctionRecord(**each)) for each in given["functions"]]
    except (ValueError, TypeError, KeyError) as error:
        raise RegistryError(
            f"{path} is not mhfd's functions.json ({type(error).__name__}: {error}); restore it, or move it away and "
            "register again, which gives the functions new UUIDs"
        ) from error


def save(path: str | os.PathLike[str], records: Iterable[FunctionRecord]) -> None:
    """Write functions.json: all of it, or leave the old file."""
    path = Path(path)
    content = {"schema": SCHEMA, "functions": [asdict(record) for record in records]}
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("w", encoding="utf-8", newline="\n") as file:
            json.dump(content, file, indent=2)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink()
        raise RegistryError(f"{path} cannot be written ({error}); name a file that you may write") from error


def _checked(record: FunctionRecord) -> FunctionRecord:
    for field in fields(record):
        value = getattr(record, field.name)
        expected = bool if field.name == "public" else str
        if not isinstance(value, expected) and not (value is None and field.name in ("sdk", "group")):
            raise TypeError(f"{field.name} is {value!r}")
    UUID(record.uuid)
    return record


# --- Registering --------------------------------------------------------------------------------------------------


def plan(
    records: Iterable[FunctionRecord], version: str = __version__, *, group: str | None = None, public: bool = False
) -> RegistrationPlan:
    """Compare records with the sources of this mhfd, and with the group that is to call the functions.

    Only the source counts, not the version: the functions call the installed package, which may be newer.
    """
    known = {record.name: record for record in records}
    wanted = {name: (sha256(source_of(name)), group, public) for name in FUNCTIONS}
    had = {name: (record.sha256, record.group, record.public) for name, record in known.items()}
    return RegistrationPlan(
        version=version,
        new=tuple(name for name in FUNCTIONS if name not in had),
        changed=tuple(name for name in FUNCTIONS if name in had and had[name] != wanted[name]),
        unchanged=tuple(name for name in FUNCTIONS if name in had and had[name] == wanted[name]),
        gone=tuple(name for name in had if name not in FUNCTIONS),
    )


def register(
    client: Registrar, names: Sequence[str], group: str | None = None, public: bool = False
) -> list[FunctionRecord]:
    """Register the named functions from their source, each under a new UUID.

    Parameters
    ----------
    client : a signed-in `globus_compute_sdk.Client`
    group : UUID of a Globus group whose members may call them
    public : anyone may call them, on endpoints that allow it
    """
    return [_register(client, name, group, public) for name in names]


def _register(client: Registrar, name: str, group: str | None, public: bool) -> FunctionRecord:
    source = source_of(name)
    uuid = client.register_source_code(source, name, inspect.getdoc(getattr(remote, name)), public=public, group=group)
    return FunctionRecord(
        name=name,
        version=__version__,
        uuid=str(UUID(str(uuid))),
        sha256=sha256(source),
        python=platform.python_version(),
        sdk=_sdk_version(),
        date=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        group=group,
        public=public,
    )


def run_register(
    path: str | os.PathLike[str],
    *,
    group: str | None = None,
    public: bool = False,
    dry_run: bool = False,
    client: Registrar | None = None,
) -> Report:
    """Register new and changed functions; write functions.json after each, so that no registration is lost.

    Parameters
    ----------
    path : of functions.json
    dry_run : only report what would be done; needs no client and no network
    client : by default a `globus_compute_sdk.Client`, which may ask to sign in

    Raises
    ------
    RegistryError
        the file cannot be used, the group is not a UUID, or globus-compute-sdk is not installed. The client's own
        errors pass through.
    """
    group = None if group is None else _group(group)
    known = {record.name: record for record in load(path)}
    before = dict(known)
    todo = plan(known.values(), group=group, public=public)
    registered: list[FunctionRecord] = []
    if todo.to_register and not dry_run:
        client = client or _sdk_client()
        for name in todo.to_register:
            known[name] = _register(client, name, group, public)
            registered.append(known[name])
            save(path, _ordered(known))
    return Report(
        path=Path(path),
        dry_run=dry_run,
        plan=todo,
        registered=tuple(registered),
        replaced=tuple(before[record.name] for record in registered if record.name in before),
        records=tuple(_ordered(known)),
        allowed_functions=allowed_functions_block(_ordered(known)),
    )


def allowed_functions_block(records: Iterable[FunctionRecord]) -> str:
    """YAML for an endpoint's config.yaml, which then runs these functions and no others; "" without records.

    Records of several versions may be given together: a function that they share is listed once.
    """
    by_uuid = {record.uuid: record for record in reversed(list(records))}
    lines = [f"  - {each.uuid}  # {each.name}, mhfd {each.version}" for each in reversed(by_uuid.values())]
    return "\n".join(["allowed_functions:", *lines, ""]) if lines else ""


def _ordered(records: dict[str, FunctionRecord]) -> list[FunctionRecord]:
    """Our records in the order of `FUNCTIONS`, then those of other versions."""
    return [records[name] for name in (*FUNCTIONS, *sorted(set(records) - set(FUNCTIONS))) if name in records]


def _group(given: str) -> str:
    try:
        return str(UUID(given))
    except ValueError as error:
        raise RegistryError(f"a Globus group is named by its UUID, not {given!r}; see app.globus.org/groups") from error


def _sdk_version() -> str | None:
    try:
        return importlib.metadata.version("globus-compute-sdk")
    except importlib.metadata.PackageNotFoundError:
        return None


def _sdk_client() -> Any:
    try:
        sdk = import_module("globus_compute_sdk")  # 0.7 s and a thread, so only when it is needed
    except ImportError as error:
        raise RegistryError(f"registering needs globus-compute-sdk ({error}): {install_hint('globus')}") from error
    return sdk.Client()
