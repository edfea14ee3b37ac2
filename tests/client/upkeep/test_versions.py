"""Two versions of mhfd beside each other: an upgrade, and the way back.

The other version is a copy of this one with another number, so all that is found is due to the number, or to what a
test changes in the copy.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner

from mhfd import registry
from mhfd._version import __version__
from mhfd_client.cli import main
from mhfd_client.config import load_config
from other_version import OTHER, write_other_version

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The other version's packages."""
    return write_other_version(tmp_path_factory.mktemp("other"))


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a run of one tile, and a configuration."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MHFD_CONFIG", str(tmp_path / "config.toml"))
    monkeypatch.setenv("MHFD_LEDGER", str(tmp_path / "ledger.db"))
    monkeypatch.setenv("MHFD_SETTLE_S", "0.1")
    monkeypatch.setenv("MHFD_BACKEND", "numpy")
    Path("config.toml").touch()
    add_tile("s0001_r0_c0.tif")
    return tmp_path


def add_tile(name: str) -> None:
    Path("run").mkdir(exist_ok=True)
    tifffile.imwrite(Path("run") / name, np.random.default_rng(len(name)).integers(0, 255, (64, 64), np.uint8))


def ours(*arguments: str) -> str:
    done = CliRunner().invoke(main, list(arguments))
    assert done.exit_code == 0, done.output
    return done.stdout


def theirs(tree: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mhfd_client", *arguments],
        env={**os.environ, "PYTHONPATH": str(tree)}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def versions() -> dict[str, str]:
    """Which mhfd scored each tile, as the export of this version says."""
    rows = json.loads(ours("export", "run", "--json"))
    return {row["path"]: row["provenance"]["mhfd"] for row in rows}


def test_after_an_upgrade_and_the_way_back_each_tile_says_who_scored_it(tree: Path, work: Path) -> None:
    assert theirs(tree, "--version").stdout.split()[-1] == OTHER
    ours("watch", "run", "--once")
    add_tile("s0001_r0_c1.tif")
    done = theirs(tree, "watch", "run", "--once")  # the upgrade: the same ledger
    assert done.returncode == 0, done.stderr
    add_tile("s0001_r0_c2.tif")
    ours("watch", "run", "--once")  # and back
    assert versions() == {
        "s0001_r0_c0.tif": __version__, "s0001_r0_c1.tif": OTHER, "s0001_r0_c2.tif": __version__
    }  # fmt: skip
    assert f"scored by mhfd {OTHER}; this is {__version__}" in ours("explain", "s0001_r0_c1.tif")
    assert "scored by" not in ours("explain", "s0001_r0_c0.tif")
    assert "s0001_r0_c1.tif" in ours("export", "run", "--where", f"mhfd={OTHER}", "--format", "csv")
    assert "s0001_r0_c0.tif" not in ours("export", "run", "--where", f"mhfd={OTHER}", "--format", "csv")


def test_an_older_mhfd_refuses_a_ledger_with_newer_tables_and_a_backup_is_the_way_back(
    tree: Path, work: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    newer = tmp_path_factory.mktemp("newer")
    shutil.copytree(tree, newer, dirs_exist_ok=True)
    schema = newer / "mhfd_client" / "ledger" / "schema.py"
    text, count = re.subn(
        r"(MIGRATIONS: tuple\[Step, \.\.\.\] = \()(.*?\n)\)\n",
        r'\1\2    (("all", "CREATE TABLE later (n INTEGER) STRICT"),),\n)\n',
        schema.read_text(encoding="utf-8"), count=1, flags=re.DOTALL,
    )  # fmt: skip
    assert count == 1
    schema.write_text(text, encoding="utf-8")
    ours("watch", "run", "--once")
    ours("ledger", "backup", "before.db")
    done = theirs(newer, "watch", "run", "--once")
    assert done.returncode == 0, done.stderr
    refused = CliRunner().invoke(main, ["status", "run"])
    assert refused.exit_code == 78 and "written by a newer mhfd" in refused.stderr
    refused = CliRunner().invoke(main, ["watch", "run", "--once"])
    assert refused.exit_code == 78 and "written by a newer mhfd" in refused.stderr
    ours("ledger", "restore", "before.db")
    ours("watch", "run", "--once")
    assert set(versions().values()) == {__version__}


def record(name: str, version: str, number: int) -> registry.FunctionRecord:
    uuid = f"{number:08}-1111-4111-8111-111111111111"
    return registry.FunctionRecord(
        name=name, version=version, uuid=uuid, sha256=registry.sha256(registry.source_of(name)), python="3.11.7",
        sdk="4.19", date="2026-01-01",
    )  # fmt: skip


def test_functions_of_two_versions_are_allowed_at_once_and_a_profile_chooses(work: Path) -> None:
    old = [record(name, "0.3.0", n) for n, name in enumerate(registry.FUNCTIONS)]
    new = [record(name, __version__, n + (n > 0) * 100) for n, name in enumerate(registry.FUNCTIONS)]  # one is shared
    registry.save("functions-old.json", old)
    registry.save("functions.json", new)
    block = ours("register", "--dry-run", "--also", "functions-old.json")
    listed = re.findall(r"^  - (\S+)  # (\w+), mhfd (\S+)$", block, flags=re.MULTILINE)
    assert block.splitlines()[0] == "allowed_functions:"
    assert {uuid for uuid, *_ in listed} == {each.uuid for each in (*old, *new)}
    assert len(listed) == 2 * len(registry.FUNCTIONS) - 1
    assert (new[0].uuid, new[0].name, __version__) in listed
    uuid = "4b116d3c-1703-4f8f-9f6f-39921e5864df"
    Path("config.toml").write_text(
        f'profile = "merlin"\n'
        f'[endpoints.dgx]\nuuid = "{uuid}"\nfunctions_file = "functions.json"\n'
        f'[endpoints.dgx-old]\nuuid = "{uuid}"\nfunctions_file = "functions-old.json"\n'
        '[profiles.merlin]\nendpoint = "dgx"\n[profiles.merlin-old]\nendpoint = "dgx-old"\n',
        encoding="utf-8",
    )
    config = load_config()
    for profile, records in (("merlin", new), ("merlin-old", old)):
        entry = config.endpoint(config.profile_named(profile).endpoint)
        assert {name: str(uuid) for name, uuid in entry.functions.items()} == {each.name: each.uuid for each in records}  # type: ignore[union-attr]
