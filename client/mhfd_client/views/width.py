"""Texts and the width of a terminal: wide letters take two columns, and long names are cut in the middle."""

from __future__ import annotations

import shutil
import sys

from rich.cells import cell_len, set_cell_size

GAP = "\u2026"


def terminal_columns() -> int | None:
    """The columns of the terminal that is standard output; None where it is none: then nothing is cut or padded."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def width_of(text: str) -> int:
    """The columns that a text takes: two for a Chinese letter, none for an accent of its own."""
    return cell_len(text)


def padded(text: str, width: int) -> str:
    """The text with blanks behind it, so that it takes so many columns."""
    return text + " " * max(0, width - width_of(text))


def shortened(text: str, width: int) -> str:
    """The text in at most so many columns: of a longer one its begin and its end, which tell names apart."""
    if width_of(text) <= width:
        return text
    begin = max(0, (width - 1) // 2)
    end, letters = max(0, width - 1 - begin), text
    while width_of(letters) > end:
        letters = letters[1:]
    return set_cell_size(text, begin).rstrip() + GAP + letters if width > 0 else ""
