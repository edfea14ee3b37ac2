"""The registered functions as a worker gets them: source text, run in an empty namespace."""

from __future__ import annotations

import builtins
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mhfd import remote
from mhfd.registry import FUNCTIONS, source_of

ARGUMENTS: dict[str, list[Any]] = {
    "score_inline": [[], None],
    "score_paths": [[]],
    "plan_run": ["/no/such/folder"],
    "score_shard": ["/no/manifest.parquet", 0, 1],
    "finish_run": ["/no/manifest.parquet"],
    "control_run": ["/no/manifest.parquet", "status"],
    "describe": [],
    "warmup": [],
}
PROGRAM = """
import json, sys
source, name, arguments = json.load(sys.stdin)
namespace = {}
exec(source, namespace)
print(json.dumps(namespace[name](*arguments)))
"""


def pythons() -> list[str]:
    """This Python, and the other supported versions that pyenv has."""
    folder = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = [next(iter(sorted(folder.glob(f"{version}*/bin/python3"))), None) for version in ("3.10", "3.12", "3.13")]
    return [sys.executable, *(str(path) for path in found if path is not None)]


def run(name: str, python: str, *flags: str, path: str = "") -> dict[str, Any]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    ran = subprocess.run(
        [python, *flags, "-c", PROGRAM],
        input=json.dumps([source_of(name), name, ARGUMENTS[name]]),
        env=environment | {"PYTHONPATH": path, "MHFD_BACKEND": "numpy"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    answer: dict[str, Any] = json.loads(ran.stdout)
    return answer


@pytest.mark.parametrize("python", pythons())
def test_without_mhfd_the_answer_says_what_to_install(python: str) -> None:
    for name in FUNCTIONS:
        answer = run(name, python, "-S")  # without site-packages
        assert answer["schema"] == 1
        assert answer["error"]["code"] == "not_installed"
        assert "pip install mhfd" in answer["error"]["message"]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_with_mhfd_it_answers(name: str) -> None:
    answer = run(name, sys.executable, path=os.pathsep.join(sys.path))
    assert answer["schema"] == 1
    if name in ("plan_run", "score_shard", "finish_run", "control_run"):
        assert answer["error"]["code"] == "bad_params"
    else:
        assert "error" not in answer


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_source_needs_no_name_of_its_module(name: str) -> None:
    code = compile(source_of(name), name, "exec")
    (function,) = (each for each in code.co_consts if hasattr(each, "co_names"))
    used = {*code.co_names, *function.co_names} - {name}
    imported = {"mhfd.worker", "sys", "executable", name}
    assert used - imported <= set(dir(builtins))


def test_all_of_the_module_is_registered() -> None:
    module = vars(remote)
    assert {name for name, value in module.items() if callable(value)} == set(FUNCTIONS)
