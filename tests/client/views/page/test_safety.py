"""Who may ask the page, and what its answers tell a browser."""

from __future__ import annotations

import asyncio
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mhfd_client.views.page import pictures
from mhfd_client.views.page.opening import Door, open_doors, open_page
from mhfd_client.views.page.pictures import WAITING, BusyError, Pictures
from mhfd_client.views.page.safety import TokenError, tokens_of
from page_client import Asker, Served, served
from page_run import Wafer, open_filling

WAFER = Wafer(sections=1, rows=1, cols=2)
TOKEN = "0123456789abcdefghijkl"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("page"), WAFER) as page:
        yield page


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("guarded"), WAFER, Door(tokens=(f"Ana={TOKEN}",))) as page:
        yield page


@pytest.mark.parametrize("path", ["/", "/api/tiles.bin", "/img/1/thumb.png", "/nothing", "/api/tile/0", "/metrics"])
def test_every_answer_has_the_security_headers(page: Served, path: str) -> None:
    headers = page.get(path).headers
    assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self';")
    assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-resource-policy"] == "same-origin" and "server" not in headers


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8764", "127.0.0.1.evil.example", "localhost.evil", ""])
def test_a_name_made_to_point_here_is_refused(page: Served, host: str) -> None:
    for path in ("/", "/api/tiles.bin", "/metrics"):
        assert page.get(path, Host=host).status == 403


@pytest.mark.parametrize("host", ["127.0.0.1:1", "localhost", "[::1]:80", socket.gethostname()])
def test_our_own_names_are_taken(page: Served, host: str) -> None:
    assert page.get("/api/tiles.bin", Host=host).status == 200


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1"])
def test_another_page_can_ask_nothing(page: Served, origin: str) -> None:
    assert page.post("/api/decision", {"n": 1, "what": "retake"}, Origin=origin).status == 403
    assert page.get("/api/tiles.bin", Origin=origin).status == 403


def test_a_form_of_another_page_is_refused(page: Served) -> None:
    sent = b'{"n": 1, "what": "retake"}'
    assert page.asker.ask("POST", "/api/decision", sent, {"Content-Type": "text/plain"}).status == 415
    assert page.post("/api/decision", {"n": 1, "what": "retake"}, Sec_Fetch_Site="cross-site").status == 403
    assert page.filling.ledger.decisions(page.filling.run.run_id) == []


def test_our_own_page_may_decide(page: Served) -> None:
    answer = page.post("/api/decision", {"n": 2, "what": "open"}, Origin=page.asker.url.rstrip("/"))
    assert answer.status == 200


@pytest.mark.parametrize("path", ["/api/tiles.bin", "/api/events", "/img/1/thumb.png", "/metrics", "/api/retakes"])
def test_without_the_token_there_is_nothing_to_see(guarded: Served, path: str) -> None:
    assert guarded.get(path).status == 401
    assert guarded.get(path, Cookie="mhfd=0123456789abcdefghijkm").status == 401
    assert guarded.get(path, Authorization="Bearer x").status == 401


def test_the_shell_comes_without_a_token(guarded: Served) -> None:
    assert guarded.get("/").status == 200 and guarded.get("/static/main.js").status == 200


def test_the_token_is_traded_for_a_cookie_that_scripts_cannot_read(guarded: Served) -> None:
    assert guarded.post("/api/token", {"token": "0123456789abcdefghijkm"}).status == 401
    answer = guarded.post("/api/token", {"token": TOKEN})
    cookie = answer.headers["set-cookie"]
    assert answer.json == {"by": "Ana"} and "HttpOnly" in cookie and "SameSite=Strict" in cookie
    assert guarded.get("/api/tiles.bin", Cookie=cookie.partition(";")[0]).status == 200


def test_a_decision_is_in_the_name_of_the_token(guarded: Served) -> None:
    guarded.post("/api/decision", {"n": 1, "what": "ignore", "by": "Mallory"}, Authorization=f"Bearer {TOKEN}")
    assert [each.who for each in guarded.filling.ledger.decisions(guarded.filling.run.run_id)] == ["Ana"]


def test_a_token_is_made_where_others_can_connect() -> None:
    assert tokens_of((), "127.0.0.1") == tokens_of((), "localhost") == tokens_of((), "::1") == {}
    one, other = (next(iter(tokens_of((), "0.0.0.0"))) for _ in range(2))
    assert one != other and len(one) == 22
    with pytest.raises(TokenError, match="at least 22"):
        tokens_of(("secret",), "127.0.0.1")


def test_bound_everywhere_the_url_brings_the_token(tmp_path: Path) -> None:
    filling = open_filling(tmp_path, WAFER)
    with filling.ledger, open_page(str(tmp_path / "ledger.db"), filling.run, Door("0.0.0.0")) as url:
        address, _, token = url.partition("#token=")
        port = address.rstrip("/").rsplit(":", 1)[1]
        asker = Asker(f"http://127.0.0.1:{port}/")
        assert asker.get("/api/retakes").status == 401
        assert asker.get("/api/retakes", Authorization=f"Bearer {token}").status == 200
        assert asker.get("/api/retakes", Authorization=f"Bearer {token}", Host="evil.example").status == 403


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_with_a_certificate_it_speaks_tls(tmp_path: Path) -> None:
    from mhfd_client.serving.server import Certificate

    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key,
         "-out", cert, "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    with served(tmp_path, WAFER, Door(certificate=Certificate(cert, key), tokens=(TOKEN,))) as page:
        page.asker.trusted = ssl.create_default_context(cafile=str(cert))
        assert page.asker.url.startswith("https://")
        assert "Secure" in page.post("/api/token", {"token": TOKEN}).headers["set-cookie"]


def test_a_microscope_and_the_page_share_an_address(tmp_path: Path) -> None:
    filling = open_filling(tmp_path, WAFER)
    looked, said, urls = [], [], []
    with (
        filling.ledger,
        open_doors(
            str(tmp_path / "ledger.db"), filling.run, looked.append, said.append,
            listen=None, door=Door(tokens=(TOKEN,)), tell_page=urls.append,
        ),
    ):  # fmt: skip
        asker = Asker(urls[0].partition("#")[0])
        assert asker.ask("POST", "/project/p/tile/completed", b'{"filename": "t.tif"}').status == 200
        assert asker.ask("POST", "/tile/completed", b"{}", {"Origin": "https://evil.example"}).status == 403
        assert asker.get("/api/retakes").status == 401
        assert asker.get("/nothing").status == 401
        wait_for(lambda: looked == ["t.tif"])


def test_a_listener_without_a_page_has_metrics(tmp_path: Path) -> None:
    filling = open_filling(tmp_path, WAFER)
    said: list[str] = []
    with (
        filling.ledger,
        open_doors(
            str(tmp_path / "ledger.db"), filling.run, lambda path: None, said.append,
            listen="127.0.0.1:0", door=None, tell_page=said.append,
        ),
    ):  # fmt: skip
        asker = Asker(said[0].split()[2] + "/")
        assert asker.get("/healthz").json["ok"] is True
        assert asker.get("/").status == 404 and "/tile/completed" in asker.get("/").json["error"]
        assert asker.get("/healthz", Host="evil.example").status == 403


@pytest.mark.parametrize("name", ["<img src=x onerror=alert(1)>.tif", "a\x1b[31m\u202e.tif", "=cmd|calc.tif"])
def test_names_of_strangers_stay_names(tmp_path: Path, name: str) -> None:
    """JSON carries them as they are, as data; a CSV cell never starts a formula, and shows what is hidden."""

    class Strange(Wafer):
        def name(self, spot: tuple[int, int, int]) -> str:
            return name

    with served(tmp_path, Strange(sections=1, rows=1, cols=1, odd={(1, 0, 0): None}, pictures=False)) as page:
        answer = page.get("/api/retakes")
        assert answer.headers["content-type"] == "application/json" and answer.json["tiles"][0]["name"] == name
        csv = page.get("/api/retakes?format=csv").body.decode()
        assert "\x1b" not in csv and ",=cmd" not in csv


def test_pictures_that_wait_are_bounded(tmp_path: Path) -> None:
    made = Pictures(tmp_path)

    async def ask() -> int:
        go_on = asyncio.Event()
        loop = asyncio.get_running_loop()

        def slow() -> None:
            asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result(30)

        waiting = [asyncio.ensure_future(made.work(i, slow)) for i in range(WAITING + pictures.AT_ONCE)]
        await asyncio.sleep(0)
        with pytest.raises(BusyError):
            await made.work("one more", slow)
        go_on.set()
        await asyncio.gather(*waiting)
        return made.waiting

    try:
        assert asyncio.run(ask()) == 0
    finally:
        made.close()


def test_too_many_pictures_are_429(page: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "WAITING", -pictures.AT_ONCE)
    answer = page.get("/img/1/whole.png?px=300")
    assert answer.status == 429 and "again" in answer.json["error"]


def wait_for(fits: Callable[[], bool], seconds: float = 30.0) -> None:
    end_s = time.monotonic() + seconds
    while not fits():
        assert time.monotonic() < end_s
        time.sleep(0.02)
