"""Real receivers on this machine: an HTTP server, mail servers, a desktop's bus."""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from mhfd_client.notify.message import Message
from needs import need, need_module

MESSAGE = Message(
    id="run1-ops-7-began",
    title="focus is getting worse in run1",
    lines=("blur 1.3 px <b> & more\x1b[31m", "切片 s0003_r0_c1.tif"),
    urgent=True,
    data={"run": {"run_id": 1}, "events": [{"kind": "worsening"}]},
)


@dataclass
class Server:
    """What arrived at an HTTP server; `answers` are the status codes that it gives first."""

    url: str
    got: list[tuple[dict[str, str], Any]] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)

    @property
    def bodies(self) -> list[Any]:
        return [body for _, body in self.got]


@pytest.fixture
def http() -> Iterator[Server]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            code = found.answers.pop(0) if found.answers else 200
            if code == 200:
                found.got.append((dict(self.headers), json.loads(body)))
            self.send_response(code)
            if code == 302:
                self.send_header("Location", found.url + "/elsewhere")
            self.end_headers()

        do_GET = do_POST  # noqa: N815

        def log_message(self, *_: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found = Server(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield found
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def dead_port() -> int:
    """A port where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@dataclass(frozen=True)
class Certificate:
    """Of 127.0.0.1, by its own authority."""

    file: Path
    key: Path

    def context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.file, self.key)
        return context


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    folder = tmp_path_factory.mktemp("certificate")
    found = Certificate(folder / "cert.pem", folder / "key.pem")
    subprocess.run(
        [need("openssl", "openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-keyout", found.key, "-out", found.file, "-days", "2", "-subj", "/CN=127.0.0.1",
         "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    return found


@dataclass
class MailServer:
    """What arrived at a mail server, and who signed in."""

    port: int
    mails: list[EmailMessage] = field(default_factory=list)
    recipients: list[list[str]] = field(default_factory=list)
    users: list[str] = field(default_factory=list)


PASSWORD = "correct horse"


@pytest.fixture
def mail(certificate: Certificate) -> Iterator[Callable[[str], MailServer]]:
    """Starts a mail server with this kind of security: "none", "starttls", "ssl"."""
    need_module("aiosmtpd")
    from aiosmtpd.controller import Controller
    from aiosmtpd.smtp import AuthResult

    controllers = []

    def start(security: str) -> MailServer:
        found = MailServer(0)

        class Handler:
            async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
                found.mails.append(message_from_bytes(envelope.content, policy=policy.default))  # type: ignore[arg-type]
                found.recipients.append(envelope.rcpt_tos)
                return "250 OK"

        def authenticate(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> Any:
            found.users.append(data.login.decode())
            return AuthResult(success=data.password.decode() == PASSWORD, handled=False)

        secure: dict[str, Any] = {}
        if security == "starttls":
            secure = {"tls_context": certificate.context(), "require_starttls": True}
        elif security == "ssl":
            secure = {"ssl_context": certificate.context()}
        controller = Controller(
            Handler(), hostname="127.0.0.1", port=free_port(), authenticator=authenticate,
            auth_required=security != "none", auth_require_tls=security == "starttls", **secure,
        )  # fmt: skip
        if security == "ssl":  # its own first visit does not know the certificate
            controller._trigger_server = lambda: visit(controller.port, certificate)
        controller.start()
        controllers.append(controller)
        found.port = controller.port
        return found

    yield start
    for controller in controllers:
        controller.stop()


def visit(port: int, certificate: Certificate) -> None:
    """Connect once, encrypted: the mail server waits for it."""
    context = ssl.create_default_context(cafile=str(certificate.file))
    with (
        socket.create_connection(("127.0.0.1", port)) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as secure,
    ):
        secure.recv(100)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def trusted(certificate: Certificate, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Within it, this machine trusts the authority of the certificate."""
    with monkeypatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(certificate.file))
        yield


@dataclass
class DesktopBus:
    """A bus of its own with a notification service; `shown`: application, title, body, urgency."""

    address: str
    shown: list[tuple[str, str, str, int]] = field(default_factory=list)


@pytest.fixture
def desktop(monkeypatch: pytest.MonkeyPatch) -> Iterator[DesktopBus]:
    if sys.platform != "linux":
        pytest.skip("the desktop's bus is Linux's")
    need("notify-send", "libnotify-bin")
    need_module("jeepney")
    command = [need("dbus-daemon", "dbus"), "--session", "--nofork", "--print-address=1"]
    daemon = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert daemon.stdout is not None
        bus = DesktopBus(daemon.stdout.readline().strip())
        ready = threading.Event()
        thread = threading.Thread(target=serve_notifications, args=(bus, ready), daemon=True)
        thread.start()
        assert ready.wait(30)
        monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", bus.address)
        yield bus
    finally:
        daemon.terminate()
        daemon.wait()
        thread.join(30)
        if daemon.stdout:
            daemon.stdout.close()


def serve_notifications(bus: DesktopBus, ready: threading.Event) -> None:
    """org.freedesktop.Notifications, until the bus ends."""
    from jeepney import HeaderFields, MessageType, new_method_return
    from jeepney.bus_messages import message_bus
    from jeepney.io.blocking import open_dbus_connection

    with open_dbus_connection(bus.address) as connection:
        connection.send_and_get_reply(message_bus.RequestName("org.freedesktop.Notifications"))
        ready.set()
        while True:
            try:
                message = connection.receive()
            except (ConnectionError, OSError):
                return
            if message.header.message_type != MessageType.method_call:
                continue
            name = message.header.fields.get(HeaderFields.member)
            if name == "Notify":
                application, _, _, title, body, _, hints, _ = message.body
                bus.shown.append((application, title, body, hints["urgency"][1]))
                connection.send(new_method_return(message, "u", (len(bus.shown),)))
            elif name == "GetServerInformation":
                connection.send(new_method_return(message, "ssss", ("test", "mhfd", "1", "1.2")))
            elif name == "GetCapabilities":
                connection.send(new_method_return(message, "as", (["body"],)))


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    for name in [each for each in os.environ if each.lower() in ("http_proxy", "https_proxy", "all_proxy")]:
        monkeypatch.delenv(name)
