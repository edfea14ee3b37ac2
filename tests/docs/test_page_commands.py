"""Commands and code in every page: what is not run elsewhere is at least parsed, by what would run it."""

from __future__ import annotations

import ast
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import pytest

from messages import said
from mhfd_client.cli import main
from needs import need

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    *(
        path
        for name in ("docs", "deploy", "endpoint_configs", "benchmarks")
        for path in sorted((ROOT / name).rglob("*.md"))
    ),
]
tomllib: Any = import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")

EVERY = re.compile(r"^( *)```([\w ]*)\n(.*?)^ *```", flags=re.DOTALL | re.MULTILINE)
ENDS = {"|", ">", ">>", "&&", ";", "||", "&"}
"""Words of the shell that end a command."""
OF_OTHERS = {"...", "facility"}
"""Values of choices that the program does not have by itself: what a message fills in, a facility's own layout."""


def blocks(page: Path, *languages: str) -> Iterator[str]:
    for indent, language, text in EVERY.findall(page.read_text(encoding="utf-8")):
        if language in languages:
            yield re.sub(rf"^{indent}", "", text, flags=re.MULTILINE)


def lines(page: Path) -> Iterator[str]:
    """Lines that somebody may type: of blocks, and those that are indented by four, which are blocks too."""
    for block in blocks(page, "sh", ""):
        yield from block.replace("\\\n", " ").splitlines()
    yield from re.findall(r"^    (\S.*)", page.read_text(encoding="utf-8"), flags=re.MULTILINE)


def commands(page: Path, program: str) -> Iterator[list[str]]:
    """The words of each command of a program, without its name."""
    for line in lines(page):
        if re.match(rf"{program} (?!\W* )", line.strip()):
            words = shlex.split(line, comments=True)[len(program.split()) :]
            end = next((n for n, word in enumerate(words) if word in ENDS), len(words))
            yield words[:end]


def inline(page: Path) -> Iterator[list[str]]:
    """Commands within sentences: `mhfd status --json`."""
    text = EVERY.sub("", page.read_text(encoding="utf-8"))
    for span in re.findall(r"`mhfd ([^`\n]+)`", text):
        # Not what stands for several commands; numba is a backend, in docs/benchmarks.md.
        if span != "numba" and not re.search(r"^[A-Z]+|[|<>…]|\.\.\.", span):
            yield shlex.split(span)


def parse(command: click.Command, words: list[str], context: click.Context) -> None:
    """Refuse options, values of choices and numbers of arguments that the command would refuse."""
    if isinstance(command, click.Group) and words and not words[0].startswith("-"):
        inner = command.get_command(context, words[0])
        assert inner is not None, f"there is no command {words[0]}"
        parse(inner, words[1:], click.Context(inner, info_name=words[0], parent=context))
        return
    given, rest, _ = command.make_parser(context).parse_args(list(words))
    assert rest == [], f"too many arguments: {rest}"
    for each in command.params:
        value = given.get(each.name)
        if isinstance(each.type, click.Choice) and isinstance(value, str | list):
            for one in [value] if isinstance(value, str) else value:
                if one not in OF_OTHERS:
                    each.type.convert(one, each, context)


FOUND = [
    pytest.param(words, id=f"{page.name}: {shlex.join(words)}") for page in PAGES for words in commands(page, "mhfd")
]
WITHIN = [pytest.param(words, id=f"{page.name}: {shlex.join(words)}") for page in PAGES for words in inline(page)]


SAID = [pytest.param(shlex.split(span), id=span) for span in sorted(set(re.findall(r"`mhfd ([a-z][^`\n]*)`", said())))]


@pytest.mark.parametrize("words", FOUND)
def test_a_command_is_one_that_mhfd_takes(words: list[str]) -> None:
    parse(main, words, click.Context(main, info_name="mhfd"))


@pytest.mark.parametrize("words", [*WITHIN, *SAID])
def test_so_is_one_within_a_sentence_or_a_message(words: list[str]) -> None:
    try:
        parse(main, words, click.Context(main, info_name="mhfd"))
    except click.BadOptionUsage as error:  # `mhfd report --figures`: the option is meant, whatever its value
        assert "requires an argument" in error.message


@pytest.mark.parametrize(
    "words", [["status", "--jsn"], ["export", "--format", "xls"], ["scroe"], ["dashboard", "a", "b"]]
)
def test_one_that_it_does_not_take_is_noticed(words: list[str]) -> None:
    with pytest.raises((click.UsageError, AssertionError)):
        parse(main, words, click.Context(main, info_name="mhfd"))


def test_there_are_many() -> None:
    assert len(FOUND) > 80 and len(WITHIN) > 50 and len(SAID) > 40


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_shell_can_read_the_blocks(page: Path) -> None:
    for block in blocks(page, "sh"):
        done = subprocess.run([need("bash", "bash"), "-n"], input=block, text=True, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_code_and_data_can_be_read(page: Path) -> None:
    for block in blocks(page, "python", "python notest"):
        ast.parse(block)
    for block in blocks(page, "toml"):
        tomllib.loads(block)
    for block in blocks(page, "json"):
        json.loads(block)


SCRIPTS = [
    pytest.param(words, id=shlex.join(words))
    for page in PAGES
    for words in commands(page, "python")
    if words[0][0] != "-"
]


@pytest.mark.parametrize("words", SCRIPTS)
def test_a_script_exists_and_knows_its_options(words: list[str]) -> None:
    if words[0].startswith("../shared/"):  # not of this repository
        return
    text = (ROOT / words[0]).read_text(encoding="utf-8")
    assert [each for each in words if each.startswith("--") and f'"{each}"' not in text] == []


@pytest.mark.parametrize("target", sorted({words[0] for page in PAGES for words in commands(page, "make")}))
def test_a_target_of_make_exists(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)


MODULES = sorted(
    {words[1] for page in PAGES for words in commands(page, "python") if words[0] == "-m"} - {"pip", "venv"}
)


@pytest.mark.parametrize("module", MODULES)
def test_a_module_that_is_run_is_there(module: str) -> None:
    assert module.split(".")[0] == "pytest" or list(ROOT.glob(f"*/{module.replace('.', '/')}/__main__.py"))
