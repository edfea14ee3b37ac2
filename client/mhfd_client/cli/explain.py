"""`mhfd explain`: what is said of one tile, and why."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mhfd_client.cli.options import FILE, FOLDER, config_option, example, opened_ledger, say

if TYPE_CHECKING:
    from mhfd_client.judge.explain import Explanation

PICTURES = (".png", ".svg", ".html")


@click.command(epilog=example("mhfd explain s0001_r0_c1.tif --picture why.png"))
@click.argument("tile")
@click.option("--run", "folder", type=FOLDER, metavar="DIR", help="Folder of its run.  [default: the last opened]")
@click.option("--ledger", "where", help="File or postgresql:// URL.  [default: the configuration's]")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object and nothing else.")
@click.option("--picture", type=FILE, help="Write a picture of it beside a sharp tile: .png, .svg or .html.")
@config_option
def explain(
    tile: str, folder: Path | None, where: str | None, as_json: bool, picture: Path | None, config_file: Path | None
) -> None:
    """Explain the verdict on TILE, as `mhfd status` names it, or the path of its file.

    Of a file with several tiles say which: stack.tif#page=2. A file that is in no run is scored on its own.

    Exit code: 0; 2 there is no such tile; 3 there is no picture of it, as its file cannot be read; 69 the ledger is out
    of reach, 75 the picture cannot be written, 78 there is no such run.
    """
    from mhfd_client.views import terminal

    if picture is not None:
        _check_picture(picture)
    told = _explained(tile, folder, where, config_file)
    try:
        if picture is not None:
            _write_picture(told, picture)
    finally:
        if as_json:
            terminal.print_plain(told.to_dict())
        else:
            _print(told)


def _explained(tile: str, folder: Path | None, where: str | None, config_file: Path | None) -> Explanation:
    from mhfd_client.judge.explain import explain as explained
    from mhfd_client.judge.explain import explain_file
    from mhfd_client.judge.find import find_tile, nearest_tile
    from mhfd_client.ledger import LedgerError

    if Path(tile).is_dir():
        raise click.UsageError(f"{tile} is a folder: name one of its tiles")
    hint = ""
    file, page = _file(tile)
    try:
        with opened_ledger(where, config_file, readonly=True) as ledger:
            run = None if folder is None else ledger.find_run(str(folder))
            if (found := find_tile(ledger, tile, run)) is not None:
                return explained(ledger, *found)
            if file is None and (near := nearest_tile(ledger, tile, run)):
                hint = f"; did you mean {near}?"
    except LedgerError:
        if where is not None or folder is not None or file is None:
            raise
    if file is None:
        raise click.UsageError(f"no tile {tile}{hint or '; `mhfd export` lists them all'}")
    return explain_file(str(file), page)


def _file(tile: str) -> tuple[Path | None, int | None]:
    """The file that a path leads to, and which of its tiles is meant."""
    from mhfd.contract import split_page

    if Path(tile).is_file():
        return Path(tile), None
    path, page = split_page(tile)
    return (Path(path), page) if path != tile and Path(path).is_file() else (None, None)


def _print(told: Explanation) -> None:
    from rich.console import Console

    from mhfd_client.views.explain import blur_table, lines

    for line in lines(told):
        say(line)
    if table := blur_table(told):
        say("blur by part of the tile, px ([ ] the most blurred, - nothing to focus on):")
        Console().print(table)


def _check_picture(file: Path) -> None:
    from mhfd_client.files.whole import check_writable

    if file.suffix.lower() not in PICTURES:
        raise click.UsageError(f"{file}: a picture's name ends in {', '.join(PICTURES[:-1])} or {PICTURES[-1]}")
    check_writable(file)


def _write_picture(told: Explanation, file: Path) -> None:
    from mhfd_client.views.panels import write_picture

    write_picture(told, file)
    say(f"picture in {file}", err=True)
