"""The commands as a user runs them: output, exit codes, what goes where."""

from __future__ import annotations

import csv
import errno
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner, Result
from scipy import ndimage

from mhfd.contract import FocusResult
from mhfd_client.cli import main
from mhfd_client.views.terminal import common_folder


def invoke(*args: str | Path) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven tiles of one texture: the last blurred, and a text file called .tif beside them."""
    folder = tmp_path_factory.mktemp("run")
    rng = np.random.default_rng(5)
    for i in range(7):
        scene = ndimage.gaussian_filter(rng.normal(size=(160, 160)), 1.2 if i < 6 else 4.0)
        noisy = 128 + 30 * scene / scene.std() + rng.normal(0, 2, scene.shape)
        tifffile.imwrite(folder / f"t{i}.tif", np.clip(noisy, 0, 255).astype(np.uint8))
    return folder


@pytest.fixture
def run_with_a_bad_file(run: Path, tmp_path: Path) -> Path:
    for path in run.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "notes.tif").write_text("not an image")
    return tmp_path


def test_json_is_an_array_of_schema_1_and_nothing_else(run: Path) -> None:
    result = invoke("score", run, "--json")
    rows = json.loads(result.stdout)
    assert [Path(row["path"]).name for row in rows] == [f"t{i}.tif" for i in range(7)]
    assert all(FocusResult.from_dict(row).to_dict() == row for row in rows)


def test_the_blurred_tile_is_found(run: Path) -> None:
    rows = json.loads(invoke("score", run, "--json").stdout)
    assert [row["verdict"] for row in rows] == ["in_focus"] * 6 + ["out_of_focus"]


def test_all_scored_is_exit_code_0(run: Path) -> None:
    assert invoke("score", run).exit_code == 0


def test_fail_on_oof_is_exit_code_1(run: Path) -> None:
    assert invoke("score", run, "--fail-on-oof").exit_code == 1


def test_a_bad_file_is_a_failed_row_and_exit_code_3(run_with_a_bad_file: Path) -> None:
    result = invoke("score", run_with_a_bad_file, "--json")
    rows = {Path(row["path"]).name: row for row in json.loads(result.stdout)}
    assert result.exit_code == 3
    assert rows["notes.tif"]["error"]["code"] == "not_an_image"
    assert sum(row["status"] == "scored" for row in rows.values()) == 7


def test_a_missing_file_is_a_failed_row(tmp_path: Path) -> None:
    result = invoke("score", tmp_path / "gone.tif", "--json")
    assert result.exit_code == 3
    assert json.loads(result.stdout)[0]["error"]["code"] == "not_found"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--n-scales", "0"], "n_scales must be a whole number of at least 1"),
        (["--min-t", "20"], "0 < min_t < max_t"),
        (["--saturate", "0.7"], "saturate must lie between"),
        (["--polarity", "grey"], "is not one of"),
        (["--exclude-bottom-px", "-3"], "exclude_bottom_px must be a whole number"),
        (["--no-such-option"], "No such option"),
    ],
)
def test_wrong_usage_is_exit_code_2_with_a_reason(run: Path, args: list[str], message: str) -> None:
    result = invoke("score", run, *args)
    assert result.exit_code == 2
    assert message in result.stderr


def test_rows_are_left_out_as_asked_for(run: Path) -> None:
    options = ("--exclude-top-px", "5", "--exclude-bottom-px", "7")
    for row in json.loads(invoke("score", run, "--json", *options).stdout):
        rows, cols = row["shape"]
        assert row["picture"] == [5, 0, rows - 12, cols]


def test_a_folder_without_images_is_wrong_usage(tmp_path: Path) -> None:
    result = invoke("score", tmp_path)
    assert result.exit_code == 2
    assert "no image files" in result.stderr


def test_an_unknown_endpoint_is_exit_code_78(run: Path) -> None:
    result = invoke("score", run, "--endpoint", "dgx")
    assert result.exit_code == 78
    assert "no endpoint named 'dgx'" in result.stderr


def test_an_unknown_backend_names_those_there_are(run: Path) -> None:
    result = invoke("score", run, "--backend", "abacus")
    assert result.exit_code == 2
    assert "'numpy'" in result.stderr


def test_a_table_that_cannot_be_written_is_exit_code_75_before_the_work(run: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = invoke("score", run, "--json", "--csv", tmp_path / "file" / "out.csv")
    assert result.exit_code == 75
    assert result.stdout == ""
    assert "out.csv cannot be written" in result.stderr


def test_a_disk_that_is_full_in_the_end_is_exit_code_75_after_the_results(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("mhfd_client.views.terminal.write_csv", full)
    out, page = tmp_path / "out.csv", tmp_path / "out.html"
    result = invoke("score", run, "--json", "--csv", out, "--html", page)
    assert result.exit_code == 75
    assert len(json.loads(result.stdout)) == 7
    assert "out.csv cannot be written: No space left on device" in result.stderr
    assert list(tmp_path.iterdir()) == [page]  # the report is written all the same


def test_the_table_lists_each_tile_when_piped(run: Path) -> None:
    out = invoke("score", run).stdout
    assert all(f"t{i}.tif" in out for i in range(7))
    assert out.splitlines()[-1].startswith("7 tiles: 6 in focus, 1 out of focus (")  # and the backend
    assert "\x1b" not in out  # no colours in a pipe


def test_the_table_names_the_common_folder_once(run: Path) -> None:
    assert invoke("score", run).stdout.count(str(run)) == 1


@pytest.mark.parametrize(
    ("paths", "folder"),
    [
        (["run/a.tif", "run/b.tif"], "run/"),
        (["run/ab/1.tif", "run/ac/1.tif"], "run/"),
        (["run/a.tif"], "run/"),
        (["a.tif", "b.tif"], ""),
        (["/x/a.tif", "y/b.tif"], ""),
        ([], ""),
    ],
)
def test_the_common_folder(paths: list[str], folder: str) -> None:
    assert common_folder(paths) == folder


def test_a_failed_tile_says_why_below_the_table(run_with_a_bad_file: Path) -> None:
    out = invoke("score", run_with_a_bad_file).stdout
    assert re.search(r"^failed: .*notes\.tif .*\(not_an_image\)$", out, flags=re.MULTILINE)


def test_csv_has_a_line_a_tile(run_with_a_bad_file: Path, tmp_path: Path) -> None:
    table = tmp_path / "out.csv"
    invoke("score", run_with_a_bad_file, "--csv", table)
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 8
    assert [row["error_code"] for row in rows].count("not_an_image") == 1
    assert float(rows[-1]["focus_score"]) < float(rows[1]["focus_score"])


def test_html_is_one_file_without_links(run_with_a_bad_file: Path, tmp_path: Path) -> None:
    page = tmp_path / "out.html"
    invoke("score", run_with_a_bad_file, "--html", page)
    text = page.read_text(encoding="utf-8")
    # A sharp and a blurred tile with features, the blurred one beside a sharp one, the map on light and on dark.
    assert text.count("data:image/png;base64,") == 2 + 2 + 2
    assert "<circle" in text
    assert not re.search(r"""(src|href)=["']?(https?:|//|/|file:)""", text)
    assert "<script src" not in text


def test_parameters_reach_the_kernel(run: Path) -> None:
    default, scales = (
        json.loads(invoke("score", run, "--json", *more).stdout)[0] for more in ([], ["--n-scales", "3"])
    )
    assert len(scales["features_by_scale"]) == 3
    assert scales["provenance"]["params_sha256"] != default["provenance"]["params_sha256"]


def test_scales_in_nm_need_a_pixel_size(run: Path) -> None:
    nm = ["--unit", "nm", "--min-t", "5", "--max-t", "80", "--json"]
    without, given = invoke("score", run, *nm), invoke("score", run, *nm, "--pixel-size-nm", "5")
    assert json.loads(without.stdout)[0]["error"]["code"] == "no_pixel_size"
    assert json.loads(given.stdout)[0]["scales_px"][0] == 1.0


def test_simulate_then_score(tmp_path: Path) -> None:
    out = tmp_path / "sim"
    plan = ["--sections", "1", "--rows", "1", "--cols", "2", "--tile-px", "128"]
    assert invoke("simulate", out, *plan).exit_code == 0
    assert len(json.loads(invoke("score", out, "--json").stdout)) == 2


def test_simulate_refuses_a_folder_with_other_files(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    result = invoke("simulate", tmp_path)
    assert result.exit_code == 2
    assert "Choose a new or empty folder" in result.stderr


def test_demo_catches_the_bad_tiles_and_writes_its_report(tmp_path: Path) -> None:
    plan = ["--sections", "2", "--rows", "2", "--cols", "3", "--tile-px", "256"]
    result = invoke("demo", "--out", tmp_path / "demo", *plan)
    assert result.exit_code == 0, result.output
    caught = re.search(r"(\d+) of (\d+) bad tiles caught, 0 false alarms", result.stdout)
    assert caught and caught[1] == caught[2] != "0"
    assert (tmp_path / "demo" / "report.html").is_file()
    assert len(json.loads((tmp_path / "demo" / "results.json").read_text(encoding="utf-8"))) == 12


def test_help_loads_neither_numpy_nor_globus() -> None:
    code = (
        "import sys\n"
        "from mhfd_client.cli import main\n"
        "try: main(['score', '--help'])\n"
        "except SystemExit: pass\n"
        "print([m for m in sys.modules if m in ('numpy', 'scipy', 'rich', 'tifffile') or m.startswith('globus')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.skipif(sys.platform == "win32", reason="SIGINT cannot be sent to one process on Windows")
def test_ctrl_c_prints_what_is_done_and_exits_130(run: Path, tmp_path: Path) -> None:
    """Reading the last tile takes long enough to be interrupted in it."""
    for path in run.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    slow = tmp_path / "driver.py"
    slow.write_text(
        "import signal, sys, threading\n"
        "import mhfd.scoring.api as scorer\n"
        "interrupted = threading.Event()\n"
        "def interrupt(*arguments):\n"
        "    interrupted.set()\n"
        "    signal.default_int_handler(*arguments)\n"
        "signal.signal(signal.SIGINT, interrupt)\n"
        "read = scorer.read_only_tile\n"
        "def read_slowly(path, *args, **kwargs):\n"
        "    if 't6' in str(path):\n"
        "        print('waiting', file=sys.stderr, flush=True)\n"
        "        interrupted.wait(20)\n"
        "    return read(path, *args, **kwargs)\n"
        "scorer.read_only_tile = read_slowly\n"
        "from mhfd_client.cli import main\n"
        "main()\n"
    )
    command = [sys.executable, slow, "score", tmp_path, "--json", "--workers", "1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    assert process.stderr.readline() == "waiting\n"
    os.kill(process.pid, signal.SIGINT)
    stdout, stderr = process.communicate(timeout=30)
    assert process.returncode == 130
    done = [Path(row["path"]).name for row in json.loads(stdout)]
    assert len(done) in (5, 6)  # the sixth may just be on its way when the signal comes
    assert done == [f"t{i}.tif" for i in range(len(done))]
    assert f"Interrupted: {len(done)} tiles are done" in stderr
    assert "Traceback" not in stderr
