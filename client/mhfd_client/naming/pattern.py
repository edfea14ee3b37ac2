"""A user's own regular expression, with named groups.

On a pattern such as (a+)+ Python's matcher can take longer than the run and cannot be interrupted. So a pattern that
repeats a group that varies is refused, as is one that is slow on made-up paths, and a path longer than MAX_PATH is not
matched.
"""

from __future__ import annotations

import re
import time
from pathlib import Path

from mhfd.text import nearest
from mhfd_client.naming.parts import number
from mhfd_client.naming.position import Position
from mhfd_client.naming.protocol import LayoutError

GROUPS = ("section", "grid", "row", "col", "tile")
MAX_PATH = 300  # of a path below the run's folder
MAX_PATTERN = 1000
SLOW_S = 0.2  # of processor time, for one path; a match takes microseconds
EXAMPLE = r"(?P<section>[0-9]+)/.*_r(?P<row>[0-9]+)_c(?P<col>[0-9]+)\.tif$"

_TOKEN = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\(\?|[()|]|(?:[*+?]|\{(\d*)(,?)(\d*)\})[?+]?|.", re.DOTALL)


class RegexLayout:
    """A tile is a file whose path the pattern is found in (`re.search`); its named groups are its position."""

    name = "regex"

    def __init__(self, pattern: str) -> None:
        self._search = compile_pattern(pattern).search

    def position(self, path: str) -> Position | None:
        if len(path) > MAX_PATH:
            return Position()  # better a tile without a position than a missed one
        match = self._search(path)
        if match is None:
            return None
        return Position(**{group: number(digits) for group, digits in match.groupdict().items()})

    def taken(self, path: str) -> str:
        return ""

    def listed(self, root: Path) -> None:
        return None


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """Compile the pattern.

    Raises
    ------
    LayoutError
        It is not a regular expression, lacks the named groups of a position, or may take forever.
    """
    if len(pattern) > MAX_PATTERN:
        raise LayoutError(f"the layout's pattern must not be longer than {MAX_PATTERN} characters, as in {EXAMPLE}")
    try:
        compiled = re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise LayoutError(
            f"the layout's pattern {pattern!r} is not a regular expression: {error}. An example: {EXAMPLE}"
        ) from error
    for group in compiled.groupindex:
        if group not in GROUPS:
            hint = nearest(group, GROUPS)
            raise LayoutError(f"the layout's pattern has a group named {group!r}; {hint} (an example: {EXAMPLE})")
    if not compiled.groupindex:
        raise LayoutError(
            f"the layout's pattern {pattern!r} has none of the named groups {', '.join(GROUPS)}. An example: {EXAMPLE}"
        )
    if part := repeated_choice(pattern):
        raise LayoutError(
            f"the layout's pattern may take forever on some names: at the end of {part!r} it repeats a group that can "
            f"match in several ways. Write a class such as [0-9_]* instead of the repeated group; an example: {EXAMPLE}"
        )
    if path := slow_path(compiled):
        raise LayoutError(
            f"the layout's pattern {pattern!r} takes more than {SLOW_S:g} s on a path like {path!r}: "
            f"write [^/]* and [0-9]+ instead of .*, as in {EXAMPLE}"
        )
    return compiled


def slow_path(pattern: re.Pattern[str]) -> str | None:
    """A made-up path on which the pattern is slow, or None; repeats of its own characters are the worst."""
    letters: list[str] = sorted({*"0a_/", *pattern.pattern} - set(r"\?*+()[]{}|^$<>"))
    for unit in (*letters, *("0" + letter for letter in letters)):
        length = 8
        while length < MAX_PATH:
            path = (unit * length)[:length] + "!"
            start = time.thread_time()
            pattern.search(path)
            if time.thread_time() - start > SLOW_S:
                return path
            length += length // 8  # small steps: the first slow path is not a hundred times too slow
    return None


def repeated_choice(pattern: str) -> str | None:
    """The pattern up to its first repeat of a group that varies, like (a+)+ or (a|b)*; None if there is none."""
    varies = [False]  # of each group that is open, outermost first
    closed = False  # the token before closed a group that varies
    for token in _TOKEN.finditer(pattern):
        text, was_closed, closed = token[0], closed, False
        if text in ("(", "(?"):
            varies.append(False)
        elif text == ")" and len(varies) > 1:
            closed = varies.pop()
            varies[-1] |= closed
        elif text == "|":
            varies[-1] = True
        elif (times := _times(token)) is not None:
            least, most = times
            if was_closed and most > 1:
                return pattern[: token.end()]
            varies[-1] |= least != most
    return None


def _times(token: re.Match[str]) -> tuple[float, float] | None:
    """Least and most times that the token repeats what it follows; None if it is not a repetition."""
    if token[0][0] in "*+?":
        return (1 if token[0][0] == "+" else 0), (1 if token[0][0] == "?" else float("inf"))
    if token[2] is None or not (token[1] or token[3]):
        return None  # {} and {,} are characters
    least = float(token[1] or 0)
    return least, (float(token[3] or "inf") if token[2] else least)
