"""The `mhfd` command. Thin: each command reads its options, calls one step, prints what comes back.

Nothing heavy is imported before a command needs it, so `mhfd --help` answers at once.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, TypeVar, get_args

import click

from mhfd._version import __version__
from mhfd.contract import BackendName, FocusParams, FocusResult, MhfdError, Mode, ParamsError, Polarity, Unit
from mhfd_client.bench.plan import BACKENDS, FIGURES

EXIT_OK = 0
EXIT_OOF = 1
EXIT_USAGE = 2
EXIT_FAILED_TILES = 3
EXIT_UNAVAILABLE = 69
EXIT_TEMPORARY = 75
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells report it

Command = TypeVar("Command", bound=Callable[..., Any])

_FILE = click.Path(dir_okay=False, path_type=Path)
_FOLDER = click.Path(file_okay=False, path_type=Path)


class _Bytes(click.ParamType):
    """A size in bytes, with a unit if wanted: 500000000, 500MB, 2GiB."""

    name = "size"
    _UNITS: ClassVar[dict[str, int]] = {
        "": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30
    }  # fmt: skip

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        number = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*", str(value).lower())
        if number is None or number[2] not in self._UNITS:
            self.fail(f"{value!r} is no size in bytes; write it like 500MB or 2GiB", param, ctx)
        return int(float(number[1]) * self._UNITS[number[2]])


class _Numbers(click.ParamType):
    """Whole numbers separated by commas: 0,1."""

    name = "list"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[int]:
        if isinstance(value, list):
            return value
        parts = str(value).split(",")
        if not all(part.strip().isdecimal() for part in parts):
            self.fail(f"{value!r} is no list of device numbers; write it like 0 or 0,1", param, ctx)
        return [int(part) for part in parts]


class _Refusal(click.ClickException):
    """What was asked for cannot be done as asked."""

    exit_code = EXIT_USAGE


class _FileTrouble(click.ClickException):
    """A file that a command writes cannot be written."""

    exit_code = EXIT_TEMPORARY


class _Group(click.Group):
    """Turns our own errors, and those of files named by the user, into one line and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ParamsError as error:
            raise click.UsageError(str(error)) from error
        except MhfdError as error:
            refusal = _Refusal(str(error))
            refusal.exit_code = getattr(error, "exit_code", EXIT_USAGE)
            raise refusal from error
        except OSError as error:
            if error.filename is None:  # a closed pipe, say: click knows what to do
                raise
            raise _FileTrouble(f"{error.filename} cannot be written: {error.strerror}") from error


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="mhfd %(version)s")
def main() -> None:
    """Focus quality of electron-microscopy tiles.

    Everything runs on this machine unless an endpoint is named: no account, GPU or network is needed.
    Try `mhfd demo` first.
    """


def _with_options(command: Command, options: Sequence[Callable[[Command], Command]]) -> Command:
    for option in reversed(options):  # the decorator nearest to the function is listed last
        command = option(command)
    return command


def _option(name: str, kind: Any, text: str, value: Any) -> Callable[[Command], Command]:
    return click.option(name, type=kind, default=value, show_default=True, help=text)


def _measure_options(command: Command) -> Command:
    """The options that make `FocusParams`, the same wherever tiles are scored."""
    d = FocusParams()
    options = [
        _option("--n-scales", int, "Number of scales.", d.n_scales),
        _option("--min-t", float, "Smallest scale.", d.min_t),
        _option("--max-t", float, "Largest scale.", d.max_t),
        _option("--unit", click.Choice(get_args(Unit)), "Of the two scales.", d.unit),
        _option("--saturate", float, "Fraction of the pixels clipped at each end.", d.saturate),
        _option("--k-noise", float, "Noise threshold in standard deviations.", d.k_noise),
        _option("--polarity", click.Choice(get_args(Polarity)), "Blobs to count.", d.polarity),
        _option("--mode", click.Choice(get_args(Mode)), "'paper' counts noise: for reproduction only.", d.mode),
        click.option("--max-host-bytes", type=_Bytes(), help="Working memory for one tile.  [default: 2GiB]"),
        click.option("--max-gpu-bytes", type=_Bytes(), help="The same on a GPU.  [default: what is free]"),
    ]
    return _with_options(command, options)


def _config_option(command: Command) -> Command:
    return click.option("--config", "config_file", type=_FILE, help="Instead of MHFD_CONFIG or your own.")(command)


@main.command(short_help="Score image files, folders and patterns.")
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option("--endpoint", default="local", show_default=True, help="Where tiles are scored.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array of results (schema 1) and nothing else.")
@click.option("--csv", "csv_file", type=_FILE, help="Write a table to this file too.")
@click.option("--html", "html_file", type=_FILE, help="Write a report with pictures too.")
@click.option("--all", "show_all", is_flag=True, help="List every tile on a terminal, not only those to look at.")
@click.option("--fail-on-oof", is_flag=True, help="Exit with 1 when a tile is out of focus or astigmatic.")
@click.option("--pixel-size-nm", type=click.FloatRange(min=0, min_open=True), help="Overrides what the files say.")
@click.option("--max-pixels", type=click.IntRange(min=1), help="Larger tiles are refused unread.")
@click.option("--workers", type=click.IntRange(min=1), help="Tiles scored at once.  [default: one a core]")
@click.option("--backend", type=click.Choice(get_args(BackendName)), default="auto", show_default=True, help="Kernel.")
@click.option("--devices", type=_Numbers(), help="GPUs to use, like 0,1.  [default: the first]")
@_config_option
@_measure_options
def score(
    paths: tuple[str, ...],
    endpoint: str,
    as_json: bool,
    csv_file: Path | None,
    html_file: Path | None,
    show_all: bool,
    fail_on_oof: bool,
    pixel_size_nm: float | None,
    max_pixels: int | None,
    workers: int | None,
    backend: str,
    devices: list[int] | None,
    config_file: Path | None,
    **measure: Any,
) -> None:
    """Score image files, folders (recursively) and glob patterns.

    The verdict compares a tile with the others in its folder. Exit code: 0 all scored, 1 out-of-focus tiles found
    (--fail-on-oof), 2 wrong usage, 3 some tiles failed, 69 the endpoint is out of reach, 75 a file could not be
    written, 77 somebody has to sign in, 78 no such endpoint, 130 interrupted (what is done is printed).
    """
    params = FocusParams.from_dict(measure)
    from mhfd_client import output
    from mhfd_client.discover import find_tiles
    from mhfd_client.verdict import judge

    files = find_tiles(paths)
    if not files:
        raise click.UsageError(f"no image files in {', '.join(paths)}")
    if endpoint == "local":
        from mhfd import iter_scores
        from mhfd.images import DEFAULT_MAX_PIXELS

        stream = iter_scores(
            files,
            params,
            backend,
            devices=devices,
            pixel_size_nm=pixel_size_nm,
            max_pixels=max_pixels or DEFAULT_MAX_PIXELS,
            workers=workers,
        )
        results, interrupted = output.collect(stream, len(files))
    else:
        for name, value in (("pixel-size-nm", pixel_size_nm), ("max-pixels", max_pixels), ("workers", workers)):
            if value is not None:
                raise click.UsageError(f"--{name} has no meaning on an endpoint: leave it out, or score locally")
        if backend != "auto" or devices:
            raise click.UsageError("--backend and --devices are for this machine; an endpoint has its own")
        from mhfd_client import Client

        with Client(endpoint, config=config_file, on_notice=partial(click.echo, err=True)) as client:
            results, interrupted = output.collect(client.map(files, params), len(files))
    results = judge(results)
    if as_json:
        output.print_json(results)
    else:
        output.print_table(results, show_all=show_all)
    if csv_file:
        output.write_csv(results, csv_file)
    if html_file:
        from mhfd_client.report import write_report

        write_report(results, html_file, title=" ".join(paths), params=params)
    if interrupted:
        click.echo(f"Interrupted: {len(results)} tiles are done, the others were not scored.", err=True)
        sys.exit(EXIT_INTERRUPTED)
    sys.exit(_exit_code(results, fail_on_oof))


def _exit_code(results: Sequence[FocusResult], fail_on_oof: bool) -> int:
    if fail_on_oof and any(row.verdict in ("out_of_focus", "astigmatic") for row in results):
        return EXIT_OOF
    return EXIT_FAILED_TILES if any(row.status == "failed" for row in results) else EXIT_OK


def _plan_options(command: Command) -> Command:
    """The options that make a `RunPlan`."""
    options = [
        _option("--sections", int, "Number of sections.", 6),
        _option("--rows", int, "Rows of tiles in a section.", 2),
        _option("--cols", int, "Columns of tiles in a section.", 3),
        _option("--tile-px", int, "Side of a tile in pixels.", 512),
        _option("--pixel-size-nm", float, "Nanometres per pixel.", 8.0),
        _option("--bad-fraction", float, "Share of tiles out of focus or astigmatic.", 0.12),
        _option("--blank-fraction", float, "Share of tiles that show bare resin.", 0.06),
        _option("--dose", float, "Electrons per pixel at mid grey.", 200.0),
        _option("--seed", int, "Same seed, same bytes.", 1),
    ]
    return _with_options(command, options)


@main.command(short_help="Write a synthetic serial-section run.")
@click.argument("out", type=_FOLDER)
@_plan_options
def simulate(out: Path, **plan: Any) -> None:
    """Write a synthetic serial-section run to the folder OUT: tiles and truth.csv."""
    from mhfd_client import output
    from mhfd_client.simulate import RunPlan, simulate_run

    with output.progress("simulating") as advance:
        truth = simulate_run(out, RunPlan(**plan), advance)
    click.echo(f"{len(truth)} tiles and truth.csv in {out}. Score them: mhfd score {out}")


@main.command(short_help="Simulate, score, compare with the truth, report.")
@click.option("--out", type=_FOLDER, default=Path("mhfd-demo"), show_default=True, help="Folder for tiles and report.")
@_plan_options
def demo(out: Path, **plan: Any) -> None:
    """Simulate a run, score it on this machine, compare the verdicts with the truth, write a report."""
    from mhfd_client.demo import run_demo
    from mhfd_client.simulate import RunPlan

    run_demo(out, RunPlan(**plan))


@main.command(short_help="Measure speed here, beside rivals.")
@click.option("--figure", "figures", type=click.Choice(FIGURES), multiple=True, help="Again for more.  [default: all]")
@click.option(
    "--backend", "backends", type=click.Choice(BACKENDS), multiple=True, help="Again for more.  [default: all]"
)
@click.option("--repeats", type=click.IntRange(min=2), help="Rounds; the first does not count.  [default: 21]")
@click.option("--max-side", type=click.IntRange(min=64), help="Largest tile of figure 3b.  [default: 4096]")
@click.option("--tile", type=_FILE, help="Use this picture, not a simulated one.")
@click.option("--quick", is_flag=True, help="Everything on tiny tiles: shows that it works, not how fast.")
@click.option("--out", type=_FOLDER, help="Keep every time, the tables and pictures in this folder.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON and nothing else.")
def bench(out: Path | None, as_json: bool, **plan: Any) -> None:
    """Measure how fast mhfd is on this machine, beside its rivals, and the figures of the paper again."""
    from mhfd_client.bench.plan import make_plan
    from mhfd_client.bench.run import run_bench

    run_bench(make_plan(**plan), out, as_json=as_json)


@main.command(short_help="Register mhfd's functions with Globus Compute.")
@click.option(
    "--file", "path", type=_FILE, default=Path("functions.json"), show_default=True, help="What is registered."
)
@click.option("--group", help="UUID of a Globus group whose members may call them.")
@click.option("--public", is_flag=True, help="Anyone may call them, on endpoints that allow it.")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
def register(path: Path, group: str | None, public: bool, dry_run: bool) -> None:
    """Register what is new or changed, write it to functions.json, print the block for an endpoint's config.yaml."""
    from mhfd.registry import run_register

    report = run_register(path, group=group, public=public, dry_run=dry_run)
    plan = report.plan
    for what, names in (("new", plan.new), ("changed", plan.changed), ("unchanged", plan.unchanged)):
        if names:
            click.echo(f"{what}: {', '.join(names)}", err=True)
    if plan.gone:
        click.echo(f"no longer functions of mhfd: {', '.join(plan.gone)}", err=True)
    if dry_run:
        click.echo("Nothing was registered: this is a dry run.", err=True)
    click.echo(report.allowed_functions, nl=False)


@main.command(short_help="Find out what keeps tiles from being scored.")
@click.option("--endpoint", default="local", show_default=True, help="Name in the configuration, or a UUID.")
@click.option("--deadline-s", type=float, default=300.0, show_default=True, help="For each answer of the endpoint.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array of checks and nothing else.")
@_config_option
def doctor(endpoint: str, deadline_s: float, as_json: bool, config_file: Path | None) -> None:
    """Look at this machine, and at an endpoint: names, ports, sign-in, versions on both sides, GPUs, a probe tile.

    Exit code: 0 nothing fails, 69 something does.
    """
    from mhfd_client import output
    from mhfd_client.config import load_config
    from mhfd_client.doctor import examine, worst

    checks = []
    for check in examine(load_config(config_file), endpoint, deadline_s=deadline_s):
        checks.append(check)
        if not as_json:
            output.print_check(check)
    if as_json:
        output.print_plain([check.to_dict() for check in checks])
    sys.exit(EXIT_UNAVAILABLE if worst(checks) == "FAIL" else EXIT_OK)


@main.command(short_help="Start an endpoint's workers and compile its kernels.")
@click.option("--endpoint", default="local", show_default=True, help="Name in the configuration, or a UUID.")
@click.option("--deadline-s", type=float, default=600.0, show_default=True, help="How long to wait.")
@_config_option
def warmup(endpoint: str, deadline_s: float, config_file: Path | None) -> None:
    """Score a probe tile of known answer, so that the next tiles need not wait for workers and compilers."""
    from mhfd_client.compute import open_compute
    from mhfd_client.config import load_config

    compute = open_compute(endpoint, load_config(config_file).endpoint(endpoint))
    try:
        compute.connect()
        answer = compute.submit("warmup", {}).result(deadline_s)
    except TimeoutError:
        click.echo(f"Error: no answer from '{endpoint}' within {deadline_s:g} s; try `mhfd doctor`.", err=True)
        sys.exit(EXIT_TEMPORARY)
    finally:
        compute.close()
    if error := answer.get("error"):
        raise _Refusal(str(error["message"]))
    where = f"{answer['worker']['backend']} on {answer['worker']['device']}"
    click.echo(
        f"{endpoint} is warm: {answer['features']} of {answer['expected']} features, {answer['warm_ms']:.0f} ms a "
        f"tile, the first {answer['first_ms'] / 1e3:.1f} s ({where})"
    )
