"""`mhfd dashboard`, and the options that `mhfd watch --page` shares with it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mhfd_client.cli.options import FILE, FOLDER, Command, config_option, example, say, with_options

if TYPE_CHECKING:
    from mhfd_client.views.page.opening import Door
PORT = 8764


def door_options(command: Command) -> Command:
    """Options: to whom the page is open."""
    options: list[Callable[[Command], Command]] = [
        click.option(
            "--token", "tokens", multiple=True, envvar="MHFD_PAGE_TOKEN", metavar="[NAME=]TOKEN",
            help="Who has it may look and decide, in this name.  [default: one is made when others can connect]",
        ),
        click.option("--tls-cert", type=FILE, help="Certificate in PEM: speak https."),
        click.option("--tls-key", type=FILE, help="Its key."),
        click.option("--read-only", "readonly", is_flag=True, help="Nothing can be decided on the page."),
        click.option("--open", "browser", is_flag=True, help="Open it in this machine's browser."),
    ]  # fmt: skip
    return with_options(command, options)


def page_door(
    listen: str, tokens: tuple[str, ...], tls_cert: Path | None, tls_key: Path | None, readonly: bool
) -> Door:
    """The page's door, of the options; `listen` is "HOST:PORT"."""
    from mhfd_client.config.address import parse_listen
    from mhfd_client.serving import require_server

    require_server("the page")
    from mhfd_client.serving.server import Certificate
    from mhfd_client.views.page.opening import Door

    if (tls_cert is None) != (tls_key is None):
        raise click.UsageError("give --tls-cert and --tls-key together")
    certificate = Certificate(tls_cert, tls_key) if tls_cert and tls_key else None
    host, port = parse_listen(listen)
    return Door(host, port, tokens, certificate, readonly)


def tell_page(url: str, *, browser: bool) -> None:
    """Say where the page is, and open it if asked to."""
    say(f"page: {url}", err=True)
    if browser:
        import webbrowser

        webbrowser.open_new_tab(url)


@click.command(epilog=example("mhfd dashboard run --open"))
@click.argument("folder", type=FOLDER, required=False, metavar="[RUN]")
@click.option("--ledger", "where", help="File or postgresql:// URL.  [default: the configuration's]")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at; 0.0.0.0 is everywhere.")
@click.option("--port", type=click.IntRange(0, 65_535), default=PORT, show_default=True, help="0 takes a free one.")
@door_options
@config_option
def dashboard(
    folder: Path | None,
    where: str | None,
    host: str,
    port: int,
    browser: bool,
    config_file: Path | None,
    **given: Any,
) -> None:
    """Show a run live in the browser, by default the run opened last: RUN is its folder.

    The page reads the ledger, also while a watch fills it. Decisions and the threshold are stored there.

    Exit code: 0 after Ctrl-C; 69 the ledger is out of reach, 78 there is none, no such run, or the address is taken.
    """
    chosen = page_door(f"[{host}]:{port}" if ":" in host else f"{host}:{port}", **given)
    from mhfd_client.config import ledger_path, load_config
    from mhfd_client.ledger import open_ledger
    from mhfd_client.views.page.opening import open_page

    ledger = ledger_path(load_config(config_file), where)
    with open_ledger(ledger, readonly=True) as looked_at:
        run = looked_at.find_run(None if folder is None else str(folder))
    with open_page(ledger, run, chosen) as url:
        tell_page(url, browser=browser)
        _until_interrupted()


def _until_interrupted() -> None:
    """Wait for Ctrl-C, in pieces: Windows does not interrupt a wait without an end."""
    never = threading.Event()
    try:
        while not never.wait(1.0):
            pass
    except KeyboardInterrupt:
        return
