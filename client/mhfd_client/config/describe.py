"""Descriptions of the keys, from the models: for the documentation's tables, for `mhfd init`, for editors."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from mhfd.contract import FocusParams
from mhfd_client.config.alerts import AlertSettings, NotifyEntry
from mhfd_client.config.base import Frozen, Json, model_in
from mhfd_client.config.endpoint import (
    DataMapping,
    GlobusEndpoint,
    Limits,
    LocalEndpoint,
    LocalLimits,
    TransferEntry,
)
from mhfd_client.config.model import Config
from mhfd_client.config.profile import Profile, Verdict
from mhfd_client.config.settings import VARIABLES
from mhfd_client.config.toml import toml

TABLES: dict[str, type[Frozen]] = {
    "": Config,
    "profiles.NAME": Profile,
    "profiles.NAME.verdict": Verdict,
    "profiles.NAME.alerts": AlertSettings,
    "endpoints.NAME": GlobusEndpoint,
    "endpoints.NAME.data": DataMapping,
    "endpoints.NAME.transfer": TransferEntry,
    "endpoints.NAME.limits": Limits,
    "endpoints.local": LocalEndpoint,
    "endpoints.local.limits": LocalLimits,
    "notify.NAME": NotifyEntry,
}
"""Every table of the file."""

_VARIABLES: dict[type[Frozen], dict[str, str]] = {
    Config: {"profile": "MHFD_PROFILE", "ledger": "MHFD_LEDGER"},
    Profile: {key: name for name, key in VARIABLES.items()},
}


@dataclass(frozen=True)
class Key:
    """One key that takes a value, not a table.

    Attributes
    ----------
    default : None if there is no default
    required : True if the table must have it
    example : a value to show if there is no default
    variable : its environment variable, if any
    text : its meaning
    """

    name: str
    default: Any
    required: bool
    example: Any
    variable: str | None
    text: str


def keys(model: type[Frozen]) -> Iterator[Key]:
    """The keys of a table, in order of declaration."""
    texts = attribute_texts(model)
    variables = _VARIABLES.get(model, {})
    for name, field in model.model_fields.items():
        if model_in(field.annotation) is None:
            required = field.is_required()
            yield Key(
                name=name,
                default=None if required else field.default,
                required=required,
                example=field.examples[0] if field.examples else field.default,
                variable=variables.get(name),
                text=texts[name],
            )


def attribute_texts(model: type) -> dict[str, str]:
    """Attribute -> its text in the docstring, base classes included."""
    texts: dict[str, str] = {}
    for each in reversed(model.__mro__):
        _, _, section = inspect.cleandoc(each.__doc__ or "").partition("Attributes\n----------\n")
        for names, text in re.findall(r"^(\w+(?:, \w+)*) : (.*(?:\n {4}.*)*)", section, flags=re.MULTILINE):
            texts |= dict.fromkeys(names.split(", "), re.sub(r"\s+", " ", text))
    return texts


def markdown() -> str:
    """The tables of docs/configuration.md."""
    return "\n\n".join(_table(name, model) for name, model in TABLES.items())


def _table(name: str, model: type[Frozen]) -> str:
    heading = f"### `[{name}]`" if name else "### At the top"
    lines = [heading, "", "| key | default | variable | meaning |", "|---|---|---|---|"]
    for key in keys(model):
        default = "" if key.default is None else f"`{toml(key.default)}`"
        variable = f"`{key.variable}`" if key.variable else ""
        lines.append(f"| `{key.name}` | {'required' if key.required else default} | {variable} | {key.text} |")
    return "\n".join(lines)


def json_schema() -> Json:
    """The file's JSON Schema (draft 2020-12), for editors that complete and check as you type."""
    schema = Config.model_json_schema()
    properties, definitions = schema["properties"], schema["$defs"]
    models: dict[str, type] = {model.__name__: model for model in TABLES.values()}
    for name, definition in (("Config", schema), *definitions.items()):
        _explain(definition, models[name])
    measure = TypeAdapter(FocusParams).json_schema()
    _explain(measure, FocusParams)
    definitions["FocusParams"] = {**measure, "additionalProperties": False}
    definitions["Profile"]["properties"]["params"]["$ref"] = "#/$defs/FocusParams"
    # Where the file differs from the model: see load.parse_config.
    properties["endpoints"]["properties"] = {"local": properties.pop("local")}
    one = {"$ref": "#/$defs/DataMapping"}
    definitions["GlobusEndpoint"]["properties"]["data"] = {
        "description": attribute_texts(GlobusEndpoint)["data"],
        "anyOf": [one, {"type": "array", "items": one}],
    }
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "mhfd"}


def _explain(definition: Json, model: type) -> None:
    """Add the docstring's texts; drop null, which TOML does not have."""
    definition["description"] = inspect.cleandoc(model.__doc__ or "").partition("\n")[0]
    for name, text in attribute_texts(model).items():
        field = definition["properties"][name]
        field.pop("title", None)
        if field.get("default", ...) is None:
            del field["default"]
            (kind,) = (each for each in field.pop("anyOf") if each != {"type": "null"})
            field |= kind
        field["description"] = text
