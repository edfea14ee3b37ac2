"""JSON Schemas out of dataclasses, by pydantic; descriptions from their docstrings."""

from __future__ import annotations

import inspect
import re
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from mhfd import registry
from mhfd.contract import MAX_EXCLUDED_PX, MAX_SCALES, SCHEMA, FocusParams, FocusResult
from mhfd.schemas import answers, requests

Json = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"

LIMITS: dict[str, Json] = {
    "n_scales": {"minimum": 1, "maximum": MAX_SCALES},
    "min_t": {"exclusiveMinimum": 0},
    "saturate": {"minimum": 0, "maximum": 0.49},
    "k_noise": {"minimum": 0},
    "max_gpu_bytes": {"minimum": 1},
    "max_host_bytes": {"minimum": 1},
    "exclude_top_px": {"minimum": 0, "maximum": MAX_EXCLUDED_PX},
    "exclude_bottom_px": {"minimum": 0, "maximum": MAX_EXCLUDED_PX},
}
"""What `FocusParams` checks of one key alone."""

ANSWERS: dict[str, type] = {
    "score_inline": answers.Rows,
    "score_paths": answers.Rows,
    "plan_run": answers.Planned,
    "score_shard": answers.ShardScored,
    "finish_run": answers.Finished,
    "control_run": answers.Progress,
    "next_wave": answers.Wave,
    "describe": answers.Description,
    "warmup": answers.Warm,
}

SOMETIMES = {"spool_error"}
"""Keys of answers that are there only where they say something."""


class _Schema(GenerateJsonSchema):
    """All keys are there in what we write; there are no others in what we read."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def dataclass_schema(self, schema: Any) -> JsonSchemaValue:
        made, of = super().dataclass_schema(schema), schema["cls"]
        about, keys = _told(of)
        made["description"] = about
        properties = made["properties"]
        if of is FocusResult:
            properties = {"schema": {"const": SCHEMA}, **properties}
        for key, text in keys.items():
            properties[key]["description"] = text
        if of is FocusParams:
            for key, limit in LIMITS.items():
                properties[key] |= limit
        made["properties"] = properties
        if of is FocusParams or of.__module__ == requests.__name__:
            made["additionalProperties"] = False
        else:
            for each in properties.values():
                each.pop("default", None)
            made["required"] = [key for key in properties if key not in SOMETIMES]
        return made


def _told(of: type) -> tuple[str, Json]:
    """What a docstring says of the class, and of each of its attributes."""
    about, _, attributes = inspect.cleandoc(of.__doc__ or "").partition("\n\nAttributes\n----------\n")
    entries = re.findall(r"^([\w, ]+) : (.*(?:\n +.*)*)", attributes, flags=re.MULTILINE)
    return " ".join(about.split()), {key: " ".join(text.split()) for keys, text in entries for key in keys.split(", ")}


def _schema(kind: Any, title: str) -> Json:
    made = TypeAdapter(kind).json_schema(schema_generator=_Schema)
    return {"$schema": DIALECT, "title": title} | {key: value for key, value in made.items() if key != "title"}


def arguments_of(function: str) -> type:
    """The dataclass of a registered function's arguments: `score_paths` -> `ScorePaths`."""
    found = getattr(requests, "".join(word.title() for word in function.split("_")))
    assert isinstance(found, type)
    return found


def schemas() -> dict[str, Json]:
    """All schemas, by the name of their file without its suffix."""
    made = {
        "focus_params": _schema(FocusParams, "Parameters of the measure"),
        "focus_result": _schema(FocusResult, "One tile's result"),
    }
    for name in registry.FUNCTIONS:
        made[f"{name}.arguments"] = _schema(arguments_of(name), f"Arguments of {name}")
        made[f"{name}.answer"] = _schema(ANSWERS[name] | answers.Refusal, f"Answer of {name}")
    return made
