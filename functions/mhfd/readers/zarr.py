"""Zarr 2 and 3, plain or OME-Zarr: the chunks of each plane are its tiles.

Tiles are numbered plane by plane (the last of the other axes fastest), and in a plane row by row. Of a pyramid the
full-size level counts. A chunk that was never written reads as the array's fill value, as Zarr has it.
"""

from __future__ import annotations

import math
import sys
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from mhfd.contract import TileError
from mhfd.extras import needed
from mhfd.images.grey import Array, corrupt
from mhfd.images.metadata.quantity import nm_per, positive, square
from mhfd.readers.protocol import Frame, Place

_METADATA = ("zarr.json", ".zarray", ".zgroup", ".zattrs")
_OLD_AXES = ("t", "c", "z", "y", "x")  # of OME-Zarr before 0.3, which does not name them
_DEEPEST, _MOST_PICTURES = 6, 100_000

Stamp = tuple[tuple[str, int, int], ...]


class ZarrReader:
    """A folder that holds an array, or a group with images."""

    name = "zarr"
    folders = True

    @contextmanager
    def open(self, path: str) -> Iterator[ZarrFile]:
        needed("zarr", "zarr", "a Zarr array")
        yield ZarrFile(path)


class ZarrFile:
    """The pictures of a folder, one after the other."""

    def __init__(self, path: str) -> None:
        self._pictures = _pictures(path, _stamp(Path(path)))
        self._ends = list(accumulate(each.planes * each.rows * each.cols for each in self._pictures))

    def __len__(self) -> int:
        return min(self._ends[-1], sys.maxsize)

    def frame(self, index: int) -> Frame:
        number, cell = self._at(index)
        picture = self._pictures[number]
        (top, bottom), (left, right) = picture.spans(cell)
        return Frame(
            shape=(bottom - top, right - left),
            pixel_size_nm=picture.pixel_size_nm,
            place=picture.place(cell, number if len(self._pictures) > 1 else None),
            unpacked=math.prod(picture.chunks),
        )

    def pixels(self, index: int) -> Array:
        number, cell = self._at(index)
        return self._pictures[number].pixels(cell)

    def _at(self, index: int) -> tuple[int, int]:
        """The number of the picture, and that of the tile in it."""
        number = bisect_right(self._ends, index)
        return number, index - (self._ends[number - 1] if number else 0)


@dataclass(frozen=True)
class _Picture:
    """One array as planes of tiles.

    Attributes
    ----------
    path : of the array's folder
    shape, chunks : along all axes; of an array in shards, the chunks within them
    axes : their names
    """

    path: str
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    axes: tuple[str, ...]
    pixel_size_nm: float | None

    @property
    def y(self) -> int:
        return self.axes.index("y")

    @property
    def x(self) -> int:
        return self.axes.index("x")

    @property
    def others(self) -> list[int]:
        """The axes that planes lie along."""
        return [axis for axis in range(len(self.axes)) if axis not in (self.y, self.x)]

    @property
    def planes(self) -> int:
        return math.prod(self.shape[axis] for axis in self.others)

    @property
    def rows(self) -> int:
        return -(-self.shape[self.y] // self.chunks[self.y])

    @property
    def cols(self) -> int:
        return -(-self.shape[self.x] // self.chunks[self.x])

    def spans(self, cell: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """First and end row, first and end column of a tile."""
        row, col = divmod(cell % (self.rows * self.cols), self.cols)
        return self._span(self.y, row), self._span(self.x, col)

    def place(self, cell: int, number: int | None) -> Place:
        """Where a tile lies; `number`: of this picture among several."""
        where = self._plane(cell)
        section_axis = next((axis for name in ("z", "t") for axis in where if self.axes[axis] == name), None)
        section = None if section_axis is None else where.pop(section_axis)
        grid, several = number or 0, number is not None
        for axis, at in where.items():
            grid, several = grid * self.shape[axis] + at, several or self.shape[axis] > 1
        row, col = divmod(cell % (self.rows * self.cols), self.cols)
        alone = self.rows * self.cols == 1
        return Place(
            section=section,
            grid=grid if several else None,
            row=None if alone else row,
            col=None if alone else col,
        )

    def pixels(self, cell: int) -> Array:
        (top, bottom), (left, right) = self.spans(cell)
        where: dict[int, int | slice] = {**self._plane(cell), self.y: slice(top, bottom), self.x: slice(left, right)}
        found = np.asarray(_array(self.path, _stamp(Path(self.path)))[tuple(where[axis] for axis in sorted(where))])
        return found if self.y < self.x else found.T

    def _plane(self, cell: int) -> dict[int, int]:
        """Index along each of the other axes."""
        others = self.others
        at = np.unravel_index(cell // (self.rows * self.cols), [self.shape[axis] for axis in others]) if others else ()
        return dict(zip(others, map(int, at), strict=True))

    def _span(self, axis: int, number: int) -> tuple[int, int]:
        first = number * self.chunks[axis]
        return first, min(first + self.chunks[axis], self.shape[axis])


def _stamp(folder: Path) -> Stamp:
    """What tells that the metadata of an array or a group have changed."""
    found = []
    for name in _METADATA:
        try:
            state = (folder / name).stat()
        except FileNotFoundError:
            continue
        found.append((name, state.st_size, state.st_mtime_ns))
    return tuple(found)


@lru_cache(maxsize=64)
def _array(path: str, stamp: Stamp) -> Any:
    """An open array; no file stays open."""
    import zarr

    return zarr.open_array(path, mode="r")


@lru_cache(maxsize=16)
def _pictures(path: str, stamp: Stamp) -> tuple[_Picture, ...]:
    """The pictures of a folder, looked for once: its tiles are read one by one.

    Raises
    ------
    TileError
        There is none.
    """
    import zarr

    if not Path(path).is_dir() or not stamp:
        raise TileError("not_an_image", f"{path} is no Zarr array or group: it lacks zarr.json, .zgroup and .zarray")
    found: list[_Picture] = []
    for each in _found(zarr.open(path, mode="r"), path, 0):
        found.append(each)
        if len(found) > _MOST_PICTURES:
            raise TileError("unsupported", f"{path} holds more than {_MOST_PICTURES} images; name a group in it")
    if not found:
        raise TileError("not_an_image", f"{path} holds no array of two or more axes; name another folder")
    return tuple(found)


def _found(node: Any, path: str, depth: int) -> Iterator[_Picture]:
    """The pictures of an array or a group: its pyramids, or else what is in it, but for labels."""
    if hasattr(node, "chunks"):
        if node.ndim >= 2:
            yield _picture(node, path, _names(node), None)
        return
    if levels := _multiscales(node):
        for each in levels:
            yield _level(node, path, each)
        return
    if depth >= _DEEPEST:
        return
    for name, inner in sorted(node.members(), key=lambda member: _natural(member[0])):
        if name != "labels":
            yield from _found(inner, f"{path}/{name}", depth + 1)


def _multiscales(group: Any) -> list[dict[str, Any]]:
    """What OME-Zarr says of a group's pyramids: in 0.5 below "ome", before at the top."""
    attributes = dict(group.attrs)
    told = attributes.get("ome", attributes).get("multiscales") or []
    return [each for each in told if each["datasets"]]


def _level(group: Any, path: str, told: dict[str, Any]) -> _Picture:
    """The full-size level of a pyramid."""
    first = told["datasets"][0]
    name = str(first["path"])
    if name.startswith("/") or ".." in name.split("/"):
        raise corrupt(path, "its first level lies outside")
    axes = told.get("axes") or _OLD_AXES[-group[name].ndim :]
    names = tuple(str(each["name"] if isinstance(each, dict) else each).lower() for each in axes)
    units = [each.get("unit") if isinstance(each, dict) else None for each in axes]
    scales = [
        each["scale"]
        for each in [*(first.get("coordinateTransformations") or ()), *(told.get("coordinateTransformations") or ())]
        if each.get("type") == "scale"
    ]
    size = _pixel_size_nm(names, units, scales)
    return _picture(group[name], f"{path}/{name}", names, size)


def _pixel_size_nm(names: Sequence[str], units: Sequence[Any], scales: Sequence[Sequence[Any]]) -> float | None:
    sides = []
    for axis in ("x", "y"):
        at = names.index(axis)
        unit = None if units[at] is None else nm_per(str(units[at]))
        if unit is None or not scales:
            return None
        sides.append(positive(math.prod(float(each[at]) for each in scales), unit))
    size = square(*sides)
    return size if size is not None and size > 0 else None  # NaN: unreadable


def _names(array: Any) -> tuple[str, ...]:
    """The axes of a plain array, by their names; rows and columns are the last ones where it names none."""
    told = getattr(array.metadata, "dimension_names", None) or array.attrs.get("_ARRAY_DIMENSIONS") or ()
    names = tuple(str(each).lower() for each in told)
    if {"y", "x"} <= set(names):
        return names
    return (*(f"axis{n}" for n in range(array.ndim - 3)), "z", "y", "x")[-array.ndim :]


def _picture(array: Any, path: str, axes: tuple[str, ...], pixel_size_nm: float | None) -> _Picture:
    shape, chunks = tuple(map(int, array.shape)), tuple(map(int, array.chunks))
    if len(axes) != len(shape) or axes.count("y") != 1 or axes.count("x") != 1:
        raise corrupt(path, f"it names the axes {axes} of an array of {len(shape)}")
    if 0 in shape or 0 in chunks:
        raise TileError("zero_size", f"{path} has the shape {shape}, so there is nothing to score")
    return _Picture(path, shape, chunks, axes, pixel_size_nm)


def _natural(name: str) -> tuple[bool, int, str]:
    """Sort key that puts 2 before 10."""
    return (not name.isdecimal(), int(name) if name.isdecimal() else 0, name)
