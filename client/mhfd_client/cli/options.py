"""Parts that commands share: types of options, groups of options, errors as one line."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, ClassVar, TypeVar, cast, get_args

import click

from mhfd.contract import ExitCode, FocusParams, Mode, Polarity, Unit
from mhfd.text import visible
from mhfd_client.cli.names import OneOf, complete_endpoint

if TYPE_CHECKING:
    from mhfd_client.ledger import Ledger
    from mhfd_client.views.listing import Form, Listing

Command = TypeVar("Command", bound=Callable[..., Any])

FILE = click.Path(dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)
OUT_FILE = click.Path(dir_okay=False, allow_dash=True, path_type=Path)
STDOUT = Path("-")


class Existing(click.Path):
    """A file or folder to read; where it is missing, a similar one is named."""

    def __init__(self, *, file_okay: bool = True) -> None:
        super().__init__(exists=True, file_okay=file_okay, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from mhfd_client.files.near import did_you_mean, is_missing

        if is_missing(value):
            what = "file or folder" if self.file_okay else "folder"
            self.fail(f"{value}: no such {what}{did_you_mean(value, folder=not self.file_okay)}", param, ctx)
        return super().convert(value, param, ctx)


class Bytes(click.ParamType):
    """A size in bytes, with a unit if wanted: 500000000, 500MB, 2GiB."""

    name = "size"
    _UNITS: ClassVar[dict[str, int]] = {
        "": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30
    }  # fmt: skip

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        number = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*", str(value).lower())
        if number is None or number[2] not in self._UNITS:
            self.fail(f"{value!r} is not a size in bytes; write it like 500MB or 2GiB", param, ctx)
        return int(float(number[1]) * self._UNITS[number[2]])


class Numbers(click.ParamType):
    """Whole numbers separated by commas: 0,1."""

    name = "list"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[int]:
        if isinstance(value, list):
            return value
        parts = str(value).split(",")
        if not all(part.strip().isdecimal() for part in parts):
            self.fail(f"{value!r} is not a list of device numbers; write it like 0 or 0,1", param, ctx)
        return [int(part) for part in parts]


class Refusal(click.ClickException):
    """A command cannot do what it was asked to."""

    exit_code = ExitCode.USAGE


class FileTrouble(click.ClickException):
    """A file that a command writes cannot be written."""

    exit_code = ExitCode.TEMPORARY


@contextmanager
def out_file(path: Path) -> Generator[IO[bytes], None, None]:
    """A file that appears when it is complete; or standard output."""
    from mhfd_client.files.whole import written

    if path == STDOUT:
        yield click.get_binary_stream("stdout")
        return
    with written(path) as file:
        yield file


def say(text: str, *, err: bool = False) -> None:
    """Print one line; names and messages in it may come from anywhere."""
    click.echo(visible(text), err=err)


def example(*commands: str) -> str:
    """What a command's --help ends with: command lines as they can be typed."""
    return "\n".join(("\b", "Example:", *(f"  {each}" for each in commands)))


def print_listing(listing: Listing, form: Form, out: Path = STDOUT) -> None:
    """Write a list in one of its forms, on standard output by default."""
    from mhfd_client.views.listing import write_listing

    if form == "table" and out == STDOUT:  # a console may lack letters, and a file does not
        for line in listing.lines():
            say(line)
        return
    with out_file(out) as file:
        write_listing(listing, form, file)


def format_option(*forms: str, default: str | None = "table") -> Callable[[Command], Command]:
    """--format, and --json as its short form; the command gets `form`."""

    def decorated(command: Command) -> Command:
        @wraps(command)
        def called(*args: Any, form: str | None, as_json: bool, **given: Any) -> Any:
            if as_json and form not in (None, "json"):
                raise click.UsageError(f"--json is --format json, and --format {form} was given: choose one")
            return command(*args, form="json" if as_json else form or default, **given)

        options = [
            click.option("--format", "form", type=OneOf(forms), help=f"[default: {default or forms[0]}]"),
            click.option("--json", "as_json", is_flag=True, help="The same as --format json."),
        ]
        return cast(Command, with_options(called, options))

    return decorated


def with_options(command: Command, options: Sequence[Callable[[Command], Command]]) -> Command:
    for option in reversed(options):  # the decorator nearest to the function is listed last
        command = option(command)
    return command


def option(name: str, kind: Any, text: str, value: Any) -> Callable[[Command], Command]:
    return click.option(name, type=kind, default=value, show_default=True, help=text)


def measure_options(command: Command) -> Command:
    """The options that make `FocusParams`, the same wherever tiles are scored."""
    d = FocusParams()
    options = [
        option("--n-scales", int, "Number of scales.", d.n_scales),
        option("--min-t", float, "Smallest scale.", d.min_t),
        option("--max-t", float, "Largest scale.", d.max_t),
        option("--unit", OneOf(get_args(Unit)), "Unit of the scales.", d.unit),
        option("--saturate", float, "Fraction of the pixels clipped at each end.", d.saturate),
        option("--k-noise", float, "Noise threshold in standard deviations.", d.k_noise),
        option("--polarity", OneOf(get_args(Polarity)), "Blobs to count.", d.polarity),
        option("--mode", OneOf(get_args(Mode)), "'paper' counts noise: for reproduction only.", d.mode),
        option("--exclude-top-px", int, "Rows left out at the top.", d.exclude_top_px),
        click.option("--exclude-bottom-px", type=int, help="The same at the bottom.  [default: a data bar, if found]"),
        click.option("--max-host-bytes", type=Bytes(), help="Working memory for one tile.  [default: 2GiB]"),
        click.option("--max-gpu-bytes", type=Bytes(), help="The same on a GPU.  [default: what is free]"),
    ]
    return with_options(command, options)


def endpoint_option(command: Command) -> Command:
    text = "Where tiles are scored: local, a name in the configuration, or a UUID."
    return click.option(
        "--endpoint", default="local", envvar="MHFD_ENDPOINT", show_default=True, help=text,
        shell_complete=complete_endpoint,
    )(command)  # fmt: skip


def opened_ledger(where: str | None, config_file: Path | None, *, readonly: bool) -> Ledger:
    """The ledger that was named, else the configuration's."""
    from mhfd_client.config import ledger_path, load_config
    from mhfd_client.ledger import open_ledger

    return open_ledger(ledger_path(load_config(config_file), where), readonly=readonly)


def max_blur_option(command: Command) -> Command:
    kind = click.FloatRange(min=0, max=100, min_open=True)
    text = "Blur, in pixels, beyond which a tile is out of focus.  [default: the run's, else 1.1]"
    return click.option("--max-blur-px", type=kind, help=text)(command)


def config_option(command: Command) -> Command:
    return click.option("--config", "config_file", type=FILE, help="Instead of MHFD_CONFIG or your file.")(command)
