"""A page for a run: its parts, put together and served."""

from __future__ import annotations

import socket
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from starlette.applications import Starlette

from mhfd_client.config.address import parse_listen
from mhfd_client.ledger import Run, open_ledger
from mhfd_client.serving.hosts import EVERYWHERE
from mhfd_client.serving.server import Certificate, Server
from mhfd_client.views.page.app import page_app
from mhfd_client.views.page.follow import Follower
from mhfd_client.views.page.metrics import metrics_routes
from mhfd_client.views.page.pictures import Pictures
from mhfd_client.views.page.safety import Guard, Safety, tokens_of
from mhfd_client.views.page.served import Page
from mhfd_client.watch.hook import COMPLETED, OTHERS, Calls, hook_routes


@dataclass(frozen=True)
class Door:
    """Where and to whom the page is open.

    Attributes
    ----------
    tokens : as people give them: "TOKEN" or "NAME=TOKEN"
    """

    host: str = "127.0.0.1"
    port: int = 0
    tokens: tuple[str, ...] = ()
    certificate: Certificate | None = None
    readonly: bool = False

    @property
    def address(self) -> tuple[str, int]:
        return self.host, self.port


@contextmanager
def open_page(where: str, run: Run, door: Door, calls: Calls | None = None) -> Generator[str, None, None]:
    """Serve the page of a run as long as the block lasts; yields the URL to open, with a token where one is needed.

    Parameters
    ----------
    where : the ledger
    calls : what a microscope's messages go to, at the same address
    """
    with ExitStack() as parts:
        ledger = open_ledger(where, readonly=door.readonly)
        parts.callback(ledger.close)
        pictures = Pictures(Path(run.root))
        parts.callback(pictures.close)
        follower = Follower(ledger, run, readonly=door.readonly)
        safety = Safety(
            listens_at=door.host,
            tokens=tokens_of(door.tokens, door.host),
            secure=door.certificate is not None,
            for_programs=(COMPLETED, OTHERS) if calls else (),
        )
        more = [*metrics_routes(ledger, run, follower), *(hook_routes(calls, door.host) if calls else ())]
        server = Server(page_app(Page(follower, pictures, safety), more), door.address, door.certificate)
        parts.callback(server.close)
        follower.start()
        parts.callback(follower.close)
        server.start()
        url = server.url
        if door.host in EVERYWHERE:
            url = url.replace(server.address[0] if ":" not in door.host else "[::]", socket.gethostname())
        token = next(iter(safety.tokens), None)
        yield f"{url}/#token={token}" if token else f"{url}/"


@contextmanager
def open_listener(where: str, run: Run, listen: str, calls: Calls) -> Generator[str, None, None]:
    """Serve a microscope's messages and the metrics, without the page; yields the URL."""
    address = parse_listen(listen)
    with ExitStack() as parts:
        ledger = open_ledger(where, readonly=True)
        parts.callback(ledger.close)
        app = Starlette(routes=[*metrics_routes(ledger, run), *hook_routes(calls, address[0])])
        safety = Safety(listens_at=address[0], for_programs=(COMPLETED, OTHERS))
        yield parts.enter_context(Server(Guard(app, safety), address)).url


@contextmanager
def open_doors(
    where: str,
    run: Run,
    look: Callable[[str | None], None],
    tell: Callable[[str], None],
    *,
    listen: str | None,
    door: Door | None,
    tell_page: Callable[[str], None],
) -> Generator[None, None, None]:
    """Open what a watch offers to others: the microscope's messages at `listen`, the page at its door, or both at one.

    Parameters
    ----------
    look : takes a finished tile's path
    tell, tell_page : are told where that is
    """
    with ExitStack() as parts:
        calls = parts.enter_context(Calls(look))
        if door is not None:
            tell_page(parts.enter_context(open_page(where, run, door, calls)))
        if listen is not None and (door is None or parse_listen(listen) != door.address):
            url = parts.enter_context(open_listener(where, run, listen, calls))
            tell(f"listening at {url} for finished tiles")
        elif listen is not None:
            tell(f"listening at {listen} for finished tiles, too")
        yield
