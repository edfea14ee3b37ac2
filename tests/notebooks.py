"""The notebooks of examples/, executed as a person would; KEEP_NOTEBOOKS=1 ships what came out."""

from __future__ import annotations

import json
import os
import venv
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import nbclient
import nbformat
from packaging.requirements import Requirement

EXAMPLES = Path(__file__).parents[1] / "examples"
TIMEOUT_S = 300
KERNEL = "python3"


def execute(name: str, folder: Path, kernel: str = KERNEL) -> list[Any]:
    """Execute a notebook in a folder; the outputs of its cells.

    Raises
    ------
    CellExecutionError
        A cell failed.
    """
    notebook = nbformat.read(EXAMPLES / name, as_version=4)
    client = nbclient.NotebookClient(
        notebook, timeout=TIMEOUT_S, kernel_name=kernel, resources={"metadata": {"path": str(folder)}}
    )
    client.execute()
    if os.environ.get("KEEP_NOTEBOOKS"):
        _keep(notebook, EXAMPLES / name)
    return outputs(notebook)


def outputs(notebook: Any) -> list[Any]:
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def pictures(found: list[Any]) -> int:
    """How many there are in outputs."""
    return sum("image/png" in output.get("data", {}) for output in found)


def texts(found: list[Any]) -> str:
    """All that outputs say."""
    data = ["".join(text) for output in found for kind, text in output.get("data", {}).items() if "image" not in kind]
    return "\n".join([*data, *("".join(output["text"]) for output in found if output.output_type == "stream")])


def _keep(notebook: Any, file: Path) -> None:
    """Without what differs from one machine to the next."""
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": KERNEL},
        "language_info": {"name": "python"},
    }
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
    nbformat.write(notebook, file)


def bare_environment(folder: Path, *packages: str) -> Path:
    """A virtual environment with these packages and what they require, as installed here, and nothing else; its Python.

    They are linked, so that nothing is fetched.
    """
    venv.create(folder, symlinks=True)
    (site,) = folder.glob("lib/python*/site-packages")
    for name in _required(packages):
        for top in _tops(name):
            if not (site / top.name).exists():
                (site / top.name).symlink_to(top)
    return folder / "bin" / "python"


def kernel_of(python: Path, folder: Path) -> None:
    """Describe a kernel "bare" in a folder, for JUPYTER_PATH."""
    spec = folder / "kernels" / "bare"
    spec.mkdir(parents=True)
    argv = [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (spec / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": "bare", "language": "python"}))


def _required(packages: tuple[str, ...]) -> set[str]:
    found: set[str] = set()
    left = list(packages)
    while left:
        name = left.pop().lower().replace("_", "-")
        if name not in found:
            found.add(name)
            needs = (Requirement(each) for each in metadata.requires(name) or ())
            left += [each.name for each in needs if each.marker is None or each.marker.evaluate({"extra": ""})]
    return found


def _tops(name: str) -> Iterator[Path]:
    """The files and folders of a package in the folder that it is imported from."""
    package = metadata.distribution(name)
    for top in {file.parts[0] for file in package.files or ()} - {"..", "__pycache__"}:
        yield Path(str(package.locate_file(top)))
