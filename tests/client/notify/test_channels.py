"""Each channel delivers to a real receiver, and says in a sentence without secrets when it cannot."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mhfd_client.config import ConfigError, parse_config
from mhfd_client.notify.message import Message
from mhfd_client.notify.opening import open_channels
from mhfd_client.notify.protocol import Channel, NotSentError
from needs import need_module
from receivers import MESSAGE, PASSWORD, Certificate, DesktopBus, MailServer, Server, trusted

SECRET = "hunter2hunter2"
OLD_MODULE = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")  # apprise imports it


def channel(**table: Any) -> Channel:
    return open_channels(parse_config({"notify": {"ops": table}}), ["ops"])[0]


def test_an_unknown_channel_is_named() -> None:
    config = parse_config({"notify": {"ops": {"kind": "desktop"}}})
    with pytest.raises(ConfigError, match=r"no channel \[notify.opps\] in the configuration; did you mean 'ops'"):
        open_channels(config, ["opps"])


# --- Webhook ------------------------------------------------------------------------------------------------------


def test_a_webhook_gets_json_with_the_secret_in_its_header(http: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_SECRET", SECRET)
    channel(kind="webhook", url=http.url, secret_variable="LAB_SECRET", secret_header="X-Lab").send(MESSAGE)
    ((headers, body),) = http.got
    assert (headers["X-Lab"], headers["Idempotency-Key"]) == (SECRET, MESSAGE.id)
    assert (body["id"], body["title"], body["urgent"]) == (MESSAGE.id, MESSAGE.title, True)
    assert body["text"].split("\n") == [MESSAGE.title, r"blur 1.3 px <b> & more\x1b[31m", MESSAGE.lines[1]]
    assert (body["run"], body["events"]) == (MESSAGE.data["run"], MESSAGE.data["events"])


def test_the_url_of_a_webhook_may_be_a_secret(http: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_URL", http.url)
    channel(kind="webhook", url_variable="LAB_URL").send(MESSAGE)
    assert len(http.got) == 1


@pytest.mark.parametrize(("code", "why"), [(500, "answered 500"), (403, "answered 403"), (302, "answered 302")])
def test_a_webhook_that_is_refused_or_redirected_was_not_sent(http: Server, code: int, why: str) -> None:
    http.answers = [code]
    with pytest.raises(NotSentError, match=rf"\[notify.ops\]: the server {why}"):
        channel(kind="webhook", url=http.url).send(MESSAGE)
    assert http.got == []


def test_a_webhook_without_its_server_or_its_variable_says_so(dead_port: int) -> None:
    with pytest.raises(NotSentError, match="refused"):
        channel(kind="webhook", url=f"http://127.0.0.1:{dead_port}").send(MESSAGE)
    with pytest.raises(NotSentError, match="the environment variable LAB_URL is not set"):
        channel(kind="webhook", url_variable="LAB_URL").send(MESSAGE)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "http://[::1", "http://127.0.0.1:99999/s3cret", "s3cret"])
def test_no_part_of_a_bad_url_is_repeated(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_URL", url)
    with pytest.raises(NotSentError) as caught:
        channel(kind="webhook", url_variable="LAB_URL").send(MESSAGE)
    assert "s3cret" not in str(caught.value)


# --- Mail ---------------------------------------------------------------------------------------------------------


def post(server: MailServer, security: str, **more: Any) -> Channel:
    table = {"kind": "email", "host": "127.0.0.1", "port": server.port, "security": security}
    return channel(**table, sender="sem@example.org", to=["ana@example.org", "ben@example.org"], **more)


def test_a_mail_arrives(mail: Callable[[str], MailServer]) -> None:
    server = mail("none")
    post(server, "none").send(MESSAGE)
    (arrived,) = server.mails
    assert server.recipients == [["ana@example.org", "ben@example.org"]]
    assert (arrived["Subject"], arrived["From"]) == (f"mhfd: {MESSAGE.title}", "sem@example.org")
    assert (arrived["X-Mhfd-Id"], arrived["Importance"]) == (MESSAGE.id, "high")
    assert arrived.get_content().splitlines() == [r"blur 1.3 px <b> & more\x1b[31m", MESSAGE.lines[1]]


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")  # aiosmtpd takes "ssl" for no TLS
@pytest.mark.parametrize("security", ["starttls", "ssl"])
def test_a_mail_goes_encrypted_and_with_a_password(
    mail: Callable[[str], MailServer], security: str, certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = mail(security)
    monkeypatch.setenv("LAB_MAIL", PASSWORD)
    with trusted(certificate, monkeypatch):
        post(server, security, user="sem", secret_variable="LAB_MAIL").send(MESSAGE)
    assert (server.users, len(server.mails)) == (["sem"], 1)


def test_a_wrong_password_is_not_repeated(
    mail: Callable[[str], MailServer], certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = mail("starttls")
    monkeypatch.setenv("LAB_MAIL", SECRET)
    with (
        trusted(certificate, monkeypatch),
        pytest.raises(NotSentError, match=r"the mail server refuses user or password \(535\)") as caught,
    ):
        post(server, "starttls", user="sem", secret_variable="LAB_MAIL").send(MESSAGE)
    assert SECRET not in str(caught.value)
    assert server.mails == []


def test_no_password_goes_to_a_server_whose_certificate_nobody_vouches_for(
    mail: Callable[[str], MailServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = mail("starttls")
    monkeypatch.setenv("LAB_MAIL", PASSWORD)
    with pytest.raises(NotSentError, match="certificate verify failed"):
        post(server, "starttls", user="sem", secret_variable="LAB_MAIL").send(MESSAGE)
    assert server.users == []


def test_a_header_cannot_be_smuggled_in(mail: Callable[[str], MailServer]) -> None:
    server = mail("none")
    post(server, "none").send(Message("1", "run\r\nBcc: eve@example.org", ("x",)))
    assert server.recipients == [["ana@example.org", "ben@example.org"]]
    assert server.mails[0]["Bcc"] is None


# --- Desktop ------------------------------------------------------------------------------------------------------


def test_a_desktop_shows_a_notification(desktop: DesktopBus) -> None:
    channel(kind="desktop").send(MESSAGE)
    channel(kind="desktop").send(Message("2", "-e", ("a line",)))
    first, second = desktop.shown
    assert first == ("mhfd", MESSAGE.title, "blur 1.3 px &lt;b&gt; &amp; more\\x1b[31m\n" + MESSAGE.lines[1], 2)
    assert second == ("mhfd", "-e", "a line", 1)


def test_without_notify_send_a_desktop_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NotSentError, match=r"notify-send is not installed.*windows://"):
        channel(kind="desktop").send(MESSAGE)


# --- apprise ------------------------------------------------------------------------------------------------------


@OLD_MODULE
def test_apprise_sends_to_what_its_urls_name(http: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    need_module("apprise")
    where = http.url.replace("http://", "json://")
    monkeypatch.setenv("LAB_URLS", f"{where}/one {where}/two")
    channel(kind="apprise", url_variable="LAB_URLS").send(MESSAGE)
    assert [(body["title"], body["type"]) for body in http.bodies] == [(MESSAGE.title, "warning")] * 2


@OLD_MODULE
@pytest.mark.parametrize("url", ["json://127.0.0.1:{port}/s3cret", "nobody://knows/s3cret"])
def test_apprise_that_fails_keeps_its_urls_to_itself(
    url: str, dead_port: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    need_module("apprise")
    monkeypatch.setenv("LAB_URLS", url.format(port=dead_port))
    with caplog.at_level(logging.DEBUG), pytest.raises(NotSentError, match=r"\[notify.ops\]: apprise") as caught:
        channel(kind="apprise", url_variable="LAB_URLS").send(MESSAGE)
    assert "s3cret" not in str(caught.value) + caplog.text
