"""Texts without what must not leave this machine: secrets, addresses, people.

`mhfd_client.logs.redact` takes out what looks like a password, token or key. A bundle goes to somebody else, so more is
taken out here, rather too much than too little.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mhfd_client.logs import is_secret_name, redact

CUT = "***"
LEAST = 4  # characters of a value that is looked for; a shorter one would be found in every word

_URL = re.compile(r"(?i)\b([a-z][a-z0-9+.-]{1,20})://([^\s'\"<>`|\\]*)")
_PLAIN_SCHEMES = {"http", "https", "amqp", "amqps", "postgres", "postgresql"}  # elsewhere even the "host" is a token
_KEY_BLOCK = re.compile(r"-----BEGIN [A-Z ]+-----.*?(?:-----END [A-Z ]+-----|\Z)", re.DOTALL)
_MAIL = re.compile(r"[\w.+%-]+@[\w-]+(?:\.[\w-]+)*")
_TOKENS = re.compile(
    r"\b(?:gh[a-z]_|github_pat_|glpat-|xox[a-z]-|sk-|pypi-|hf_)[\w-]{10,}|\b(?:AKIA|ASIA)[0-9A-Z]{16}\b|\bAIza[\w-]{30,}"
)
# Letters of both cases and digits, and long: no word, no UUID and no SHA-256.
_RANDOM = re.compile(
    r"(?<![A-Za-z0-9])(?=[A-Za-z0-9]*[a-z])(?=[A-Za-z0-9]*[A-Z])(?=[A-Za-z0-9]*\d)[A-Za-z0-9]{28,}(?![A-Za-z0-9])"
)
_HOMES = re.compile(r"(?i)(/home/|/users/|[a-z]:\\+users\\+|[a-z]:/users/)[^/\\\s'\":,;)]+")
_MORE_SECRET_KEYS = re.compile(r"(?i)pass|pwd|^pw$|auth|(^|[_-])key($|[_-])|private|cookie|session")
_NOBODY = {"root", "system", "administrator", "admin", "user", "mhfd", "local", "default"}  # accounts, not people


@dataclass(frozen=True)
class Redaction:
    """What is taken out of texts beside what looks secret.

    Attributes
    ----------
    secrets : values, longest first; one may be part of another
    homes : home folders, each as it may be written; longest first
    people : names of accounts
    """

    secrets: tuple[str, ...] = ()
    homes: tuple[str, ...] = ()
    people: tuple[str, ...] = ()

    @classmethod
    def here(cls, variables: Iterable[str] = (), environ: Mapping[str, str] = os.environ) -> Redaction:
        """For this machine and account.

        Parameters
        ----------
        variables : environment variables that hold secrets, whatever their names are
        """
        named = {*variables}
        values = [value for name, value in environ.items() if name in named or is_secret_name(name)]
        parts = {part for value in values for part in (value, *value.split()) if len(part) >= LEAST}
        return cls(tuple(_longest(parts)), tuple(_longest(_home_texts())), tuple(_longest(_people(environ))))

    def text(self, text: str) -> str:
        """The text without secrets, addresses, home folders and names of accounts."""
        for value in self.secrets:
            text = text.replace(value, CUT)
        text = _KEY_BLOCK.sub(CUT, text)
        text = _URL.sub(_cut_url, text)
        text = redact(text)
        for pattern in (_TOKENS, _RANDOM):
            text = pattern.sub(CUT, text)
        text = _MAIL.sub(f"{CUT}@{CUT}", text)
        for home in self.homes:
            text = re.sub(rf"{re.escape(home)}(?![\w-])", "~", text, flags=re.IGNORECASE)
        text = _HOMES.sub(r"\1USER", text)
        for name in self.people:
            text = re.sub(rf"(?<![A-Za-z0-9]){re.escape(name)}(?![A-Za-z0-9])", "USER", text, flags=re.IGNORECASE)
        return text

    def value(self, value: Any) -> Any:
        """Plain JSON types with their texts, and the texts of their keys, so; all below a key such as "token" goes."""
        if isinstance(value, Mapping):
            return {
                self.text(str(key)): CUT if each and _holds_a_secret(str(key)) else self.value(each)
                for key, each in value.items()
            }
        if isinstance(value, list | tuple):
            return [self.value(each) for each in value]
        return self.text(value) if isinstance(value, str) else value


def _holds_a_secret(key: str) -> bool:
    return is_secret_name(key) or _MORE_SECRET_KEYS.search(key) is not None


def _cut_url(found: re.Match[str]) -> str:
    """Scheme and host: a path or a query may be a webhook's secret, a user may have a password before the @."""
    scheme, rest = found[1], found[2]
    if scheme.lower() not in _PLAIN_SCHEMES:
        return f"{scheme}://{CUT}"
    host, slash, path = rest.rpartition("@")[2].partition("/")
    host, mark, query = host.partition("?")
    return f"{scheme}://{host}{f'/{CUT}' if path or query or mark else slash}"


def _home_texts() -> set[str]:
    """The home folder as paths are written: with either slash, and with slashes doubled as in TOML and JSON."""
    try:
        homes = {str(Path.home()), os.path.realpath(Path.home())}
    except RuntimeError:  # there is none
        return set()
    homes = {home.rstrip("/\\") for home in homes}
    forms = {form for home in homes for form in (home, home.replace("\\", "/"), home.replace("\\", "\\\\"))}
    return {form for form in forms if len(form) > 1}


def _people(environ: Mapping[str, str]) -> set[str]:
    names = {environ.get(name, "") for name in ("USER", "LOGNAME", "USERNAME", "SUDO_USER")}
    with contextlib.suppress(OSError, KeyError, ImportError, RuntimeError):  # an account without a name or home
        names |= {getpass.getuser(), Path.home().name}
    return {name for name in names if len(name) > 1 and name.lower() not in _NOBODY}


def _longest(texts: Iterable[str]) -> list[str]:
    return sorted(texts, key=lambda text: (-len(text), text))
