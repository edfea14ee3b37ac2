"""`mhfd retakes`: the list for the microscope, and what people decide."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mhfd.text import counted
from mhfd_client.cli.options import OUT_FILE, STDOUT, example, format_option, opened_ledger, print_listing, say
from mhfd_client.cli.tiles import Since, run_options

if TYPE_CHECKING:
    from mhfd_client.judge.retakes import Retake
    from mhfd_client.ledger import Choice, Decision, Ledger, Run
    from mhfd_client.views.listing import Form
    from mhfd_client.views.retakes import Format


@click.command(epilog=example("mhfd retakes run --since 2h", "mhfd retakes run --accept s0001_r0_c1.tif --by ana"))
@run_options
@click.option("--retake", multiple=True, metavar="TILE", help="It is to be taken again.")
@click.option("--accept", multiple=True, metavar="TILE", help="It is good enough.")
@click.option("--ignore", multiple=True, metavar="TILE", help="It does not matter.")
@click.option("--open", "undecided", multiple=True, metavar="TILE", help="Nobody has decided, after all.")
@click.option("--by", "who", metavar="NAME", help="Who decides.  [default: your account's name]")
@click.option("--note", metavar="TEXT", help="Why.")
@click.option("--since", type=Since(), help="Only tiles whose result came since a time, or since 2h ago.")
@click.option("--all", "show_all", is_flag=True, help="Also those accepted, ignored, or closed by a sharp retake.")
@format_option("table", "json", "jsonl", "csv", default=None)
@click.option("--sbemimage", is_flag=True, help="Print SBEMimage's tile ids (grid.tile.slice), one a line.")
@click.option("--out", type=OUT_FILE, help="File to write.  [default: standard output]")
def retakes(
    folder: Path | None,
    where: str | None,
    config_file: Path | None,
    retake: tuple[str, ...],
    accept: tuple[str, ...],
    ignore: tuple[str, ...],
    undecided: tuple[str, ...],
    who: str | None,
    note: str | None,
    since: float | None,
    show_all: bool,
    form: Form | None,
    sbemimage: bool,
    out: Path | None,
) -> None:
    """List the tiles to take again of the run in folder DIR, by default of the run opened last, section by section.

    Tiles that are out of focus, astigmatic or failed are open until somebody decides, or until they are taken again and
    sharp. TILE is a name as this list and `mhfd status` print it; each option may be repeated. A decision is about the
    pixels there are now: when the tile is taken again, it is open again unless it is sharp.

    Exit code: 0; 2 a tile that the run does not have, and nothing was changed; 69 the ledger is out of reach, 75 the
    file cannot be written, 78 there is no such run.
    """
    if sbemimage and form is not None:
        raise click.UsageError(f"--sbemimage is a form of its own, and {form} was asked for: choose one")
    given: dict[Choice, tuple[str, ...]] = {"retake": retake, "accept": accept, "ignore": ignore, "open": undecided}
    deciding = any(given.values())
    if not deciding and (who is not None or note is not None):
        raise click.UsageError("--by and --note belong to a decision: name tiles with --retake, --accept, ...")
    with opened_ledger(where, config_file, readonly=not deciding) as ledger:
        run = ledger.find_run(None if folder is None else str(folder))
        if deciding:
            _decide(ledger, run, given, who or _account(), note)
            if form is None and not sbemimage and out is None:
                return
        entries = _entries(ledger, run, since=since, show_all=show_all)
    _show(entries, run, "sbemimage" if sbemimage else form or "table", out or STDOUT)


def _entries(ledger: Ledger, run: Run, *, since: float | None, show_all: bool) -> list[Retake]:
    from mhfd_client.judge.retakes import TO_DO, retake_list
    from mhfd_client.judge.standing import standing

    return [
        each
        for each in retake_list(ledger, run.run_id, standing(ledger, run.run_id, time.time()))
        if (show_all or each.status in TO_DO) and (since is None or each.came_at >= since)
    ]


def _show(entries: list[Retake], run: Run, form: Format, out: Path) -> None:
    from mhfd_client.views.listing import Listing
    from mhfd_client.views.retakes import listing, sbemimage_ids
    from mhfd_client.views.width import terminal_columns

    if form == "sbemimage":
        print_listing(Listing((), (), lines=lambda: sbemimage_ids(entries)), "table", out)
    else:
        print_listing(listing(entries, run, time.time(), terminal_columns() if out == STDOUT else None), form, out)
    if out != STDOUT:
        say(f"{counted(len(entries), 'tile')} in {out}", err=True)


def _decide(ledger: Ledger, run: Run, given: dict[Choice, tuple[str, ...]], who: str | None, note: str | None) -> None:
    """Store what was decided, all or nothing."""
    from mhfd_client.ledger import Decision

    made: dict[int, tuple[str, Decision]] = {}
    now = time.time()
    for choice, names in given.items():
        for name in names:
            tile_id, known_as = _tile(ledger, run, name)
            if tile_id in made and made[tile_id][1].decision != choice:
                raise click.UsageError(f"{known_as} is named twice: decide for one")
            made[tile_id] = known_as, Decision(tile_id, choice, who, now, note)
    with ledger.transaction():
        for _, decision in made.values():
            ledger.decide(run.run_id, decision)
    for known_as, decision in made.values():
        say(f"{decision.decision}: {known_as}", err=True)


def _tile(ledger: Ledger, run: Run, name: str) -> tuple[int, str]:
    from mhfd_client.judge.find import find_tile, nearest_tile

    if (found := find_tile(ledger, name, run)) is not None:
        return found[1].tile_id, found[1].name
    near = nearest_tile(ledger, name, run)
    hint = f"did you mean {near}?" if near else "`mhfd retakes` and `mhfd export` list them"
    raise click.UsageError(f"{run.root} has no tile {name}; {hint} Nothing was changed")


def _account() -> str | None:
    """The name of this account; None where the system has none."""
    import getpass

    with suppress(KeyError, OSError, ImportError):  # which, depends on the system and on Python
        return getpass.getuser()
    return None
