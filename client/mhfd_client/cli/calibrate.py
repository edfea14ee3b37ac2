"""`mhfd calibrate`: micrometres from a focal series, the threshold from sorted tiles."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import click

from mhfd.contract import BackendName, ExitCode
from mhfd.text import counted
from mhfd_client.cli.options import FILE, OUT_FILE, STDOUT, config_option, opened_ledger, say

if TYPE_CHECKING:
    from mhfd_client.ledger import Ledger, Run

REFUSED = ExitCode.FAILED_TILES


@click.command()
@click.argument("paths", nargs=-1, metavar="[DIR|FILE]...")
@click.option(
    "--distances", type=FILE, help="Table: file, working_distance_um (or _mm).  [default: the files' headers]"
)
@click.option("--instrument", metavar="NAME", help="Keep it under this name.  [default: the profile's]")
@click.option("--dry-run", is_flag=True, help="Keep nothing.")
@click.option("--plot", type=OUT_FILE, metavar="FILE.png|svg|pdf", help="Draw the series too.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object and nothing else.")
@click.option("--backend", type=click.Choice(get_args(BackendName)), default="auto", show_default=True, help="Kernel.")
@click.option(
    "--good", multiple=True, metavar="LIST", help="Tiles that are in focus: a text file, a folder, a pattern."
)
@click.option("--bad", multiple=True, metavar="LIST", help="Tiles that are not.")
@click.option("--list", "list_kept", is_flag=True, help="List the calibrations that are kept.")
@click.option("--forget", metavar="NAME", help="Forget the calibrations of an instrument.")
@click.option("--ledger", "where", help="File or postgresql:// URL.  [default: the configuration's]")
@config_option
def calibrate(
    paths: tuple[str, ...],
    distances: Path | None,
    instrument: str | None,
    dry_run: bool,
    plot: Path | None,
    as_json: bool,
    backend: str,
    good: tuple[str, ...],
    bad: tuple[str, ...],
    list_kept: bool,
    forget: str | None,
    where: str | None,
    config_file: Path | None,
) -> None:
    """Learn from a focal series how blur becomes micrometres, or from sorted tiles which blur is too much.

    A focal series (folder DIR, or FILEs): one field at three or more working distances, on both sides of focus. What it
    says is kept by instrument and setting; from then on results of that setting have `defocus_um`.

    With --good and --bad, both of them: the threshold `max_blur_px` that tells these tiles of a run apart. DIR is the
    folder of the run, by default that opened last.

    Exit code: 0; 2 wrong usage, or a working distance that is not known; 3 the series was refused or does not bracket
    the focus, a frame could not be scored, or sorted tiles cannot be told apart (it says why); 69 the ledger is out of
    reach, 75 a file cannot be written, 78 there is no such run or calibration.
    """
    if list_kept or forget is not None:
        if paths or good or bad or (list_kept and forget is not None):
            raise click.UsageError("--list and --forget stand alone")
        with opened_ledger(where, config_file, readonly=list_kept) as ledger:
            _show_kept(ledger, as_json=as_json) if list_kept else _forget(ledger, str(forget))
        return
    if good or bad:
        if not (good and bad):
            raise click.UsageError("--good and --bad go together: a threshold needs tiles of both kinds")
        if len(paths) > 1 or plot or distances:
            raise click.UsageError("with --good and --bad: one run at most, and neither --plot nor --distances")
        with opened_ledger(where, config_file, readonly=True) as ledger:
            sys.exit(_threshold(ledger, ledger.find_run(paths[0] if paths else None), good, bad, as_json=as_json))
    if not paths:
        raise click.UsageError("name the folder or the files of a focal series, or tiles with --good and --bad")
    sys.exit(
        _series(
            paths, distances, None if dry_run else instrument or _profile_instrument(config_file), plot, backend,
            where, config_file, as_json=as_json,
        )
    )  # fmt: skip


def _series(
    paths: tuple[str, ...],
    distances: Path | None,
    instrument: str | None,
    plot: Path | None,
    backend: str,
    where: str | None,
    config_file: Path | None,
    *,
    as_json: bool,
) -> ExitCode:
    """Fit a focal series and tell it; kept under the instrument, None for nowhere."""
    from mhfd_client.files.whole import check_writable
    from mhfd_client.judge.calibration import keep, read_series
    from mhfd_client.views import terminal
    from mhfd_client.views.calibration import check_plot, draw, series_lines

    if plot is not None:
        if plot == STDOUT:
            raise click.UsageError("--plot names a file")
        check_plot(plot)
        check_writable(plot)
    found = read_series(frames(paths), distances, backend=backend)
    calibration = found.calibration()
    kept = False
    if calibration is not None and instrument is not None:
        with opened_ledger(where, config_file, readonly=False) as ledger:
            keep(ledger, instrument, calibration)
        kept = True
    if as_json:
        terminal.print_plain({"instrument": instrument if kept else None, "kept": kept, **found.to_dict()})
    else:
        for line in series_lines(found):
            say(line)
        if kept and calibration is not None:
            say(f"kept for {instrument}: {calibration.setting}")
    if plot is not None:
        draw(found, plot)
    return ExitCode.OK if calibration is not None and not found.failed else REFUSED


def frames(paths: Sequence[str]) -> Sequence[str]:
    """The files of a focal series; what is left out is told."""
    from mhfd_client.files.find import Search
    from mhfd_client.files.near import did_you_mean, is_missing

    search = Search(paths)
    for sentence in search.left_out:
        say(sentence, err=True)
    if not search.tiles:
        raise click.UsageError(f"no image files in {', '.join(paths)}")
    for path in {*paths}.intersection(search.tiles):  # a folder or a pattern that matches is not among them
        if is_missing(path):
            raise click.UsageError(f"{path}: no such file or folder{did_you_mean(path)}")
    return search.tiles


def _profile_instrument(config_file: Path | None) -> str:
    """The name that a watch has."""
    from mhfd_client.config import load_config, resolve
    from mhfd_client.judge.run import DEFAULT_INSTRUMENT

    settings = resolve(load_config(config_file))
    return settings.profile.instrument or settings.name or DEFAULT_INSTRUMENT


def _threshold(ledger: Ledger, run: Run, good: tuple[str, ...], bad: tuple[str, ...], *, as_json: bool) -> ExitCode:
    from mhfd_client.judge.run import judge_run, standard_of
    from mhfd_client.judge.sorted_tiles import sorted_tiles
    from mhfd_client.judge.threshold import changed, choose, flag_of
    from mhfd_client.views import terminal
    from mhfd_client.views.calibration import threshold_lines

    standard = standard_of(ledger, run.run_id)
    tiles = judge_run(ledger, run.run_id, standard)
    groups = sorted_tiles(ledger, run, tiles, good, bad)
    flags = [[flag for tile in group if (flag := flag_of(tile)) is not None] for group in groups]
    unknown = sum(map(len, groups)) - sum(map(len, flags))
    if not (flags[0] and flags[1]):
        raise click.UsageError("of the good or of the bad tiles none has a known blur: are they tissue, and scored?")
    found = choose(*flags)
    before = standard.rule.max_blur_px
    effect = None if found.chosen is None else changed(tiles, before, found.chosen.max_blur_px)
    if as_json:
        keys = ("tiles", "flagged_before", "newly_flagged", "no_longer_flagged")
        terminal.print_plain(
            {**found.to_dict(), "without_blur": unknown, "max_blur_px_before": before,
             "run": dict(zip(keys, effect, strict=True)) if effect else None}
        )  # fmt: skip
        return ExitCode.OK if effect else REFUSED
    for line in threshold_lines(found):
        say(line)
    if unknown:
        say(f"{counted(unknown, 'tile has', 'tiles have')} no known blur and did not count")
    if found.chosen is None or effect is None:
        say("these good and bad tiles cannot be told apart by blur: look whether they are sorted rightly, or sort more")
        return REFUSED
    n, flagged, more, fewer = effect
    say(f"the run so far: {counted(n, 'tile')}, {flagged} flagged at {before:g}; would flag {more} more, {fewer} fewer")
    name = standard.instrument if standard.instrument.isidentifier() else "NAME"
    say(f"[profiles.{name}.verdict]")
    say(f"max_blur_px = {found.chosen.max_blur_px:.3g}")
    return ExitCode.OK


def _show_kept(ledger: Ledger, *, as_json: bool) -> None:
    from mhfd_client.judge.calibration import in_words
    from mhfd_client.views import terminal
    from mhfd_client.views.status import utc

    kept = ledger.calibrations()
    if as_json:
        terminal.print_plain(
            [
                {"instrument": each.instrument, "setting": each.setting, "kept_at": utc(each.kept_at),
                 "calibration": each.calibration}
                for each in kept
            ]
        )  # fmt: skip
        return
    for each in kept:
        say(in_words(each))
    if not kept:
        say("nothing is kept yet: `mhfd calibrate DIR` keeps what a focal series says", err=True)


def _forget(ledger: Ledger, name: str) -> None:
    n = ledger.forget_calibrations(name)
    say(f"{counted(n, 'calibration')} of {name} forgotten")
