"""Every view shows a verdict by the same shape, word and colours: those of the live page's own files."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

from mhfd_client.views.marks import INKS, MARKS

PAGE = files("mhfd_client.views.page").joinpath("static")


def read(name: str) -> str:
    return PAGE.joinpath(name).read_text("utf-8")


@pytest.mark.parametrize("ground", [0, 1])
def test_the_colours_are_those_of_the_page(ground: int) -> None:
    blocks = re.findall(r":root[^{]*\{(.*?)\}", read("page.css"), flags=re.DOTALL)
    said = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", blocks[ground]))
    assert {key: mark.colours[ground] for key, mark in MARKS.items()} == {key: said[key] for key in MARKS}
    assert {key: colours[ground] for key, colours in INKS.items()} == {key: said[key] for key in INKS}
    cells = {key: mark.cells[ground] for key, mark in MARKS.items() if key != "missing"}
    assert cells == {key: said.get(f"field-{key}", said[key]) for key in cells}


def test_the_shapes_and_words_are_those_of_the_page() -> None:
    shapes = dict(re.findall(r"^  (\w+): '(.+?)',", read("marks.js"), flags=re.MULTILINE))
    assert {key: mark.shape for key, mark in MARKS.items()} == {key: shapes[key] for key in MARKS}
    words = dict(re.findall(r"(\w+): '([a-z ]+)'", read("words.js").partition("};")[0]))
    assert {key: mark.word for key, mark in MARKS.items()} == {key: words[key] for key in MARKS}
