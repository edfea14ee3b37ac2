"""Where tiles are scored: a TOML file -> frozen values. Endpoints are named entries; `local` always exists.

Looked for at the path given, else in ``MHFD_CONFIG``, else as config.toml in the user's configuration folder
(`default_path`). Nothing secret belongs in it: sign-in data is in the environment or in Globus's own store.
"""

from __future__ import annotations

import difflib
import os
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal
from uuid import UUID

from platformdirs import user_config_path
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, ValidationError

from mhfd.contract import MhfdError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Json = dict[str, Any]

CODECS = Literal["auto", "raw", "zlib", "delta-zlib", "delta-zstd", "jpegls"]
_SECRET = re.compile(r"secret|passw|token|credential|api_?key", re.IGNORECASE)


class ConfigError(MhfdError):
    """The configuration cannot be used; the message names the file, the key and the remedy."""

    exit_code = 78


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Limits(_Frozen):
    """What one endpoint is asked to carry; the service's own limits are those of Globus's documentation.

    Attributes
    ----------
    max_task_bytes : of one task as it is sent; the service refuses requests above 10 MB
    max_tiles_per_task : also bounds what is scored again when a worker dies
    tasks_in_flight : tasks handed over and not yet answered
    requests_per_10_s : of this process, to the service, whose limit is 20
    inline_below_bytes : files up to this size travel in the task even where the endpoint could read them
    deadline_s : a task is asked after when it takes this long, or five times what 99 % take, whichever is longer
    first_deadline_s : the same while nothing is known: workers may have to be started
    status_after_s : without an answer for so long, the endpoint's status is looked at
    status_every_s : but not more often than this
    patience_s : how long an endpoint or the service may be out of reach before what waits for it is given up
    """

    max_task_bytes: PositiveInt = 9_500_000
    max_tiles_per_task: PositiveInt = 64
    tasks_in_flight: PositiveInt = 16
    requests_per_10_s: PositiveInt = 15
    inline_below_bytes: int = Field(default=65_536, ge=0)
    deadline_s: PositiveFloat = 120.0
    first_deadline_s: PositiveFloat = 600.0
    status_after_s: PositiveFloat = 10.0
    status_every_s: PositiveFloat = 60.0
    patience_s: PositiveFloat = 3600.0


class DataMapping(_Frozen):
    """A folder of this machine that the endpoint sees, too, under another name.

    Attributes
    ----------
    local_root : the folder as this machine names it; absent where only the endpoint has it: then files below `root`
        are named as the endpoint names them
    root : the same folder as the endpoint names it, or, with a collection, its place in the collection
    collection : UUID of a mapped collection; the endpoint knows where it is mounted (GCS_LOCAL_MAPS)
    """

    local_root: Path | None = None
    root: str = ""
    collection: UUID | None = None

    def at_endpoint(self, file: str, page: int | None, name: str) -> Json | None:
        """The file as `score_paths` takes it, or None when it lies elsewhere."""
        if self.local_root is None:
            inside = PurePosixPath(file)
            if self.collection is not None or not self.root or not inside.is_relative_to(self.root):
                return None
            where = inside
        else:
            try:
                relative = Path(os.path.abspath(file)).relative_to(os.path.abspath(self.local_root))  # noqa: PTH100
            except ValueError:
                return None
            where = PurePosixPath(self.root, relative.as_posix())
        if self.collection is not None:
            place: Json = {"collection": str(self.collection), "path": str(where).lstrip("/")}
            return {**place, "page": page, "name": name}
        return {"path": str(where), "page": page, "name": name}


def _no_secrets(given: Json) -> Json:
    for key, value in given.items():
        if _SECRET.search(key):
            raise ValueError(f"'{key}' looks like a secret, which has no place in this file; set it in the environment")
        if isinstance(value, dict):
            _no_secrets(value)
    return given


class LocalLimits(Limits):
    """The same for this machine, where a task costs nothing, and a large tile on the processor may take its time."""

    max_task_bytes: PositiveInt = 2**31
    max_tiles_per_task: PositiveInt = 8
    deadline_s: PositiveFloat = 4 * 3600.0
    first_deadline_s: PositiveFloat = 4 * 3600.0


class LocalEndpoint(_Frozen):
    """This machine: a process a core, or a GPU.

    Attributes
    ----------
    workers : processes; by default one a GPU, else one a core
    """

    workers: PositiveInt | None = None
    limits: LocalLimits = LocalLimits()


class GlobusEndpoint(_Frozen):
    """A Globus Compute endpoint.

    Attributes
    ----------
    uuid : of the endpoint
    functions : name of each registered function -> its UUID
    functions_file : functions.json as `mhfd register` writes it, instead
    user_endpoint_config : what the endpoint's template asks for (account, queue, ...), passed on as it is
    data : folders that the endpoint can read
    codec : how pixels are packed into a task; "auto" packs when there is more than fits into one
    low_latency : look for results every few milliseconds, not every half second
    amqp_port : of the encrypted result stream; 443 passes nearly every firewall
    serializers : of results, import paths; JSON unless the endpoint's administrators say otherwise
    fallback : "local" scores here what the endpoint, being offline, does not
    """

    uuid: UUID
    functions: dict[str, UUID] = {}
    functions_file: Path | None = None
    user_endpoint_config: Annotated[Json, AfterValidator(_no_secrets)] = {}
    data: tuple[DataMapping, ...] = ()
    limits: Limits = Limits()
    codec: CODECS = "auto"
    low_latency: bool = True
    amqp_port: PositiveInt = 443
    serializers: tuple[str, ...] = ("globus_compute_sdk.serialize.JSONData",)
    fallback: Literal["local", "none"] = "none"


class Config(_Frozen):
    """All endpoints by name, and the functions of those that name none of their own."""

    endpoints: dict[str, GlobusEndpoint] = {}
    local: LocalEndpoint = LocalEndpoint()
    functions_file: Path | None = None

    @property
    def names(self) -> list[str]:
        return ["local", *self.endpoints]

    def endpoint(self, name: str) -> GlobusEndpoint | LocalEndpoint:
        """The entry of that name; a bare UUID is an entry without options.

        Raises
        ------
        ConfigError
            There is no such entry, or nobody says under which UUIDs its functions are registered.
        """
        if name == "local":
            return self.local
        entry = self.endpoints.get(name) or self._by_uuid(name)
        if entry is None:
            near = difflib.get_close_matches(name, self.names, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"there are: {', '.join(self.names)}."
            raise ConfigError(f"there is no endpoint named '{name}'; {hint} Add [endpoints.{name}] to {default_path()}")
        if entry.functions:
            return entry
        return entry.model_copy(update={"functions": self._functions(name, entry.functions_file)})

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
                f"the endpoint '{name}' has no functions: run `mhfd register`, and name the functions.json that it "
                f"writes as functions_file in {default_path()}"
            )
        try:
            found = {record.name: UUID(record.uuid) for record in load(file)}
        except RegistryError as error:
            raise ConfigError(str(error)) from error
        if not found:
            raise ConfigError(f"{file} lists no functions for the endpoint '{name}': run `mhfd register`")
        return found


def default_path() -> Path:
    """Where the configuration is looked for when no path is given."""
    return Path(os.environ.get("MHFD_CONFIG") or user_config_path("mhfd") / "config.toml")


def load_config(path: str | os.PathLike[str] | None = None) -> Config:
    """Read the configuration; without a file where none was named there is just `local`.

    Raises
    ------
    ConfigError
        A file that was named is not there, is no TOML, or says what is not understood.
    """
    named = path is not None or bool(os.environ.get("MHFD_CONFIG"))
    file = Path(path) if path is not None else default_path()
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        if named:
            raise ConfigError(f"the configuration {file} does not exist; check --config and MHFD_CONFIG") from error
        return Config()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the configuration {file} cannot be read: {error}") from error
    try:
        given = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file} is no valid TOML: {error}") from error
    return parse_config(given, str(file), file.parent)


def parse_config(given: Mapping[str, Any], source: str = "the configuration", folder: Path | None = None) -> Config:
    """`Config` from what a TOML file holds; relative files are taken from `folder`.

    Raises
    ------
    ConfigError
        names each key that is wrong.
    """
    given = dict(given)
    endpoints = given.get("endpoints", {})
    if not isinstance(endpoints, Mapping):
        raise ConfigError(f"{source}: endpoints must be tables, [endpoints.NAME]")
    if "local" in given:  # not known under this name outside
        raise ConfigError(f"{source}: write [endpoints.local], not [local]")
    rest = {name: _with_lists(entry) for name, entry in endpoints.items() if name != "local"}
    if "local" in endpoints:
        given["local"] = endpoints["local"]
    try:
        config = Config.model_validate({**given, "endpoints": rest})
    except ValidationError as error:
        raise ConfigError(f"{source}: " + "; ".join(_sentences(error))) from error
    return _in_folder(config, folder) if folder else config


def _with_lists(entry: Any) -> Any:
    """One mapping may be written without a list around it."""
    if isinstance(entry, Mapping) and isinstance(entry.get("data"), Mapping):
        return {**entry, "data": [entry["data"]]}
    return entry


def _in_folder(config: Config, folder: Path) -> Config:
    def placed(file: Path | None) -> Path | None:
        return None if file is None else folder / file.expanduser()

    endpoints = {
        name: entry.model_copy(update={"functions_file": placed(entry.functions_file)})
        for name, entry in config.endpoints.items()
    }
    return config.model_copy(update={"endpoints": endpoints, "functions_file": placed(config.functions_file)})


def _sentences(error: ValidationError) -> Iterator[str]:
    for each in error.errors():
        place = ["endpoints", *each["loc"]] if each["loc"][:1] == ("local",) else list(each["loc"])
        key = ".".join(str(part) for part in place if not isinstance(part, int))
        if each["type"] == "extra_forbidden":
            known = _known_keys(each["loc"][:-1])
            near = difflib.get_close_matches(str(each["loc"][-1]), known, n=1)
            yield f"unknown key '{key}'" + (f"; did you mean '{near[0]}'?" if near else f"; known: {', '.join(known)}")
        else:
            yield f"{key}: {each['msg'].removeprefix('Value error, ')}"


def _known_keys(table: tuple[int | str, ...]) -> list[str]:
    """The keys of the table at this place of the file."""
    models: dict[str, type[_Frozen]] = {"limits": Limits, "data": DataMapping, "local": LocalEndpoint}
    for part in reversed(table):
        if isinstance(part, str) and part in models:
            return list(models[part].model_fields)
    model: type[_Frozen] = GlobusEndpoint if table[:1] == ("endpoints",) else Config
    return list(model.model_fields)
