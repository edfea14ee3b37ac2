"""The first run: machine code is made by another process, and NumPy scores meanwhile."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mhfd.backends import STANDIN_PIXELS, Backend, quickest, select_backend
from mhfd.contract import FocusParams
from mhfd.scoring.tile import Scorer, job
from phantoms import as_uint8, texture

pytest.importorskip("numba")
from mhfd.kernel import compiled, compiled_loops, compiled_power, machine_code
from mhfd.kernel.loops import cascade, interpolation, noise

TILE = as_uint8(0.5 + 0.15 * texture((96, 96), np.random.default_rng(1)))


def signatures() -> dict[str, list[object]]:
    """The types that each loop has been compiled for in this process."""
    modules = (compiled_loops, compiled_power, cascade, interpolation, noise)
    loops = {name: loop for module in modules for name, loop in vars(module).items()}
    return {name: list(loop.signatures) for name, loop in loops.items() if hasattr(loop, "signatures")}


def run(program: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env={**os.environ, **environment}, check=True
    )
    return done.stdout.strip()


def standing_in(fast: Backend, monkeypatch: pytest.MonkeyPatch, made: list[bool]) -> Backend:
    """What "auto" stands for while another process makes the machine code."""
    monkeypatch.setattr(machine_code, "make_meanwhile", lambda: lambda: made[0])
    backend = select_backend("numba", meanwhile=True)
    assert backend.name == fast.name
    return backend


def test_numpy_scores_until_the_machine_code_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    made = [False]
    scorer = Scorer(FocusParams(), standing_in(select_backend("numba"), monkeypatch, made))
    first = scorer.measure(scorer.load(job(TILE)))[0]
    made[0] = True
    second = scorer.measure(scorer.load(job(TILE)))[0]
    assert [row.provenance.backend for row in (first, second)] == ["numpy", "numba"]
    assert abs(first.features - second.features) <= max(2, second.features // 1000)


@pytest.mark.parametrize(
    ("shape", "params"),
    [((1, STANDIN_PIXELS + 1), FocusParams()), ((8, 8), FocusParams(max_host_bytes=10**9))],
)
def test_what_numpy_has_no_memory_for_waits(
    shape: tuple[int, int], params: FocusParams, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = standing_in(select_backend("numba"), monkeypatch, [False])
    assert backend.now(np.broadcast_to(np.uint8(0), shape), params) is backend


def test_a_backend_that_is_named_waits_for_its_own_machine_code() -> None:
    assert select_backend("numba").standin is None


def test_what_is_made_serves_tiles_of_any_size() -> None:
    machine_code._compile()
    before = signatures()
    assert all(before[name] for name in ("cascade", "interpolate", "find_peaks", "block_power"))
    rng = np.random.default_rng(2)
    for code in machine_code.TYPES:
        tile = (255 * texture((1100, 1030), rng)).astype(code)
        compiled.measure(tile, FocusParams(), threads=2)
        compiled.measure(tile[:70, :90], FocusParams(polarity="both"), threads=2, max_bytes=2**26)
    assert signatures() == before


def test_another_process_makes_it_and_the_mark_tells(tmp_path: Path) -> None:
    """What `make_meanwhile` starts is what runs here, but that compiling takes its time."""
    program = (
        "import time\n"
        "from mhfd.kernel import machine_code\n"
        "machine_code._PROGRAM = machine_code._PROGRAM.replace('machine_code.make_quietly()',"
        " 'machine_code._compile = lambda: None; machine_code.make_quietly()')\n"
        "made = machine_code.make_meanwhile()\n"
        "before = made()\n"
        "end = time.monotonic() + 60\n"
        "while not made() and time.monotonic() < end: time.sleep(0.05)\n"
        "print(before, made())"
    )
    assert run(program, NUMBA_CACHE_DIR=str(tmp_path)) == "False True"
    assert run(program, NUMBA_CACHE_DIR=str(tmp_path)) == "True True"


def test_a_process_that_fails_is_told_of_once_and_numpy_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine_code, "_PROGRAM", "raise SystemExit(1)")
    process = machine_code._Process(sys.executable, tmp_path / "mark", "")
    process._process.wait()
    assert [process.is_done(), process.is_done()] == [False, False]
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_a_home_that_cannot_be_written_does_not_matter(tmp_path: Path) -> None:
    """numba is told of no folder but its setting's, and that is not set."""
    program = (
        "from mhfd.kernel import machine_code; machine_code.find_a_place()\n"
        "from mhfd.kernel.loops.cascade import cascade; print(cascade.stats.cache_path)"
    )
    place = {"NUMBA_CACHE_LOCATOR_CLASSES": "UserProvidedCacheLocator", "NUMBA_CACHE_DIR": "", "TMPDIR": str(tmp_path)}
    assert run(program, **place).startswith(str(tmp_path))


@pytest.mark.skipif(sys.platform == "win32", reason="on Windows the temporary folder is the user's own")
def test_code_of_others_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_code.tempfile, "gettempdir", lambda: str(tmp_path))
    (tmp_path / f"mhfd-{os.getuid()}").mkdir(mode=0o777)
    (tmp_path / f"mhfd-{os.getuid()}").chmod(0o777)
    with pytest.raises(PermissionError, match="by others"):
        machine_code._own_folder()


def test_numpy_scores_few_bytes_and_numba_many() -> None:
    from mhfd import cuda

    if cuda.unavailable() is None:
        pytest.skip("this machine has a GPU")
    assert [quickest("auto", size) for size in (2**20, 2**24)] == ["numpy", "auto"]
    assert quickest("numba", 1) == "numba"
