"""What needs one of mhfd's extras, and how to add it to this installation. Standard library only."""

from __future__ import annotations

import json
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from mhfd.contract import ExitCode, MhfdError


class MissingExtraError(MhfdError, ImportError):
    """A package is missing that an extra of mhfd brings; the message says how to install it."""

    exit_code = ExitCode.CONFIG


def needed(module: str, extra: str, what: str) -> Any:
    """A module that an extra brings.

    Parameters
    ----------
    what : it is needed for, to begin a sentence with: "a plot"

    Raises
    ------
    MissingExtraError
        It is not installed.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"{what} needs {error.name}: {install_hint(extra)}") from error


@cache
def install_hint(extra: str) -> str:
    """The command that adds an extra, from where mhfd itself was installed: a checkout, a repository, a file, an index.

    pip records that place beside the package, unless it was found by its name alone.
    """
    return f"pip install {_requirement(extra, _origin())}"


def _requirement(extra: str, origin: dict[str, Any] | None) -> str:
    """The text after `pip install`.

    Parameters
    ----------
    origin : the content of direct_url.json; {} where there is none, None where mhfd is not installed at all
    """
    if origin is None:
        return f'".[{extra}]" in a checkout of mhfd'
    url, editable = str(origin.get("url", "")), (origin.get("dir_info") or {}).get("editable")
    if not url:
        return f'"mhfd[{extra}]" (with --find-links FOLDER if mhfd came from a folder of wheels)'
    if repository := origin.get("vcs_info"):
        commit = repository.get("commit_id")
        return f'"mhfd[{extra}] @ {repository.get("vcs", "git")}+{url}{f"@{commit}" if commit else ""}"'
    if not url.startswith("file:"):
        return f'"mhfd[{extra}] @ {url}"'
    path = Path(url2pathname(urlsplit(url).path))
    if not path.exists():
        return f'".[{extra}]" in a checkout of mhfd'
    return f'{"--editable " if editable else ""}"{path}[{extra}]"'


def _origin() -> dict[str, Any] | None:
    from importlib import metadata  # 30 ms, for messages alone

    try:
        text = metadata.distribution("mhfd").read_text("direct_url.json")
    except metadata.PackageNotFoundError:
        return None
    try:
        found = json.loads(text or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
