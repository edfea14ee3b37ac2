"""The commands and code of the README and the examples work as written."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner
from PIL import Image

from mhfd.contract import ErrorCode, ExitCode, FocusResult, Provenance
from mhfd_client.cli import main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder `run` in the working folder, with the files that the README names."""
    monkeypatch.chdir(tmp_path)
    Path("run").mkdir()
    rng = np.random.default_rng(7)
    for name in ("a.tif", "b.tif", "s0001_r0_c1.tif", "s0001_r1_c0.tif"):
        tile = rng.integers(0, 255, (64, 64), np.uint8)
        tifffile.imwrite(Path("run") / name, tile, resolution=(2e6, 2e6), resolutionunit="CENTIMETER")
    return tmp_path


def blocks(language: str) -> str:
    return "\n".join(re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL))


def test_the_python_of_the_readme_runs(run: Path) -> None:
    names: dict[str, Any] = {}
    exec(compile(blocks("python"), "README.md", "exec"), names)
    assert [row.status for row in (names["result"], *names["results"])] == ["scored"] * 3
    assert len(names["features"]) == names["result"].features


# Those with an endpoint are run against one in tests/loopback/test_commands.py.
SCORE_HERE = [each for each in blocks("sh").splitlines() if each.startswith("mhfd score") and "--endpoint" not in each]


@pytest.mark.parametrize("line", SCORE_HERE)
def test_the_score_commands_of_the_readme_run(run: Path, line: str) -> None:
    command = line.partition("#")[0].partition(">")[0].split()
    assert CliRunner().invoke(main, command[1:]).exit_code == 0


def watched(page: str) -> list[str]:
    """The commands around a watch, in the order in which the page gives them."""
    names = (
        "init", "watch", "runs", "status", "alerts", "export", "retakes", "reference", "calibrate", "retry", "replay",
        "ledger", "prune",
    )  # fmt: skip
    begins = tuple(f"mhfd {name} " for name in names)
    text = "\n".join(re.findall(r"```sh\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), flags=re.DOTALL))
    return [line.partition("#")[0].strip() for line in text.splitlines() if line.startswith(begins)]


@pytest.mark.parametrize("page", ["README.md", "docs/microscope.md", "docs/terminal.md"])
def test_the_commands_around_a_watch_run(run: Path, monkeypatch: pytest.MonkeyPatch, page: str) -> None:
    monkeypatch.setenv("MHFD_LEDGER", str(run / "ledger.db"))
    monkeypatch.setenv("MHFD_CONFIG", str(run / "config.toml"))
    monkeypatch.setenv("MHFD_SETTLE_S", "0.1")
    commands = watched(page)
    if not any(
        command.startswith("mhfd init") for command in commands
    ):  # the page is about a run that there is already
        commands = ["mhfd init", "mhfd watch run/", *commands]
    for command in commands:
        if command == "mhfd init":
            command += " --folder run --yes"  # nobody is there to be asked
        if command.startswith("mhfd watch") and "--dry-run" not in command:
            command += " --once"  # else it would not end
        done = CliRunner().invoke(main, shlex.split(command)[1:])
        assert done.exit_code == 0, f"{command}: {done.output}"


def test_the_table_of_exit_codes_is_that_of_the_program() -> None:
    table = README.partition("| exit code | meaning |")[2].partition("\n\n")[0]
    assert [int(code) for code in re.findall(r"^\| (\d+) \|", table, flags=re.MULTILINE)] == [int(c) for c in ExitCode]


@pytest.mark.parametrize("target", re.findall(r"^make (\w+)", blocks("sh"), flags=re.MULTILINE))
def test_the_make_targets_of_the_readme_exist(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)


def test_the_files_that_the_texts_link_to_exist() -> None:
    for text in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#:]+)\)", text.read_text(encoding="utf-8")):
            assert (text.parent / target).is_file(), f"{text.name} links to {target}"


def test_the_results_page_lists_every_error_code_and_every_key() -> None:
    page = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    provenance = Provenance(mhfd="", params_sha256="", backend="", device="")
    keys = FocusResult(path="", status="failed", provenance=provenance).to_dict()
    for name in (*get_args(ErrorCode), *keys):
        assert f"`{name}`" in page, name


def test_the_example_draws_features(run: Path) -> None:
    script = ROOT / "examples" / "draw_features.py"
    subprocess.run([sys.executable, script, "run/a.tif", "run/b.tif", "out.png"], check=True)
    with Image.open("out.png") as picture:
        assert picture.size == (2 * 3 * 200 + 12, 3 * 200)
