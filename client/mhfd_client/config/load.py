"""TOML text -> `Config`, or a list of its mistakes."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, get_origin

from pydantic import ValidationError

from mhfd.text import nearest
from mhfd_client.config.base import ConfigError, Frozen, Problem, default_path, model_in
from mhfd_client.config.endpoint import GlobusEndpoint, LocalEndpoint
from mhfd_client.config.model import Config

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def load_config(path: str | os.PathLike[str] | None = None) -> Config:
    """Read the configuration; if no file was named and none exists, just `local`.

    Raises
    ------
    ConfigError
        The named file does not exist, is not TOML, or has invalid keys or values.
    """
    named = path is not None or bool(os.environ.get("MHFD_CONFIG"))
    file = Path(path) if path is not None else default_path()
    try:
        text = read_text(file)
    except FileNotFoundError as error:
        if named:
            raise ConfigError(f"the configuration {file} does not exist; check --config and MHFD_CONFIG") from error
        return Config()
    except UnicodeDecodeError as error:
        raise ConfigError(f"the configuration {file} cannot be read: save it as UTF-8 ({error})") from error
    except OSError as error:
        raise ConfigError(f"the configuration {file} cannot be read: {error}") from error
    try:
        given = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        hint = "; write Windows paths in single quotes, 'C:\\em'" if "\\" in text else ""
        raise ConfigError(f"{file} is not valid TOML: {error}{hint}") from error
    try:
        return parse_config(given, str(file), file.absolute().parent)
    except ConfigError as error:
        found = [replace(each, line=line_of(text, each.place)) for each in error.problems]
        raise ConfigError.about(str(file), found) from error


def read_text(file: Path) -> str:
    return file.read_text(encoding="utf-8-sig")  # Windows' editor may put a BOM in front


def toml_loads(text: str) -> dict[str, Any]:
    """The tables of a TOML file as they are, without a check; ValueError where it is no TOML."""
    return tomllib.loads(text)


def parse_config(given: Mapping[str, Any], source: str = "the configuration", folder: Path | None = None) -> Config:
    """`Config` from parsed TOML; relative paths are taken from `folder`.

    Raises
    ------
    ConfigError
        It names each invalid key.
    """
    given = dict(given)
    endpoints = given.get("endpoints", {})
    if not isinstance(endpoints, Mapping):
        raise ConfigError.about(source, [Problem(("endpoints",), "endpoints must be tables, [endpoints.NAME]")])
    if "local" in given:  # the name is for internal use
        raise ConfigError.about(source, [Problem(("local",), "write [endpoints.local], not [local]")])
    rest = {name: _with_lists(entry) for name, entry in endpoints.items() if name != "local"}
    if "local" in endpoints:
        given["local"] = endpoints["local"]
    try:
        return Config.model_validate({**given, "endpoints": rest}, context={"folder": folder, "source": source})
    except ValidationError as error:
        raise ConfigError.about(source, list(problems(error))) from error


def _with_lists(entry: Any) -> Any:
    """Wrap a single `data` mapping in a list."""
    if isinstance(entry, Mapping) and isinstance(entry.get("data"), Mapping):
        return {**entry, "data": [entry["data"]]}
    return entry


def problems(error: ValidationError, model: type[Frozen] = Config) -> Iterator[Problem]:
    """Pydantic's errors as sentences, each with its place in the file."""
    for each in error.errors(include_input=False, include_url=False):  # the input may be a secret
        place = ("endpoints", *each["loc"]) if each["loc"][:1] == ("local",) else each["loc"]
        key = ".".join(str(part) for part in place if not isinstance(part, int))
        message = each["msg"].removeprefix("Value error, ")
        if each["type"] == "extra_forbidden":
            yield Problem(place, f"unknown key '{key}'; {nearest(str(place[-1]), known_keys(place[:-1], model))}")
        else:
            yield Problem(place, f"{key}: {message}" if key else message)


def known_keys(place: tuple[int | str, ...], model: type[Frozen] = Config) -> list[str]:
    """The keys of the table at this place of the file."""
    name_follows = False
    for part in place:
        if isinstance(part, int):
            continue
        if name_follows:  # [endpoints.NAME]
            model = LocalEndpoint if model is GlobusEndpoint and part == "local" else model
            name_follows = False
        else:
            annotation = model.model_fields[part].annotation
            model = model_in(annotation) or model
            name_follows = get_origin(annotation) is dict
    return [key for key in model.model_fields if (model, key) != (Config, "local")]


def line_of(text: str, place: tuple[int | str, ...]) -> int | None:
    """The line of a key in the file, or of the table that should hold it."""
    lines = text.splitlines()
    while place:
        names = [part for part in place if isinstance(part, str)]
        for number, line in enumerate(lines, start=1):
            if names and names[-1] in line and _says(lines, number, place):
                return number
        place = place[:-1]
    return None


def _says(lines: list[str], number: int, place: tuple[int | str, ...]) -> bool:
    """True if the file up to the end of the value that begins on this line has such a key."""
    for end in range(number, len(lines) + 1):
        try:
            found: Any = tomllib.loads("\n".join(lines[:end]))
        except tomllib.TOMLDecodeError:
            continue  # inside a value
        for part in place:
            if isinstance(part, int) and not isinstance(found, list):
                continue  # one mapping without a list around it
            try:
                found = found[part]
            except (LookupError, TypeError):
                return False
        return True
    return False
