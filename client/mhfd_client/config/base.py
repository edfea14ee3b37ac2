"""Parts that the configuration shares: its error, the places of its files, the base of its models."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_args
from urllib.parse import parse_qs, urlsplit

from platformdirs import user_config_path, user_data_path
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo

from mhfd.contract import ExitCode, MhfdError

Json = dict[str, Any]

_URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_PASSWORD = re.compile(r"://[^?#@]*:[^@]*@")  # rather too much than too little: an unescaped one may hold anything


@dataclass(frozen=True)
class Problem:
    """One mistake in a configuration.

    Attributes
    ----------
    place : tables and key, as in the file
    message : a sentence that names the key
    line : of the file, counted from 1, where it is known
    """

    place: tuple[str | int, ...]
    message: str
    line: int | None = None

    def __str__(self) -> str:
        return self.message if self.line is None else f"line {self.line}: {self.message}"


class ConfigError(MhfdError):
    """The configuration cannot be used; the message names the file, the key and the remedy."""

    exit_code = ExitCode.CONFIG

    def __init__(self, message: str, problems: Sequence[Problem] = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems)

    @classmethod
    def about(cls, source: str, problems: Sequence[Problem]) -> ConfigError:
        """One error for all mistakes of one file."""
        return cls(f"{source}: " + "; ".join(map(str, problems)), problems)


class Frozen(BaseModel):
    """A table of the file; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def model_in(annotation: Any) -> type[Frozen] | None:
    """The table in a field's type (optional, a list of tables, one per name); None for a plain value."""
    if arguments := get_args(annotation):
        return next((found for each in arguments if (found := model_in(each))), None)
    return annotation if isinstance(annotation, type) and issubclass(annotation, Frozen) else None


def default_path() -> Path:
    """Path of the configuration when none is given."""
    return Path(os.environ.get("MHFD_CONFIG") or user_config_path("mhfd") / "config.toml")


def default_ledger() -> Path:
    """Path of the ledger when none is given."""
    return user_data_path("mhfd") / "ledger.db"


def placed(path: Path, folder: Path | None) -> Path:
    """The path as seen from `folder`, with ~ written out; unchanged without a folder."""
    if folder is None:
        return path
    try:
        return folder / path.expanduser()
    except RuntimeError as error:  # no home folder
        raise ValueError(f"{path}: {error} Write the folder in full.") from error


def checked_ledger(where: str, folder: Path | None = None) -> str:
    """A ledger's file, as seen from `folder`, or the URL of its database.

    Raises
    ------
    ValueError
        The URL is of another kind of database, or contains a password; the message does not repeat it.
    """
    if not where.strip():
        raise ValueError("name a file, or postgresql://USER@HOST/DATABASE")
    if not _URL.match(where):
        return str(placed(Path(where), folder))
    url = urlsplit(where)
    if url.scheme.lower() not in ("postgresql", "postgres"):
        raise ValueError(f"a ledger is a file or postgresql://USER@HOST/DATABASE, not {url.scheme}://")
    if _PASSWORD.search(where) or parse_qs(url.query).keys() & {"password", "sslpassword"}:
        raise ValueError("a password has no place in the URL; set PGPASSWORD, or write it to ~/.pgpass")
    return where


def context_folder(info: ValidationInfo) -> Path | None:
    context: Mapping[str, Any] = info.context or {}
    return context.get("folder")


HerePath = Annotated[Path, AfterValidator(lambda path, info: placed(path, context_folder(info)))]
"""A file or folder of this machine; a relative one is taken from the folder of the configuration."""

Ledger = Annotated[str, AfterValidator(lambda where, info: checked_ledger(where, context_folder(info)))]

MONTH_S = 30 * 86400
Seconds = Annotated[float, Field(gt=0, le=MONTH_S)]  # Windows cannot wait longer than 49 days
SecondsOrZero = Annotated[float, Field(ge=0, le=MONTH_S)]
