"""The site, made by Sphinx from the pages as they are: `make docs` builds it in build/docs.

The source folder is the root of the repository, so that a link from one page to another, to README.md or to a file
beside the code is the same on the site and on a forge. What is linked to and is no page can be downloaded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from mhfd._version import __version__

project = "mhfd"
author = "the authors of mhfd"
version = release = __version__

root_doc = "docs/index"
FOLDERS = ("docs", "deploy", "endpoint_configs", "benchmarks")
include_patterns = ["README.md", "CHANGELOG.md", *(f"{folder}/**.md" for folder in FOLDERS)]
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_click"]

myst_heading_anchors = 4  # those that a forge makes
smartquotes = False  # two hyphens begin an option
default_role = "code"  # what stands between single quotes in our docstrings
suppress_warnings = ["misc.highlighting_failure"]  # the languages of some blocks are there for our tests

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
napoleon_google_docstring = False
napoleon_use_ivar = True
napoleon_custom_sections = ["Returns"]  # sentences, not a type
nitpick_ignore_regex = [  # of other packages; aliases; what is ours and has no place in the reference
    ("py:class", r"(?!mhfd).*|mhfd\.judge\..*|mhfd_client\..*"),
    ("py:exc", "MissingExtraError|ResultError"),
]

html_theme = "furo"
html_title = f"mhfd {__version__}"
html_additional_pages = {"index": "to_start.html"}  # the first page is docs/index.html
templates_path = ["_templates"]


def told_below(lines: list[str]) -> Iterator[str]:
    """Docstring lines with "name : what it is" as a name and, below it, what it is: napoleon takes it for a type."""
    section = ""
    for line, below in zip(lines, [*lines[1:], ""], strict=True):
        if below and not below.strip("-"):
            section = line
        parted = re.fullmatch(r"(\w+(?:, \w+)*) : (.*)", line)
        if parted and section in ("Parameters", "Attributes"):
            yield from (parted[1], f"    {parted[2]}")
        else:
            yield line


def _docstring(app: Any, what: str, name: str, about: object, options: object, lines: list[str]) -> None:
    lines[:] = told_below(lines)


def _help(app: Any, context: object, lines: list[str]) -> None:
    """A help text is no reStructuredText: its stars stand for file names."""
    lines[:] = [line.replace("*", r"\*") for line in lines]


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", _docstring, priority=100)  # before napoleon
    for part in ("description", "options", "arguments"):
        app.connect(f"sphinx-click-process-{part}", _help)
