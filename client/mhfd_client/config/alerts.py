"""What is told of a run beyond its tables, and by which way."""

from __future__ import annotations

import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, PositiveInt, field_validator, model_validator

from mhfd_client.config.base import Frozen, Seconds, SecondsOrZero
from mhfd_client.config.quiet import QuietHours

EventKind = Literal[
    "tiles",  # tiles out of focus or astigmatic
    "failed",  # tiles that could not be read
    "worsening",  # focus gets worse from tile to tile
    "many",  # many of the last tiles are bad
    "missing",  # tiles that should be there
    "endpoint",  # no tile is scored, since the endpoint is away
    "sign_in",  # somebody has to sign in to Globus soon
    "silence",  # no new tile comes
]

ALL: tuple[EventKind, ...] = (
    "tiles", "failed", "worsening", "many", "missing", "endpoint", "sign_in", "silence"
)  # fmt: skip
URGENT: tuple[EventKind, ...] = ("worsening", "many", "endpoint", "sign_in", "silence")

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PASSWORD_IN_URL = re.compile(r"://[^/@\s]*:[^/@\s]*@")


def _quiet(text: str) -> str:
    QuietHours.parse(text)
    return text


class AlertSettings(Frozen):
    """What a watch tells beyond its terminal, where, and how often. docs/alerts.md explains it.

    Attributes
    ----------
    channels : names under [notify] that get messages
    events : kinds of events that are told there; all are kept in the ledger
    urgent : kinds that pass quiet hours
    k, n : "many": so many bad tiles of the last n
    cooldown_s : a channel gets one message of a kind in so many seconds; what comes meanwhile is told together
    quiet : quiet hours in local time; what is not urgent is held, and told together when they end
    endpoint_s : the endpoint is called away after so many seconds of trouble
    sign_in_s : tell of a sign-in that expires within so many seconds
    silence_s : tell when no new tile has come for so many seconds; 0: never
    """

    channels: tuple[str, ...] = Field(default=(), examples=[["ops"]])
    events: tuple[EventKind, ...] = ALL
    urgent: tuple[EventKind, ...] = URGENT
    k: PositiveInt = 5
    n: PositiveInt = Field(default=20, le=1000)
    cooldown_s: SecondsOrZero = 600.0
    quiet: Annotated[str, AfterValidator(_quiet)] | None = Field(default=None, examples=["22:00-07:00"])
    endpoint_s: Seconds = 300.0
    sign_in_s: SecondsOrZero = 86_400.0
    silence_s: SecondsOrZero = 0.0

    @model_validator(mode="after")
    def _k_of_n(self) -> AlertSettings:
        if self.k > self.n:
            raise ValueError(f"k = {self.k} of the last n = {self.n} tiles cannot be bad: let k be at most n")
        return self

    @property
    def quiet_hours(self) -> QuietHours | None:
        return None if self.quiet is None else QuietHours.parse(self.quiet)


def _variable(name: str) -> str:
    if not _VARIABLE.fullmatch(name):
        raise ValueError("name an environment variable that holds the secret, not the secret itself")
    return name


Variable = Annotated[str, AfterValidator(_variable)]

NEEDED: dict[str, tuple[str, ...]] = {
    "webhook": ("url", "url_variable"), "apprise": ("url", "url_variable"), "email": ("host",), "desktop": ()
}  # fmt: skip


class NotifyEntry(Frozen):
    """A channel for messages. Secrets are in the environment; this table names their variables.

    Attributes
    ----------
    kind : "webhook" (JSON), "email", "desktop" (a notification on this machine; Linux), "apprise" (what its URL names)
    url : of a webhook; or an apprise URL without secrets
    url_variable : instead, the environment variable that holds the URL, or several apprise URLs
    secret_variable : the environment variable that holds the webhook's secret, or the password of `user`
    secret_header : the HTTP header that carries the webhook's secret
    host, port : the mail server; the port by default as `security` has it: 587, 465 or 25
    security : of the connection to the mail server
    user : for the mail server
    sender, to : mail addresses
    timeout_s : for one attempt; a message that fails is tried again
    """

    kind: Literal["webhook", "email", "desktop", "apprise"]
    url: str | None = Field(default=None, examples=["https://example.org/hook"])
    url_variable: Variable | None = Field(default=None, examples=["LAB_HOOK_URL"])
    secret_variable: Variable | None = Field(default=None, examples=["LAB_HOOK_SECRET"])
    secret_header: str = Field(default="Authorization", pattern=r"^[A-Za-z0-9-]+$")
    host: str | None = Field(default=None, examples=["smtp.example.org"])
    port: int | None = Field(default=None, ge=1, le=65_535, examples=[587])
    security: Literal["starttls", "ssl", "none"] = "starttls"
    user: str | None = Field(default=None, examples=["microscope"])
    sender: str | None = Field(default=None, examples=["microscope@example.org"])
    to: tuple[str, ...] = Field(default=(), examples=[["ana@example.org"]])
    timeout_s: float = Field(default=10.0, gt=0, le=120)

    @field_validator("url")
    @classmethod
    def _without_password(cls, url: str | None) -> str | None:
        if url and _PASSWORD_IN_URL.search(url):
            raise ValueError("a password has no place in this file; put the URL into a variable: url_variable")
        return url

    @model_validator(mode="after")
    def _complete(self) -> NotifyEntry:
        needed = NEEDED[self.kind]
        if needed and not any(getattr(self, key) for key in needed):
            raise ValueError(f'kind "{self.kind}" needs {" or ".join(needed)}')
        if self.kind == "webhook" and self.url and urlsplit(self.url).scheme not in ("http", "https"):
            raise ValueError("a webhook's url begins with https:// or http://")
        if self.kind == "email":
            self._check_mail()
        return self

    def _check_mail(self) -> None:
        if not self.sender or not self.to:
            raise ValueError('kind "email" needs sender and to')
        if any("@" not in each or not each.isprintable() for each in (self.sender, *self.to)):
            raise ValueError("sender and to are mail addresses, such as ana@example.org")
        if self.secret_variable and self.security == "none":
            raise ValueError('a password needs security "starttls" or "ssl"')
        if self.secret_variable and not self.user:
            raise ValueError("a password needs a user")

    @property
    def variables(self) -> tuple[str, ...]:
        """The environment variables that it reads."""
        return tuple(each for each in (self.url_variable, self.secret_variable) if each)
