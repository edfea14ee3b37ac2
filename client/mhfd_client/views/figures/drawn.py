"""A figure that is drawn, and the numbers it shows; as files."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mhfd.text import cell
from mhfd_client.files.whole import as_text, written
from mhfd_client.views.figures.style import Kind, saved

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KINDS: tuple[Kind, ...] = ("svg", "png")


@dataclass(frozen=True)
class Drawn:
    """A figure.

    Attributes
    ----------
    name : of its files, "figure-2a"
    says : one line about it, for people
    columns, lines : everything that is drawn
    """

    name: str
    says: str
    canvas: Figure
    columns: Sequence[str]
    lines: Sequence[Sequence[object]]


def write(figure: Drawn, folder: Path) -> list[Path]:
    """Write NAME.svg, NAME.png and NAME.csv.

    Raises
    ------
    OSError
        A file cannot be written.
    """
    files = [folder / f"{figure.name}.{ending}" for ending in (*KINDS, "csv")]
    for kind, file in zip(KINDS, files, strict=False):
        with written(file) as out:
            out.write(saved(figure.canvas, kind))
    with written(files[-1]) as out, as_text(out) as text:
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(figure.columns)
        writer.writerows([cell(value) for value in line] for line in figure.lines)
    return files
