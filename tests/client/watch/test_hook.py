"""The listener for finished tiles: SBEMimage's messages over a real connection, and other requests."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from queue import Empty, Queue
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mhfd_client.config import ConfigError
from mhfd_client.config.address import parse_listen
from mhfd_client.serving import ServingError
from mhfd_client.serving.server import CONNECTIONS
from mhfd_client.watch.hook import Hook, told_path

TILE = "tiles/g0000/t0066/test_g0000_t0066_s00000.tif"
SBEM = {  # as SBEMimage's register_accepted_tile puts it together
    "tileid": "0000.0066.00000",
    "timestamp": 1609707887,
    "filename": TILE,
    "tile_width": 4096,
    "tile_height": 3072,
    "wd_stig_xy": [0.006247758, -0.014188, 1.094248],
    "glob_x": -359593,
    "glob_y": -147855,
    "glob_z": 0,
    "slice_counter": 0,
}


class Told:
    """The listener, and the paths that it reported."""

    def __init__(self) -> None:
        self.paths: Queue[str | None] = Queue()
        self.hook = Hook("127.0.0.1:0", self.paths.put)

    def next(self) -> str | None:
        return self.paths.get(timeout=5)

    def ask(self, method: str, where: str, body: Any = None) -> tuple[int, Any]:
        return ask(self.hook, method, where, body)


def ask(hook: Hook, method: str, where: str, body: Any = None) -> tuple[int, Any]:
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    connection = http.client.HTTPConnection(urlsplit(hook.url).netloc, timeout=5)
    try:
        connection.request(method, where, data)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


@pytest.fixture
def told() -> Iterator[Told]:
    told = Told()
    with told.hook:
        yield told


def nothing_more(told: Told) -> bool:
    told.ask("GET", "/tile/completed?path=last")
    return told.next() == "last"


def test_the_message_of_sbemimage_tells_the_tile(told: Told) -> None:
    assert told.ask("POST", "/project/p/stack/test/tile/completed", SBEM) == (200, {})
    assert told.next() == TILE


def test_the_project_may_have_no_name(told: Told) -> None:
    told.ask("POST", "/project//stack/test/tile/completed", SBEM)
    assert told.next() == TILE


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("PUT", "session/metadata"),
        ("PUT", "session/stopped"),
        ("PUT", "slice/completed"),
        ("POST", "ov/completed"),
        ("GET", "signal/read"),
    ],
)
def test_the_other_messages_of_sbemimage_are_answered_and_tell_nothing(told: Told, method: str, message: str) -> None:
    assert told.ask(method, f"/project/p/stack/s/{message}", {} if method != "GET" else None) == (200, {})
    assert nothing_more(told)


def test_a_long_description_of_the_session_is_answered(told: Told) -> None:
    session = {"grid_origins": [[-238.719, -419.024]] * 100_000}
    assert told.ask("PUT", "/project/p/stack/s/session/metadata", session) == (200, {})


def test_a_path_may_be_posted(told: Told) -> None:
    told.ask("POST", "/tile/completed", {"path": "a b/ä.tif"})
    assert told.next() == "a b/ä.tif"


def test_a_path_may_stand_in_the_address(told: Told) -> None:
    told.ask("GET", "/tile/completed?path=a%20b/%C3%A4.tif")
    assert told.next() == "a b/ä.tif"


@pytest.mark.parametrize(
    "body", [None, b"", b"{", b"[" * 50_000, b"\xff", [1], "x", {"path": 5}, {"path": "a\nb"}, {"path": "a" * 5000}]
)
def test_a_message_without_a_usable_path_asks_for_a_scan(told: Told, body: Any) -> None:
    assert told.ask("POST", "/tile/completed", body)[0] == 200
    assert told.next() is None


def test_what_is_too_long_to_be_a_message_is_answered_and_asks_for_a_scan(told: Told) -> None:
    assert told.ask("POST", "/tile/completed", b" " * 3_000_000)[0] == 200
    assert told.next() is None


def test_another_address_is_told_what_to_write(told: Told) -> None:
    status, answer = told.ask("GET", "/")
    assert status == 404 and "/tile/completed" in answer["error"]


@pytest.mark.parametrize("length", ["-5", "x", "9" * 30, ""])
def test_a_length_that_is_none_is_refused(told: Told, length: str) -> None:
    address = urlsplit(told.hook.url)
    with socket.create_connection((address.hostname, address.port), timeout=5) as raw:
        raw.sendall(f"POST /tile/completed HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n".encode())
        assert raw.recv(100).startswith(b"HTTP/1.1 400")
    assert nothing_more(told)


@pytest.mark.parametrize("sent", [b"\x16\x03\x01\x02\x00", b"GET http://[ HTTP/1.1\r\n\r\n", b"\r\n", b"\x00" * 70_000])
def test_what_is_not_http_does_no_harm(told: Told, sent: bytes) -> None:
    address = urlsplit(told.hook.url)
    with socket.create_connection((address.hostname, address.port), timeout=5) as raw:
        raw.sendall(sent)
    assert nothing_more(told)


def test_someone_who_stops_in_mid_sentence_keeps_nobody_waiting(told: Told) -> None:
    address = urlsplit(told.hook.url)
    with socket.create_connection((address.hostname, address.port), timeout=5) as raw:
        raw.sendall(b"POST /tile/completed HTTP/1.1\r\nContent-Length: 100\r\n\r\n{")
        assert nothing_more(told)


def test_the_microscope_is_answered_while_the_last_tile_is_still_being_taken_up() -> None:
    go_on = threading.Event()
    with Hook("127.0.0.1:0", lambda path: go_on.wait(10) and None) as hook:
        try:
            start = time.monotonic()
            for _ in range(20):
                assert ask(hook, "POST", "/tile/completed")[0] == 200
            assert time.monotonic() - start < 5
        finally:
            go_on.set()


def test_calls_that_wait_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mhfd_client.watch.hook.PENDING", 3)
    go_on, called = threading.Event(), Queue[str | None]()

    def slow(path: str | None) -> None:
        called.put(path)
        go_on.wait(10)

    with Hook("127.0.0.1:0", slow) as hook:
        ask(hook, "GET", "/tile/completed?path=first")
        assert called.get(timeout=5) == "first"
        for _ in range(10):
            ask(hook, "GET", "/tile/completed?path=later")
        go_on.set()
        assert len(rest(called)) < 10


def rest(called: Queue[str | None]) -> list[str | None]:
    """The calls until none comes for a while."""
    found = []
    with contextlib.suppress(Empty):
        while True:
            found.append(called.get(timeout=0.2))
    return found


def test_a_fault_of_the_receiver_is_logged_and_survived(caplog: pytest.LogCaptureFixture) -> None:
    paths: Queue[str | None] = Queue()

    def faulty(path: str | None) -> None:
        if path == "bad":
            raise RuntimeError("not now")
        paths.put(path)

    with Hook("127.0.0.1:0", faulty) as hook:
        ask(hook, "GET", "/tile/completed?path=bad")
        ask(hook, "GET", "/tile/completed?path=good")
        assert paths.get(timeout=5) == "good"
    assert "not now" in caplog.text


def test_a_closed_listener_listens_no_more(told: Told) -> None:
    told.hook.close()
    with pytest.raises(OSError):
        told.ask("GET", "/tile/completed")


def test_a_listener_that_never_started_can_be_closed() -> None:
    hook = Hook("127.0.0.1:0", print)
    hook.close()
    with pytest.raises(OSError):
        ask(hook, "GET", "/tile/completed")


def test_a_port_that_is_taken_is_refused_with_a_remedy(told: Told) -> None:
    with pytest.raises(ServingError, match="choose another port") as caught:
        Hook(told.hook.url.removeprefix("http://"), print)
    assert caught.value.exit_code == 78


@pytest.mark.parametrize("listen", ["", "8765", ":8765", "host:", "host:x", "host:65536", "::1:80", "[]:80", "h:٣"])
def test_what_is_no_address_is_refused_with_an_example(listen: str) -> None:
    with pytest.raises(ConfigError, match=r"127\.0\.0\.1:8765"):
        parse_listen(listen)


@pytest.mark.parametrize(
    ("listen", "address"),
    [("127.0.0.1:8765", ("127.0.0.1", 8765)), ("[::1]:0", ("::1", 0)), ("em-pc:80", ("em-pc", 80))],
)
def test_an_address_is_host_and_port(listen: str, address: tuple[str, int]) -> None:
    assert parse_listen(listen) == address


@settings(deadline=None)
@given(st.text(max_size=50), st.binary(max_size=200))
def test_anything_sent_is_read_without_a_fault(query: str, body: bytes) -> None:
    path = told_path(query, body)
    assert path is None or path.isprintable()


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_the_commands_of_the_page_tell_the_tile(told: Told) -> None:
    page = (Path(__file__).parents[3] / "docs" / "layouts.md").read_text(encoding="utf-8")
    commands = re.findall(r"^curl .*$", page, flags=re.MULTILINE)
    for command in commands:
        line = command.replace("http://127.0.0.1:8765", told.hook.url)
        subprocess.run(["sh", "-c", line], check=True, timeout=10, capture_output=True)
    assert [told.next() for _ in commands] == ["s0001_r0_c1.tif"] * 2


def test_what_a_web_page_sends_is_refused_and_tells_nothing(told: Told) -> None:
    assert asked_as(told.hook, {"Origin": "https://example.org"}) == 403
    assert asked_as(told.hook, {"Origin": "null"}) == 403
    assert nothing_more(told)


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.example", "[::1", ""])
def test_a_name_made_to_point_here_is_refused(told: Told, host: str) -> None:
    assert asked_as(told.hook, {"Host": host}) == 403
    assert nothing_more(told)


@pytest.mark.parametrize("host", ["127.0.0.1:5000", "[::1]:80", "10.1.2.3", "LOCALHOST:1", socket.gethostname()])
def test_this_machines_address_and_name_are_taken(told: Told, host: str) -> None:
    assert asked_as(told.hook, {"Host": host}) == 200


def test_whoever_holds_connections_open_keeps_no_microscope_out(told: Told) -> None:
    address = urlsplit(told.hook.url)
    with contextlib.ExitStack() as held:
        idle = [
            held.enter_context(socket.create_connection((address.hostname or "", address.port or 0), timeout=4))
            for _ in range(CONNECTIONS + 10)
        ]
        assert told.ask("POST", "/tile/completed", SBEM) == (200, {})
        assert told.next() == TILE
        assert idle[0].recv(1) == b"", "the oldest is cut, well before its five seconds of silence"


def asked_as(hook: Hook, headers: dict[str, str]) -> int:
    connection = http.client.HTTPConnection(urlsplit(hook.url).netloc, timeout=5)
    try:
        connection.request("POST", "/tile/completed?path=x", headers=headers)
        return connection.getresponse().status
    finally:
        connection.close()
