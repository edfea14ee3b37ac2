"""Who may import whom: the layers of docs/architecture.md, held against the imports of every module.

All imports count, also those within functions and those for types alone: they, too, say who knows of whom.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = {"mhfd": ROOT / "functions" / "mhfd", "mhfd_client": ROOT / "client" / "mhfd_client"}
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
LOOSE = 10  # files at the top of mhfd_client, at most


@cache
def modules() -> dict[str, Path]:
    """Dotted name -> file."""
    found = {}
    for name, folder in PACKAGES.items():
        for path in folder.rglob("*.py"):
            parts = path.relative_to(folder).with_suffix("").parts
            dotted = ".".join([name, *parts]).removesuffix(".__init__")
            found[dotted] = path
    return found


@cache
def imports_of(module: str) -> frozenset[str]:
    """The modules of ours that a module imports; a name taken from a package counts as an import of the package."""
    found = set()
    for node in ast.walk(ast.parse(modules()[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {each.name for each in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            for each in node.names:
                inner = f"{node.module}.{each.name}"
                found.add(inner if inner in modules() else node.module)
    return frozenset(found & modules().keys()) - {module}


@cache
def layers() -> list[list[str]]:
    """The layers of the page, lowest first; each line of its block names rooms that do not import each other."""
    block = re.search(r"```layers\n(.*?)```", PAGE, flags=re.DOTALL)
    assert block is not None
    lines = [re.findall(r"[\w.]+", line.partition("#")[0]) for line in block[1].splitlines()]
    return [line for line in reversed(lines) if line]


def room_of(module: str) -> str:
    """The folder, or the loose file, of mhfd_client that a module belongs to; all of mhfd is one room."""
    package, *rest = module.split(".")
    return "mhfd" if package == "mhfd" else rest[0] if rest else "mhfd_client"


def edges() -> Iterator[tuple[str, str]]:
    for module in modules():
        for imported in imports_of(module):
            yield module, imported


def test_every_room_has_its_layer() -> None:
    named = [room for layer in layers() for room in layer]
    assert sorted(named) == sorted({room_of(module) for module in modules()})


def test_no_layer_imports_a_higher_one_or_a_neighbour() -> None:
    height = {room: i for i, layer in enumerate(layers()) for room in layer}
    wrong = [
        f"{module} imports {imported}"
        for module, imported in edges()
        if room_of(module) != room_of(imported) and height[room_of(imported)] >= height[room_of(module)]
    ]
    assert wrong == []


@pytest.mark.parametrize("package", PACKAGES)
def test_no_modules_import_each_other_in_a_circle(package: str) -> None:
    """Depth first; a module that is met again while its own imports are looked at closes a circle."""
    done: set[str] = set()

    def visit(module: str, way: list[str]) -> None:
        if module in way:
            raise AssertionError(" -> ".join([*way[way.index(module) :], module]))
        if module not in done:
            for imported in sorted(imports_of(module)):
                visit(imported, [*way, module])
            done.add(module)

    for module in sorted(modules()):
        if module.split(".")[0] == package:
            visit(module, [])


def test_few_files_lie_loose_at_the_top_of_the_client() -> None:
    assert len([path for path in PACKAGES["mhfd_client"].iterdir() if path.is_file()]) <= LOOSE


def test_every_folder_says_its_job_in_one_line() -> None:
    for module, path in modules().items():
        if path.name == "__init__.py":
            first = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").split("\n\n")[0]
            assert first and "\n" not in first, f"{module} does not say its job in one line"
            assert first.endswith("."), f"{module}: {first}"


def test_what_the_functions_need_is_not_in_the_client() -> None:
    assert [f"{a} imports {b}" for a, b in edges() if room_of(a) == "mhfd" and room_of(b) != "mhfd"] == []
