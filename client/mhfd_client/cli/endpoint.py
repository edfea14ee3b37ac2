"""`mhfd register`, `mhfd doctor` and `mhfd warmup`: set up and check endpoints."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mhfd.contract import ExitCode
from mhfd_client.cli.options import (
    FILE,
    Existing,
    Refusal,
    config_option,
    endpoint_option,
    example,
    say,
)

if TYPE_CHECKING:
    from mhfd_client.config import Config
    from mhfd_client.doctor import Check


@click.command(epilog=example("mhfd register --dry-run"))
@click.option(
    "--file", "path", type=FILE, default=Path("functions.json"), show_default=True, help="File of names and UUIDs."
)
@click.option("--group", help="UUID of a Globus group whose members may call them.")
@click.option("--public", is_flag=True, help="Let anyone call them, on endpoints that allow it.")
@click.option(
    "--also", type=Existing(), multiple=True, help="functions.json of another version that stays allowed; repeatable."
)
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
def register(path: Path, group: str | None, public: bool, also: tuple[Path, ...], dry_run: bool) -> None:
    """Register new and changed functions, write functions.json, print the block for an endpoint's config.yaml.

    Exit code: 0; 2 the file or the group cannot be used, 69 Globus is out of reach, 77 somebody has to sign in.
    """
    from mhfd.registry import allowed_functions_block, load, run_register
    from mhfd_client.compute.registrar import SignedInRegistrar

    others = [record for each in also for record in load(each)]
    report = run_register(path, group=group, public=public, dry_run=dry_run, client=SignedInRegistrar())
    plan = report.plan
    for what, names in (("new", plan.new), ("changed", plan.changed), ("unchanged", plan.unchanged)):
        if names:
            say(f"{what}: {', '.join(names)}", err=True)
    if plan.gone:
        say(f"no longer functions of mhfd: {', '.join(plan.gone)}", err=True)
    if dry_run:
        click.echo("Nothing was registered: this is a dry run.", err=True)
    click.echo(allowed_functions_block([*report.records, *others]), nl=False)


@click.command(epilog=example("mhfd doctor --endpoint dgx", "mhfd doctor --bundle help.zip"))
@endpoint_option
@click.option("--deadline-s", type=float, default=300.0, show_default=True, help="Longest wait for an answer.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array of checks and nothing else.")
@click.option("--bundle", type=FILE, metavar="FILE.zip", help="Also write all that a helper needs, without secrets.")
@config_option
def doctor(endpoint: str, deadline_s: float, as_json: bool, bundle: Path | None, config_file: Path | None) -> None:
    """Check this machine and an endpoint: names, ports, sign-in, versions on both sides, GPUs, a probe tile.

    --bundle writes a zip file for a helper at a distance, and lists what it holds: look through it, then send it.

    Exit code: 0 no check fails, 69 one does.
    """
    from mhfd_client.config import Config, ConfigError, load_config
    from mhfd_client.doctor import Check, examine, worst
    from mhfd_client.views import terminal

    checks = []
    try:
        config = load_config(config_file)
    except ConfigError as error:
        if bundle is None:
            raise
        config = Config()  # what a helper is asked about may be this
        checks.append(Check("configuration", "FAIL", str(error), "correct it; `mhfd config validate` checks it"))
    for check in () if as_json else checks:
        terminal.print_check(check)
    for check in examine(config, endpoint, deadline_s=deadline_s):
        checks.append(check)
        if not as_json:
            terminal.print_check(check)
    if as_json:
        terminal.print_plain([check.to_dict() for check in checks])
    if bundle is not None:
        _write_bundle(bundle, config, config_file, checks)
    sys.exit(ExitCode.UNAVAILABLE if worst(checks) == "FAIL" else ExitCode.OK)


def _write_bundle(path: Path, config: Config, config_file: Path | None, checks: Sequence[Check]) -> None:
    from mhfd_client.upkeep.bundle import write_bundle

    entries = write_bundle(path, config, config_file, checks)
    say(f"{path} holds, without secrets, addresses and names of people that mhfd can tell:", err=True)
    for entry in entries:
        say(f"  {entry.name} ({entry.size:,} bytes): {entry.what}", err=True)
    say("Look through it before you send it: it names folders, files and machines.", err=True)


@click.command(epilog=example("mhfd warmup --endpoint dgx"))
@endpoint_option
@click.option("--deadline-s", type=float, default=600.0, show_default=True, help="Longest wait.")
@config_option
def warmup(endpoint: str, deadline_s: float, config_file: Path | None) -> None:
    """Score a probe tile with a known answer, so that the next tiles need not wait for workers and compilers."""
    from mhfd_client.compute.opening import open_compute
    from mhfd_client.config import load_config

    compute = open_compute(endpoint, load_config(config_file).endpoint(endpoint))
    try:
        compute.connect()
        answer = compute.submit("warmup", {}).result(deadline_s)
    except TimeoutError:
        say(f"Error: no answer from '{endpoint}' within {deadline_s:g} s; try `mhfd doctor`.", err=True)
        sys.exit(ExitCode.TEMPORARY)
    finally:
        compute.close()
    if error := answer.get("error"):
        raise Refusal(str(error["message"]))
    where = f"{answer['worker']['backend']} on {answer['worker']['device']}"
    say(
        f"{endpoint} is warm: {answer['features']} of {answer['expected']} features, {answer['warm_ms']:.0f} ms a "
        f"tile, the first {answer['first_ms'] / 1e3:.1f} s ({where})"
    )
