"""What stands for an answer's content, so that a browser fetches it once."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256

from starlette.requests import Request
from starlette.responses import Response


def hash_of(data: bytes) -> str:
    return sha256(data).hexdigest()[:16]


def tagged(request: Request, tag: str, data: Callable[[], bytes], kind: str, cache: str) -> Response:
    """The content; that it has not changed, to a browser that has it."""
    headers = {"etag": tag, "cache-control": cache}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(data(), media_type=kind, headers=headers)
