"""`mhfd doctor` sends a byte the way of the tiles, and leaves nothing of it, however that ends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mhfd.worker import score_paths
from mhfd_client import doctor
from mhfd_client.config import Config, parse_config
from mhfd_client.doctor import Check
from mhfd_client.transfer import trial

from .conftest import TIMEOUT_S, Move

UUID = "6528bad6-cefc-4aa8-8dde-52b3b5ad4c5c"


class Here:
    """A worker on this machine."""

    def __init__(self, move: Move) -> None:
        self._mount = move.destination

    def submit(self, function: str, arguments: dict[str, Any]) -> Here:
        assert function == "score_paths"
        self._arguments = arguments
        return self

    def result(self, timeout: float) -> dict[str, Any]:
        return score_paths(**self._arguments)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setattr(trial, "POLL_S", 0.01)
    before = sorted(tmp_path.rglob("*"))
    yield
    for there in ("run", "destination"):
        left = [each for each in (tmp_path / there).rglob("*") if each.is_file()]
        assert not left, before


def examined(move: Move, *, worker: bool = False, deadline_s: float = TIMEOUT_S) -> dict[str, Check]:
    config: Config = parse_config({
        "profiles": {"p": {"endpoint": "here", "folder": str(move.root)}},
        "endpoints": {"here": {
            "uuid": UUID, "functions": {"score_paths": UUID}, "transfer": move.options,
            "limits": {"requests_per_10_s": 10_000},
        }},
    })  # fmt: skip
    entry: Any = config.endpoint("here")
    compute: Any = Here(move) if worker else None
    return {check.name: check for check in doctor._transfer(config, "here", entry, compute, deadline_s)}


def removed(move: Move) -> bool:
    return not list(move.destination.rglob("*mhfd-doctor*")) and not list(move.root.parent.rglob("*mhfd-doctor*"))


def test_byte_goes_there_is_seen_and_is_removed(move: Move, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GCS_LOCAL_MAPS", f'{{"{move.options["destination_collection"]}": "{move.destination}"}}')
    checks = examined(move, worker=True)
    assert {name: check.level for name, check in checks.items()} == {
        "collections": "PASS", "transfer": "PASS", "worker reads copies": "PASS", "removal of copies": "PASS"
    }  # fmt: skip
    assert removed(move)


def test_folder_of_the_run_is_left_alone_where_there_is_another(move: Move, tmp_path: Path) -> None:
    move.options |= {"source_collection": move.service.collection(tmp_path), "local_root": str(tmp_path)}
    changed_ns = move.root.stat().st_mtime_ns
    assert examined(move)["removal of copies"].level == "PASS"
    assert move.root.stat().st_mtime_ns == changed_ns
    assert removed(move)


def test_worker_that_does_not_know_the_collection_is_told_of(move: Move, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GCS_LOCAL_MAPS", raising=False)
    check = examined(move, worker=True)["worker reads copies"]
    assert check.level == "FAIL"
    assert "GCS_LOCAL_MAPS" in check.remedy
    assert removed(move)


@pytest.mark.parametrize(
    ("faults", "words"),
    [
        ({"denied": ["*mhfd-doctor*"]}, "Globus may not read"),
        ({"quota_bytes": 0}, "full"),
        ({"denied_destinations": ["*mhfd-doctor*"]}, "within 1 s"),
        ({"hanging": True}, "within 1 s"),
        ({"paused": "back at noon"}, "back at noon"),
    ],
    ids=["source", "quota", "destination", "hangs", "paused"],
)
def test_what_goes_wrong_is_said_and_nothing_is_left(move: Move, faults: dict[str, Any], words: str) -> None:
    move.service.set(**faults)
    check = examined(move, deadline_s=1.0 if words == "within 1 s" else 5.0)["transfer"]
    assert check.level == "FAIL"
    assert words in check.found
    assert check.remedy
    assert not list(move.root.parent.rglob("*mhfd-doctor*.tif")) and not list(move.root.rglob("*mhfd-doctor*"))


def test_folder_that_the_collection_lacks_is_told_of(move: Move) -> None:
    move.options |= {"source_root": "/not/there"}
    checks = examined(move)
    assert list(checks) == ["transfer"]
    assert "set source_root" in checks["transfer"].found


def test_sign_in_that_the_collection_wants_is_told_of(move: Move) -> None:
    session = {"session_required_mfa": True}
    move.options |= {
        "destination_collection": move.service.collection(move.destination, home="/home/em", session=session)
    }
    check = examined(move)["transfer"]
    assert (check.level, "second factor" in check.found) == ("FAIL", True)


def test_consent_is_given_where_it_is_wanted(move: Move) -> None:
    move.options |= {"destination_collection": move.service.collection(move.destination, consent=True, home="/home/em")}
    assert examined(move)["removal of copies"].level == "PASS"


def test_tiles_that_go_otherwise_are_not_tried(move: Move) -> None:
    move.options = {"method": "inline"}
    assert examined(move) == {}
