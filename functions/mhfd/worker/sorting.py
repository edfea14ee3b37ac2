"""Sort more than memory holds: sorted chunks lie in temporary files, and are merged."""

from __future__ import annotations

import heapq
import pickle
from collections.abc import Iterable, Iterator
from itertools import islice
from tempfile import TemporaryFile
from typing import Any, BinaryIO, TypeVar

T = TypeVar("T", bound=tuple[Any, ...])

AT_ONCE = 2**19
"""Items in memory: of the files of one folder some 150 MB."""

_READ_AT_ONCE = 1024


def in_order(items: Iterable[T], at_once: int = AT_ONCE) -> Iterator[T]:
    """The items in ascending order, with at most `at_once` of them in memory, and some of each chunk."""
    todo = iter(items)
    first = sorted(islice(todo, at_once))
    if len(first) < at_once:
        yield from first
        return
    chunks = [_kept(first)]
    del first
    while chunk := sorted(islice(todo, at_once)):
        chunks.append(_kept(chunk))
    yield from heapq.merge(*chunks)


def _kept(chunk: list[T]) -> Iterator[T]:
    file = TemporaryFile()  # noqa: SIM115 - it lives as long as what reads it
    for first in range(0, len(chunk), _READ_AT_ONCE):
        pickle.dump(chunk[first : first + _READ_AT_ONCE], file)
    file.seek(0)
    return _read(file)


def _read(file: BinaryIO) -> Iterator[T]:
    with file:
        while True:
            try:
                some: list[T] = pickle.load(file)  # what this process wrote, in a file without a name
            except EOFError:
                return
            yield from some
