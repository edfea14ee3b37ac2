"""JSON lines files that survive a kill: only appended to, in whole lines, synchronised before success is reported.

A kill, a full disk or a power cut can tear the last line. The next writer begins a new one, and readers skip every line
that is not a JSON object.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

log = logging.getLogger(__name__)

Row = dict[str, Any]


def line(value: Row) -> str:
    """One object as JSON, without a newline."""
    return json.dumps(value, allow_nan=False)


def ends_torn(file: BinaryIO) -> bool:
    """True if the last line of a file, open for reading, has no newline; leaves the position at the end of the file."""
    if not file.seek(0, os.SEEK_END):
        return False
    file.seek(-1, os.SEEK_END)
    return file.read(1) != b"\n"


def append(path: Path, values: Iterable[Row]) -> None:
    """Append objects as lines; they are on the disk when this returns."""
    append_lines(path, map(line, values))


def append_lines(path: Path, lines: Iterable[str]) -> None:
    """`append`, of objects that are JSON already (`line`)."""
    text = "".join(f"{each}\n" for each in lines).encode()
    with path.open("a+b") as file:  # "a": at the end, whoever else appends
        file.write(b"\n" + text if ends_torn(file) else text)
        file.flush()
        os.fsync(file.fileno())


def read_lines(path: str | os.PathLike[str]) -> Iterator[Row]:
    """The objects of a file of lines, in order; logs a warning for each line skipped."""
    for number, value in numbered_lines(path):
        if value is None:
            log.warning("%s: line %d is torn and skipped", path, number)
        else:
            yield value


def numbered_lines(path: str | os.PathLike[str]) -> Iterator[tuple[int, Row | None]]:
    """Each line's number, from 1, and object; None where it has none. Empty lines are left out."""
    with Path(path).open("rb") as file:
        for number, text in enumerate(file, 1):
            try:
                value = json.loads(text)
            except (ValueError, RecursionError):
                value = None
            if isinstance(value, dict):
                yield number, value
            elif text.strip():
                yield number, None
