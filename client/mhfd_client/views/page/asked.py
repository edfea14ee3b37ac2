"""What a request asks for, held against its bounds. Whatever does not fit is refused with a sentence."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Sequence
from typing import Any

from starlette.requests import Request

from mhfd.text import shown

BODY_BYTES = 4096
BODY_S = 5.0


class RefusedError(Exception):
    """The status and the sentence of an answer."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status, self.why = status, why


async def body_of(request: Request) -> dict[str, Any]:
    """The JSON object that was sent: at most 4 kB, within 5 s."""
    try:
        data = await asyncio.wait_for(_read(request), BODY_S)
    except asyncio.TimeoutError:
        raise RefusedError(408, "the request was not sent to its end") from None
    try:
        given = json.loads(data)
    except (ValueError, RecursionError):
        raise RefusedError(422, "this is not JSON") from None
    if not isinstance(given, dict):
        raise RefusedError(422, "send a JSON object")
    return given


async def _read(request: Request) -> bytes:
    data = b""
    async for chunk in request.stream():
        data += chunk
        if len(data) > BODY_BYTES:
            raise RefusedError(413, f"send at most {BODY_BYTES} bytes")
    return data


def whole_number(given: object, name: str, low: int, high: int) -> int:
    """A whole number of a range, sent as JSON or as text."""
    if isinstance(given, str) and given.isascii() and given.isdecimal() and len(given) <= 16:
        given = int(given)
    if isinstance(given, bool) or not isinstance(given, int) or not low <= given <= high:
        raise RefusedError(422, f"{name} is a whole number from {low} to {high}, not {shown(given)}")
    return given


def number(given: object, name: str, low: float, high: float) -> float:
    """A number of a range, sent as JSON or as text."""
    if isinstance(given, str) and len(given) <= 32:
        try:
            given = float(given)
        except ValueError:
            given = math.nan
    if isinstance(given, bool) or not isinstance(given, int | float) or not low <= given <= high:
        raise RefusedError(422, f"{name} is a number from {low:g} to {high:g}, not {shown(given)}")
    return float(given)


def choice(given: object, name: str, allowed: Sequence[str]) -> str:
    """One of a few words."""
    if not isinstance(given, str) or given not in allowed:
        raise RefusedError(422, f"{name} is one of {', '.join(allowed)}, not {shown(given)}")
    return given


def text(given: dict[str, Any], key: str, *, most: int) -> str:
    """A text that must be there."""
    found = optional(given, key, most=most)
    if found is None:
        raise RefusedError(422, f"{key} is missing")
    return found


def optional(given: dict[str, Any], key: str, *, most: int) -> str | None:
    """A short text of printable characters; None where there is none."""
    value = given.get(key)
    if value is None or value == "":
        return None
    if not isinstance(value, str) or len(value) > most or not value.isprintable():
        raise RefusedError(422, f"{key} is a text of at most {most} printable characters")
    return value.strip() or None
