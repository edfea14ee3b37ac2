"""What `--help` shows ends with examples, and these can be typed."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from mhfd_client.cli import main


def commands(group: click.Group, name: str = "mhfd") -> Iterator[tuple[str, click.Command]]:
    """Every command with its whole name, and each group."""
    yield name, group
    context = click.Context(group)
    for each in group.list_commands(context):
        command = group.get_command(context, each)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, f"{name} {each}")
        else:
            yield f"{name} {each}", command


COMMANDS = dict(commands(main))


def examples(name: str) -> list[str]:
    """The last lines of a command's help, below "Example:"."""
    done = CliRunner().invoke(main, [*name.split()[1:], "--help"], terminal_width=200)
    assert done.exit_code == 0
    _, begun, rest = done.stdout.rpartition("  Example:\n")
    assert begun, f"{name} has no example"
    return [line.strip() for line in rest.splitlines()]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working folder in which the files and folders of the examples exist."""
    monkeypatch.chdir(tmp_path)
    for name in ("run", "series", "spool"):
        (tmp_path / name).mkdir()


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("name", COMMANDS)
def test_the_examples_of_each_command_can_be_typed(name: str) -> None:
    found = examples(name)
    assert found
    for line in found:
        program, *words = shlex.split(line)
        assert program == "mhfd"
        assert line.startswith(f"{name} ") or line == name, f"{line} is no example of {name}"
        parse(main, "mhfd", words)


def parse(command: click.Command, name: str, words: list[str]) -> None:
    """Have click read the words; it raises where it cannot."""
    context = command.make_context(name, list(words))
    if isinstance(command, click.Group):
        called, inner, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        assert inner is not None and called is not None
        parse(inner, called, rest)


def test_an_example_that_click_cannot_read_would_be_found() -> None:
    with pytest.raises(click.UsageError):
        parse(main, "mhfd", ["export", "run", "--wher", "failed"])
