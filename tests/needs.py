"""Requirements of tests: a missing one fails in CI; elsewhere it skips and says how to get it."""

from __future__ import annotations

import os
import shutil
from typing import NoReturn

import pytest


def give_up(lack: str) -> NoReturn:
    """End the test: `lack` says what is missing, and the remedy."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{lack} (CI runs every test.)")
    pytest.skip(lack)


def need(command: str, package: str) -> str:
    """The path of the program."""
    return shutil.which(command) or give_up(
        f"{command} is not installed. On Debian or Ubuntu: apt-get install {package}"
    )
