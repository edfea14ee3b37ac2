"""What the page's URLs are answered from."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request

from mhfd_client.ledger import TileRow
from mhfd_client.views.page.asked import RefusedError, whole_number
from mhfd_client.views.page.follow import Follower
from mhfd_client.views.page.pictures import Pictures
from mhfd_client.views.page.safety import Safety


@dataclass(frozen=True)
class Page:
    """A run, and to whom it is shown."""

    follower: Follower
    pictures: Pictures
    safety: Safety

    @property
    def readonly(self) -> bool:
        return self.follower.readonly


def number_in(request: Request) -> int:
    """The number of the tile in a URL."""
    return whole_number(request.path_params["n"], "n", 1, 2**53)


def row_of(page: Page, n: int) -> TileRow:
    """The tile's row in the ledger; only of this run."""
    rows = page.follower.ledger.get([n]) if n < 2**62 else []
    if not rows or rows[0].run_id != page.follower.run.run_id:
        raise RefusedError(404, f"the run has no tile {n}")
    return rows[0]
