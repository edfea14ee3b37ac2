"""docs/layouts.md: each example is true."""

from __future__ import annotations

import configparser
import re
import sys
from pathlib import Path

import pytest

from mhfd_client.config.address import parse_listen
from mhfd_client.naming import Layout, Position, open_layout
from mhfd_client.naming.pattern import repeated_choice

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PAGE = (Path(__file__).parents[3] / "docs" / "layouts.md").read_text(encoding="utf-8")
NAMES = ("plain", "sbemimage", "atlas", "multisem", "regex")


def block(language: str) -> str:
    found = re.search(rf"^ *```{language}\n(.*?)^ *```", PAGE, flags=re.DOTALL | re.MULTILINE)
    assert found, language
    return found[1]


def opened(name: str) -> Layout:
    if name != "regex":
        return open_layout(name)
    profile = tomllib.loads(block("toml"))["profiles"]["tem"]
    return open_layout(profile["layout"], pattern=profile["pattern"])


def said(text: str) -> Position | None:
    if text == "no tile":
        return None
    pairs = (part.split() for part in text.split(", ") if text != "a tile")
    return Position(**{key: int(value) for key, value in pairs})


LINES = [(name, line) for name in NAMES for line in block(name).splitlines()]
EXAMPLES = [(name, *re.split(r" +(?=section|no tile|a tile)", line)) for name, line in LINES]
WRITTEN_BY_MICROSCOPES = [
    each
    for each in EXAMPLES
    if each[0] not in ("plain", "regex") and "Overview" not in each[1]  # anybody's name
]


@pytest.mark.parametrize(("name", "path", "text"), EXAMPLES)
def test_each_example_has_the_position_that_the_page_says(name: str, path: str, text: str) -> None:
    assert opened(name).position(path) == said(text)


@pytest.mark.parametrize(("name", "path", "text"), WRITTEN_BY_MICROSCOPES)
def test_auto_says_the_same_where_a_microscope_names_the_files(name: str, path: str, text: str) -> None:
    assert open_layout("auto").position(path) == said(text)


def test_the_table_has_all_layouts() -> None:
    assert re.findall(r"^\| `(\w+)`", PAGE, flags=re.MULTILINE) == ["auto", "plain", "regex", *NAMES[1:4]]


def test_the_address_for_sbemimage_is_the_one_listened_at() -> None:
    config = configparser.ConfigParser()
    config.read_string(re.sub(r"^ +", "", block("ini"), flags=re.MULTILINE))
    url = config["metaserver"]["url"]
    (listen,) = re.findall(r"--listen (\S+)`", PAGE)
    assert url == f"http://{listen}" and parse_listen(listen)


def test_the_refused_pattern_of_the_page_is_refused() -> None:
    (pattern,) = re.findall(r"several ways, like `(.+?)`", PAGE)
    assert repeated_choice(pattern)
