"""`mhfd status`, `export`, `retry` and `recover`: read and mend the ledger."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, get_args

import click

from mhfd.contract import ErrorCode, ExitCode
from mhfd.text import counted, near_name, nearest
from mhfd_client.cli.options import (
    FOLDER,
    OUT_FILE,
    STDOUT,
    Command,
    Existing,
    config_option,
    example,
    format_option,
    max_blur_option,
    opened_ledger,
    out_file,
    say,
    with_options,
)

if TYPE_CHECKING:
    from mhfd_client.ledger import Json, Ledger, Run
    from mhfd_client.views.listing import Form

FOLLOW_S = 2.0
UNITS_S = {"s": 1, "min": 60, "h": 3600, "d": 86400}


class Since(click.ParamType):
    """A time: a date, a date and time (local without an offset), or an age: 90s, 30min, 2h, 3d."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        ago = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|min|h|d)", str(value))
        if ago:
            return time.time() - float(ago[1]) * UNITS_S[ago[2]]
        try:
            return datetime.fromisoformat(str(value)).timestamp()
        except ValueError:
            self.fail(f"{value!r} is not a time; write it like 2026-01-31, 2026-01-31T14:30, or 2h", param, ctx)


def run_options(command: Command) -> Command:
    """Options: ledger and run."""
    options: list[Callable[[Command], Command]] = [
        click.argument("folder", type=FOLDER, required=False, metavar="[DIR]"),
        click.option("--ledger", "where", help="File or postgresql:// URL.  [default: the configuration's]"),
        config_option,
    ]
    return with_options(command, options)


def _run(ledger: Ledger, folder: Path | None) -> Run:
    return ledger.find_run(None if folder is None else str(folder))


@click.command(epilog=example("mhfd status run", "mhfd status run --follow"))
@run_options
@format_option("table", "json", "jsonl")
@click.option("--follow", "--watch", is_flag=True, help="Repeat until Ctrl-C.")
@click.option("--all", "show_all", is_flag=True, help="List every tile in trouble, not 20 of each kind.")
def status(
    folder: Path | None, where: str | None, config_file: Path | None, form: Form, follow: bool, show_all: bool
) -> None:
    """Show the state of the run in folder DIR, by default of the run opened last, with the tiles to look at.

    Exit code: 0, whatever the state is; 69 the ledger is out of reach, 78 there is none, or no such run.
    """
    from mhfd_client.judge.standing import Standings
    from mhfd_client.views import terminal
    from mhfd_client.views.status import read_status

    with opened_ledger(where, config_file, readonly=True) as ledger:
        run = _run(ledger, folder)
        standings = Standings(ledger, run.run_id)

        def now() -> Json:
            return read_status(ledger, run, time.time(), None if show_all else 20, standings=standings)

        if follow:
            _follow(now, form)
        elif form != "table":
            terminal.print_plain(now())
        else:
            _print(now())


def _follow(now: Callable[[], Json], form: Form) -> None:
    """On a terminal, update one picture; else print one after another."""
    from rich.console import Console
    from rich.live import Live

    from mhfd_client.views import terminal

    console = Console()
    try:
        if form != "table" or not console.is_terminal:
            for found in _again(now):
                _print(found) if form == "table" else terminal.print_plain(found)
                sys.stdout.flush()
            return
        with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
            for found in _again(now):
                live.update(_picture(found, console.width), refresh=True)
    except KeyboardInterrupt:
        sys.exit(ExitCode.OK)


def _again(now: Callable[[], Json]) -> Iterator[Json]:
    while True:
        yield now()
        time.sleep(FOLLOW_S)


def _picture(found: Json, columns: int | None = None) -> Any:
    from rich.text import Text

    from mhfd_client.views.status import lines

    return Text("\n").join(lines(found, columns))


def _print(found: Json) -> None:
    from rich.console import Console

    Console().print(_picture(found), soft_wrap=True, highlight=False)


@click.command(
    epilog=example(
        "mhfd export run --out scores.csv", 'mhfd export run --where verdict=out_of_focus --where "blur_px>1.5"'
    )
)
@run_options
@format_option("csv", "json", "jsonl", "parquet", "table", default="csv")
@click.option("--out", type=OUT_FILE, default="-", show_default=True, help="File to write; - is standard output.")
@click.option(
    "--where",
    "conditions",
    multiple=True,
    metavar="STATE|CONDITION",
    help="Only tiles like failed, verdict=out_of_focus,astigmatic or blur_px>1.5; may be repeated: all must hold.",
)
@click.option("--since", type=Since(), help="Only results since a time, like 2026-01-31T14:30, or since 2h ago.")
@max_blur_option
def export(
    folder: Path | None,
    where: str | None,
    config_file: Path | None,
    form: Any,
    out: Path,
    conditions: tuple[str, ...],
    since: float | None,
    max_blur_px: float | None,
) -> None:
    """Write the results of the run in folder DIR as a table with verdicts, by default of all tiles that have one.

    "json" and "jsonl" are results as `mhfd score` prints them, an array and one a line; "table" is for people. A
    condition is on any column of the CSV: = != and names, several with commas, or = != < <= > >= and a number or time.
    Verdicts are those of now. Exit code: 0; 2 a condition that cannot hold, 69 the ledger is out of reach, 75 the file
    cannot be written, 78 there is no ledger, or no such run.
    """
    from mhfd_client.judge.run import standard_of
    from mhfd_client.views.export import HAVE_RESULTS
    from mhfd_client.views.export import export as write
    from mhfd_client.views.where import Where

    fits = Where.parse(conditions)
    lacking = sorted(set(fits.states) - set(HAVE_RESULTS))
    if form in ("json", "jsonl", "table") and lacking:
        raise click.UsageError(f"{form} holds results, and tiles that are {lacking[0]} have none; use --format csv")
    if form == "parquet" and out == STDOUT and sys.stdout.isatty():
        raise click.UsageError("parquet is binary, not for a terminal: name a file with --out, or use --format csv")
    with opened_ledger(where, config_file, readonly=True) as ledger:
        run = _run(ledger, folder)
        standard = standard_of(ledger, run.run_id, max_blur_px=max_blur_px)
        chosen: dict[str, Any] = {
            "states": fits.states,
            "since": since,
            "standard": standard,
            "fits": fits if conditions else None,
        }
        if form == "table":
            n = _export_table(ledger, run, out, **chosen)
        else:
            with out_file(out) as file:
                n = write(ledger, run, file, form, **chosen)
    if out != STDOUT:
        say(f"{counted(n, 'tile')} in {out}", err=True)


def _export_table(ledger: Ledger, run: Run, out: Path, **given: Any) -> int:
    from mhfd.contract import FocusResult
    from mhfd_client.files.whole import as_text
    from mhfd_client.views.export import chosen
    from mhfd_client.views.terminal import print_table

    rows, _ = chosen(ledger, run, **given)
    results = [FocusResult.from_dict(result) for _, result in rows if result is not None]
    if out == STDOUT:
        print_table(results, show_all=True)
    else:
        with out_file(out) as file, as_text(file) as text:
            print_table(results, show_all=True, file=text)
    return len(results)


@click.command(epilog=example("mhfd retry run --failed"))
@run_options
@click.option("--failed", is_flag=True, help="Score failed tiles again.")
@click.option("--stalled", is_flag=True, help="Score stalled files although they look unfinished.")
@click.option("--code", "codes", multiple=True, help="Only failures with this code, as `mhfd status` names it.")
@click.option("--tile", "paths", multiple=True, help="Only this tile, as `mhfd status` names it.")
def retry(
    folder: Path | None,
    where: str | None,
    config_file: Path | None,
    failed: bool,
    stalled: bool,
    codes: tuple[str, ...],
    paths: tuple[str, ...],
) -> None:
    """Take up tiles of the run in folder DIR again: in the running watch, or in the next one.

    Exit code: 0, also when there is nothing to do; 2 a --tile or --code that none has, and nothing was changed; 69 the
    ledger is out of reach, 78 there is no such run.
    """
    if not failed and not stalled:
        raise click.UsageError("say which: --failed, --stalled, or both")
    with opened_ledger(where, config_file, readonly=False) as ledger:
        run = _run(ledger, folder)
        if paths or codes:
            chosen = [kind for kind, wanted in (("failed", failed), ("stalled", stalled)) if wanted]
            _refuse_unknown(ledger, run, chosen, codes, paths)
        n = ledger.retry(run.run_id, failed=failed, stalled=stalled, codes=codes or None, paths=paths or None)
    say(f"{counted(n, 'tile')} of {run.root} will be taken up again", err=True)


def _refuse_unknown(
    ledger: Ledger, run: Run, chosen: list[Any], codes: tuple[str, ...], paths: tuple[str, ...]
) -> None:
    """Refuse names of tiles that are not among those chosen, and codes that nobody has heard of."""
    rows = [row for kind in chosen for row in ledger.take(run.run_id, kind, 2**62, order="newest", now=time.time())]
    tiles = {name: PurePath(name).name for row in rows for name in (row.path, row.name)}
    known = {*get_args(ErrorCode), *(row.error_code for row in rows if row.error_code)}
    for path in paths:
        if path not in tiles:
            near = next((name for name, last in tiles.items() if last == path), None) or near_name(path, tiles)
            hint = f"; did you mean {near}?" if near else "; `mhfd status --all` lists them"
            raise click.UsageError(f"{run.root} has no {' or '.join(chosen)} tile {path}{hint}")
    for code in codes:
        if code not in known:
            raise click.UsageError(f"no failure has the code {code}; {nearest(code, known)}")


@click.command(epilog=example("mhfd recover spool --run run"))
@click.argument("spools", nargs=-1, required=True, type=Existing(), metavar="SPOOL...")
@click.option("--run", "folder", type=FOLDER, metavar="DIR", help="Folder of the run.  [default: the run opened last]")
@click.option("--ledger", "where", help="File or postgresql:// URL.  [default: the configuration's]")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object and nothing else.")
@config_option
def recover(
    spools: tuple[Path, ...], folder: Path | None, where: str | None, as_json: bool, config_file: Path | None
) -> None:
    """Store results from an endpoint's spool: folders or files, on a shared disk or copied here.

    For tiles that were scored but whose results did not come back. Exit code: 0, also when nothing fits; 69 the ledger
    is out of reach, 78 there is no such run.
    """
    from dataclasses import asdict

    from mhfd_client.views import terminal

    with opened_ledger(where, config_file, readonly=False) as ledger:
        run = _run(ledger, folder)
        report = ledger.recover(run.run_id, _spooled(spools), time.time())
    if as_json:
        terminal.print_plain(asdict(report))
        return
    say(
        f"{counted(report.stored, 'result')} stored, {counted(report.known, 'was', 'were')} known, "
        f"{counted(report.unmatched, 'belongs', 'belong')} to no tile of {run.root}, "
        f"{counted(report.failed, 'is a failure', 'are failures')}, {report.unreadable} cannot be read"
    )


def _spooled(spools: tuple[Path, ...]) -> Iterator[Json]:
    from mhfd.lines import read_lines
    from mhfd.worker.rows import read_spool

    for spool in spools:
        yield from read_spool(spool) if spool.is_dir() else read_lines(spool)
