"""The page's app: its URLs, from the values that they are answered with. PAGE.md of the design lists them."""

from __future__ import annotations

import asyncio
import gzip
import io
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from mhfd import find_features
from mhfd.contract import FocusResult, TileError
from mhfd.text import visible
from mhfd_client.files.names import for_system
from mhfd_client.ledger import LedgerError, TileRow
from mhfd_client.views.page.asked import RefusedError, body_of, choice, number, optional, text, whole_number
from mhfd_client.views.page.feed import TooManyListenersError
from mhfd_client.views.page.follow import Follower
from mhfd_client.views.page.pictures import BusyError, NoPictureError, Pictures, Wanted
from mhfd_client.views.page.retakes import listed
from mhfd_client.views.page.safety import Guard, Safety, cookie
from mhfd_client.views.page.tile import FEATURES_AT_MOST, tile_facts
from mhfd_client.views.page.writing import StandsError, decide, see, set_limit
from mhfd_client.views.retakes import Format, write_retakes

STATIC = files("mhfd_client.views.page") / "static"
KINDS = {".js": "text/javascript", ".css": "text/css", ".html": "text/html", ".svg": "image/svg+xml"}
THUMBNAILS = (40, 80, 112)
CROP_PX, LEAST_CROP_PX, MOST_CROP_PX = 512, 64, 1024
WHOLE_PX = (256, 1024)
MOST_PLACE = 1_000_000
FOR_EVER = "private, max-age=31536000, immutable"
GZIP_FROM = 64 * 1024

Answer = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True)
class Page:
    """What the URLs are answered from."""

    follower: Follower
    pictures: Pictures
    safety: Safety

    @property
    def readonly(self) -> bool:
        return self.follower.readonly


def page_app(page: Page, more: Sequence[BaseRoute] = ()) -> ASGIApp:
    """The app.

    Parameters
    ----------
    more : routes of others that live at the same address
    """
    urls = Urls(page)
    routes = [
        Route("/", urls.shell),
        Route("/static/{name}", urls.static),
        Route("/api/token", urls.trade_token, methods=["POST"]),
        Route("/api/events", urls.events),
        Route("/api/tiles.bin", urls.tiles),
        Route("/api/tile/{n}", urls.tile),
        Route("/api/tile/{n}/features", urls.features),
        Route("/api/history", urls.history),
        Route("/api/retakes", urls.retakes),
        Route("/img/{n}/crop.png", urls.crop),
        Route("/img/{n}/thumb.png", urls.thumb),
        Route("/img/{n}/whole.png", urls.whole),
    ]
    if not page.readonly:
        routes += [
            Route("/api/decision", urls.decide, methods=["POST"]),
            Route("/api/limit", urls.limit, methods=["POST"]),
            Route("/api/alarm/{id}/seen", urls.seen, methods=["POST"]),
        ]
    app = Starlette(
        routes=[*routes, *more],  # last: a microscope's may answer at any address
        exception_handlers={
            RefusedError: _refused,
            NoPictureError: _told(404),
            BusyError: _told(429),
            StandsError: _stands,
            LedgerError: _ledger_says,
            404: _status(404, "there is nothing at this address"),
            405: _status(405, "this address does not take that"),
        },
    )
    return Guard(app, page.safety)


class Urls:
    """An answer for each URL."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._follower, self._pictures = page.follower, page.pictures
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
        return _tagged(request, f'"{hash_of(data)}"', lambda: data, f"{kind}; charset=utf-8", "no-cache")

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
        return JSONResponse(await run_in_threadpool(self._facts, _n(request)))

    def _facts(self, n: int) -> Any:
        row, brief = self._row(n), self._follower.columns.row(n)
        verdict = brief.verdict if brief else "later"
        return tile_facts(row, self._follower.explained(row), self._follower.place(row), verdict)

    async def features(self, request: Request) -> Response:
        """The features in a part of a tile, as [x, y, t], the strongest first."""
        n, asked = _n(request), request.query_params
        x, y = (whole_number(asked.get(key, "0"), key, 0, MOST_PLACE) for key in ("x", "y"))
        w, h = (whole_number(asked.get(key, str(MOST_CROP_PX)), key, 1, 4 * MOST_CROP_PX) for key in ("w", "h"))
        row = await run_in_threadpool(self._row, n)
        found = await self._pictures.work(("features", n), lambda: self._features(row))
        inside = [each for each in found if x <= each[0] < x + w and y <= each[1] < y + h]
        return JSONResponse({"features": inside[:FEATURES_AT_MOST], "of": len(inside)})

    def _features(self, row: TileRow) -> list[list[float]]:
        try:
            found = find_features(
                for_system(self._pictures.file_of(row)),
                self._follower.run.params,
                "numpy",
                page=row.page,
                pixel_size_nm=(row.result or {}).get("pixel_size_nm"),
            )
        except TileError as error:
            raise NoPictureError(error.message) from error
        order = found.strengths.argsort()[::-1]
        return [[int(found.cols[i]), int(found.rows[i]), round(float(found.scales_px[i]), 2)] for i in order]

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

    def _written(self, form: Format, since: float | None) -> bytes:
        entries = [each for each in self._follower.retakes() if since is None or each.came_at >= since]
        out = io.BytesIO()
        write_retakes(entries, self._follower.run, time.time(), form, out)
        return out.getvalue()

    # --- pictures

    async def crop(self, request: Request) -> Response:
        asked = request.query_params
        rows, cols = (
            whole_number(asked.get(key, str(CROP_PX)), key, LEAST_CROP_PX, MOST_CROP_PX) for key in ("h", "w")
        )
        at = None
        if asked.get("at", "worst") != "worst":
            x, comma, y = asked["at"].partition(",")
            if not comma:
                raise RefusedError(422, "at is 'worst', or x,y")
            at = whole_number(y, "y", 0, MOST_PLACE), whole_number(x, "x", 0, MOST_PLACE)
        return await self._picture(request, Wanted("crop", rows, cols, at))

    async def thumb(self, request: Request) -> Response:
        px = int(choice(request.query_params.get("px", "80"), "px", [str(each) for each in THUMBNAILS]))
        return await self._picture(request, Wanted("thumb", px, px))

    async def whole(self, request: Request) -> Response:
        px = whole_number(request.query_params.get("px", "512"), "px", *WHOLE_PX)
        return await self._picture(request, Wanted("whole", px, px))

    async def _picture(self, request: Request, wanted: Wanted) -> Response:
        """A picture, which stays the same for ever once the tile is judged: its number stands for its pixels."""
        n, grey = _n(request), request.query_params.get("grey")
        other = None if grey is None else whole_number(grey, "grey", 1, 2**53)
        row, shown, result = await run_in_threadpool(self._sources, n, other, wanted)
        worst = result.worst_block if result else None
        tag = _tag(row, shown, wanted, worst)
        headers = {"etag": tag, "cache-control": FOR_EVER if result or not wanted.is_of_worst else "no-cache"}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        made = await self._pictures.picture(row, wanted, worst, shown)
        top, left, rows, cols = made.box
        headers |= {"x-mhfd-box": f"{left},{top},{cols},{rows}", "x-mhfd-scale": str(made.scale)}
        return Response(made.png, media_type="image/png", headers=headers)

    def _sources(self, n: int, grey: int | None, wanted: Wanted) -> tuple[TileRow, TileRow | None, FocusResult | None]:
        """The tile, that whose grey levels count, and what was said of the tile where that matters."""
        row = self._row(n)
        return row, None if grey is None else self._row(grey), self._follower.result(n) if wanted.is_of_worst else None

    def _row(self, n: int) -> TileRow:
        """The tile's row in the ledger; only of this run."""
        rows = self._follower.ledger.get([n]) if n < 2**62 else []
        if not rows or rows[0].run_id != self._follower.run.run_id:
            raise RefusedError(404, f"the run has no tile {n}")
        return rows[0]

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


def _n(request: Request) -> int:
    return whole_number(request.path_params["n"], "n", 1, 2**53)


def _pixels(row: TileRow) -> str:
    """What stands for a tile's pixels in an ETag."""
    return (row.tile_sha256 or f"{row.tile_id}-{row.mtime_ns}-{row.size}")[:32]


def _tag(row: TileRow, shown: TileRow | None, wanted: Wanted, worst: tuple[int, int] | None) -> str:
    of = hash_of(repr((wanted, worst)).encode())
    return f'"{_pixels(row)}-{_pixels(shown) if shown else ""}-{of}"'


def hash_of(data: bytes) -> str:
    return sha256(data).hexdigest()[:16]


def _tagged(request: Request, tag: str, data: Callable[[], bytes], kind: str, cache: str) -> Response:
    headers = {"etag": tag, "cache-control": cache}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(data(), media_type=kind, headers=headers)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, RefusedError)
    return JSONResponse({"error": error.why}, error.status)


async def _stands(request: Request, error: Exception) -> Response:
    assert isinstance(error, StandsError)
    return JSONResponse({"error": str(error), **error.event}, 409)


async def _ledger_says(request: Request, error: Exception) -> Response:
    """404 for what the ledger does not have, 503 where it is out of reach."""
    return JSONResponse({"error": visible(str(error))}, 404 if type(error) is LedgerError else 503)


def _told(status: int) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def answer(request: Request, error: Exception) -> Response:
        return JSONResponse({"error": visible(str(error))}, status)

    return answer


def _status(status: int, why: str) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def answer(request: Request, error: Exception) -> Response:
        return JSONResponse({"error": why}, status)

    return answer
