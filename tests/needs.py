"""Requirements of tests: a missing one fails in CI; elsewhere it skips and says how to get it."""

from __future__ import annotations

import os
import shutil
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NoReturn

import pytest


def give_up(lack: str) -> NoReturn:
    """End the test: `lack` says what is missing, and the remedy."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{lack} (CI runs every test.)")
    pytest.skip(lack)


def need_module(name: str) -> Any:
    """A module that the extra `test` brings."""
    if find_spec(name) is None:
        give_up(f"{name} is not installed: pip install '.[test]'")
    return import_module(name)


def need(command: str, package: str) -> str:
    """The path of the program."""
    return shutil.which(command) or give_up(
        f"{command} is not installed. On Debian or Ubuntu: apt-get install {package}"
    )
