"""What the program says, read from its source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]


def texts(tree: ast.AST) -> Iterator[str]:
    """All strings of a module; what an f-string fills in is "..."."""
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "..." for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


@cache
def said() -> str:
    """Everything that the program says, a string a line."""
    files = [path for folder in ("functions", "client") for path in (ROOT / folder).rglob("*.py")]
    return "\n".join(text for path in files for text in texts(ast.parse(path.read_text(encoding="utf-8"))))
