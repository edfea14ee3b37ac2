"""The commands that contact an endpoint, and the notebook, on the unmodified Globus stack."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat
import pytest
from click.testing import CliRunner, Result

from loopback.broker import wait_until
from loopback.endpoint import Endpoint
from mhfd import registry
from mhfd_client.cli import main
from mhfd_client.simulate import RunPlan, simulate_run
from notebooks import EXAMPLES, bare_environment, execute, kernel_of, texts

if TYPE_CHECKING:
    from loopback.stack import Loopback

ROOT = Path(__file__).parents[2]
NOTEBOOK = EXAMPLES / "score_with_uuid.ipynb"


def invoke(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def configured(loopback: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration with the endpoint "here", its functions registered; the folder it is in."""
    functions = tmp_path / "functions.json"
    registered = invoke("register", "--file", functions)
    assert registered.exit_code == 0, registered.output
    engine = 'user_endpoint_config = {engine = "ThreadPoolEngine"}'
    (tmp_path / "config.toml").write_text(
        f'[endpoints.here]\nuuid = "{loopback.endpoint_id}"\nfunctions_file = "functions.json"\n{engine}\n'
    )
    monkeypatch.setenv("MHFD_CONFIG", str(tmp_path / "config.toml"))
    return tmp_path


def test_register_writes_the_uuids_and_prints_the_block_for_the_endpoint(loopback: Loopback, tmp_path: Path) -> None:
    file = tmp_path / "functions.json"
    first = invoke("register", "--file", file)
    records = registry.load(file)
    assert [record.name for record in records] == list(registry.FUNCTIONS)
    assert first.stdout == registry.allowed_functions_block(records)
    again = invoke("register", "--file", file)
    assert "unchanged: score_inline" in again.stderr
    assert registry.load(file) == records


def test_doctor_passes_on_an_endpoint_that_works(configured: Path) -> None:
    result = invoke("doctor", "--endpoint", "here", "--json")
    checks = {check["name"]: check for check in json.loads(result.stdout)}
    assert result.exit_code == 0, checks
    assert {name for name, check in checks.items() if check["level"] == "FAIL"} == set()
    assert checks["endpoint"]["found"].startswith("online")
    assert checks["mhfd, both sides"]["level"] == "PASS"
    assert checks["probe tile"]["found"].startswith("256 of 256 features")


def test_doctor_shows_no_secret(configured: Path, loopback: Loopback) -> None:
    output = invoke("doctor", "--endpoint", "here").output
    assert loopback.environment["GLOBUS_COMPUTE_CLIENT_SECRET"] not in output


def test_doctor_says_that_an_endpoint_is_offline(configured: Path, loopback: Loopback) -> None:
    loopback.faults.offline = True
    result = invoke("doctor", "--endpoint", "here", "--deadline-s", "20")
    assert result.exit_code == 69
    assert "FAIL endpoint: offline" in result.stdout


def test_warmup_starts_the_workers(configured: Path) -> None:
    result = invoke("warmup", "--endpoint", "here")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("here is warm: 256 of 256 features")


def test_score_on_an_endpoint_gives_the_numbers_it_gives_here(configured: Path, tmp_path: Path) -> None:
    simulate_run(tmp_path / "run", RunPlan(sections=2, rows=1, cols=3, tile_px=128))
    there = invoke("score", tmp_path / "run", "--endpoint", "here", "--json")
    assert there.exit_code == 0, there.output
    here = invoke("score", tmp_path / "run", "--json", "--backend", "numba")  # as the worker; so few go to NumPy
    numbers = [
        [(row["path"], row["features"], row["focus_score"], row["verdict"]) for row in json.loads(each.stdout)]
        for each in (there, here)
    ]
    assert numbers[0] == numbers[1]


def test_a_file_that_is_no_tile_is_a_failed_row_from_an_endpoint_too(configured: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "a.tif").write_bytes(b"not a tile")
    result = invoke("score", tmp_path / "run", "--endpoint", "here", "--json")
    assert result.exit_code == 3
    (row,) = json.loads(result.stdout)
    assert row["error"]["code"] == "not_an_image"


@pytest.mark.parametrize("option", [["--workers", "2"], ["--backend", "numpy"], ["--devices", "0"]])
def test_options_for_this_machine_are_refused_with_an_endpoint(
    configured: Path, tmp_path: Path, option: list[str]
) -> None:
    (tmp_path / "a.tif").write_bytes(b"x")
    assert invoke("score", tmp_path / "a.tif", "--endpoint", "here", *option).exit_code == 2


@pytest.fixture
def shipped(configured: Path, loopback: Loopback) -> Iterator[Endpoint]:
    """A shipped endpoint folder as an administrator sets it up; in the configuration "here" is it."""
    endpoint = Endpoint(
        configured / "home",
        loopback.environment,
        source=ROOT / "endpoint_configs" / "cpu",
        worker_environment={"PYTHONPATH": str(ROOT / "functions")},
    )
    block = registry.allowed_functions_block(registry.load(configured / "functions.json"))
    settings = endpoint.folder / "config.yaml"
    settings.write_text(
        settings.read_text(encoding="utf-8").replace("allowed_functions: []\n", block), encoding="utf-8"
    )
    endpoint.start()
    try:
        wait_until(lambda: loopback.service.cloud.online(endpoint.id), 60, "the endpoint is online")
        (configured / "config.toml").write_text(
            f'[endpoints.here]\nuuid = "{endpoint.id}"\nfunctions_file = "functions.json"\n', encoding="utf-8"
        )
        yield endpoint
    finally:
        loopback.close_executors()
        endpoint.stop()


def test_the_bare_cell_is_that_of_the_page_and_needs_nothing_of_mhfd() -> None:
    cells = [cell for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.cell_type == "code"]
    page = (ROOT / "docs" / "endpoints.md").read_text(encoding="utf-8")
    documented = page.split("<!-- bare -->\n```python\n")[1].split("```")[0]
    bare = next(i for i, cell in enumerate(cells) if "submit_to_registered_function" in cell.source)
    assert cells[bare].source.startswith(
        documented.replace('["/scratch/em/run/s0001_r0_c0.tif"]', '[*tiles, "/not/there.tif"]').strip()
    )
    imported = [
        line for cell in cells[: bare + 1] for line in cell.source.splitlines() if line.startswith(("from", "import"))
    ]
    assert not [line for line in imported if "mhfd" in line]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_notebook_runs_on_a_shipped_endpoint_with_nothing_but_the_sdk(
    configured: Path, shipped: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its allow-list refuses other functions, and all but JSON, which the notebook's bare way once overlooked."""
    simulate_run(tmp_path / "tiles", RunPlan(sections=2, rows=1, cols=3, tile_px=128))
    kernel_of(bare_environment(tmp_path / "venv", "globus-compute-sdk", "ipykernel"), tmp_path / "jupyter")
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    monkeypatch.setenv("IPYTHONDIR", str(configured / "ipython"))
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.setenv("MHFD_ENDPOINT_UUID", shipped.id)
    monkeypatch.setenv("MHFD_FUNCTIONS", str(configured / "functions.json"))
    monkeypatch.setenv("MHFD_TILES", str(tmp_path / "tiles"))
    said = texts(execute(NOTEBOOK.name, configured, kernel="bare"))
    assert "{'globus_compute_sdk': True, 'mhfd': False, 'numpy': False}" in said
    assert len(re.findall(r"focus score \d", said)) == 6
    assert "there.tif: not_found" in said


def test_a_client_scores_on_a_shipped_endpoint(configured: Path, shipped: Endpoint, tmp_path: Path) -> None:
    simulate_run(tmp_path / "tiles", RunPlan(sections=2, rows=1, cols=3, tile_px=128))
    done = invoke("score", tmp_path / "tiles", "--endpoint", "here", "--json")
    assert [row["status"] for row in json.loads(done.stdout)] == ["scored"] * 6
