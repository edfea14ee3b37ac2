"""deploy/rescore and deploy/flows: what `mhfd schedule` installs, as files to read and to install by hand."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import click
import pytest
from jsonschema import Draft7Validator

from mhfd_client.cli import main
from mhfd_client.schedule.flow_input import FUNCTIONS, definition, input_schema
from mhfd_client.schedule.protocol import Schedule
from mhfd_client.schedule.systemd import SystemdScheduler
from mhfd_client.schedule.when import When
from mhfd_client.schedule.windows import WindowsScheduler
from needs import need

DEPLOY = Path(__file__).parents[2] / "deploy"
PAGES = [DEPLOY / "rescore" / "README.md", DEPLOY / "flows" / "README.md", DEPLOY.parent / "docs" / "schedules.md"]
DAILY = When.parse("1d", "02:00")


def parse(arguments: list[str]) -> dict[str, object]:
    """`mhfd ARGUMENTS` as our command line parses it; nothing is run."""
    command: click.Command | None = main
    context = click.Context(main)
    while isinstance(command, click.Group):
        name, *arguments = arguments
        command = command.get_command(context, name)
    assert command is not None
    return command.make_context(str(command.name), arguments).params


def shipped(monkeypatch: pytest.MonkeyPatch) -> dict[Path, str]:
    """The files -> their text, made by the code that installs them."""
    monkeypatch.setenv("USERDOMAIN", "COMPUTER")
    monkeypatch.setattr("getpass.getuser", lambda: "you")
    monkeypatch.setattr(sys, "executable", "/opt/mhfd/venv/bin/python")
    files = SystemdScheduler().units(Schedule(("/data/archive",), DAILY))
    texts = {DEPLOY / "rescore" / path.name: text for path, text in files.items()}
    monkeypatch.setattr(sys, "executable", r"C:\Users\you\AppData\Local\mhfd\venv\Scripts\pythonw.exe")
    texts[DEPLOY / "rescore" / "mhfd-rescore.xml"] = WindowsScheduler().task(Schedule((r"D:\archive",), DAILY)) + "\n"
    texts[DEPLOY / "flows" / "definition.json"] = json.dumps(definition(), indent=2) + "\n"
    texts[DEPLOY / "flows" / "schema.json"] = json.dumps(input_schema(), indent=2) + "\n"
    return texts


def test_the_files_are_what_the_command_installs(monkeypatch: pytest.MonkeyPatch) -> None:
    """KEEP_DEPLOY=1 writes them anew."""
    for path, text in shipped(monkeypatch).items():
        if os.environ.get("KEEP_DEPLOY"):
            path.write_bytes(text.encode())
        assert path.read_bytes().decode() == text, f"{path}: run this test with KEEP_DEPLOY=1"


@pytest.mark.skipif(sys.platform != "linux", reason="services of systemd are for Linux")
def test_systemd_takes_the_files(tmp_path: Path) -> None:
    for kind in ("service", "timer"):
        text = (DEPLOY / "rescore" / f"mhfd-rescore.{kind}").read_text()
        # The program is not on this machine; everything else is verified unchanged.
        (tmp_path / f"mhfd-rescore.{kind}").write_text(
            re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", text, flags=re.M)
        )
    result = subprocess.run(
        [need("systemd-analyze", "systemd"), "--user", "verify", str(tmp_path / "mhfd-rescore.timer")],
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert result.stdout + result.stderr == "" and result.returncode == 0


def test_unit_and_task_start_a_command_that_mhfd_takes() -> None:
    unit = (DEPLOY / "rescore" / "mhfd-rescore.service").read_text()
    line = re.search(r"^ExecStart=(.*)$", unit, flags=re.M)
    task = ET.parse(DEPLOY / "rescore" / "mhfd-rescore.xml").getroot()
    arguments = task.findtext("{*}Actions/{*}Exec/{*}Arguments")
    assert line and arguments
    for words in (shlex.split(line[1])[1:], shlex.split(arguments.replace("\\", "\\\\"))):
        assert words[:2] == ["-m", "mhfd_client"]
        params = parse(words[2:])
        assert params["changed_only"] is True and len(params["runs"]) == 1  # type: ignore[arg-type]


def test_the_service_comes_back_but_not_where_a_person_is_needed() -> None:
    from mhfd.contract import ExitCode

    unit = (DEPLOY / "rescore" / "mhfd-rescore.service").read_text()
    stops = {ExitCode.USAGE, ExitCode.TEMPORARY, ExitCode.SIGN_IN, ExitCode.CONFIG}
    assert f"RestartPreventExitStatus={' '.join(f'{each:d}' for each in sorted(stops))}\n" in unit
    assert f"SuccessExitStatus={ExitCode.FAILED_TILES:d}\n" in unit


def test_the_input_schema_is_one_and_names_our_functions() -> None:
    from mhfd.registry import FUNCTIONS as REGISTERED

    Draft7Validator.check_schema(input_schema())
    needed = input_schema()["properties"]["input"]["properties"]["functions"]["required"]
    assert set(needed) == set(FUNCTIONS) <= set(REGISTERED)
    used = set(re.findall(r"\$\.input\.functions\.(\w+)", json.dumps(definition())))
    assert used == set(FUNCTIONS)


def test_the_flow_reads_of_its_input_what_the_schema_has() -> None:
    known = set(input_schema()["properties"]["input"]["properties"])
    used = set(re.findall(r"\$\.input\.(\w+)", json.dumps(definition())))
    assert used == known


def test_the_options_that_the_flow_sends_are_those_of_the_functions(tmp_path: Path) -> None:
    """A wrong one would be refused a week later, at night."""
    from mhfd.worker import next_wave, plan_run

    (tmp_path / "run").mkdir()
    answer = plan_run(str(tmp_path / "run"), None, None, {"changed_only": True, "dry_run": True})
    assert "error" not in answer
    states = definition()["States"]
    given = states["NextWave"]["Parameters"]["tasks"][0]["kwargs"]
    names = next_wave.__code__.co_varnames[: next_wave.__code__.co_argcount]
    assert {each.removesuffix(".$") for each in given} <= set(names)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}/{page.name}")
def test_the_commands_on_the_page_are_ours(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    commands = re.findall(r"^mhfd (.*?)(?:\s{2,}#.*)?$", text, flags=re.M)
    assert commands
    for command in commands:
        words = ["/" if word.startswith("/") and "schedule" not in command else word for word in shlex.split(command)]
        parse(words)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}/{page.name}")
def test_the_page_links_to_what_is_there(page: Path) -> None:
    for target in re.findall(r"\]\(([^):#]+)(?:#[\w-]+)?\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target
