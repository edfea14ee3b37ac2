"""A header in our units, its place in a TIFF file, and the ways to read it."""

from __future__ import annotations

import struct
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import PurePath
from typing import Any, Protocol

# Errors that an odd header can raise: wrong type, missing key, broken XML or JSON, endless nesting.
ODD = (ArithmeticError, AttributeError, LookupError, RecursionError, SyntaxError, TypeError, ValueError, struct.error)

Size = tuple[float | None, float | None]  # columns, rows

# Limits that keep the time and memory for a header small; real headers stay far below.
_MAX_TAG = 2**21
_MAX_XML = 2**24  # OME-XML of a stack of tens of thousands of planes


@dataclass(frozen=True, kw_only=True)
class Header:
    """One vendor's header in our units; None for missing values, NaN for those that cannot be read.

    Attributes
    ----------
    sizes : of the picture that the header describes; a header may state it in several ways, or not at all
    """

    vendor: str | None = None
    pixel_size_nm: float | None = None
    working_distance_mm: float | None = None
    dwell_us: float | None = None
    stage_um: tuple[float, float, float] | None = None
    sizes: tuple[Size, ...] = ()


class Ifd(Protocol):
    """A page of a TIFF file: tifffile's, or a plain one (mhfd.images.plain).

    Attributes
    ----------
    tags : by code, with `get`, `valueof` and `in`
    parent : has the open file as `filehandle`
    """

    @property
    def imagewidth(self) -> int: ...

    @property
    def imagelength(self) -> int: ...

    @property
    def tags(self) -> Any: ...

    @property
    def parent(self) -> Any: ...


@dataclass(frozen=True, kw_only=True)
class Page:
    """A page and the first of its file, where stacks write their header once."""

    page: Ifd
    first: Ifd
    ifd: int  # the page's number in the file, which OME-XML refers to
    path: str

    @property
    def file_name(self) -> str:
        return PurePath(self.path).name

    @property
    def shape(self) -> tuple[int, int]:
        """Rows, columns."""
        return self.page.imagelength, self.page.imagewidth

    def home(self, *codes: int) -> Ifd | None:
        """The page that has one of these tags: this one, else the first."""
        return next((page for page in (self.page, self.first) if any(code in page.tags for code in codes)), None)

    def description(self, page: Ifd) -> str:
        text = page.tags.valueof(270)
        return text if isinstance(text, str) else ""


def raw(page: Ifd, code: int, *, last: int | None = None) -> bytes:
    """A tag as it stands in the file, or its `last` bytes; b"" if there is none, or it is too large for a header.

    tifffile parses some tags, and then shows neither a key without a value nor a text in another code page.
    """
    tag = page.tags.get(code)
    length = 0 if tag is None else tag.valuebytecount
    skipped = max(0, length - last) if last else 0
    if tag is None or length - skipped > _MAX_TAG:
        return b""
    file = page.parent.filehandle
    file.seek(tag.valueoffset + skipped)
    data: bytes = file.read(length - skipped)
    return data


def decoded(data: bytes) -> str:
    """Text up to the first NUL, in UTF-8, UTF-16 with its mark, or Western European; other letters become U+FFFD."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", errors="replace").partition("\0")[0]
    data = data.partition(b"\0")[0]
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace")


def parse_xml(text: str) -> ET.Element:
    if len(text) > _MAX_XML or "<!DOCTYPE" in text:  # headers have no document type; entity bombs do
        raise ValueError("this is no header")
    return ET.fromstring(text.strip())


def text_at(root: ET.Element, path: str) -> str | None:
    """Text of the element at `path`, whatever its namespace; None if there is no such element."""
    element = at(root, path)
    return None if element is None else (element.text or "").strip()


def at(root: ET.Element, path: str) -> ET.Element | None:
    return root.find("/".join(f"{{*}}{name}" for name in path.split("/")))


@lru_cache(8)  # a page's is asked for its settings, and for the part that is picture
def sections(text: str) -> Mapping[str, Mapping[str, str]]:
    """An INI text: section -> key -> value; what stands before the first section is in ""."""
    found: dict[str, dict[str, str]] = {}
    section = found.setdefault("", {})
    for line in text.splitlines():
        key, is_pair, value = line.partition("=")
        key = key.strip()
        if is_pair:
            section[key] = value.strip()
        elif key.startswith("[") and key.endswith("]"):
            section = found.setdefault(key[1:-1].strip(), {})
    return found
