"""Who may ask, and what every answer says to the browser.

A browser can be made to ask by any page. So the Host must be ours (no name made to point here), what changes anything
must come from our own page, and beyond this machine everybody needs a token.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mhfd.contract import ExitCode, MhfdError
from mhfd_client.serving.hosts import EVERYWHERE, Names, is_address, is_loopback

COOKIE = "mhfd"
TOKEN_BYTES = 16
LEAST_TOKEN = 22
"""Letters of a token: those of 128 bits."""

WITHOUT_TOKEN = ("/", "/healthz", "/api/token", "/favicon.ico")
"""The shell, which trades the token for a cookie, and a sign of life; also /static."""

HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "x-frame-options": "DENY",
}


class TokenError(MhfdError):
    """A token that cannot be used."""

    exit_code = ExitCode.USAGE


@dataclass(frozen=True)
class Safety:
    """What a page asks of those who ask it.

    Attributes
    ----------
    listens_at : the host that the server was told to listen at
    tokens : token -> the name of who has it, None where it has none; empty: nobody needs one
    secure : the server speaks TLS
    for_programs : parts of paths that programs other than browsers send to: no token, no Origin
    """

    listens_at: str
    tokens: Mapping[str, str | None] = field(default_factory=dict)
    secure: bool = False
    for_programs: tuple[str, ...] = ()

    def is_for_programs(self, path: str) -> bool:
        """True for what a microscope sends."""
        return any(part in path for part in self.for_programs)

    def refusal(self, scope: Scope) -> tuple[int, str] | None:
        """The status and the sentence with which a request is refused; None for one that may be answered."""
        headers, path = Headers(scope=scope), scope["path"]
        host = headers.get("host")
        any_address = self.listens_at in EVERYWHERE or is_address(self.listens_at)
        if host is not None and not Names(self.listens_at, any_address).has(host):
            return 403, "the Host header names another machine: enter this machine's address or host name"
        origin = headers.get("origin")
        if self.is_for_programs(path):
            return None if origin is None else (403, "requests from web pages are not taken")
        if origin is not None and (host is None or urlsplit(origin).netloc.lower() != host.lower()):
            return 403, "requests of other pages are not taken"
        if scope["method"] not in ("GET", "HEAD"):
            if origin is None and headers.get("sec-fetch-site", "same-origin") != "same-origin":
                return 403, "requests of other pages are not taken"
            if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
                return 415, "send JSON, with Content-Type: application/json"
        if (
            self.tokens
            and not (path in WITHOUT_TOKEN or path.startswith("/static/"))
            and self.token_of(headers) is None
        ):
            return 401, "a token is needed: open the page by the address that its start printed"
        return None

    def token_of(self, headers: Headers) -> str | None:
        """The valid token that a request brings: in the cookie, or as "Authorization: Bearer TOKEN"."""
        kind, _, given = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer":
            return self.known(given.strip())
        cookies: SimpleCookie = SimpleCookie()
        try:
            cookies.load(headers.get("cookie", ""))
        except CookieError:
            return None
        return self.known(cookies[COOKIE].value) if COOKIE in cookies else None

    def known(self, given: str) -> str | None:
        """The token if it is one of ours; takes the same time for all that are not."""
        found = None
        for token in self.tokens:
            if hmac.compare_digest(token.encode(), given.encode("utf-8", "replace")):
                found = token
        return found

    def name_of(self, headers: Headers) -> str | None:
        """The name of the token that a request brings."""
        token = self.token_of(headers) if self.tokens else None
        return self.tokens[token] if token is not None else None


class Guard:
    """Refuses what `Safety` refuses, and adds the security headers to every answer."""

    def __init__(self, app: ASGIApp, safety: Safety) -> None:
        self._app, self._safety = app, safety

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("cache-control", "no-store")
            await send(message)

        refused = self._safety.refusal(scope)
        if refused is not None:
            status, why = refused
            await JSONResponse({"error": why}, status)(scope, receive, send_safely)
            return
        await self._app(scope, receive, send_safely)


def tokens_of(given: Iterable[str], host: str) -> dict[str, str | None]:
    """Tokens as a person gives them, "TOKEN" or "NAME=TOKEN"; a new one where others can connect and none is given.

    Raises
    ------
    TokenError
        One is too short.
    """
    found: dict[str, str | None] = {}
    for each in given:
        name, _, token = each.rpartition("=")
        if len(token) < LEAST_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
            raise TokenError(f"a token has at least {LEAST_TOKEN} letters and digits; leave it out to have one made")
        found[token] = name or None
    if not found and not is_loopback(host):
        found[secrets.token_urlsafe(TOKEN_BYTES)] = None
    return found


def cookie(token: str, *, secure: bool) -> str:
    """The Set-Cookie header that a token is traded for."""
    return f"{COOKIE}={token}; Path=/; HttpOnly; SameSite=Strict{'; Secure' if secure else ''}"
