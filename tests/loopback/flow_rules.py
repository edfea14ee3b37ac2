"""Is a flow's definition one that Globus Flows takes? The rules as a JSON Schema, and what a schema cannot say.

Written after what Globus published: the schema `flows_schema.json` of globus-automate-client (0.12), its checks of
references between states (`flow_model.py`, 0.17), and docs.globus.org/api/flows/authoring-flows for Fail. Where
these differ, the stricter holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from jsonschema import Draft7Validator

Json = dict[str, Any]

PATH = {"type": "string", "pattern": r"^\$\..+"}
TEXT, WORD = {"type": "string"}, {"type": "string", "minLength": 1}
_PARAMETERS: Json = {
    "type": "object",
    "patternProperties": {
        r"\.\$$": PATH,
        r"\.=$": WORD,
        r"^.*(?<!\.\$)(?<!\.=)$": {"anyOf": [{"$ref": "#/definitions/parameters"}, {"not": {"type": "object"}}]},
    },
}
_NUMBERS = ("Equals", "LessThan", "GreaterThan", "LessThanEquals", "GreaterThanEquals")
_TESTS: Json = {
    **{f"Numeric{each}": {"type": "number"} for each in _NUMBERS},
    **{f"String{each}": TEXT for each in _NUMBERS},
    **{f"{kind}{each}Path": PATH for kind in ("Numeric", "String") for each in _NUMBERS},
    "BooleanEquals": {"type": "boolean"},
    **{f"Is{each}": {"type": "boolean"} for each in ("Null", "Present", "Numeric", "String", "Boolean")},
}


def _state(kind: str, properties: Json, *, required: tuple[str, ...] = (), **more: Any) -> Json:
    about = {"Type": {"const": kind}, "Comment": TEXT}
    return {
        "properties": {**about, **properties},
        "required": ["Type", *required],
        "additionalProperties": False,
        **more,
    }


_FOLLOWED = {"Next": WORD, "End": {"const": True}}
_ONE_OF_THEM = {"oneOf": [{"required": ["Next"]}, {"required": ["End"]}]}
_CATCH = {
    "type": "array",
    "minItems": 1,
    "items": {
        "type": "object",
        "additionalProperties": False,
        "required": ["ErrorEquals", "Next"],
        "properties": {
            "ErrorEquals": {"type": "array", "items": TEXT, "minItems": 1, "uniqueItems": True},
            "Next": WORD,
            "ResultPath": PATH,
        },
    },
}
STATES: Json = {
    "Action": _state(
        "Action",
        {
            "ActionUrl": {"type": "string", "pattern": "^https://"},
            "ActionScope": TEXT,
            "Parameters": _PARAMETERS,
            "InputPath": PATH,
            "ResultPath": PATH,
            "RunAs": TEXT,
            "ExceptionOnActionFailure": {"type": "boolean"},
            "WaitTime": {"type": "integer", "minimum": 1, "maximum": 31_536_000},
            "Catch": _CATCH,
            **_FOLLOWED,
        },
        required=("ActionUrl",),
        allOf=[_ONE_OF_THEM, {"oneOf": [{"required": ["Parameters"]}, {"required": ["InputPath"]}]}],
    ),
    "ExpressionEval": _state(
        "ExpressionEval",
        {"Parameters": _PARAMETERS, "ResultPath": PATH, "Next": WORD},
        required=("Parameters", "ResultPath", "Next"),
    ),
    "Pass": _state(
        "Pass",
        {"Parameters": _PARAMETERS, "InputPath": PATH, "ResultPath": PATH, "Result": {"type": "object"}, **_FOLLOWED},
        allOf=[_ONE_OF_THEM, {"not": {"required": ["Parameters", "InputPath"]}}],
    ),
    "Choice": _state(
        "Choice",
        {
            "Choices": {
                "type": "array",
                "minItems": 1,
                "items": {"allOf": [{"$ref": "#/definitions/test"}, {"required": ["Next"]}]},
            },
            "Default": WORD,
        },
        required=("Choices",),
    ),
    "Wait": _state(
        "Wait",
        {"Seconds": {"type": "integer", "minimum": 0, "maximum": 31_536_000}, "SecondsPath": PATH, "Next": WORD},
        required=("Next",),
        oneOf=[{"required": ["Seconds"]}, {"required": ["SecondsPath"]}],
    ),
    "Fail": _state(
        "Fail",
        {"Error": TEXT, "Cause": TEXT, "ErrorPath": PATH, "CausePath": PATH},
        allOf=[
            {"oneOf": [{"required": ["Error"]}, {"required": ["ErrorPath"]}]},
            {"oneOf": [{"required": ["Cause"]}, {"required": ["CausePath"]}]},
        ],
    ),
}
SCHEMA: Json = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "type": "object",
    "additionalProperties": False,
    "required": ["StartAt", "States"],
    "properties": {
        "Comment": TEXT,
        "StartAt": WORD,
        "States": {
            "type": "object",
            "minProperties": 1,
            "additionalProperties": {
                "type": "object",
                "required": ["Type"],
                "properties": {"Type": {"enum": list(STATES)}},
                "allOf": [
                    {"if": {"properties": {"Type": {"const": kind}}}, "then": rule} for kind, rule in STATES.items()
                ],
            },
        },
    },
    "definitions": {
        "parameters": _PARAMETERS,
        "test": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                **{name: {"type": "array", "items": {"$ref": "#/definitions/test"}} for name in ("And", "Or")},
                "Not": {"$ref": "#/definitions/test"},
                "Variable": PATH,
                "Next": WORD,
                **_TESTS,
            },
            "oneOf": [
                *({"required": [name]} for name in ("And", "Or", "Not")),
                *({"required": ["Variable", name]} for name in _TESTS),
            ],
        },
    },
}


def faults_of(definition: Any) -> list[str]:
    """What Globus Flows would refuse in a definition, a sentence each; [] when nothing."""
    found = [
        f"{'.'.join(map(str, each.absolute_path)) or 'definition'}: {each.message}"
        for each in Draft7Validator(SCHEMA).iter_errors(definition)
    ]
    return found or list(_references(definition))


def _references(definition: Json) -> Iterator[str]:
    states: Json = definition["States"]
    named = {definition["StartAt"]}
    for name, state in states.items():
        for other in _followers(state):
            named.add(other)
            if other not in states:
                yield f"{name}: there is no state {other!r}"
    if definition["StartAt"] not in states:
        yield f"StartAt: there is no state {definition['StartAt']!r}"
    yield from (f"{name}: no state leads to it" for name in states if name not in named)


def _followers(state: Json) -> Iterator[str]:
    if "Next" in state:
        yield state["Next"]
    if "Default" in state:
        yield state["Default"]
    for each in (*state.get("Choices", ()), *state.get("Catch", ())):
        yield each["Next"]
