"""The settings in effect, from flag, environment, file or default."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_origin

from pydantic import ValidationError

from mhfd.text import nearest
from mhfd_client.config.base import ConfigError, model_in
from mhfd_client.config.load import problems
from mhfd_client.config.model import Config, find_ledger
from mhfd_client.config.profile import Profile

VARIABLES = {
    f"MHFD_{key.upper()}": key
    for key, field in Profile.model_fields.items()
    if get_origin(field.annotation) not in (dict, tuple) and model_in(field.annotation) is None
}
"""Environment variable -> key of the profile, for every key that takes one plain value."""

OTHER_VARIABLES = (
    "MHFD_CONFIG", "MHFD_PROFILE", "MHFD_LEDGER", "MHFD_PAGE_TOKEN",
    # of endpoints and their workers
    "MHFD_BACKEND", "MHFD_CONTAINER", "MHFD_CONTAINER_OPTIONS", "MHFD_CPU_AFFINITY", "MHFD_FILESYSTEMS", "MHFD_GPUS",
    "MHFD_HEARTBEAT_THRESHOLD_S", "MHFD_IMAGE", "MHFD_INTERFACE", "MHFD_JOB_IDLE_S", "MHFD_LOW_LATENCY",
    "MHFD_MAX_PIXELS", "MHFD_OUT_ROOTS", "MHFD_RESULT_DIR", "MHFD_ROOTS", "MHFD_SCRATCH", "MHFD_SPOOL_DIR", "MHFD_VENV",
    "MHFD_WORKERS_PER_GPU",
    # of the notebook and of the tests
    "MHFD_EM_TILES", "MHFD_ENDPOINT_UUID", "MHFD_FUNCTIONS", "MHFD_TILES",
)  # fmt: skip


@dataclass(frozen=True)
class Settings:
    """The settings of one run of the program.

    Attributes
    ----------
    name : of the profile; None if all values are defaults
    profile : with flags and environment applied
    ledger : file or URL
    origins : key -> "flag", the variable's name, the file's path, or "default"; the keys of the profile, and
        config, profile, ledger
    notices : warnings to the user, in sentences
    """

    name: str | None
    profile: Profile
    ledger: str
    origins: dict[str, str]
    notices: tuple[str, ...] = ()


def resolve(
    config: Config,
    profile_name: str | None = None,
    flags: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Settings:
    """Apply flags and environment to a profile: flag before environment before file before default.

    Parameters
    ----------
    profile_name : value of --profile
    flags : key of the profile, or "ledger" or "config" -> value on the command line; None or empty if not given. Of
        `params` and `verdict` only the given keys are replaced.
    environ : an empty variable counts as not set

    Raises
    ------
    ConfigError
        There is no such profile, or a value is invalid; the message names the flag or the variable.
    """
    said = {key: value for key, value in (flags or {}).items() if value is not None and value != ()}
    name, origin = _profile_name(config, profile_name, environ)
    try:
        base = config.profile_named(name)
    except ConfigError as error:
        if origin != "MHFD_PROFILE":
            raise
        raise ConfigError(f"MHFD_PROFILE: {error}") from error
    ledger, ledger_origin = find_ledger(config, said.pop("ledger", None), environ.get("MHFD_LEDGER"))
    config_origin = "flag" if said.pop("config", None) else "MHFD_CONFIG" if environ.get("MHFD_CONFIG") else "default"
    profile, origins = _layered(base, config.source, said, environ)
    return Settings(
        name=name,
        profile=profile,
        ledger=ledger,
        origins={"config": config_origin, "profile": origin, "ledger": ledger_origin, **origins},
        notices=tuple(_unknown(environ, [name for entry in config.notify.values() for name in entry.variables])),
    )


def _profile_name(config: Config, flag: str | None, environ: Mapping[str, str]) -> tuple[str | None, str]:
    if flag:
        return flag, "flag"
    if variable := environ.get("MHFD_PROFILE"):
        return variable, "MHFD_PROFILE"
    return config.profile, config.source if config.profile else "default"


def _layered(
    base: Profile, file: str, flags: Mapping[str, Any], environ: Mapping[str, str]
) -> tuple[Profile, dict[str, str]]:
    values = {key: getattr(base, key) for key in base.model_fields_set}
    if "verdict" in values:
        values["verdict"] = base.verdict.model_dump()
    origins = {key: file if key in values else "default" for key in Profile.model_fields}
    layers = [(name, {key: environ[name]}) for name, key in VARIABLES.items() if environ.get(name)]
    for origin, layer in [*layers, ("flag", dict(flags))]:
        if layer.get("layout", "regex") != "regex":  # a layout other than the file's drops the file's pattern
            values.pop("pattern", None)
            origins["pattern"] = "default"
        for key in ("params", "verdict"):
            if key in layer:
                layer[key] = {**values.get(key, {}), **layer[key]}
        values |= layer
        origins |= dict.fromkeys(layer, origin)
    try:
        return Profile.model_validate(values, context={"folder": Path()}), origins
    except ValidationError as error:
        raise ConfigError("; ".join(_attributed(error, origins))) from error
    except UnicodeError as error:  # bytes of another code page; a folder's name may have some, pydantic's texts may not
        said = ", ".join(name for name, layer in layers if not "".join(map(str, layer.values())).isprintable())
        raise ConfigError(f"{said or 'a flag'} has bytes that are not UTF-8; write it anew") from error


def _attributed(error: ValidationError, origins: Mapping[str, str]) -> Iterator[str]:
    """The errors as sentences, each after the flag or variable at fault."""
    names = {key: f"--{key.replace('_', '-')}" if who == "flag" else who for key, who in origins.items()}
    overriding = [names[key] for key, who in origins.items() if who == "flag" or who in VARIABLES]
    for each in problems(error, Profile):
        who = [names[key] for key in map(str, each.place[:1]) if names.get(key) in overriding]
        yield f"{', '.join(who or overriding)}: {each.message}"


def _unknown(environ: Mapping[str, str], named: Iterable[str]) -> Iterator[str]:
    known = (*OTHER_VARIABLES, *VARIABLES, *named)
    for name in sorted(environ):
        if name.startswith("MHFD_") and name not in known:
            yield f"the environment variable {name} is unknown to mhfd; {nearest(name, known)}"
