"""docs/operation.md: its commands can be typed, and its configuration is one."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import click
import pytest

from mhfd_client.cli import main
from mhfd_client.config import parse_config

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PAGE = (Path(__file__).parents[3] / "docs" / "operation.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"(?:^    |`)(mhfd [^`\n]+?)(?:\s+#.*)?(?:`|$)", PAGE, flags=re.MULTILINE)


def parse(command: click.Command, name: str, words: list[str]) -> None:
    """Have click read the words; it raises where it cannot."""
    context = command.make_context(name, list(words))
    if isinstance(command, click.Group):
        called, inner, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        assert inner is not None and called is not None
        parse(inner, called, rest)


@pytest.mark.parametrize("line", [each for each in COMMANDS if each not in ("mhfd recover", "mhfd explain")])
def test_each_command_of_the_page_can_be_typed(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("functions-old.json").touch()
    parse(main, "mhfd", shlex.split(line)[1:])


def test_the_page_has_commands() -> None:
    assert len(COMMANDS) > 8


def test_the_configuration_of_the_page_is_valid() -> None:
    (block,) = re.findall(r"```toml\n(.*?)```", PAGE, flags=re.DOTALL)
    config = parse_config(tomllib.loads(block))
    assert set(config.endpoints) == {"dgx", "dgx-old"}
