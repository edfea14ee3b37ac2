"""What a release is made of says the same everywhere: changes, citation, recipe for conda, lock."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.version import Version

from mhfd._version import __version__

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

yaml = pytest.importorskip("yaml")

ROOT = Path(__file__).parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LOCK = (ROOT / "deploy" / "locks" / "client.txt").read_text(encoding="utf-8")
PYTHONS = [each.rpartition(" ")[2] for each in PROJECT["classifiers"] if re.search(r"Python :: 3\.\d+$", each)]
SYSTEMS = {
    "linux": {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix"},
    "win32": {"sys_platform": "win32", "platform_system": "Windows", "os_name": "nt"},
}


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_changes_are_listed_by_release_the_newest_first() -> None:
    found = re.findall(r"^## (.*)$", text("CHANGELOG.md"), flags=re.MULTILINE)
    releases = [re.fullmatch(r"(\d+\.\d+\.\d+)( \((unreleased|\d{4}-\d\d-\d\d)\))?", each) for each in found]
    assert all(releases), found
    versions = [Version(each[1]) for each in releases if each]
    assert versions == sorted(set(versions), reverse=True)
    assert str(versions[0]) == __version__
    for section in re.split(r"^## .*$", text("CHANGELOG.md"), flags=re.MULTILINE)[1:]:
        first, *rest = (part.strip() for part in re.split(r"^### .*$", section, flags=re.MULTILINE))
        assert all(part.startswith("- ") for part in ([first, *rest] if first or not rest else rest))


def test_the_citation_is_of_this_version_and_of_the_paper_that_the_readme_names() -> None:
    cited = yaml.safe_load(text("CITATION.cff"))
    assert (cited["version"], cited["license"], cited["title"]) == (__version__, PROJECT["license"], PROJECT["name"])
    assert cited["abstract"].rstrip(".") == PROJECT["description"]
    paper = cited["preferred-citation"]
    readme = " ".join(text("README.md").split())
    assert paper["title"] in readme and str(paper["year"]) in readme
    assert all(author["family-names"] in readme for author in paper["authors"])
    assert paper["identifiers"][0]["value"] in readme


def test_every_python_that_the_project_names_is_allowed_and_no_other() -> None:
    allowed = re.fullmatch(r">=3\.(\d+),<3\.(\d+)", PROJECT["requires-python"])
    assert allowed is not None
    assert [f"3.{minor}" for minor in range(int(allowed[1]), int(allowed[2]))] == PYTHONS


def test_the_recipe_for_conda_needs_what_the_project_needs() -> None:
    recipe = yaml.safe_load(text("deploy/conda/recipe.yaml"))
    assert recipe["context"]["version"] == __version__
    assert recipe["about"]["summary"] == PROJECT["description"]
    assert recipe["about"]["license"] == PROJECT["license"]
    needed = {each.name: each.specifier for each in map(Requirement, PROJECT["dependencies"])}
    run = {each.name: each.specifier for each in map(Requirement, recipe["requirements"]["run"][1:])}
    assert run == needed
    (entry,) = recipe["build"]["python"]["entry_points"]
    assert entry.split(" = ") == ["mhfd", PROJECT["scripts"]["mhfd"]]
    python = recipe["requirements"]["run"][0].replace("${{ python_min }}", recipe["context"]["python_min"])
    assert python.removeprefix("python ") == PROJECT["requires-python"]
    assert (ROOT / "deploy" / "conda" / recipe["source"]["path"] / "pyproject.toml").samefile(ROOT / "pyproject.toml")


def locked() -> dict[str, list[tuple[Requirement, str]]]:
    """Package -> what the lock has of it: version and marker, and the text with its hashes."""
    found: dict[str, list[tuple[Requirement, str]]] = {}
    for block in re.split(r"\n(?=[a-z])", re.sub(r"^#.*\n", "", LOCK, flags=re.MULTILINE)):
        requirement = Requirement(block.partition("\\")[0].strip())
        found.setdefault(requirement.name, []).append((requirement, block))
    return found


def wanted() -> list[Requirement]:
    """What `pip install mhfd[...]` asks for, with the extras of the lock."""
    command = re.search(r"^extras=\(([\w ]+)\)", text(".ci/locks"), flags=re.MULTILINE)
    assert command is not None
    lines = [*PROJECT["dependencies"]]
    for extra in command[1].split():
        assert f"`{extra}`" in text("deploy/locks/README.md")
        lines += PROJECT["optional-dependencies"][extra]
    return [Requirement(each) for each in lines]


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("python", PYTHONS)
def test_the_lock_has_one_fitting_version_of_all_that_a_client_needs(python: str, system: str) -> None:
    environment = {**default_environment(), **SYSTEMS[system], "python_version": python,
                   "python_full_version": f"{python}.0", "platform_python_implementation": "CPython"}  # fmt: skip
    for need in wanted():
        if need.marker is not None and not need.marker.evaluate(environment):
            continue
        pins = [
            pin for pin, _ in locked().get(need.name.lower(), [])
            if pin.marker is None or pin.marker.evaluate(environment)
        ]  # fmt: skip
        assert len(pins) == 1, f"{need}: {pins}"
        (exact,) = pins[0].specifier
        assert exact.operator == "==" and need.specifier.contains(exact.version), f"{need}: {exact}; run `make lock`"


def test_every_version_in_the_lock_has_its_hashes() -> None:
    for pins in locked().values():
        for pin, block in pins:
            assert re.search(r"--hash=sha256:[0-9a-f]{64}", block), str(pin)
