"""The first hour with the commands: mistyped names, long lists of failures, a first run that compiles."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner, Result

from mhfd_client import logs
from mhfd_client.cli import main
from mhfd_client.compute.local import LocalCompute
from mhfd_client.files.near import did_you_mean, nearest_folder

COMPILING = "compiling the kernel once, about half a minute; later runs start at once"


def invoke(*args: str | Path) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args])


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder `run` of three tiles in the working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MHFD_CONFIG", os.devnull)
    monkeypatch.setenv("MHFD_LEDGER", str(tmp_path / "ledger.db"))
    (tmp_path / "run").mkdir()
    rng = np.random.default_rng(1)
    for k in range(3):
        tifffile.imwrite(tmp_path / "run" / f"t{k}.tif", rng.integers(0, 255, (48, 48), np.uint8))
    return tmp_path / "run"


# --- Mistyped names -----------------------------------------------------------------------------------------------


def test_a_mistyped_folder_is_wrong_usage_and_the_right_one_is_named(run: Path) -> None:
    result = invoke("score", "rum")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "rum: no such file or folder; did you mean run?" in result.stderr


def test_all_of_several_mistyped_names_are_told(run: Path) -> None:
    result = invoke("score", "rum", "nothing like it")
    assert result.exit_code == 2
    assert "rum: no such file or folder; did you mean run? nothing like it: no such file or folder\n" in result.stderr


def test_a_pattern_that_matches_nothing_is_wrong_usage(run: Path) -> None:
    result = invoke("score", "run/*.tiff")
    assert result.exit_code == 2
    assert "run/*.tiff: no file matches" in result.stderr


def test_among_names_that_exist_a_mistyped_one_is_a_failed_row_with_the_right_name(run: Path) -> None:
    result = invoke("score", "run", "rum", "--json")
    assert result.exit_code == 3
    rows = json.loads(result.stdout)
    assert [row["status"] for row in rows] == ["scored"] * 3 + ["failed"]
    assert rows[3]["error"]["code"] == "not_found"
    assert rows[3]["error"]["message"].endswith("; did you mean run?")


def test_a_mistyped_file_is_a_failed_row_with_the_right_name(run: Path) -> None:
    result = invoke("score", "rum/t1.tif", "--json")
    assert result.exit_code == 3
    (row,) = json.loads(result.stdout)
    assert row["error"]["message"].endswith(f"; did you mean {Path('run', 't1.tif')}?")


@pytest.mark.parametrize(
    "command",
    [["watch", "rum"], ["watch", "rum", "--once"], ["replay", "rum", "--into", "copy"], ["recover", "rum"]],
    ids=" ".join,
)
def test_other_commands_name_the_folder_that_was_meant(run: Path, command: list[str]) -> None:
    result = invoke(*command)
    assert result.exit_code == 2
    assert "did you mean run?" in result.stderr


@pytest.mark.parametrize("command", ["status", "export", "retry --failed"])
def test_commands_on_a_run_name_the_run_that_was_meant(run: Path, command: str) -> None:
    assert invoke("watch", "run", "--once").exit_code == 0
    result = invoke(*command.split(), "rum")
    assert result.exit_code == 78
    assert f"did you mean {run}?" in result.stderr


def test_only_what_exists_is_suggested(run: Path) -> None:
    assert did_you_mean("rum/t7.tif") == ""
    assert did_you_mean("rum", folder=True) == "; did you mean run?"
    assert did_you_mean("run/t1.tiff", folder=True) == ""
    assert did_you_mean("far/away/from.everything") == ""


def test_the_nearest_run_is_that_of_a_similar_last_name() -> None:
    assert nearest_folder("/data/em/rum", ["/data/em/run", "/data/em/other"]) == "/data/em/run"
    assert nearest_folder("/data/em/rum", ["/data/em/other"]) is None


# --- Failures in numbers --------------------------------------------------------------------------------------------


def test_tiles_refused_for_one_reason_are_one_line(run: Path) -> None:
    for k in range(60):
        (run / f"notes{k:02}.tif").write_text("x" * (10 + k))  # no two of a size
    lines = invoke("score", "run").stdout.splitlines()
    why = [line for line in lines if line.startswith("failed:")]
    assert len(why) == 1
    assert why[0].startswith("failed: 60 tiles: the file ")
    assert why[0].endswith("(not_an_image): notes00.tif, notes01.tif, notes02.tif and 57 more")
    assert len(lines) < 70


def test_tiles_refused_for_different_reasons_are_told_apart(run: Path) -> None:
    (run / "a.tif").write_text("not an image")
    (run / "b.tif").touch()
    why = [line for line in invoke("score", "run").stdout.splitlines() if line.startswith("failed:")]
    assert len(why) == 2
    assert "a.tif" in why[0] and "b.tif" in why[1]


# --- The first run compiles -----------------------------------------------------------------------------------------


def compile_the_kernel(name: str) -> None:
    """What numba reports when it has nothing in its cache for a loop."""
    from mhfd.compiler import event
    from mhfd.kernel import compiled_loops
    from mhfd.kernel.loops import cascade, noise

    home = {"cascade": cascade, "count_noise": noise}.get(name, compiled_loops)
    loop = getattr(home, name)
    event.broadcast(event.Event("numba:compile", event.EventStatus.START, {"dispatcher": loop}))


@pytest.fixture
def first_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget that this process has told of a first run."""
    pytest.importorskip("numba")
    from mhfd.kernel import compiled_loops

    monkeypatch.setattr(compiled_loops.FIRST_RUN, "told", False)


@pytest.mark.usefixtures("first_run")
def test_a_first_run_says_once_that_it_compiles(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logs.KERNEL):
        for name in ("count_levels", "count_noise", "cascade"):
            compile_the_kernel(name)
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [("INFO", COMPILING)]


@pytest.mark.usefixtures("first_run")
def test_another_type_of_pixels_is_not_a_first_run(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logs.KERNEL):
        compile_the_kernel("count_levels")
    assert not caplog.records


@pytest.mark.usefixtures("first_run")
@pytest.mark.parametrize(("terminal", "told"), [(True, f"{COMPILING}\n"), (False, "")])
def test_a_command_says_so_where_a_person_sees_it(
    terminal: bool, told: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    with logs.first_run_on_screen():
        compile_the_kernel("cascade")
    compile_the_kernel("cascade")
    assert capsys.readouterr().err == told


@pytest.mark.usefixtures("first_run")
def test_a_library_is_silent(capfd: pytest.CaptureFixture[str]) -> None:
    compile_the_kernel("cascade")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("terminal", [True, False])
def test_a_first_run_in_the_background_is_told_where_a_person_sees_it(terminal: bool, tmp_path: Path) -> None:
    pytest.importorskip("numba")
    from mhfd.kernel.machine_code import MEANWHILE

    script = (
        "import sys\n"
        "from mhfd_client import logs\n"
        "from mhfd.kernel import machine_code\n"
        "machine_code._PROGRAM = ''\n"
        f"sys.stderr.isatty = lambda: {terminal}\n"
        "with logs.first_run_on_screen():\n"
        "    machine_code.make_meanwhile()\n"
    )
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment)
    assert (done.stdout, done.stderr) == ("", f"{MEANWHILE}\n" if terminal else "")


def test_of_the_workers_the_first_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with logs.first_run_on_screen():
        compute = LocalCompute(3)
        compute.connect()
    assert [lane._tells_first_run for lane in compute._lanes] == [True, False, False]
    compute.close()
    silent = LocalCompute(2)
    silent.connect()
    assert [lane._tells_first_run for lane in silent._lanes] == [False, False]
    silent.close()


@pytest.mark.parametrize("tells", [True, False])
def test_a_worker_goes_on_to_say_so_if_it_is_asked_to(tells: bool) -> None:
    script = (
        "import gc, sys\n"
        "from mhfd_client import logs\n"
        "from mhfd_client.compute import local\n"
        "sys.stderr.isatty = lambda: True\n"
        f"local._begin({{}}, {tells})\n"
        "gc.collect()\n"
        "print(logs.is_first_run_on_screen())\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == f"{tells}\n"


# --- The demo -------------------------------------------------------------------------------------------------------


def test_the_demo_needs_no_extra_and_gives_no_advice(tmp_path: Path) -> None:
    """`make demo` installs none, and so few tiles are scored as fast."""
    script = (
        "import importlib.util, sys\n"
        "find = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *rest: None if name in ('numba', 'cupy') else find(name, *rest)\n"
        "sys.modules.update(dict.fromkeys(('numba', 'cupy', 'imagecodecs', 'matplotlib', 'globus_compute_sdk')))\n"
        "from mhfd_client.cli import main\n"
        "main(['demo', '--out', 'demo', '--sections', '1', '--tile-px', '128'])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert (tmp_path / "demo" / "report.html").is_file()
    assert "(numpy, cpu)" in done.stdout
    assert done.stderr == ""
