"""`mhfd init` and `mhfd config`: write, show, check and describe the configuration."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import click

from mhfd.contract import ExitCode, MhfdError
from mhfd.text import visible
from mhfd_client.cli.names import Group, complete_profile
from mhfd_client.cli.options import FILE, config_option, example, say

T = TypeVar("T")


@click.command(epilog=example("mhfd init --folder run --yes"))
@click.option("--folder", help="Folder that the microscope writes to.")
@click.option("--layout", help="Layout of the file names; or 'regex PATTERN'.  [default: as detected]")
@click.option("--endpoint", help="local, a UUID, or NAME=UUID.  [default: local]")
@click.option("--functions", help="functions.json of the endpoint.  [default: beside the configuration]")
@click.option("--transfer", help="inline, 'shared PATH', 'globus DESTINATION SOURCE'.  [default: inline]")
@click.option("--endpoint-root", help="With globus: path of the destination's folder on the endpoint.")
@click.option("--ledger", help="File, or postgresql://USER@HOST/DATABASE.  [default: a file of yours]")
@click.option("--profile", default="microscope", show_default=True, help="Name of the microscope.")
@click.option("--yes", is_flag=True, help="Ask nothing: use defaults for the rest.")
@click.option("--force", is_flag=True, help="Replace a configuration; a copy is kept.")
@config_option
def init(
    functions: str | None,
    endpoint_root: str | None,
    profile: str,
    yes: bool,
    force: bool,
    config_file: Path | None,
    **flags: str | None,
) -> None:
    """Ask at most five questions, none with --yes, and write a configuration.

    Exit code: 0 written, 2 an answer is missing and nobody can be asked, 78 it exists, or would not work.
    """
    from mhfd_client.config import default_path, writing
    from mhfd_client.config.interview import interview, understand_path

    file = config_file or default_path()
    writing.refuse_existing(file, force=force)
    given = {f"--{name}": text for name, text in flags.items()}
    attended = sys.stdin.isatty() and not yes
    if not attended:
        _refuse_silence(given, yes=yes)
    try:
        answers = interview(given, _prompt if attended else _usual)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    way = replace(answers.way, endpoint_root=endpoint_root or answers.way.endpoint_root)
    answers = replace(answers, profile=profile, way=way)
    if functions:
        answers = replace(answers, functions_file=str(understand_path(functions)))
    backup = writing.write(file, writing.configuration(answers), force=force)
    if backup:
        say(f"The former file is kept as {backup}.", err=True)
    if not answers.folder.is_dir():
        say(f"There is no folder {answers.folder} yet.", err=True)
    if attended and answers.uuid is not None and answers.way.method == "globus":
        _sign_in_for_transfer(answers.endpoint, answers.folder, file)
    say(f"Written: {file}. Next:")
    for command in writing.next_commands(answers, file):
        say(f"  {command}")


def _sign_in_for_transfer(endpoint: str, folder: Path, file: Path) -> None:
    """Have consents asked for while somebody is here, not at night; what fails now is said again by `mhfd doctor`."""
    from mhfd_client.config import load_config
    from mhfd_client.transfer.opening import open_transfer

    entry = load_config(file).entry(endpoint)
    assert entry is not None  # it was written just now
    say("Signing in to both collections:")
    try:
        transfer = open_transfer(entry, root=folder, run="sign-in")
        try:
            transfer.connect(interactive=True)
        finally:
            transfer.close()
    except MhfdError as error:
        say(f"  not yet: {error}", err=True)
    else:
        say("  both can be used.")


def _refuse_silence(given: dict[str, str | None], *, yes: bool) -> None:
    """Name all missing flags at once: nobody can answer."""
    missing = [flag for flag, text in given.items() if not text]
    if given["--endpoint"] in (None, "local") and "--transfer" in missing:
        missing.remove("--transfer")
    if yes and given["--folder"]:
        return
    if yes:
        raise click.UsageError("give --folder, the folder that the microscope writes to")
    if missing:
        raise click.UsageError(
            f"nobody is here to be asked: give {', '.join(missing)}; or --yes, which needs only --folder"
        )


def _usual(question: str, usual: str | None, understand: Callable[[str], T]) -> T:
    return understand(usual or "")


def _prompt(question: str, usual: str | None, understand: Callable[[str], T]) -> T:
    def understood(text: str) -> T:
        try:
            return understand(text)
        except ValueError as error:
            raise click.UsageError(visible(str(error))) from error  # asked again

    for line in question.splitlines():
        say(line)
    answer: T = click.prompt("  ", default=usual, value_proc=understood, prompt_suffix="> ")
    return answer


@click.group(cls=Group, epilog=example("mhfd config show", "mhfd config validate"))
def config() -> None:
    """Show, check or describe the configuration."""


@config.command(epilog=example("mhfd config show --profile merlin"))
@click.option(
    "--profile", shell_complete=complete_profile, help="Name of a profile.  [default: MHFD_PROFILE, or the file's]"
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object: key -> value and origin.")
@config_option
def show(profile: str | None, as_json: bool, config_file: Path | None) -> None:
    """Show each value in effect, and where it is set. That is a flag, the environment, the file or the default."""
    from mhfd_client.config import load_config, resolve
    from mhfd_client.config.check import examine_environment
    from mhfd_client.config.show import effective
    from mhfd_client.config.toml import toml
    from mhfd_client.views import terminal

    whole = load_config(config_file)
    settings = resolve(whole, profile, {"config": config_file})
    for finding in examine_environment(whole, settings):
        say(f"Warning: {finding.problem}", err=True)
    values = list(effective(whole, settings))
    if as_json:
        terminal.print_plain({each.key: {"value": each.value, "origin": each.origin} for each in values})
        return
    width = max(len(each.key) for each in values)
    for each in values:
        value = "-" if each.value is None else toml(each.value)
        say(f"{each.key:{width}}  {value}  ({each.origin})")


@config.command(epilog=example("mhfd config validate"))
@click.argument("file", type=FILE, required=False)
def validate(file: Path | None) -> None:
    """Print "ok", or what is wrong, line by line, in FILE, by default your configuration, and in the environment.

    Exit code: 0 ok, though there may be warnings; 78 it cannot be used.
    """
    from mhfd_client.config import ConfigError, load_config, resolve
    from mhfd_client.config.check import examine, examine_environment

    try:
        whole = load_config(file)
        settings = resolve(whole, flags={"config": file})
    except ConfigError as error:
        for line in error.problems or (error,):
            say(f"error: {line}", err=True)
        sys.exit(error.exit_code)
    findings = [*examine(whole), *examine_environment(whole, settings)]
    for each in findings:
        say(f"{'error' if each.fatal else 'warning'}: {each.problem}", err=True)
    if any(each.fatal for each in findings):
        sys.exit(ConfigError.exit_code)
    click.echo("ok" if whole.source else "ok: there is no file, the defaults apply")
    sys.exit(ExitCode.OK)


@config.command(epilog=example("mhfd config schema"))
def schema() -> None:
    """Print the file's JSON Schema. Editors use it to complete and check TOML."""
    import json

    from mhfd_client.config.describe import json_schema

    click.echo(json.dumps(json_schema(), indent=2))
