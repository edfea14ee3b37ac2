"""The whole file as one frozen value."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from uuid import UUID

from pydantic import Field, ValidationInfo, field_validator

from mhfd.text import nearest
from mhfd_client.config.alerts import NotifyEntry
from mhfd_client.config.base import (
    ConfigError,
    Frozen,
    HerePath,
    Ledger,
    checked_ledger,
    default_ledger,
    default_path,
)
from mhfd_client.config.endpoint import GlobusEndpoint, LocalEndpoint
from mhfd_client.config.profile import Profile


class Config(Frozen):
    """The whole file.

    Attributes
    ----------
    profile : the profile to use when none is named
    ledger : file, or postgresql://USER@HOST/DATABASE, with the state and results of tiles; by default a file of yours
    functions_file : functions.json for endpoints that name no functions of their own
    profiles : how microscopes are watched, each under its name
    endpoints : where tiles are scored, each under its name
    notify : channels for messages, each under its name
    """

    profiles: dict[str, Profile] = Field(default={})
    profile: str | None = Field(default=None, examples=["microscope"])
    ledger: Ledger | None = Field(default=None, examples=["ledger.db"])
    functions_file: HerePath | None = Field(default=None, examples=["functions.json"])
    endpoints: dict[str, GlobusEndpoint] = Field(default={})
    local: LocalEndpoint = LocalEndpoint()
    notify: dict[str, NotifyEntry] = Field(default={})
    _source: str = ""

    def model_post_init(self, context: Any) -> None:
        self._source = (context or {}).get("source", "")

    @field_validator("profile")
    @classmethod
    def _exists(cls, profile: str | None, info: ValidationInfo) -> str | None:
        profiles = info.data.get("profiles")  # absent if they are invalid
        if profile is not None and profiles is not None and profile not in profiles:
            raise ValueError(f"there is no [profiles.{profile}]; {nearest(profile, profiles)}")
        return profile

    @property
    def source(self) -> str:
        """The file that this was read from; "" if there was none."""
        return self._source

    @property
    def names(self) -> list[str]:
        return ["local", *self.endpoints]

    def profile_named(self, name: str | None) -> Profile:
        """The profile of that name; without a name the file's default profile, else all defaults.

        Raises
        ------
        ConfigError
            There is no such profile.
        """
        name = name or self.profile
        if name is None:
            return Profile()
        if name not in self.profiles:
            where, hint = self.source or default_path(), nearest(name, self.profiles) if self.profiles else "none yet"
            raise ConfigError(
                f"there is no profile named '{name}': add [profiles.{name}] to {where}, or run `mhfd init`; {hint}"
            )
        return self.profiles[name]

    def endpoint(self, name: str) -> GlobusEndpoint | LocalEndpoint:
        """The entry of that name; a bare UUID is an entry without options.

        Raises
        ------
        ConfigError
            There is no such entry, or the UUIDs of its functions are not given.
        """
        entry = self.entry(name)
        if isinstance(entry, LocalEndpoint):
            return entry
        if entry is None:
            where, hint = self.source or default_path(), nearest(name, self.names)
            raise ConfigError(f"there is no endpoint named '{name}': add [endpoints.{name}] to {where}; {hint}")
        if entry.functions:
            return entry
        return entry.model_copy(update={"functions": self._functions(name, entry.functions_file)})

    def entry(self, name: str) -> GlobusEndpoint | LocalEndpoint | None:
        """The entry of that name or UUID as written in the file; functions are not looked up."""
        return self.local if name == "local" else self.endpoints.get(name) or self._by_uuid(name)

    def _by_uuid(self, name: str) -> GlobusEndpoint | None:
        try:
            uuid = UUID(name)
        except ValueError:
            return None
        return next((each for each in self.endpoints.values() if each.uuid == uuid), GlobusEndpoint(uuid=uuid))

    def _functions(self, name: str, file: Path | None) -> dict[str, UUID]:
        from mhfd.registry import RegistryError, load

        file = file or self.functions_file
        if file is None:
            raise ConfigError(
                f"the endpoint '{name}' has no functions: run `mhfd register`, and set functions_file in "
                f"{self.source or default_path()} to the functions.json that it writes"
            )
        try:
            found = {record.name: UUID(record.uuid) for record in load(file)}
        except RegistryError as error:
            raise ConfigError(str(error)) from error
        if not found:
            raise ConfigError(f"{file} lists no functions for the endpoint '{name}': run `mhfd register`")
        return found


def ledger_path(config: Config, given: str | None = None) -> str:
    """The ledger's file or URL: as given, else MHFD_LEDGER, else the configuration's, else the default file.

    Raises
    ------
    ConfigError
        It is not a PostgreSQL URL, or has a password in it.
    """
    return find_ledger(config, given, os.environ.get("MHFD_LEDGER"))[0]


def find_ledger(config: Config, flag: str | None, variable: str | None) -> tuple[str, str]:
    """The ledger, and its origin: "flag", "MHFD_LEDGER", the file, or "default"."""
    for where, origin, name in ((flag, "flag", "--ledger"), (variable, "MHFD_LEDGER", "MHFD_LEDGER")):
        if where:
            try:
                return checked_ledger(where, Path()), origin
            except ValueError as error:
                raise ConfigError(f"{name}: {error}") from error
    return (config.ledger, config.source) if config.ledger else (str(default_ledger()), "default")
