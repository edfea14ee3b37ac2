"""`mhfd watch` unattended: our command line accepts what unit and task start; the installers do what they say."""

from __future__ import annotations

import ast
import os
import re
import shlex
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import click
import pytest

from needs import need

CHECKOUT = Path(__file__).parents[2]
DEPLOY = CHECKOUT / "deploy" / "microscope"
UNIT = DEPLOY / "mhfd-watch.service"
INSTALL = DEPLOY / "install.sh"
TASK = DEPLOY / "mhfd-watch.xml"
SCRIPT = DEPLOY / "install.ps1"
README = (DEPLOY / "README.md").read_text(encoding="utf-8")

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="services of systemd are for Linux")


def parse(arguments: list[str]) -> dict[str, object]:
    """`mhfd ARGUMENTS` as our command line parses it; nothing is run."""
    from mhfd_client.cli import main

    command = main.get_command(click.Context(main), arguments[0])
    assert command is not None
    return command.make_context(arguments[0], arguments[1:]).params


# --- The unit ---------------------------------------------------------------------------------------------------------


def setting(name: str, file: Path = UNIT) -> list[str]:
    return re.findall(rf"^{name}=(.*)$", file.read_text(encoding="utf-8"), flags=re.MULTILINE)


def test_the_units_command_line_is_one_that_mhfd_takes() -> None:
    program, *arguments = shlex.split(setting("ExecStart")[0])
    assert program.endswith("/bin/mhfd")
    params = parse(arguments)
    assert params["wait_for_folder"] is True and params["folder"] is None and params["log_dir"] is not None


@LINUX
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    analyze = need("systemd-analyze", "systemd")
    unit = tmp_path / UNIT.name
    # The program is not on this machine; everything else is verified unchanged.
    unit.write_text(re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", UNIT.read_text(), flags=re.MULTILINE))
    result = subprocess.run(
        [analyze, "--user", "verify", str(unit)],
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert result.stdout + result.stderr == "" and result.returncode == 0


def test_it_comes_back_but_not_where_a_person_is_needed() -> None:
    from mhfd.contract import ExitCode

    assert setting("Restart") == ["on-failure"] and setting("StartLimitIntervalSec") == ["0"]
    assert setting("RestartPreventExitStatus") == [f"{ExitCode.USAGE:d} {ExitCode.SIGN_IN:d} {ExitCode.CONFIG:d}"]


def test_it_is_stopped_so_that_it_can_store_what_is_under_way() -> None:
    assert setting("KillSignal") in ([], ["SIGTERM"]) and setting("KillMode") == ["mixed"]
    assert int(setting("TimeoutStopSec")[0]) >= 60


def test_it_is_a_users_unit() -> None:
    assert setting("WantedBy") == ["default.target"]
    assert setting("User") == [] and setting("CapabilityBoundingSet") == []


def test_the_pause_grows_where_systemd_can() -> None:
    assert setting("RestartSteps", DEPLOY / "backoff.conf") and setting("RestartMaxDelaySec", DEPLOY / "backoff.conf")
    assert not setting("RestartSteps")  # older ones would complain of it


# --- install.sh -------------------------------------------------------------------------------------------------------

# Stand-ins: installing packages needs a network, and there is no user's systemd in a container. Each notes its call.
PYTHON = """#!/bin/sh
if [ "$1 $2" = "-m venv" ]; then
    echo "venv $3" >>"$CALLS"
    mkdir -p "$3/bin"
    sed 's/^venv=.*/venv=yes/' "$0" >"$3/bin/python"
    printf '#!/bin/sh\\necho "mhfd $*" >>"$CALLS"\\n' >"$3/bin/mhfd"
    chmod +x "$3/bin/python" "$3/bin/mhfd"
elif [ "$1 $2" = "-m pip" ]; then
    shift 2; echo "pip $*" >>"$CALLS"
else
    exec REAL "$@"
fi
"""
SYSTEMCTL = """#!/bin/sh
[ "$1" = --version ] && { echo "systemd ${SYSTEMD:-252} (x)"; exit; }
[ "$2" = show-environment ] || echo "systemctl $*" >>"$CALLS"
"""
LOGINCTL = '#!/bin/sh\n[ "$1" = show-user ] && { echo no; exit; }\necho "loginctl $*" >>"$CALLS"\n'


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with a configuration, and stand-ins in its bin."""
    programs = {"python": PYTHON.replace("REAL", sys.executable), "systemctl": SYSTEMCTL, "loginctl": LOGINCTL}
    for name, text in programs.items():
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(text)
        program.chmod(0o755)
    config = tmp_path / ".config/mhfd/config.toml"
    config.parent.mkdir(parents=True)
    config.touch()
    return tmp_path


def install(home: Path, *options: str, check: bool = True, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {
        "HOME": str(home), "PATH": f"{home / 'bin'}:/usr/bin:/bin", "CALLS": str(home / "calls"), "USER": "em", **more
    }  # fmt: skip
    command = ["bash", str(INSTALL), "--python", str(home / "bin/python"), *options]
    return subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=check, timeout=60
    )


def calls(home: Path) -> list[str]:
    file = home / "calls"
    return [line.replace(str(home), "~") for line in file.read_text().splitlines()] if file.exists() else []


def tree(home: Path) -> dict[str, tuple[int, bytes]]:
    files = (path for path in home.rglob("*") if path.is_file() and path.name != "calls")
    return {str(path.relative_to(home)): (path.stat().st_mode & 0o777, path.read_bytes()) for path in files}


@LINUX
def test_shellcheck_finds_nothing() -> None:
    subprocess.run([need("shellcheck", "shellcheck"), str(INSTALL)], check=True)
    assert os.access(INSTALL, os.X_OK)


@LINUX
def test_it_installs_and_starts_in_this_order(home: Path) -> None:
    install(home)
    assert calls(home) == [
        "venv ~/.local/share/mhfd/venv",
        f"pip install --quiet --disable-pip-version-check --upgrade {CHECKOUT}[globus,cpu,codecs]",
        "mhfd config validate",
        "systemctl --user daemon-reload",
        "systemctl --user enable mhfd-watch.service",
        "systemctl --user restart mhfd-watch.service",
    ]
    assert tree(home)[".config/systemd/user/mhfd-watch.service"][1] == UNIT.read_bytes()


@LINUX
def test_the_unit_starts_what_the_script_installs(home: Path) -> None:
    install(home)
    program = shlex.split(setting("ExecStart")[0])[0].replace("%h", str(home))
    assert os.access(program, os.X_OK)
    assert setting("EnvironmentFile")[0].replace("-%E", str(home / ".config")) in {str(home / n) for n in tree(home)}


@LINUX
def test_a_second_run_changes_no_file(home: Path) -> None:
    install(home, "--profile", "sem2")
    settings = home / ".config/mhfd/watch.env"
    settings.write_text(settings.read_text() + "GLOBUS_COMPUTE_CLIENT_ID=mine\n")
    before = tree(home)
    install(home)
    assert tree(home) == before


@LINUX
def test_the_profile_is_set_once_and_the_file_is_for_its_owner_alone(home: Path) -> None:
    install(home, "--profile", "sem1")
    install(home, "--profile", "sem2")
    mode, content = tree(home)[".config/mhfd/watch.env"]
    assert mode == 0o600
    assert [line for line in content.decode().splitlines() if not line.startswith("#") and line] == [
        "MHFD_PROFILE=sem2"
    ]


@LINUX
def test_a_dry_run_does_nothing(home: Path) -> None:
    before = tree(home)
    said = install(home, "--dry-run", "--linger", "--profile", "x").stdout
    assert tree(home) == before and calls(home) == []
    steps = ["-m venv", "pip install", "config validate", "mhfd-watch.service", "restart", "enable-linger"]
    places = [said.find(step) for step in steps]
    assert -1 not in places and places == sorted(places)


@LINUX
def test_from_wheels_it_needs_no_network(home: Path) -> None:
    (home / "wheels").mkdir()
    install(home, "--wheels", str(home / "wheels"), "--extras", "cpu", "--no-start")
    assert calls(home)[1].endswith("--no-index --find-links ~/wheels mhfd[cpu]")
    assert not any("systemctl" in call for call in calls(home))


@LINUX
@pytest.mark.parametrize(("version", "grows"), [("252", False), ("253", False), ("254", True), ("257", True)])
def test_the_growing_pause_is_for_those_that_know_it(version: str, grows: bool, home: Path) -> None:
    install(home, SYSTEMD=version)
    assert (".config/systemd/user/mhfd-watch.service.d/backoff.conf" in tree(home)) == grows


@LINUX
def test_without_a_configuration_and_a_person_it_says_what_to_do(home: Path) -> None:
    (home / ".config/mhfd/config.toml").unlink()
    result = install(home, check=False)
    assert result.returncode == 78 and "mhfd init" in result.stderr
    assert not any("systemctl" in call for call in calls(home))


@LINUX
def test_linger_is_said_or_set(home: Path) -> None:
    assert "--linger" in install(home).stdout
    install(home, "--linger")
    assert calls(home)[-1] == "loginctl enable-linger"


@LINUX
def test_uninstalled_only_what_is_the_users_own_is_left(home: Path) -> None:
    before = set(tree(home))
    install(home, SYSTEMD="254")
    install(home, "--uninstall")
    assert set(tree(home)) == before | {".config/mhfd/watch.env"}
    assert "systemctl --user disable --now mhfd-watch.service" in calls(home)


@LINUX
@pytest.mark.parametrize(
    ("options", "code"),
    [("--fast", 2), ("--profile", 2), ("--profile a/b", 2), ("--wheels /nowhere", 2), ("--python /bin/false", 78)],
)
def test_a_wrong_option_is_refused_with_a_sentence(options: str, code: int, home: Path) -> None:
    result = install(home, *options.split(), check=False)
    assert result.returncode == code and result.stderr.startswith("install.sh: ")
    assert calls(home) == []


@LINUX
def test_with_sudo_it_refuses(home: Path) -> None:
    assert install(home, check=False, SUDO_USER="em").returncode == 2


def test_the_example_of_the_environment_holds_no_value() -> None:
    text = (DEPLOY / "watch.env.example").read_text(encoding="utf-8")
    assert all(line.startswith("#") for line in text.splitlines() if line)


# --- The task ---------------------------------------------------------------------------------------------------------

NAMESPACE = "http://schemas.microsoft.com/windows/2004/02/mit/task"

# What the schema (MS-TSCH 2.5, version 1.2) allows in each element that we use; in those marked *, in this order.
SCHEMA = {
    "Task": "RegistrationInfo Triggers Principals Settings Data Actions",
    "RegistrationInfo": "URI SecurityDescriptor Source Date Author Version Description Documentation",
    "Triggers": "BootTrigger RegistrationTrigger IdleTrigger TimeTrigger EventTrigger LogonTrigger CalendarTrigger",
    "LogonTrigger": "* Enabled StartBoundary EndBoundary Repetition ExecutionTimeLimit UserId Delay",
    "TimeTrigger": "* Enabled StartBoundary EndBoundary Repetition ExecutionTimeLimit RandomDelay",
    "Repetition": "Interval Duration StopAtDurationEnd",
    "Principals": "Principal",
    "Principal": "UserId LogonType GroupId DisplayName RunLevel",
    "Settings": "AllowStartOnDemand RestartOnFailure MultipleInstancesPolicy DisallowStartIfOnBatteries "
    "StopIfGoingOnBatteries AllowHardTerminate StartWhenAvailable NetworkProfileName RunOnlyIfNetworkAvailable "
    "WakeToRun Enabled Hidden DeleteExpiredTaskAfter IdleSettings NetworkSettings ExecutionTimeLimit Priority "
    "RunOnlyIfIdle",
    "RestartOnFailure": "Interval Count",
    "Actions": "Exec ComHandler SendEmail ShowMessage",
    "Exec": "Command Arguments WorkingDirectory",
}
BOOLEANS = {
    "Enabled", "StopAtDurationEnd", "AllowStartOnDemand", "DisallowStartIfOnBatteries", "StopIfGoingOnBatteries",
    "Hidden", "AllowHardTerminate", "StartWhenAvailable", "RunOnlyIfNetworkAvailable", "WakeToRun", "RunOnlyIfIdle",
}  # fmt: skip
DURATIONS = {"Delay", "Interval", "ExecutionTimeLimit", "Duration"}


def local(element: ET.Element) -> str:
    namespace, _, name = element.tag[1:].partition("}")
    assert namespace == NAMESPACE
    return name


def value(path: str) -> str:
    found = ET.parse(TASK).getroot().findtext("/".join(f"{{{NAMESPACE}}}{part}" for part in path.split("/")))
    assert found is not None, path
    return found


def test_the_task_holds_what_the_schema_allows() -> None:
    root = ET.parse(TASK).getroot()
    assert local(root) == "Task" and root.get("version") == "1.2"
    for element in root.iter():
        name, children = local(element), [local(child) for child in element]
        if not children:
            continue
        allowed = SCHEMA[name].split()
        assert set(children) <= set(allowed), name
        assert name in ("Triggers", "Actions", "Principals") or len(children) == len(set(children))
        if allowed[0] == "*":
            assert children == sorted(children, key=allowed.index), name


def test_the_tasks_values_are_of_their_types() -> None:
    for element in ET.parse(TASK).getroot().iter():
        name, text = local(element), (element.text or "").strip()
        if name in BOOLEANS:
            assert text in ("true", "false"), name
        if name in DURATIONS:
            assert re.fullmatch(r"P(\d+D)?(T(\d+H)?(\d+M)?(\d+S)?)?", text), name
    assert 0 <= int(value("Settings/Priority")) <= 10
    assert 1 <= int(value("Settings/RestartOnFailure/Count")) <= 255
    assert value("Settings/MultipleInstancesPolicy") in ("Parallel", "Queue", "IgnoreNew", "StopExisting")


def test_the_actions_are_those_of_the_principal() -> None:
    root = ET.parse(TASK).getroot()
    actions, principal = (root.find(f".//{{{NAMESPACE}}}{name}") for name in ("Actions", "Principal"))
    assert actions is not None and principal is not None and actions.get("Context") == principal.get("id")


def test_the_task_needs_no_administrator_and_no_password() -> None:
    assert value("Principals/Principal/RunLevel") == "LeastPrivilege"
    assert value("Principals/Principal/LogonType") == "InteractiveToken"
    assert value("Triggers/LogonTrigger/UserId") == value("Principals/Principal/UserId")  # not: anybody who logs on


def test_the_task_has_no_time_limit_and_stays_on_batteries() -> None:
    assert value("Settings/ExecutionTimeLimit") == "PT0S"
    assert value("Settings/DisallowStartIfOnBatteries") == value("Settings/StopIfGoingOnBatteries") == "false"


def test_the_task_comes_back_whatever_the_exit_code() -> None:
    assert value("Settings/MultipleInstancesPolicy") == "IgnoreNew"
    assert value("Triggers/TimeTrigger/Repetition/Interval") == "PT5M"
    assert ET.parse(TASK).getroot().find(f".//{{{NAMESPACE}}}Duration") is None  # without one: forever


def test_the_tasks_command_line_is_one_that_mhfd_takes() -> None:
    arguments = shlex.split(value("Actions/Exec/Arguments").replace("\\", "/"))
    assert arguments[:2] == ["-m", "mhfd_client"] and (CHECKOUT / "client/mhfd_client/__main__.py").exists()
    assert parse([*arguments[2:], "--profile", "sem2"])["profile"] == "sem2"  # as install.ps1 adds it
    assert value("Actions/Exec/Command").endswith(r"\Scripts\pythonw.exe")


def test_the_file_can_be_read_whatever_the_encoding() -> None:
    """Windows PowerShell reads it in its own code page and hands it over in UTF-16: no declaration may contradict."""
    for file in (TASK, SCRIPT):
        text = file.read_bytes().decode("ascii")
        assert not text.startswith("<?xml")


# --- install.ps1 ------------------------------------------------------------------------------------------------------
# There is no PowerShell here: the script is read, not run.

TOKENS = re.compile(
    r"""(?P<comment><\#.*?\#>|\#[^\n]*)|(?P<single>'(?:[^']|'')*')|(?P<double>"(?:[^"`$]|`.|\$(?!\()|""|(?P<sub>\$\())*")"""
    r"""|(?P<open>[({\[])|(?P<close>[)}\]])|(?P<quote>['"])|(?P<code>[^'"(){}\[\]#]+)""",
    re.DOTALL,
)
PS1 = SCRIPT.read_text(encoding="utf-8")


def code_of(script: str) -> str:
    """The script without comments, and with empty strings; unbalanced quotes and brackets raise."""
    kept, stack, place = [], [], 0
    while place < len(script):
        token = TOKENS.match(script, place)
        if token is None or token["quote"]:
            raise ValueError(f"a string does not end: {script[place : place + 40]!r}")
        place = token.end()
        if token["comment"]:
            continue
        if token["open"]:
            stack.append(token[0])
        elif token["close"] and (not stack or "([{".index(stack.pop()) != ")]}".index(token[0])):
            raise ValueError(f"a bracket does not fit: {script[place - 40 : place]!r}")
        kept.append("''" if token["single"] or token["double"] else token[0])
    if stack:
        raise ValueError(f"not closed: {stack}")
    return "".join(kept)


def test_quotes_and_brackets_are_balanced() -> None:
    assert "Register-ScheduledTask" in code_of(PS1)


@pytest.mark.parametrize("broken", [PS1.replace("')", ")", 1), PS1.replace("}\n", "\n", 1), PS1 + '"', PS1 + "(]"])
def test_the_reading_sees_what_is_not(broken: str) -> None:
    with pytest.raises(ValueError, match=r"string|bracket|closed"):
        code_of(broken)


@pytest.mark.parametrize("newer", ["&&", "||", "??", " ? ", "-Parallel", "$IsWindows", "ForEach-Object -P"])
def test_it_needs_no_newer_powershell_than_windows_has(newer: str) -> None:
    assert newer not in code_of(PS1)


def test_stderr_of_programs_is_left_alone() -> None:
    """Windows PowerShell makes an error of every line that is redirected."""
    assert not re.search(r"2>|\*>", code_of(PS1))


def test_every_variable_is_set_before_it_is_used() -> None:
    code = re.sub(r"@(?=\w)", "$", code_of(PS1))  # splatting
    given = {
        "$env",
        "$_",
        "$true",
        "$false",
        "$null",
        "$PSCmdlet",
        "$PSScriptRoot",
        "$LASTEXITCODE",
        "$ErrorActionPreference",
    }
    known = {name.lower() for name in given}
    assigned = re.findall(r"(\$\w+)\s*(?:=|in\b)|\[(?:string|switch|string\[\])\]\s*(\$\w+)", code)
    known |= {name.lower() for pair in assigned for name in pair if name}
    assert {name for name in re.findall(r"\$\w+", code) if name.lower() not in known} == set()


def test_functions_are_named_as_powershell_wants_it_and_all_are_called() -> None:
    verbs = "Get New Set Test Invoke Install Uninstall Register Unregister Start Stop Remove Write".split()  # noqa: SIM905
    names = re.findall(r"^function ([\w-]+)", PS1, flags=re.MULTILINE)
    assert names and all(name.partition("-")[0] in verbs for name in names)
    code = code_of(PS1)
    assert [name for name in names if len(re.findall(rf"{name}\b", code)) < 2] == []


def test_every_parameter_is_explained() -> None:
    head = PS1[PS1.index("param(") : PS1.index("Set-StrictMode")]
    parameters = re.findall(r"\] \$(\w+)", head)
    assert parameters == re.findall(r"^\.PARAMETER (\w+)", PS1, flags=re.MULTILINE)
    for used in re.findall(r"install\.ps1 -(\w+)", PS1 + README):
        assert used in (*parameters, "WhatIf")


def test_what_it_changes_is_said_first_with_whatif() -> None:
    assert "SupportsShouldProcess" in PS1
    for cmdlet in ("Stop-ScheduledTask", "Unregister-ScheduledTask", "Remove-Item", "Start-ScheduledTask -"):
        before = PS1[: PS1.index(f"    {cmdlet}")].splitlines()
        assert any("ShouldProcess" in line for line in before[-2:]), cmdlet


def test_the_elements_it_fills_in_are_in_the_task() -> None:
    paths = set(re.findall(r"\$task\.Task\.([\w.]+?)(?: |\)|\.RemoveChild)", PS1))
    assert "Actions.Exec.Arguments" in paths
    for path in paths:
        assert ET.parse(TASK).getroot().find("/".join(f"{{{NAMESPACE}}}{p}" for p in path.split("."))) is not None


def test_task_and_script_agree_on_places() -> None:
    assert value("Actions/Exec/Command") == r"%LOCALAPPDATA%\mhfd\venv\Scripts\pythonw.exe"
    assert "$Folder = Join-Path $env:LOCALAPPDATA 'mhfd'" in PS1 and "$Venv = Join-Path $Folder 'venv'" in PS1
    assert f"\\{re.search(r'TaskName = .(.*).', PS1)[1]}" == value("RegistrationInfo/URI")  # type: ignore[index]


def test_the_python_in_both_scripts_is_python() -> None:
    inside = re.findall(r"'(import sys; [^']+)'", PS1 + INSTALL.read_text(encoding="utf-8"))
    assert len(inside) == 4
    for source in inside:
        ast.parse(source)
        assert '"' not in source  # Windows PowerShell would take it away


def test_a_supported_python_passes_the_check() -> None:
    checks = set(re.findall(r"'(import sys; [^']*version_info[^']+)'", PS1))
    assert [subprocess.run([sys.executable, "-c", check]).returncode for check in checks] == [0]


@pytest.mark.parametrize("file", [PS1, INSTALL.read_text(encoding="utf-8")], ids=["ps1", "sh"])
def test_the_commands_it_calls_are_ours(file: str) -> None:
    for words in ("init", "config validate"):
        assert words in file or f"'{words.split()[0]}', '{words.split()[-1]}'" in file
        group, *rest = words.split()
        from mhfd_client.cli import main

        command = main.get_command(click.Context(main), group)
        for name in rest:
            assert isinstance(command, click.Group) and name in command.commands


# --- The page ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", re.findall(r"install\.sh (--[\w-]+)", README))
def test_the_options_on_the_page_exist(option: str) -> None:
    assert f"{option}" in INSTALL.read_text(encoding="utf-8").partition("TEXT\n}")[0]


def test_the_page_links_to_what_is_there() -> None:
    for target in re.findall(r"\]\(([^):]+)\)", README):
        assert (DEPLOY / target).exists()
