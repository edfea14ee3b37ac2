"""The page's URLs of a tile's pixels: pictures, and the features in them."""

from __future__ import annotations

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from mhfd import find_features
from mhfd.contract import FocusResult, TileError
from mhfd_client.files.names import for_system
from mhfd_client.ledger import TileRow
from mhfd_client.views.page.asked import RefusedError, choice, whole_number
from mhfd_client.views.page.pictures import NoPictureError, Wanted
from mhfd_client.views.page.served import Page, number_in, row_of
from mhfd_client.views.page.tags import hash_of

THUMBNAILS = (40, 80, 112)
CROP_PX, LEAST_CROP_PX, MOST_CROP_PX = 512, 64, 1024
WHOLE_PX = (256, 1024)
MOST_PLACE = 1_000_000
FOR_EVER = "private, max-age=31536000, immutable"
FEATURES_AT_MOST = 2000


class PictureUrls:
    """An answer for each URL."""

    def __init__(self, page: Page) -> None:
        self._page = page

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
        n, grey = number_in(request), request.query_params.get("grey")
        other = None if grey is None else whole_number(grey, "grey", 1, 2**53)
        row, shown, result = await run_in_threadpool(self._sources, n, other, wanted)
        worst = result.worst_block if result else None
        tag = _tag(row, shown, wanted, worst)
        headers = {"etag": tag, "cache-control": FOR_EVER if result or not wanted.is_of_worst else "no-cache"}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        made = await self._page.pictures.picture(row, wanted, worst, shown)
        top, left, rows, cols = made.box
        headers |= {"x-mhfd-box": f"{left},{top},{cols},{rows}", "x-mhfd-scale": str(made.scale)}
        return Response(made.png, media_type="image/png", headers=headers)

    def _sources(self, n: int, grey: int | None, wanted: Wanted) -> tuple[TileRow, TileRow | None, FocusResult | None]:
        """The tile, that whose grey levels count, and what was said of the tile where that matters."""
        row = row_of(self._page, n)
        return (
            row,
            None if grey is None else row_of(self._page, grey),
            self._page.follower.result(n) if wanted.is_of_worst else None,
        )

    async def features(self, request: Request) -> Response:
        """The features in a part of a tile, as [x, y, t], the strongest first."""
        n, asked = number_in(request), request.query_params
        x, y = (whole_number(asked.get(key, "0"), key, 0, MOST_PLACE) for key in ("x", "y"))
        w, h = (whole_number(asked.get(key, str(MOST_CROP_PX)), key, 1, 4 * MOST_CROP_PX) for key in ("w", "h"))
        row = await run_in_threadpool(row_of, self._page, n)
        found = await self._page.pictures.work(("features", n), lambda: self._features(row))
        inside = [each for each in found if x <= each[0] < x + w and y <= each[1] < y + h]
        return JSONResponse({"features": inside[:FEATURES_AT_MOST], "of": len(inside)})

    def _features(self, row: TileRow) -> list[list[float]]:
        try:
            found = find_features(
                for_system(self._page.pictures.file_of(row)),
                self._page.follower.run.params,
                "numpy",
                page=row.page,
                pixel_size_nm=(row.result or {}).get("pixel_size_nm"),
            )
        except TileError as error:
            raise NoPictureError(error.message) from error
        order = found.strengths.argsort()[::-1]
        return [[int(found.cols[i]), int(found.rows[i]), round(float(found.scales_px[i]), 2)] for i in order]


def _pixels(row: TileRow) -> str:
    """What stands for a tile's pixels in an ETag."""
    return (row.tile_sha256 or f"{row.tile_id}-{row.mtime_ns}-{row.size}")[:32]


def _tag(row: TileRow, shown: TileRow | None, wanted: Wanted, worst: tuple[int, int] | None) -> str:
    of = hash_of(repr((wanted, worst)).encode())
    return f'"{_pixels(row)}-{_pixels(shown) if shown else ""}-{of}"'
