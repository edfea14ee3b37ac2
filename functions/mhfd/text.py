"""Text from outside, safe where it leaves: on a terminal, in a cell of a table, in JSON; and counts in words.

File names, and messages that quote them or a file's header, may hold anything: escape sequences, line breaks, bytes
that are not UTF-8.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable
from datetime import datetime
from difflib import get_close_matches
from typing import Any

_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})  # control, format, surrogate; line and paragraph separators
_JOINERS = frozenset("\u200c\u200d")  # Persian, Indian scripts and emoji are spelt with them

# A spreadsheet computes a cell that begins so; the wide forms count where Chinese or Japanese is typed.
_FORMULA = re.compile(r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20]")


def visible(text: str) -> str:
    r"""The text on one line, with nothing in it that a terminal obeys or that hides or reorders what is read.

    Control characters (C0, DEL, C1), line and paragraph separators, format characters (marks and overrides of
    direction among them) and halves of surrogate pairs are written as Python writes them: "\x1b", "\n", "\u202e". So
    is a byte of a file name that is not UTF-8: "\xe9".
    """
    return text if text.isprintable() else "".join(map(_shown, text))


def cell(value: object) -> object:
    """A value for a cell of a CSV table: text `visible`, and with a leading ' where it would be a formula.

    Numbers stay numbers, negative ones too; None stays None.
    """
    if isinstance(value, datetime):
        return value.isoformat()
    if not isinstance(value, str):
        return value
    text = visible(value)
    return f"'{text}" if _FORMULA.match(text) else text


def json_text(value: object, *, indent: int | None = None) -> str:
    """Plain types as JSON in ASCII that every reader takes: file names that are not UTF-8 as `visible` writes them."""
    return json.dumps(_encodable(value), allow_nan=False, indent=indent)


def is_unicode(text: str) -> bool:
    """True if a text can be stored: not a name in bytes other than UTF-8, nor half a surrogate pair, on Windows."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def shown(value: object, most: int = 40) -> str:
    """A value from outside in a message: cut, and safe to ask for."""
    try:
        return f"{value!r:.{most}}"
    except (ValueError, RecursionError):  # a number of thousands of digits, lists within lists
        return f"a {type(value).__name__} too long to show"


def counted(n: int, one: str, many: str | None = None) -> str:
    """A number with its noun: "1 tile", "2 tiles"; `many` is the plural where that is not `one` with an s."""
    return f"{n} {one if n == 1 else many or f'{one}s'}"


def near_name(name: str, known: Iterable[str]) -> str | None:
    """The known name that was probably meant; None where none is similar."""
    return next(iter(get_close_matches(name, list(known), n=1)), None)


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: "did you mean 'x'?", or else all that are known."""
    known = list(known)
    near = near_name(name, known)
    return f"did you mean '{near}'?" if near else f"known: {', '.join(known)}"


def _shown(character: str) -> str:
    if unicodedata.category(character) not in _HIDDEN or character in _JOINERS:
        return character
    if "\udc80" <= character <= "\udcff":  # Python's stand-in for a byte that is not UTF-8
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")


def _encodable(value: Any) -> Any:
    if isinstance(value, str):
        return value if is_unicode(value) else re.sub("[\ud800-\udfff]", lambda half: _shown(half[0]), value)
    if isinstance(value, dict):
        return {_encodable(key): _encodable(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_encodable(each) for each in value]
    return value
