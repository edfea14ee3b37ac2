"""The `mhfd` command. Thin: each command reads its options, calls one step, prints what comes back.

A command's module is imported when the command is called, and nothing heavy before it is needed, so `mhfd --help`
answers at once.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Generator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import click

from mhfd._version import __version__
from mhfd.contract import ExitCode, MhfdError, ParamsError
from mhfd.text import visible
from mhfd_client.cli.names import Group
from mhfd_client.cli.options import FileTrouble, Refusal, example

COMMANDS = {  # name -> module in this package, what `mhfd --help` says
    "init": ("setup", "Ask five questions and write a configuration."),
    "watch": ("watch", "Score a microscope's folder as it fills."),
    "runs": ("runs", "List the runs of a ledger, and how far they are."),
    "status": ("tiles", "Show the state of a run: scored, waiting, stalled, missing."),
    "alerts": ("alerts", "List what happened to a run, acknowledge it, test the channels."),
    "dashboard": ("dashboard", "Show a run live in the browser."),
    "export": ("tiles", "Write the results as a table."),
    "explain": ("explain", "Explain the verdict on one tile, with a picture."),
    "retakes": ("retakes", "List the tiles to take again, and decide about them."),
    "report": ("report", "Write a run's report: what to take again, map, chart, tiles."),
    "calibrate": ("calibrate", "Learn from a focal series, or from sorted tiles."),
    "reference": ("reference", "List, keep or forget the sharp tiles that runs are compared with."),
    "retry": ("tiles", "Take up failed or stalled tiles again."),
    "ledger": ("ledger", "Back up the ledger, and restore it."),
    "prune": ("prune", "Remove old logs, spools and runs. Never a tile."),
    "recover": ("tiles", "Store results from an endpoint's spool."),
    "score": ("score", "Score image files, folders and patterns."),
    "rescore": ("rescore", "Score archived runs where they lie, on one or several endpoints."),
    "compare": ("compare", "Compare two results of a run: which verdicts changed, and why."),
    "demo": ("simulate", "Simulate a run, score it, compare with the truth."),
    "simulate": ("simulate", "Write a synthetic serial-section run."),
    "replay": ("replay", "Feed an old run into a folder, as a microscope would."),
    "schedule": ("schedule", "Score archived runs again on a schedule."),
    "config": ("setup", "Show, check or describe the configuration."),
    "register": ("endpoint", "Register mhfd's functions with Globus Compute."),
    "doctor": ("endpoint", "Find out what keeps tiles from being scored."),
    "warmup": ("endpoint", "Start an endpoint's workers and compile its kernels."),
    "bench": ("bench", "Measure speed, beside other programs."),
}


class _Group(Group):
    """Loads a command when it is called. Turns our own errors, and those of files, into one line and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = getattr(import_module(f"mhfd_client.cli.{COMMANDS[cmd_name][0]}"), cmd_name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        with _one_line_errors():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with _one_line_errors(), _readable_output():
                return self._invoke(ctx)
        except (KeyboardInterrupt, EOFError, click.Abort):  # click would exit with 1, which means "out of focus found"
            click.echo("Interrupted.", err=True)
            ctx.exit(ExitCode.INTERRUPTED)

    def _invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ParamsError as error:
            raise click.UsageError(str(error)) from error
        except MhfdError as error:
            refusal = Refusal(str(error))
            refusal.exit_code = error.exit_code
            raise refusal from error
        except OSError as error:
            if error.filename is None:  # a closed pipe, say: click knows what to do
                raise
            raise FileTrouble(f"{error.filename} cannot be written: {error.strerror}") from error


@contextmanager
def _one_line_errors() -> Generator[None, None, None]:
    """Make the messages of errors visible: they quote arguments and names of files."""
    try:
        yield
    except click.ClickException as error:
        error.message = visible(error.message)
        raise


@contextmanager
def _readable_output() -> Generator[None, None, None]:
    r"""Have a letter that the console cannot write appear as "\u5207", and warnings in the log made visible."""
    from mhfd_client.logs import first_run_on_screen, warnings_on_screen

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # there is none without a console: pythonw
            stream.reconfigure(errors="backslashreplace")
    with warnings_on_screen(), first_run_on_screen():
        yield


@click.group(
    cls=_Group,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=example("mhfd demo", "mhfd score run", "mhfd watch run"),
)
@click.version_option(__version__, message="mhfd %(version)s")
def main() -> None:
    """Focus quality of electron-microscopy tiles.

    Everything runs on this machine unless an endpoint is named: no account, GPU or network is needed.
    Try `mhfd demo` first.
    """
