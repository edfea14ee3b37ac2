"""The endpoint as a service: systemd accepts the unit; the script installs what it says, and nothing twice."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from needs import need

CHECKOUT = Path(__file__).parents[2]
DEPLOY = CHECKOUT / "deploy" / "endpoint"
INSTALL = DEPLOY / "install.sh"
UNIT = DEPLOY / "mhfd-endpoint.service"
FOLDER = "var/lib/mhfd/.globus_compute/mhfd"
REGISTERED = """\
score_inline 0.1.0  registered
Put this into config.yaml of the endpoint:

allowed_functions:
  - 5e7ad2a4-7a4c-4c0e-8a1c-3f6b1a2f0c11  # score_inline 0.1.0
  - 0f3c7a52-1d2e-4b7a-9c55-7f8e9d0a1b2c  # describe 0.1.0

Then restart the endpoint.
"""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="services of systemd are for Linux")


def install(*options: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    command = ["bash", str(INSTALL), "--python", sys.executable, *map(str, options)]
    return subprocess.run(command, capture_output=True, text=True, check=check, timeout=60)


def tree(root: Path) -> dict[str, tuple[int, bytes]]:
    """Each file below `root`: its permissions and its bytes."""
    files = (path for path in sorted(root.rglob("*")) if path.is_file())
    return {str(path.relative_to(root)): (path.stat().st_mode & 0o777, path.read_bytes()) for path in files}


def allow(config: Path, printed: str, *, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run the script on the output of `mhfd register`."""
    command = ["bash", "-c", f'. "{INSTALL}"; allow_functions "$1"', "-", str(config)]
    return subprocess.run(command, input=printed, capture_output=True, text=True, check=check, timeout=60)


# The script


def test_shellcheck_finds_nothing() -> None:
    command = [need("shellcheck", "shellcheck"), str(INSTALL)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_script_can_be_executed() -> None:
    assert os.access(INSTALL, os.X_OK)


def test_a_dry_run_names_every_step_and_does_none() -> None:
    before = [Path(path).exists() for path in ("/opt/mhfd", "/var/lib/mhfd", "/etc/mhfd")]
    said = install("--dry-run", "--data", "/data/em tiles").stdout
    assert before == [Path(path).exists() for path in ("/opt/mhfd", "/var/lib/mhfd", "/etc/mhfd")]
    steps = (
        "-m venv",
        "pip install",
        "user_config_template",
        "endpoint.service",
        "endpoint login",
        "mhfd register",
        "restart",
    )
    places = [said.find(step) for step in steps]
    assert -1 not in places and places == sorted(places)
    assert not re.search("secret", said, re.IGNORECASE)


def test_it_installs_a_complete_endpoint_folder(tmp_path: Path) -> None:
    install("--root", tmp_path)
    source = CHECKOUT / "endpoint_configs" / "dgx-a100"
    expected = {path.name: path.read_bytes() for path in source.iterdir() if path.is_file()}
    assert {path.name: path.read_bytes() for path in (tmp_path / FOLDER).iterdir()} == expected


def test_the_file_for_secrets_is_for_root_only(tmp_path: Path) -> None:
    install("--root", tmp_path)
    assert tree(tmp_path)["etc/mhfd/endpoint.env"][0] == 0o600


def test_a_second_run_changes_nothing(tmp_path: Path) -> None:
    install("--root", tmp_path, "--data", "/data/em tiles")
    allow(tmp_path / FOLDER / "config.yaml", REGISTERED)
    before = tree(tmp_path)
    said = install("--root", tmp_path, "--data", "/data/em tiles").stdout
    assert tree(tmp_path) == before
    assert "kept" not in said


def test_what_an_administrator_changed_is_kept_and_the_new_version_put_beside(tmp_path: Path) -> None:
    install("--root", tmp_path)
    mine = tmp_path / FOLDER / "user_environment.yaml"
    shipped = mine.read_bytes()
    mine.write_text('GCS_LOCAL_MAPS: "{}"\n')
    said = install("--root", tmp_path).stdout
    assert mine.read_text() == 'GCS_LOCAL_MAPS: "{}"\n'
    assert mine.with_name("user_environment.yaml.new").read_bytes() == shipped
    assert str(mine) in said


@pytest.mark.parametrize("config", ["workstation", "cpu", "slurm", "pbs"])
def test_any_configuration_can_be_installed(config: str, tmp_path: Path) -> None:
    install("--root", tmp_path, "--config", config)
    name = "user_config_template.yaml.j2"
    assert (tmp_path / FOLDER / name).read_bytes() == (CHECKOUT / "endpoint_configs" / config / name).read_bytes()


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["--config", "dgx"], 2),
        (["--config", "../deploy"], 2),
        (["--config"], 2),
        (["--data", "tiles"], 2),
        (["--data", '/data"\nUser=root'], 2),
        (["--root", "/nowhere", "--python", "/bin/false"], 78),
        (["--fast"], 2),
    ],
)
def test_a_wrong_option_is_refused_with_a_sentence(options: list[str], code: int) -> None:
    result = install("--dry-run", *options, check=False)
    assert result.returncode == code
    assert result.stderr.startswith("install.sh: ") and result.stdout == ""


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() == 0, reason="root may")
def test_without_rights_it_says_so_and_does_nothing() -> None:
    result = install(check=False)
    assert result.returncode == 77 and "sudo" in result.stderr


# The list of functions


def test_what_register_prints_becomes_the_list(tmp_path: Path) -> None:
    install("--root", tmp_path)
    config = tmp_path / FOLDER / "config.yaml"
    for _ in range(2):  # the second time it replaces the first
        allow(config, REGISTERED)
        lines = [line for line in config.read_text().splitlines() if line.startswith(("allowed_functions", "  - "))]
        assert lines == re.findall(r"^(?:allowed_functions|  - ).*", REGISTERED, flags=re.MULTILINE)


def test_the_list_is_one_that_the_endpoint_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not shutil.which("globus-compute-endpoint", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}"):
        need("globus-compute-endpoint", "nothing; python -m pip install globus-compute-endpoint")
    from globus_compute_endpoint.endpoint.config.utils import get_config

    install("--root", tmp_path)
    allow(tmp_path / FOLDER / "config.yaml", REGISTERED)
    assert get_config(tmp_path / FOLDER).allowed_functions == tuple(re.findall(r"[0-9a-f-]{36}", REGISTERED))


@pytest.mark.parametrize("printed", ["", "Sign in first.\n", "allowed_functions: []\n"])
def test_without_functions_the_list_stays_as_it_was(printed: str, tmp_path: Path) -> None:
    install("--root", tmp_path)
    config = tmp_path / FOLDER / "config.yaml"
    before = config.read_bytes()
    assert allow(config, printed, check=False).returncode == 78
    assert config.read_bytes() == before


def test_without_the_two_lines_nothing_is_overwritten(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("display_name: mine\n")
    assert allow(config, REGISTERED, check=False).returncode == 78
    assert config.read_text() == "display_name: mine\n"


# The unit


@pytest.mark.parametrize("data", [(), ("/data/em tiles", "/mnt/100%")], ids=["", "data"])
def test_systemd_takes_the_unit(data: tuple[str, ...], tmp_path: Path) -> None:
    analyze = need("systemd-analyze", "systemd")
    install("--root", tmp_path, *(word for folder in data for word in ("--data", folder)))
    unit = tmp_path / "etc/systemd/system" / UNIT.name
    # The program is not on this machine; everything else is verified unchanged.
    program = re.search(r"^ExecStart=(\S+)", unit.read_text(), flags=re.MULTILINE)
    assert program
    unit.write_text(unit.read_text().replace(program[1], "/bin/true"))
    assert (unit.parent / f"{unit.name}.d" / "data.conf").exists() == bool(data)
    result = subprocess.run([analyze, "verify", str(unit)], capture_output=True, text=True, check=True, timeout=60)
    assert result.stdout + result.stderr == ""  # it also prints what it merely ignores


def test_tasks_may_reach_the_folders_of_the_data_only(tmp_path: Path) -> None:
    install("--root", tmp_path, "--data", "/data/em tiles", "--data", "/mnt/100%")
    drop_in = (tmp_path / "etc/systemd/system" / f"{UNIT.name}.d" / "data.conf").read_text()
    folders = "/data/em tiles:/mnt/100%%"
    assert f'Environment="MHFD_ROOTS={folders}" "MHFD_OUT_ROOTS={folders}"' in drop_in.splitlines()
    assert install("--root", tmp_path, "--data", "/a:b", check=False).returncode == 2


def test_a_mistake_in_a_drop_in_would_be_seen(tmp_path: Path) -> None:
    """The test above sees what install.sh --data writes, not only the unit."""
    analyze = need("systemd-analyze", "systemd")
    install("--root", tmp_path, "--data", "/data")
    unit = tmp_path / "etc/systemd/system" / UNIT.name
    unit.write_text(re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", unit.read_text(), flags=re.MULTILINE))
    (unit.parent / f"{unit.name}.d" / "data.conf").write_text("[Service]\nReadWritePaths=data\n")
    result = subprocess.run([analyze, "verify", str(unit)], capture_output=True, text=True, timeout=60)
    assert "not absolute" in result.stderr


def setting(name: str) -> list[str]:
    return re.findall(rf"^{name}=(.*)$", UNIT.read_text(encoding="utf-8"), flags=re.MULTILINE)


@pytest.mark.parametrize("name", ["PrivateDevices", "DevicePolicy", "DeviceAllow", "MemoryDenyWriteExecute"])
def test_nothing_keeps_the_service_from_its_gpus(name: str) -> None:
    assert setting(name) == []


def test_it_comes_back_after_a_crash_and_after_a_boot() -> None:
    assert setting("Restart") == ["always"]
    assert setting("StartLimitIntervalSec") == ["0"]
    assert setting("WantedBy") == ["multi-user.target"]


def test_unit_and_script_agree_on_places() -> None:
    script = INSTALL.read_text(encoding="utf-8")
    constants = dict(re.findall(r"^readonly (\w+)=(\S+)$", script, flags=re.MULTILINE))
    assert setting("ExecStart") == [f"{constants['venv']}/bin/globus-compute-endpoint start {constants['name']}"]
    assert setting("EnvironmentFile") == [f"-{constants['settings']}"]
    assert f"HOME={constants['home'].replace('/var/lib', '%S')}" in setting("Environment")
    assert constants["unit"] == UNIT.name


def test_script_and_page_install_the_same_extras() -> None:
    script, project = INSTALL.read_text(encoding="utf-8"), (CHECKOUT / "pyproject.toml").read_text(encoding="utf-8")
    chosen = re.search(r"^extras=(\S+)$", script, flags=re.MULTILINE)
    always = re.search(r"\$\{checkout\}\[(.*),\$extras\]", script)
    assert chosen and always
    extras = f"{always[1]},{chosen[1]}"
    assert f'".[{extras}]"' in (CHECKOUT / "endpoint_configs" / "README.md").read_text(encoding="utf-8")
    for extra in extras.split(","):
        assert re.search(rf"^{extra} = \[", project, flags=re.MULTILINE)


def test_the_example_of_the_environment_holds_no_value() -> None:
    text = (DEPLOY / "endpoint.env.example").read_text(encoding="utf-8")
    assert all(line.startswith("#") for line in text.splitlines() if line)
