"""A place to move files from and one to move them to, on the loopback's Globus Transfer."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from loopback.fixtures import transfer_service, transfer_session
from mhfd_client.config import GlobusEndpoint
from mhfd_client.transfer.opening import open_transfer
from mhfd_client.transfer.protocol import Arrived, NotSent, Outgoing, Transfer

if TYPE_CHECKING:
    from loopback.transfer import Transfer as Service

__all__ = ["transfer_service", "transfer_session"]

TIMEOUT_S = 20.0


def outgoing(root: Path, path: str, content: bytes = b"pixels", *, tile: int = 1, generation: int = 0) -> Outgoing:
    """A file of the run, written now."""
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return Outgoing((tile,), file, path, len(content), generation)


def settle(transfer: Transfer, number: int = 1, *, timeout_s: float = TIMEOUT_S) -> list[Arrived | NotSent]:
    """Poll until so many files are decided, and return what was decided."""
    decided: list[Arrived | NotSent] = []
    deadline = time.monotonic() + timeout_s
    while len(decided) < number:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{len(decided)} of {number} files decided; {transfer.notices()}")
        decided += transfer.poll()
        time.sleep(0.005)
    return decided


def until(fact: Callable[[], Any], transfer: Transfer, *, timeout_s: float = TIMEOUT_S) -> Any:
    """Poll until the fact is true; return it. No file may be decided meanwhile."""
    deadline = time.monotonic() + timeout_s
    while not (found := fact()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"not after {timeout_s} s; {transfer.notices()}")
        assert transfer.poll() == []
        time.sleep(0.005)
    return found


@dataclass
class Move:
    """Globus Transfer between two folders; each `transfer()` acts as another process."""

    service: Service
    root: Path
    destination: Path
    options: dict[str, Any]
    opened: list[Transfer] = field(default_factory=list)

    @property
    def entry(self) -> GlobusEndpoint:
        limits = {"requests_per_10_s": 10_000}
        return GlobusEndpoint.model_validate({"uuid": uuid4(), "transfer": self.options, "limits": limits})

    def transfer(self, **options: Any) -> Transfer:
        """Connected."""
        self.options |= options
        transfer = open_transfer(self.entry, root=self.root, run="run1")
        self.opened.append(transfer)
        transfer.connect(interactive=False)
        return transfer

    def send(self, transfer: Transfer, files: Sequence[Outgoing]) -> str:
        ticket = transfer.ticket()
        transfer.send(ticket, files)
        return ticket

    def copy(self, arrived: Arrived | NotSent) -> Path:
        """Where a staged file is on this machine."""
        assert isinstance(arrived, Arrived), arrived
        assert arrived.place is not None
        assert arrived.place["collection"] == self.options["destination_collection"]
        return self.destination / str(arrived.place["path"])

    def copies(self) -> list[Path]:
        return [each for each in self.destination.rglob("*") if each.is_file()]


def content(move: Move, arrived: Arrived | NotSent) -> bytes:
    return move.copy(arrived).read_bytes()


def not_sent(decided: list[Arrived | NotSent]) -> list[NotSent]:
    return [each for each in decided if isinstance(each, NotSent)]


def told(transfer: Transfer, words: str) -> bool:
    return any(words in notice for notice in transfer.notices())


@pytest.fixture
def move(transfer_service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Move]:
    """From `root` to `destination`, in a hurry."""
    from mhfd_client.transfer import globus, pace, removal

    for name, seconds in {"FIRST_LOOK_S": 0.01, "LONGEST_LOOK_S": 0.05, "GRACE_S": 0.2, "BUSY_S": 0.05}.items():
        monkeypatch.setattr(globus, name, seconds)
    for name, seconds in {
        "FIRST_PAUSE_S": 0.02, "LONGEST_PAUSE_S": 0.1, "FIRST_REST_S": 0.1, "LONGEST_REST_S": 0.3
    }.items():  # fmt: skip
        monkeypatch.setattr(pace, name, seconds)
    monkeypatch.setattr(removal, "LOOK_S", 0.02)
    root, destination = tmp_path / "run", tmp_path / "destination"
    root.mkdir()
    options = {
        "method": "globus",
        "source_collection": transfer_service.collection(root),
        "source_root": "/",
        "destination_collection": transfer_service.collection(destination, home="/home/em"),
    }
    (destination / "home" / "em").mkdir(parents=True)
    everything = Move(transfer_service, root, destination, options)
    yield everything
    for transfer in everything.opened:
        transfer.close()
