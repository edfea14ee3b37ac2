"""Options of a request: JSON objects of known keys, each value looked at."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from mhfd.contract import ParamsError
from mhfd.text import nearest, shown

FOREVER_S = 1e9

MOST = 2**53
"""No number is larger: JSON holds none, and more tiles there are not."""


def options_of(given: object, known: Sequence[str]) -> dict[str, Any]:
    """A JSON object, or null, as a dict; `ParamsError` for another thing or an unknown key."""
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise ParamsError(f"options must be an object, not {shown(given)}")
    for key in given:
        if key not in known:
            raise ParamsError(f"there is no option {shown(key)}; {nearest(str(key), list(known))}")
    return given


def number(given: dict[str, Any], key: str, kind: type[int] | tuple[type[int], type[float]]) -> Any:
    """A positive number, None where there is none."""
    value = given.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, kind) or not 0 < value < math.inf:
        raise ParamsError(f"{key} must be a positive number, not {shown(value)}")
    return min(value, MOST)


def text(given: dict[str, Any], key: str) -> str | None:
    """A text, None where there is none."""
    value = given.get(key)
    if not isinstance(value, str | None):
        raise ParamsError(f"{key} must be a string, not {shown(value)}")
    if value == "":
        raise ParamsError(f"{key} is empty: name something, or leave it out")
    return value


def flag(given: dict[str, Any], key: str, *, default: bool = False) -> bool:
    value = given.get(key)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise ParamsError(f"{key} must be true or false, not {shown(value)}")
    return value
