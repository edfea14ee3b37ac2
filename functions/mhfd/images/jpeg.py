"""Whether a JPEG stream holds all of its pixels.

libjpeg fills in what is missing, with grey or with the coarse picture of the earlier scans, and only warns; Pillow
and imagecodecs do not pass the warning on. So the stream is decoded again with other bytes put at the end of each of
its parts: a part that is whole ends before them, and the picture stays the same; one that is cut reads them as pixels.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

_MARKER = re.compile(rb"\xff+([^\x00\xff])")
_HUFFMAN_FRAMES = {0xC0, 0xC1, 0xC2}  # sequential (two kinds) and progressive
_OTHER_FRAMES = {0xC3, *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0)}
_RESTARTS = range(0xD0, 0xD8)
_PROGRESSIVE, _END, _SCAN, _INTERVAL = 0xC2, 0xD9, 0xDA, 0xDD

# They begin with a bit that differs from the zeros that libjpeg reads beyond an end. A progressive scan may take some
# bits for a long run of empty blocks, so such a stream is tried with several.
FILLERS = (
    bytes.fromhex("b5939ce6d36ab2579b4ee98d764b35a9dc665b93ad5ab66d") * 4,
    bytes.fromhex("6d92aa5bd64c39b7e2559a93cb6dd4a76b9be6365ac9acd3") * 4,
    bytes.fromhex("923bd69ce14d75a8b36c5aa7d93e5b96e9cd6ab452d7933b") * 4,
)


@dataclass
class _Frame:
    """The header of the picture, and what its scans have given so far."""

    progressive: bool
    rows: int
    cols: int
    sampling: dict[int, tuple[int, int]]  # of each component: how often it is sampled across and down
    given: dict[int, dict[int, int]] = field(default_factory=dict)  # component, coefficient: bits that it still lacks

    def units(self, components: Sequence[int]) -> int:
        """Number of units (MCUs) of a scan of some components."""
        most_across = max(across for across, _ in self.sampling.values())
        most_down = max(down for _, down in self.sampling.values())
        across, down = (1, 1) if len(components) > 1 else self.sampling[components[0]]
        if len(components) > 1:
            return math.ceil(self.cols / (8 * most_across)) * math.ceil(self.rows / (8 * most_down))
        return math.ceil(math.ceil(self.cols * across / most_across) / 8) * math.ceil(
            math.ceil(self.rows * down / most_down) / 8
        )

    def lacks(self) -> bool:
        """True if a scan that the picture needs is missing."""
        needed = range(64) if self.progressive else (0,)
        return any(self.given.get(each, {}).get(k, 1) for each in self.sampling for k in needed)


@dataclass(frozen=True)
class Stream:
    """A JPEG stream, taken apart.

    Attributes
    ----------
    fault : what is missing, as far as the headers show; None: nothing
    checkable : whether it can be decoded with other bytes at its ends: coded by Huffman's method
    """

    data: bytes
    ends: tuple[int, ...]
    progressive: bool
    checkable: bool
    fault: str | None

    def filled(self) -> Iterator[bytes]:
        """The stream with other bytes at the end of each part; a whole one decodes to the same picture."""
        if not self.checkable:
            return
        for filler in FILLERS if self.progressive else FILLERS[:2]:
            parts = [self.data[begin:end] for begin, end in zip((0, *self.ends), self.ends, strict=False)]
            last = len(parts) - 1
            # Of parts between restart markers a few bytes do: there may be very many.
            joined = [part + (filler if n == last else filler[:16]) for n, part in enumerate(parts)]
            yield b"".join(joined) + self.data[self.ends[-1] :]


def take_apart(data: bytes) -> Stream:
    """Read the headers of a JPEG stream; one that makes no sense is left to its decoder to refuse."""
    frame: _Frame | None = None
    ends: list[int] = []
    huffman, interval, at = True, 0, 2
    try:
        while (found := _MARKER.search(data, at)) is not None and (marker := found[1][0]) != _END:
            at = found.end()
            if marker in _RESTARTS or marker in (0x01, 0xD8):  # markers without a length
                continue
            length = int.from_bytes(data[at : at + 2], "big")
            body, at = data[at + 2 : at + length], at + length
            if at > len(data):
                return Stream(data, (), False, False, "a header goes on beyond the end")
            if marker in _HUFFMAN_FRAMES and frame is None:
                frame = _frame(marker, body)
            elif marker in _OTHER_FRAMES:
                huffman = False
            elif marker == _INTERVAL:
                interval = int.from_bytes(body, "big")
            elif marker == _SCAN and frame is not None:
                components = _scan(frame, body)
                parts, at = _ends_of_parts(data, at)
                if interval and len(parts) < math.ceil(frame.units(components) / interval):
                    return Stream(data, (), False, False, "some parts between restart markers are missing")
                ends += parts
    except (IndexError, KeyError, ValueError):
        return Stream(data, (), False, False, None)
    fault = "its last scans are missing" if frame is not None and huffman and frame.lacks() else None
    progressive = frame is not None and frame.progressive
    return Stream(data, tuple(ends), progressive, huffman and frame is not None and bool(ends), fault)


def _frame(marker: int, body: bytes) -> _Frame:
    count = body[5]
    sampling = {body[6 + 3 * n]: (body[7 + 3 * n] >> 4, body[7 + 3 * n] & 15) for n in range(count)}
    if not all(across and down for across, down in sampling.values()):
        raise ValueError
    rows, cols = int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big")
    return _Frame(marker == _PROGRESSIVE, rows, cols, sampling)


def _scan(frame: _Frame, body: bytes) -> list[int]:
    """Note what a scan gives; returns its components."""
    count = body[0]
    components = [body[1 + 2 * n] for n in range(count)]
    first, last, bits = body[1 + 2 * count : 4 + 2 * count]
    for component in components:
        given = frame.given.setdefault(component, {})
        for k in range(first, last + 1) if frame.progressive else (0,):
            given[k] = bits & 15 if frame.progressive else 0
    if not components or not set(components) <= set(frame.sampling):
        raise ValueError
    return components


def _ends_of_parts(data: bytes, at: int) -> tuple[list[int], int]:
    """Where the parts of a scan end, at restart markers and at the next header; and where that is."""
    ends = []
    while True:
        found = _MARKER.search(data, at)
        ends.append(len(data) if found is None else found.start())
        if found is None or found[1][0] not in _RESTARTS:
            return ends, ends[-1]
        at = found.end()
