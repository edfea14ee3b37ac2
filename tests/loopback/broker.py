"""A RabbitMQ of our own: in a temporary folder, on free ports, on the loopback interface; it ends with us."""

from __future__ import annotations

import os
import shutil
import socket
import time
from collections.abc import Callable
from pathlib import Path

from loopback.guard import Guarded

START_TIMEOUT_S = 40.0  # cold 4-6 s; more on a busy machine
STOP_GRACE_S = 15.0
# Debian's own script in PATH insists on its system user, those behind it do not.
SERVER_PATHS = (
    "/usr/lib/rabbitmq/bin/rabbitmq-server",
    "/usr/local/sbin/rabbitmq-server",
    "/opt/homebrew/sbin/rabbitmq-server",
)
CONFIGURATION = """\
loopback_users = none
disk_free_limit.absolute = 50MB
log.file.level = warning
"""
# No busy waiting (the cores are for the tests); the distribution listener, too, on the loopback interface only.
ERLANG_ARGUMENTS = "+sbwt none +sbwtdcpu none +sbwtdio none -kernel inet_dist_use_interface {127,0,0,1}"


class BrokerError(RuntimeError):
    """RabbitMQ is not installed or did not start."""


def server_command() -> str | None:
    """Path of the script that starts RabbitMQ, or None where it is not installed."""
    named = os.environ.get("RABBITMQ_SERVER")
    for path in [named] if named else SERVER_PATHS:
        if Path(path).exists():
            return path
    return shutil.which("rabbitmq-server")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(fact: Callable[[], bool], timeout_s: float, what: str) -> None:
    """Return as soon as `fact` holds; `TimeoutError` naming `what` when it does not in `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not fact():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not after {timeout_s:g} s")
        time.sleep(0.05)


class Broker:
    """RabbitMQ with all its files in `folder`; durable queues survive ``stop()`` and ``start()``, as does the port."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = 0
        self._process: Guarded | None = None

    @property
    def url(self) -> str:
        return self.url_at(self.port)

    @staticmethod
    def url_at(port: int) -> str:
        return f"amqp://guest:guest@127.0.0.1:{port}/%2F"

    def start(self) -> None:
        """Start it and wait until it speaks AMQP; try another free port if ours was taken meanwhile."""
        command = server_command()
        if command is None:
            raise BrokerError("RabbitMQ is not installed. On Debian or Ubuntu: apt-get install rabbitmq-server")
        self.folder.mkdir(parents=True, exist_ok=True)
        first = not self.port
        for _ in range(3 if first else 1):
            if first:
                self.port = free_port()
            self._process = Guarded([command], log=self.log, cwd=self.folder, env=self._environment())
            if self._comes_up():
                return
            self.kill()
        raise BrokerError(f"RabbitMQ did not start. The end of {self.log}:\n{self.log_tail()}")

    def running(self) -> bool:
        return self._process is not None and self._talks_amqp()

    def stop(self) -> None:
        """Stop it cleanly: it saves its messages first."""
        self._end(STOP_GRACE_S)

    def kill(self) -> None:
        self._end(0)

    @property
    def log(self) -> Path:
        return self.folder / "broker.log"

    def log_tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-20:])

    def _end(self, grace_s: float) -> None:
        if self._process is not None:
            self._process.stop(grace_s)
            self._process = None

    def _environment(self) -> dict[str, str]:
        (self.folder / "rabbitmq.conf").write_text(CONFIGURATION)
        (self.folder / "enabled_plugins").write_text("[].\n")
        own = {
            "HOME": self.folder,  # the Erlang cookie
            "RABBITMQ_NODENAME": f"loopback{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": self.port,
            "RABBITMQ_DIST_PORT": free_port(),
            "RABBITMQ_CONFIG_FILE": self.folder / "rabbitmq.conf",
            "RABBITMQ_CONF_ENV_FILE": self.folder / "no-rabbitmq-env.conf",
            "RABBITMQ_ENABLED_PLUGINS_FILE": self.folder / "enabled_plugins",
            "RABBITMQ_MNESIA_BASE": self.folder / "data",
            "RABBITMQ_LOG_BASE": self.folder / "log",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": ERLANG_ARGUMENTS,
            # A port mapper of its own for each broker: sharing one, they end with the first that takes it along.
            "ERL_EPMD_PORT": free_port(),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
        }
        outer = {key: value for key, value in os.environ.items() if not key.startswith(("RABBITMQ_", "ERL_"))}
        return outer | {key: str(value) for key, value in own.items()}

    def _comes_up(self) -> bool:
        deadline = time.monotonic() + START_TIMEOUT_S
        while self._process is not None and self._process.alive() and time.monotonic() < deadline:
            if self._talks_amqp():
                return True
            time.sleep(0.1)
        return False

    def _talks_amqp(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"AMQP\x00\x00\x09\x01")
                return connection.recv(1) == b"\x01"  # a method frame: Connection.Start
        except OSError:
            return False
