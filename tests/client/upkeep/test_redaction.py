"""What a text loses before it leaves this machine, and what it keeps."""

from __future__ import annotations

import pytest

from mhfd_client.upkeep.redaction import Redaction

HERE = Redaction(secrets=("hunter2hunter2",), homes=("/srv/people/ana", r"D:\\Profiles\\ana"), people=("ana",))

SECRETS = [
    ("https://hooks.example.org/services/T00/B00/Zq8", "Zq8"),
    ("https://ana:pass@example.org/a?token=x1y2", "pass@"),
    ("https://example.org?key=x1y2z3", "x1y2z3"),
    ("tgram://123456:ABC-DEF/99", "ABC-DEF"),
    ("postgresql://em:hunter3@db.example.org/mhfd", "hunter3"),
    ("mailto://user:pw@example.org", "pw@"),
    ("told ana.b+x@mail.example.org so", "mail.example.org"),
    ("Authorization: Bearer abcdefghijkl", "abcdefghijkl"),
    ("password = 'a b c'", "a b c"),
    ("Ag" + "x9" * 30, "x9x9"),
    ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.sig-natu", "eyJzdWI"),
    ("ghp_16C7e42F292c6912E7710c838347Ae178B4a", "292c6912"),
    ("AKIAIOSFODNN7EXAMPLE", "IOSFODNN7"),
    ("-----BEGIN RSA PRIVATE KEY-----\nMIIEow\n-----END RSA PRIVATE KEY-----", "MIIEow"),
    ("told hunter2hunter2!", "hunter2"),
    ("R" + "4nDoMsTrInG" * 3, "DoMs"),
    ("/srv/people/ana/em/run7", "ana"),
    (r"D:\\Profiles\\ana\\em", "ana"),
    ("/home/berta/em/run7", "berta"),
    (r"C:\Users\Berta\em", "Berta"),
    (r"C:\\Users\\Berta\\em", "Berta"),
    ("/Users/berta", "berta"),
    ("process of ANA, ana_run3", "ana"),
]


@pytest.mark.parametrize(("text", "secret"), SECRETS, ids=range(len(SECRETS)))
def test_a_secret_is_taken_out(text: str, secret: str) -> None:
    assert secret in text or secret in text.lower()
    assert secret.lower() not in HERE.text(text).lower()


@pytest.mark.parametrize(
    "text",
    [
        "s0001_r0_c1.tif cannot be read: unexpected end of file",
        "11111111-1111-4111-8111-111111111111",
        "a" * 32 + "0123456789abcdef" * 2,  # a SHA-256
        "canary, banana",  # a name within a word
        "/data/run7/s0001_r0_c1.tif",
    ],
)
def test_what_a_helper_needs_stays(text: str) -> None:
    assert HERE.text(text) == text


def test_a_url_keeps_its_scheme_and_host() -> None:
    assert HERE.text("https://hooks.example.org/services/T00") == "https://hooks.example.org/***"
    assert HERE.text("postgresql://em@db.example.org/mhfd") == "postgresql://db.example.org/***"


def test_a_value_below_a_secret_key_goes_whole() -> None:
    assert HERE.value({"api_key": {"a": ["x"]}, "pw": "y", "token": 5, "rows": [1, None, "z"]}) == {
        "api_key": "***", "pw": "***", "token": "***", "rows": [1, None, "z"],
    }  # fmt: skip


def test_secrets_of_the_environment_are_found_by_the_names_that_are_told() -> None:
    here = Redaction.here(["LAB_HOOK"], {"LAB_HOOK": "tgram://one ntfy-two", "DB_PASSWORD": "three3", "LANG": "four"})
    assert here.text("ntfy-two three3 four") == "*** *** four"


def test_accounts_that_are_no_people_are_not_looked_for() -> None:
    assert "root" not in Redaction.here(environ={"USER": "root"}).people
    assert "carla" in Redaction.here(environ={"USER": "carla"}).people
