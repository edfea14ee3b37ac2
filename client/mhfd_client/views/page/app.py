"""The page's app: its URLs, and what is answered when something goes wrong."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from mhfd.text import visible
from mhfd_client.ledger import LedgerError
from mhfd_client.views.page.asked import RefusedError
from mhfd_client.views.page.picture_urls import PictureUrls
from mhfd_client.views.page.pictures import BusyError, NoPictureError
from mhfd_client.views.page.safety import Guard
from mhfd_client.views.page.served import Page
from mhfd_client.views.page.urls import Urls
from mhfd_client.views.page.writing import StandsError


def page_app(page: Page, more: Sequence[BaseRoute] = ()) -> ASGIApp:
    """The app.

    Parameters
    ----------
    more : routes of others that live at the same address
    """
    urls, pictures = Urls(page), PictureUrls(page)
    routes = [
        Route("/", urls.shell),
        Route("/static/{name}", urls.static),
        Route("/api/token", urls.trade_token, methods=["POST"]),
        Route("/api/events", urls.events),
        Route("/api/tiles.bin", urls.tiles),
        Route("/api/tile/{n}", urls.tile),
        Route("/api/tile/{n}/features", pictures.features),
        Route("/api/history", urls.history),
        Route("/api/retakes", urls.retakes),
        Route("/img/{n}/crop.png", pictures.crop),
        Route("/img/{n}/thumb.png", pictures.thumb),
        Route("/img/{n}/whole.png", pictures.whole),
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
