"""Mistyped names are answered with the nearest and exit code 2; a shell completes names, and imports nothing heavy."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from mhfd_client.cli import main

CONFIG = """
[endpoints.dgx]
uuid = "00000000-0000-0000-0000-000000000000"
[profiles.merlin]
folder = "x"
[profiles.gemini]
folder = "x"
"""


@pytest.mark.parametrize(
    ("typed", "hint"),
    [
        ("statsu", "No such command 'statsu'; did you mean 'status'?"),
        ("zzz", "No such command 'zzz'; known: init, watch, "),
        ("reference lst", "No such command 'lst'; did you mean 'list'?"),
        ("score run --nscales 3", "Did you mean --n-scales?"),
        ("score run --polarity drak", "Did you mean 'dark'?"),
        ("watch run --layout sbem", "Did you mean 'sbemimage'?"),
    ],
)
def test_the_nearest_name_is_told(typed: str, hint: str) -> None:
    done = CliRunner().invoke(main, typed.split())
    assert (done.exit_code, done.stdout) == (2, "")
    assert hint in done.stderr


@pytest.mark.parametrize(("option", "meant"), [("--profile", "merlin"), ("--endpoint", "dgx")])
def test_the_nearest_name_of_the_configuration_is_told(tmp_path: Path, option: str, meant: str) -> None:
    (tmp_path / "config.toml").write_text(CONFIG)
    typed = f"{meant}x"
    done = CliRunner().invoke(main, ["watch", str(tmp_path), option, typed, "--config", str(tmp_path / "config.toml")])
    assert done.exit_code == 78
    assert f"named '{typed}'" in done.stderr
    assert f"did you mean '{meant}'?" in done.stderr


# --- Completion -----------------------------------------------------------------------------------------------------

PROGRAM = """
import sys
from mhfd_client.cli import main
try:
    main(prog_name="mhfd")
finally:
    heavy = [name for name in sys.modules if name in ("numpy", "scipy", "rich") or name.startswith("globus")]
    assert not heavy, heavy
"""


def asked(instruction: str, **environ: str) -> str:
    """What the shell gets."""
    given = {**os.environ, "_MHFD_COMPLETE": instruction, **environ}
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, env=given, check=False)
    assert not done.stderr
    return done.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_a_script(shell: str) -> None:
    if shell == "bash" and not shutil.which("bash"):
        pytest.skip("click asks bash for its version")
    assert f"_MHFD_COMPLETE={shell}_complete" in asked(f"{shell}_source")


@pytest.mark.parametrize(
    ("typed", "names"),
    [
        ("st", ["status"]),
        ("reference ", ["list", "show", "set", "forget"]),
        ("watch --profile ", ["merlin", "gemini"]),
        ("watch --endpoint d", ["dgx"]),
        ("score --endpoint ", ["local", "dgx"]),
        ("config show --profile g", ["gemini"]),
        ("watch --layout s", ["sbemimage"]),
        ("doctor --endpoint l", ["local"]),
    ],
)
def test_names_are_completed(tmp_path: Path, typed: str, names: list[str]) -> None:
    (tmp_path / "config.toml").write_text(CONFIG)
    words = f"mhfd {typed}"
    number = len(words.split(" ")) - 1
    found = asked("bash_complete", COMP_WORDS=words, COMP_CWORD=str(number), MHFD_CONFIG=str(tmp_path / "config.toml"))
    assert sorted(line.partition(",")[2] for line in found.splitlines()) == sorted(names)


def test_a_configuration_that_cannot_be_read_completes_nothing(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("= = =")
    words = "mhfd watch --profile "
    found = asked("bash_complete", COMP_WORDS=words, COMP_CWORD="3", MHFD_CONFIG=str(tmp_path / "config.toml"))
    assert not found.strip()
