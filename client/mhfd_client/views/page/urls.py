"""The page's URLs, but those of pictures. docs/page.md lists them."""

from __future__ import annotations

import asyncio
import gzip
import io
import time
from importlib.resources import files
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from mhfd_client.views.listing import Form, write_listing
from mhfd_client.views.page.asked import RefusedError, body_of, choice, number, optional, text, whole_number
from mhfd_client.views.page.feed import TooManyListenersError
from mhfd_client.views.page.retakes import listed
from mhfd_client.views.page.safety import cookie
from mhfd_client.views.page.served import Page, number_in, row_of
from mhfd_client.views.page.tags import hash_of, tagged
from mhfd_client.views.page.tile import missing_facts, tile_facts
from mhfd_client.views.page.writing import decide, see, set_limit
from mhfd_client.views.retakes import listing

STATIC = files("mhfd_client.views.page") / "static"
KINDS = {".js": "text/javascript", ".css": "text/css", ".html": "text/html", ".svg": "image/svg+xml"}
GZIP_FROM = 64 * 1024


class Urls:
    """An answer for each URL."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._follower = page.follower
        self._files = {each.name: each.read_bytes() for each in STATIC.iterdir() if each.is_file()}

    async def shell(self, request: Request) -> Response:
        return self._file("index.html", request)

    async def static(self, request: Request) -> Response:
        return self._file(request.path_params["name"], request)

    def _file(self, name: str, request: Request) -> Response:
        """A file of the page, by its name in a table made at the start."""
        data = self._files.get(name)
        kind = KINDS.get(name[name.rfind(".") :])
        if data is None or kind is None:
            raise RefusedError(404, "there is nothing at this address")
        return tagged(request, f'"{hash_of(data)}"', lambda: data, f"{kind}; charset=utf-8", "no-cache")

    async def trade_token(self, request: Request) -> Response:
        """A token for a cookie that scripts cannot read."""
        given = await body_of(request)
        token = self._page.safety.known(text(given, "token", most=200))
        if token is None:
            await asyncio.sleep(0.5)
            raise RefusedError(401, "this token is not valid (any more): the start of the page printed another")
        answer = JSONResponse({"by": self._page.safety.tokens[token]})
        answer.headers["set-cookie"] = cookie(token, secure=self._page.safety.secure)
        return answer

    async def events(self, request: Request) -> Response:
        given = request.headers.get("last-event-id") or request.query_params.get("after")
        after = None if given is None else whole_number(given, "after", 0, 2**53)
        stream = self._follower.feed.listen(after)
        try:
            first = await anext(stream)
        except TooManyListenersError:
            raise RefusedError(503, "too many viewers; close one of them") from None

        async def texts() -> Any:
            try:
                yield first
                async for sent in stream:
                    yield sent
            finally:
                await stream.aclose()  # type: ignore[attr-defined]

        return StreamingResponse(texts(), media_type="text/event-stream", headers={"x-accel-buffering": "no"})

    async def tiles(self, request: Request) -> Response:
        after = whole_number(request.query_params.get("after", "0"), "after", 0, 2**53)
        zipped = "gzip" in request.headers.get("accept-encoding", "")
        data, headers = await run_in_threadpool(self._packed, after, zipped)
        return Response(data, media_type="application/octet-stream", headers=headers)

    def _packed(self, after: int, zipped: bool) -> tuple[bytes, dict[str, str]]:
        data = self._follower.packed(after)
        if zipped and len(data) > GZIP_FROM:
            return gzip.compress(data, 1), {"content-encoding": "gzip", "vary": "accept-encoding"}
        return data, {"vary": "accept-encoding"}

    async def tile(self, request: Request) -> Response:
        return JSONResponse(await run_in_threadpool(self._facts, number_in(request)))

    def _facts(self, n: int) -> Any:
        brief = self._follower.columns.row(n)
        if brief is not None and (missing := self._follower.missing(n)) is not None:
            return missing_facts(n, missing, (brief.section, brief.position))
        row, verdict = row_of(self._page, n), brief.verdict if brief else "later"
        return tile_facts(row, self._follower.explained(row), self._follower.place(row), verdict)

    async def history(self, request: Request) -> Response:
        """The blur at one place by section: [n, section, verdict, blur_px]."""
        asked = request.query_params
        position = whole_number(asked.get("position", ""), "position", 0, 65_535)
        around = whole_number(asked.get("around", "0"), "around", 0, 65_535) if "around" in asked else None
        rows = await run_in_threadpool(self._follower.columns.at, position)
        if around is not None:
            rows = sorted(rows, key=lambda row: abs(row.section - around))[:200]
            rows.sort(key=lambda row: row.section)
        return JSONResponse({"rows": [[row.n, row.section, row.listed()[3], row.listed()[4]] for row in rows]})

    async def retakes(self, request: Request) -> Response:
        """The page's list; with a format what `mhfd retakes --all` writes in it."""
        asked = request.query_params
        form = choice(asked.get("format", "page"), "format", ("page", "json", "csv"))
        since = number(asked["since"], "since", 0, 1e12) if "since" in asked else None
        if form == "page":
            return JSONResponse({"tiles": await run_in_threadpool(listed, self._follower, since)})
        written = await run_in_threadpool(self._written, "json" if form == "json" else "csv", since)
        headers = {"content-disposition": f'attachment; filename="retakes.{form}"'}
        kind = "application/json" if form == "json" else "text/csv; charset=utf-8"
        return Response(written, media_type=kind, headers=headers)

    def _written(self, form: Form, since: float | None) -> bytes:
        entries = [each for each in self._follower.retakes() if since is None or each.came_at >= since]
        out = io.BytesIO()
        write_listing(listing(entries, self._follower.run, time.time()), form, out)
        return out.getvalue()

    # --- what people decide

    async def decide(self, request: Request) -> Response:
        given = await body_of(request)
        who = self._by(request, given)
        n = whole_number(given.get("n"), "n", 1, 2**53)
        what = choice(given.get("what"), "what", ("open", "retake", "accept", "ignore"))
        was = optional(given, "was", most=20)
        await run_in_threadpool(decide, self._follower, n, what, who, was)
        return await self._after_writing({"n": n, "what": what, "by": who})

    async def limit(self, request: Request) -> Response:
        given = await body_of(request)
        who = self._by(request, given)
        max_blur_px = number(given.get("max_blur_px"), "max_blur_px", 0.05, 100.0)
        was = None if given.get("was") is None else number(given["was"], "was", 0.0, 100.0)
        return await self._after_writing(await run_in_threadpool(set_limit, self._follower, max_blur_px, who, was))

    async def seen(self, request: Request) -> Response:
        event_id = whole_number(request.path_params["id"], "id", 1, 2**53)
        given = await body_of(request)
        who = self._by(request, given)
        return await self._after_writing(await run_in_threadpool(see, self._follower, event_id, who))

    async def _after_writing(self, event: Any) -> Response:
        self._follower.look()
        return JSONResponse(event)

    def _by(self, request: Request, given: dict[str, Any]) -> str | None:
        """Who it is: the name of the token, else the one given."""
        return self._page.safety.name_of(request.headers) or optional(given, "by", most=80)
