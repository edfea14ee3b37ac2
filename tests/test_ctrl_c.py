"""Ctrl-C in the commands, and in this suite itself when a script runs it in the background."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mhfd.contract import ExitCode

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="SIGINT cannot be sent to one process on Windows")


def test_the_suite_passes_on_ctrl_c_though_a_script_runs_it_in_the_background() -> None:
    """A shell without job control starts what comes before `&` with SIGINT ignored, and children inherit that."""
    test = f"{Path(__file__).name}::test_a_child_gets_ctrl_c"
    script = f'"{sys.executable}" -m pytest -q -p no:cacheprovider -p no:xdist "tests/{test}" & wait $!'
    done = subprocess.run(["sh", "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout


def test_a_child_gets_ctrl_c() -> None:
    sleeper = [sys.executable, "-c", "import time; print('ready', flush=True); time.sleep(60)"]
    with subprocess.Popen(sleeper, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as child:
        assert child.stdout is not None
        child.stdout.readline()
        child.send_signal(signal.SIGINT)
        assert child.wait(30) == -signal.SIGINT


@pytest.mark.parametrize(
    ("blocks", "command"),
    [
        ("mhfd_client.files.find.Search.__init__", ["score", "."]),
        ("mhfd_client.replay.plan_replay", ["replay", ".", "--into", "copy"]),
        ("mhfd_client.simulate.simulate_run", ["simulate", "out"]),
        ("mhfd_client.doctor.examine", ["doctor"]),
        ("mhfd_client.config.load_config", ["config", "validate"]),
    ],
    ids=lambda each: each[0] if isinstance(each, list) else "",
)
def test_ctrl_c_before_the_first_tile_is_interrupted_and_not_out_of_focus(
    blocks: str, command: list[str], tmp_path: Path
) -> None:
    """Exit code 1, which click gives for Ctrl-C, means that tiles out of focus were found."""
    module, _, name = blocks.rpartition(".")
    driver = tmp_path / "driver.py"
    driver.write_text(
        "import pkgutil, sys, time\n"
        "def wait(*args, **kwargs):\n"
        "    print('waiting', file=sys.stderr, flush=True)\n"
        "    time.sleep(60)\n"
        f"setattr(pkgutil.resolve_name({module!r}), {name!r}, wait)\n"
        "from mhfd_client.cli import main\n"
        "main()\n"
    )
    environment = {**os.environ, "MHFD_CONFIG": os.devnull}
    with subprocess.Popen(
        [sys.executable, driver, *command], stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=environment
    ) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "waiting\n"
        process.send_signal(signal.SIGINT)
        said = process.stderr.read()
    assert process.returncode == ExitCode.INTERRUPTED
    assert said == "Interrupted.\n"
