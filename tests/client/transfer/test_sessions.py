"""Collections that want a sign-in of a certain kind: it is asked for, as Globus says, or the command that asks is told.

A person is played by the real SDK's prompt, whose page the loopback's Auth answers.
"""

from __future__ import annotations

import builtins
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from urllib.request import urlopen
from uuid import uuid4

import pytest

from mhfd_client.transfer.opening import open_transfer
from mhfd_client.transfer.protocol import Arrived, Transfer, TransferSignInError

from .conftest import Move, outgoing, settle, until

DOMAIN = {"session_required_single_domain": ["facility.example.org"]}
POLICY = {"session_required_policies": ["0ad5e6ac-4f4a-4a3f-9a3c-0d5bd4bd7a2c", "7c1dd4b5-6ec2-4e3b-8dfc-0b5f34b5b8c9"]}
MFA = {"session_required_mfa": True}

Pages = list[dict[str, list[str]]]


@pytest.fixture
def person(move: Move, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Pages:
    """Somebody at a terminal, who opens each page that is printed and types its code; the pages' questions."""
    for name in ("GLOBUS_COMPUTE_CLIENT_ID", "GLOBUS_COMPUTE_CLIENT_SECRET"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("GLOBUS_COMPUTE_USER_DIR", str(move.root.parent / "globus"))
    opened: Pages = []

    def typed(*_: object) -> str:
        page = next(word for word in capsys.readouterr().out.split() if "/v2/oauth2/authorize?" in word)
        opened.append(parse_qs(urlsplit(page).query))
        with urlopen(page) as answer:
            return str(json.load(answer)["code"])

    monkeypatch.setattr(builtins, "input", typed)
    return opened


def opened(move: Move, **options: Any) -> Transfer:
    move.options |= options
    transfer = open_transfer(move.entry, root=move.root, run="run1")
    move.opened.append(transfer)
    return transfer


def wanting(move: Move, session: dict[str, Any], **options: Any) -> str:
    return move.service.collection(move.destination, home="/home/em", session=session, **options)


def session_of(page: dict[str, list[str]]) -> dict[str, list[str]]:
    return {key: value for key, value in page.items() if key.startswith("session_required")}


@pytest.mark.parametrize(
    ("session", "asked"),
    [
        (DOMAIN, {"session_required_single_domain": ["facility.example.org"]}),
        (POLICY, {"session_required_policies": [",".join(POLICY["session_required_policies"])]}),
        (MFA, {"session_required_mfa": ["True"]}),
        ({**DOMAIN, **MFA}, {"session_required_single_domain": DOMAIN["session_required_single_domain"],
                             "session_required_mfa": ["True"]}),
    ],
    ids=["domain", "policies", "mfa", "both"],
)  # fmt: skip
def test_new_sign_in_is_asked_for_as_the_collection_says(
    move: Move, person: Pages, session: dict[str, Any], asked: dict[str, list[str]]
) -> None:
    transfer = opened(move, destination_collection=wanting(move, session))
    transfer.connect(interactive=True)
    assert session_of(person[-1]) == asked
    assert person[-1]["session_message"] == ["Sign in as the collection asks"]
    move.send(transfer, [outgoing(move.root, "t.tif")])
    assert isinstance(settle(transfer)[0], Arrived)


def test_consent_and_session_are_asked_for_one_after_the_other(move: Move, person: Pages) -> None:
    collection = wanting(move, DOMAIN, consent=True)
    transfer = opened(move, destination_collection=collection)
    transfer.connect(interactive=True)
    move.send(transfer, [outgoing(move.root, "t.tif")])
    assert isinstance(settle(transfer)[0], Arrived)
    assert collection in person[-1]["scope"][0] and session_of(person[-1])


@pytest.mark.parametrize(
    ("session", "words"),
    [(DOMAIN, "with an account of facility.example.org"), (MFA, "with a second factor"), (POLICY, "as its policy 0ad")],
    ids=["domain", "mfa", "policies"],
)
def test_background_is_told_what_is_wanted_and_the_command_that_asks(
    move: Move, person: Pages, session: dict[str, Any], words: str
) -> None:
    opened(move).connect(interactive=True)  # signs in; these collections want nothing
    asked = len(person)
    with pytest.raises(TransferSignInError, match=words) as refused:
        opened(move, destination_collection=wanting(move, session)).connect(interactive=False)
    assert refused.value.exit_code == 77
    assert re.search(
        rf"`python -m mhfd_client\.transfer [0-9a-f-]{{36}} {re.escape(str(move.root))}`", str(refused.value)
    )
    assert len(person) == asked


def test_programs_own_identity_is_told_that_it_cannot(move: Move) -> None:
    with pytest.raises(TransferSignInError, match="a program's own identity cannot"):
        opened(move, destination_collection=wanting(move, DOMAIN)).connect(interactive=False)


def test_the_command_signs_in_as_wanted_and_the_running_program_goes_on(
    move: Move, person: Pages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The session of a sign-in ends at night, say: the files wait until somebody has run the command."""
    from mhfd_client.transfer.__main__ import main

    collection = wanting(move, {})
    running = opened(move, destination_collection=collection)
    running.connect(interactive=True)
    move.service.change(collection, session=DOMAIN)
    running.send(running.ticket(), [outgoing(move.root, "t.tif")])
    with pytest.raises(TransferSignInError, match=r"facility\.example\.org"):
        until(lambda: False, running, timeout_s=10)
    config = tmp_path / "config.toml"
    keys = ("source_collection", "destination_collection")
    config.write_text("\n".join([
        "[endpoints.here]", f'uuid = "{uuid4()}"', f'functions = {{score_paths = "{uuid4()}"}}',
        "[endpoints.here.transfer]", *(f'{key} = "{move.options[key]}"' for key in keys), 'source_root = "/"',
    ]))  # fmt: skip
    monkeypatch.setenv("MHFD_CONFIG", str(config))
    monkeypatch.setattr(sys, "argv", ["transfer", "here", str(move.root)])
    assert main() == 0
    assert session_of(person[-1]) == DOMAIN
    running.connect(interactive=False)
    assert isinstance(settle(running)[0], Arrived)


def test_watch_that_starts_ends_with_77(move: Move, person: Pages) -> None:
    from mhfd_client.pipeline.assembly import _sign_in
    from mhfd_client.pipeline.notices import Board

    opened(move).connect(interactive=True)
    transfer = opened(move, destination_collection=wanting(move, MFA))
    connect: Callable[[], None] = lambda: transfer.connect(interactive=False)  # noqa: E731
    with pytest.raises(TransferSignInError) as refused:
        _sign_in(connect, "transfer", Board(lambda _: None))
    assert refused.value.exit_code == 77


def test_init_asks_for_consents_while_somebody_is_there(
    move: Move, person: Pages, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from mhfd_client.cli.setup import _sign_in_for_transfer

    config = tmp_path / "config.toml"
    config.write_text("\n".join([
        "[endpoints.here]", f'uuid = "{uuid4()}"', "[endpoints.here.transfer]",
        f'source_collection = "{move.options["source_collection"]}"', 'source_root = "/"',
        f'destination_collection = "{wanting(move, DOMAIN, consent=True)}"',
    ]))  # fmt: skip
    _sign_in_for_transfer("here", move.root, config)
    assert "both can be used" in capsys.readouterr().out
    assert session_of(person[-1])
