"""The code of docs/notebooks.md runs, on a run that was watched."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from mhfd.show.results import Results
from mhfd_client.cli import main
from mhfd_client.simulate import RunPlan, simulate_run

from .conftest import Shown

PAGE = (Path(__file__).parents[3] / "docs" / "notebooks.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)


def test_the_code_of_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shown: Shown) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in {"LEDGER": "ledger.db", "CONFIG": "config.toml", "SETTLE_S": "0.1", "BACKEND": "numpy"}.items():
        monkeypatch.setenv(f"MHFD_{name}", value)
    Path("config.toml").touch()
    simulate_run(Path("run"), RunPlan(sections=2, rows=1, cols=3, tile_px=128))
    assert CliRunner().invoke(main, ["watch", "run", "--once"]).exit_code == 0
    names: dict[str, Any] = {}
    for block in BLOCKS:
        exec(compile(block, "notebooks.md", "exec"), names)
    assert type(names["results"]) is Results
    assert len(names["frame"]) == 6
    assert names["kind"] == "image"
    assert "6 tiles" in shown.last
