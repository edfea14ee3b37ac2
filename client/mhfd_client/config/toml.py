"""Write values as TOML; the standard library can only read it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any
from uuid import UUID


def toml(value: Any) -> str:
    """One value on one line; text with backslashes goes in single quotes, which need no escapes.

    Raises
    ------
    ValueError
        Text is not valid Unicode, such as an undecodable file name.
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, Mapping):
        told = {key: each for key, each in value.items() if each is not None}  # TOML has no null
        inside = ", ".join(f"{toml_key(key)} = {toml(each)}" for key, each in told.items())
        return f"{{ {inside} }}" if inside else "{}"
    if isinstance(value, str | PurePath | UUID):
        return _text(str(value))
    raise TypeError(f"{type(value).__name__} has no form in TOML")


def toml_key(name: str) -> str:
    """A key or part of a table's name, in quotes if it needs them."""
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _quoted(name)


def _text(text: str) -> str:
    quoted = _quoted(text)
    literal = "\\" in text and "'" not in text and not re.search(r"[\x00-\x1f\x7f]", text)
    return f"'{text}'" if literal else quoted


def _quoted(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:  # half a surrogate pair
        raise ValueError(f"{text!a} cannot be written in TOML, which is Unicode: give it another name") from error
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")  # as in JSON, but TOML escapes DEL, too
