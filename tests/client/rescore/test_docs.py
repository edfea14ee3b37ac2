"""The commands of docs/rescore.md, and those of the README about archives, work as written."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import get_args

import click
import numpy as np
import pytest
import tifffile
from click.testing import CliRunner

from mhfd_client.cli import main
from mhfd_client.rescore.compare import Reason

ROOT = Path(__file__).parents[3]


def commands(page: str) -> list[str]:
    text = "\n".join(re.findall(r"```sh\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), flags=re.DOTALL))
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return [line for line in lines if line.startswith(("mhfd rescore", "mhfd compare"))]


@pytest.mark.parametrize("page", ["README.md", "docs/rescore.md"])
def test_the_commands_run_in_their_order(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("MHFD_CONFIG", "")
    monkeypatch.setenv("MHFD_LEDGER", str(tmp_path / "ledger.db"))
    Path("run").mkdir()
    rng = np.random.default_rng(1)
    for k in range(4):
        tifffile.imwrite(f"run/s0000_r0_c{k}.tif", rng.integers(0, 255, (48, 48), np.uint8))
    assert CliRunner().invoke(main, ["watch", "run", "--once"]).exit_code == 0  # what a job is compared with
    found = commands(page)
    assert found
    for line in found:
        words = shlex.split(line)[1:]
        if "--endpoint" in words:  # over the loopback, tests/loopback/test_rescore.py runs such ones
            command = main.get_command(click.Context(main), words[0])
            assert command is not None
            command.make_context(words[0], words[1:])
            continue
        job = next(iter(sorted(Path("run").glob(".mhfd/*/_SUCCESS.json"))), None)
        done = CliRunner().invoke(main, [word.replace("run/.mhfd/JOB", str(job and job.parent)) for word in words])
        assert done.exit_code == 0, f"{line}: {done.output}"


def test_the_page_explains_every_reason() -> None:
    page = (ROOT / "docs" / "rescore.md").read_text(encoding="utf-8")

    for reason in get_args(Reason):
        assert f"`{reason}`" in page, reason
