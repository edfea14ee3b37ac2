"""Channels and alert settings: complete, without secrets, and named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mhfd_client.config import ConfigError, load_config, parse_config, resolve
from mhfd_client.config.check import examine

MAIL = {"kind": "email", "host": "h", "sender": "a@b.org", "to": ["c@d.org"]}


def entry(**table: Any) -> Any:
    return parse_config({"notify": {"ops": table}}).notify["ops"]


@pytest.mark.parametrize(
    "table",
    [
        {"kind": "webhook", "url": "https://example.org/hook"},
        {"kind": "webhook", "url_variable": "HOOK"},
        MAIL,
        {**MAIL, "user": "sem", "secret_variable": "PASSWORD", "security": "ssl"},
        {"kind": "desktop"},
        {"kind": "apprise", "url_variable": "URLS"},
    ],
)
def test_complete_channels_are_accepted(table: dict[str, Any]) -> None:
    assert entry(**table).kind == table["kind"]


@pytest.mark.parametrize(
    ("table", "why"),
    [
        ({"kind": "webhook"}, "needs url or url_variable"),
        ({"kind": "webhook", "url": "ftp://example.org"}, "begins with https:// or http://"),
        ({"kind": "webhook", "url": "https://ana:pw@example.org"}, "a password has no place in this file"),
        ({"kind": "webhook", "url": "https://e.org", "secret_variable": "hunter 2"}, "name an environment variable"),
        ({"kind": "webhook", "url": "https://e.org", "secret_header": "X\nY"}, "secret_header"),
        ({"kind": "email", "host": "h"}, "needs sender and to"),
        ({**MAIL, "to": ["c@d.org\nBcc: e@f.org"]}, "are mail addresses"),
        ({**MAIL, "user": "sem", "secret_variable": "P", "security": "none"}, 'needs security "starttls" or "ssl"'),
        ({**MAIL, "secret_variable": "P"}, "a password needs a user"),
        ({"kind": "apprise"}, "needs url or url_variable"),
        ({"kind": "pigeon"}, "kind"),
    ],
)
def test_what_cannot_work_is_refused_with_a_reason(table: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        entry(**table)
    assert why in str(caught.value)


@pytest.mark.parametrize(
    ("table", "why"),
    [
        ({"k": 6, "n": 5}, "k = 6 of the last n = 5 tiles cannot be bad"),
        ({"quiet": "22-7"}, "write them like 22:00-07:00"),
        ({"events": ["worse"]}, "events"),
        ({"cooldown": 5}, "did you mean 'cooldown_s'"),
    ],
)
def test_alert_settings_that_cannot_work_are_refused(table: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config({"profiles": {"p": {"alerts": table}}})
    assert why in str(caught.value)


def test_a_profile_with_an_unknown_channel_is_found(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text("[notify.ops]\nkind = 'desktop'\n[profiles.p.alerts]\nchannels = ['opps']\n")
    (found,) = examine(load_config(file))
    assert found.fatal
    assert str(found.problem) == (
        "line 4: profiles.p.alerts.channels: there is no [notify.opps]; did you mean 'ops'?"
    )  # fmt: skip


def test_the_settings_in_effect_have_the_alerts_and_know_the_variables() -> None:
    config = parse_config(
        {
            "profile": "p",
            "profiles": {"p": {"alerts": {"channels": ["ops"], "k": 3}}},
            "notify": {"ops": {"kind": "webhook", "url_variable": "MHFD_HOOK"}},
        }
    )
    settings = resolve(config, None, {}, environ={"MHFD_HOOK": "https://example.org"})
    assert (settings.profile.alerts.channels, settings.profile.alerts.k, settings.notices) == (("ops",), 3, ())
