"""The state of a flow's run: reading it by path, filling parameters from it, storing results in it, testing it."""

from __future__ import annotations

import copy
import operator
import re
from collections.abc import Callable
from typing import Any

from simpleeval import EvalWithCompoundTypes

Json = dict[str, Any]

STEP = re.compile(r"\.([A-Za-z_][\w-]*)|\[(\d+)\]")
_COMPARED: dict[str, Callable[[Any, Any], bool]] = {
    "Equals": operator.eq,
    "LessThan": operator.lt,
    "GreaterThan": operator.gt,
    "LessThanEquals": operator.le,
    "GreaterThanEquals": operator.ge,
}
_KINDS: dict[str, type | tuple[type, ...]] = {"String": str, "Numeric": (int, float), "Boolean": bool}


class StateError(Exception):
    """A path leads nowhere, or an expression cannot be computed."""


def look(state: Json, path: str) -> Any:
    """The value at a path such as ``$.planned.details.result[0].tiles``."""
    steps = list(STEP.finditer(path, 1))
    if not path.startswith("$.") or "".join(each[0] for each in steps) != path[1:]:
        raise StateError(f"{path!r} is not a path that this interpreter knows")
    found: Any = state
    try:
        for name, index in (each.groups() for each in steps):
            found = found[name] if index is None else found[int(index)]
    except (KeyError, IndexError, TypeError) as error:
        raise StateError(f"{path}: nothing is there") from error
    return found


def is_present(state: Json, path: str) -> bool:
    try:
        look(state, path)
    except StateError:
        return False
    return True


def put(state: Json, path: str | None, value: Any) -> Json:
    """The state with a value at a path of names; without a path, the value instead of it."""
    if path is None:
        return dict(value)
    changed = copy.deepcopy(state)
    *way, last = path.removeprefix("$.").split(".")
    place = changed
    for name in way:
        place = place.setdefault(name, {})
    place[last] = value
    return changed


def fill(template: Any, state: Json) -> Any:
    """Parameters with their references (``name.$``) and expressions (``name.=``) replaced by values."""
    if isinstance(template, list):
        return [fill(each, state) for each in template]
    if not isinstance(template, dict):
        return template
    filled = {}
    for name, value in template.items():
        if name.endswith(".$"):
            filled[name[:-2]] = copy.deepcopy(look(state, value))
        elif name.endswith(".="):
            filled[name[:-2]] = compute(value, state)
        elif name != "__Private_Parameters":
            filled[name] = fill(value, state)
    return filled


def compute(expression: str, state: Json) -> Any:
    """The value of an expression; names are those of the state, functions those that Globus documents."""
    functions = {
        "is_present": lambda path: is_present(state, f"$.{path}"),
        "getattr": lambda path, default=None: look(state, f"$.{path}") if is_present(state, f"$.{path}") else default,
        "pathsplit": lambda path: list(path.rpartition("/")[::2]),
    }
    try:
        return EvalWithCompoundTypes(names=state, functions=functions).eval(expression)
    except Exception as error:  # it raises a dozen kinds
        raise StateError(f"{expression}: {error}") from error


def holds(rule: Json, state: Json) -> bool:
    """True if a rule of a Choice state holds."""
    if "And" in rule:
        return all(holds(each, state) for each in rule["And"])
    if "Or" in rule:
        return any(holds(each, state) for each in rule["Or"])
    if "Not" in rule:
        return not holds(rule["Not"], state)
    (name,) = rule.keys() - {"Variable", "Next"}
    wanted = rule[name]
    if name == "IsPresent":
        return is_present(state, rule["Variable"]) == wanted
    value = look(state, rule["Variable"])
    if name == "IsNull":
        return (value is None) == wanted
    if name.startswith("Is"):
        return _is_a(value, name[2:]) == wanted
    kind = next(each for each in _KINDS if name.startswith(each))
    how = name.removeprefix(kind)
    if how.endswith("Path"):
        wanted, how = look(state, wanted), how.removesuffix("Path")
    return _is_a(value, kind) and _is_a(wanted, kind) and _COMPARED[how](value, wanted)


def _is_a(value: Any, kind: str) -> bool:
    return isinstance(value, _KINDS[kind]) and not (kind == "Numeric" and isinstance(value, bool))
