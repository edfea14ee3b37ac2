"""Tests that every transfer passes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from uuid import uuid4

import pytest

from mhfd_client.config import GlobusEndpoint, LocalEndpoint, parse_config
from mhfd_client.transfer.opening import open_transfer
from mhfd_client.transfer.protocol import Arrived, NotSent, Transfer
from mhfd_client.transfer.shared import SharedTransfer

from .conftest import Move, outgoing, settle

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

WAYS = ("local", "shared", "inline", "globus")


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Transfer]:
    """Makes a connected transfer from tmp_path/run, a new one each time, as after a crash."""
    if request.param == "globus":
        move: Move = request.getfixturevalue("move")
        return move.transfer

    def opened() -> Transfer:
        data = [{"local_root": tmp_path / "run", "root": "/scratch/em"}] if request.param == "shared" else []
        entry = GlobusEndpoint.model_validate({"uuid": uuid4(), "data": data})
        transfer = open_transfer(LocalEndpoint() if request.param == "local" else entry, root=tmp_path / "run", run="a")
        transfer.connect()
        return transfer

    return opened


def test_file_arrives(way: Callable[[], Transfer], tmp_path: Path) -> None:
    transfer, file = way(), outgoing(tmp_path / "run", "s1/t 1 ä.tif")
    transfer.send(transfer.ticket(), [file])
    (arrived,) = settle(transfer)
    assert isinstance(arrived, Arrived)
    assert arrived.outgoing == file


def test_each_file_is_decided_once(way: Callable[[], Transfer], tmp_path: Path) -> None:
    transfer, files = way(), [outgoing(tmp_path / "run", f"t{number}.tif", tile=number) for number in range(20)]
    transfer.send(transfer.ticket(), files[:7])
    transfer.send(transfer.ticket(), files[7:])
    decided = settle(transfer, 20)
    assert sorted(each.outgoing.tile_ids for each in decided) == [(number,) for number in range(20)]
    assert transfer.poll() == []


def test_there_is_room_at_first(way: Callable[[], Transfer]) -> None:
    assert way().room() > 0


def test_tickets_differ(way: Callable[[], Transfer]) -> None:
    transfer = way()
    assert transfer.ticket() != transfer.ticket()


def test_same_ticket_in_another_process_gives_the_same_place(way: Callable[[], Transfer], tmp_path: Path) -> None:
    first, file = way(), outgoing(tmp_path / "run", "t.tif")
    ticket = first.ticket()
    first.send(ticket, [file])
    (before,) = settle(first)
    second = way()
    second.send(ticket, [file])
    assert settle(second) == [before]


def test_connecting_again_changes_nothing(way: Callable[[], Transfer], tmp_path: Path) -> None:
    transfer = way()
    transfer.send(transfer.ticket(), [outgoing(tmp_path / "run", "t.tif")])
    transfer.connect()
    assert isinstance(settle(transfer)[0], Arrived)


def test_nothing_to_tell_when_all_is_well(way: Callable[[], Transfer], tmp_path: Path) -> None:
    transfer = way()
    transfer.send(transfer.ticket(), [outgoing(tmp_path / "run", "t.tif")])
    settle(transfer)
    assert transfer.notices() == []


def test_cleaning_takes_any_place(way: Callable[[], Transfer]) -> None:
    transfer = way()
    transfer.clean([{"path": "/somewhere/else.tif"}, {"collection": str(uuid4()), "path": "x"}])
    assert transfer.poll() == []


def test_closing_twice_does_nothing(way: Callable[[], Transfer]) -> None:
    transfer = way()
    transfer.close()
    closed = transfer.room(), transfer.poll(), transfer.notices()
    transfer.close()
    assert (transfer.room(), transfer.poll(), transfer.notices()) == closed


# ------------------------------------------------------------------------------------------------ which way is taken


def entry(**given: object) -> GlobusEndpoint:
    return GlobusEndpoint.model_validate({"uuid": uuid4(), **given})


COLLECTIONS = {"source_collection": str(uuid4()), "destination_collection": str(uuid4())}


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({}, "inline"),
        ({"data": [{"local_root": "/data", "root": "/scratch"}]}, "shared"),
        ({"data": [{"local_root": "/elsewhere", "root": "/scratch"}]}, "inline"),
        ({"data": [{"root": "/data"}]}, "inline"),
        ({"transfer": COLLECTIONS}, "globus"),
        ({"transfer": COLLECTIONS, "data": [{"local_root": "/data", "root": "/scratch"}]}, "shared"),
        ({"transfer": {**COLLECTIONS, "method": "inline"}}, "inline"),
        ({"transfer": {"method": "shared"}}, "shared"),
    ],
)
def test_way(given: dict[str, object], name: str) -> None:
    assert open_transfer(entry(**given), root=Path("/data/run"), run="r").name == name


def test_configuration_in_the_documentation() -> None:
    text = (Path(__file__).parents[3] / "docs" / "transfer.md").read_text(encoding="utf-8")
    config = parse_config(tomllib.loads(text.partition("```toml\n")[2].partition("```")[0]))
    assert open_transfer(config.endpoints["dgx"], root=Path("/data/run"), run="r").name == "globus"


def test_this_machine_reads_its_own_files(tmp_path: Path) -> None:
    transfer = open_transfer(LocalEndpoint(), root=tmp_path, run="r")
    transfer.send("t", [outgoing(tmp_path, "t.tif")])
    assert [each.place for each in transfer.poll() if isinstance(each, Arrived)] == [None]


# ------------------------------------------------------------------------------------------------------- shared disk


def test_shared_place_is_the_endpoints_name_of_the_file(tmp_path: Path) -> None:
    mappings = entry(data=[{"local_root": tmp_path, "root": "/scratch/em"}]).data
    transfer = SharedTransfer(mappings)
    transfer.send("t", [outgoing(tmp_path, "s1/t.tif")])
    (arrived,) = transfer.poll()
    assert isinstance(arrived, Arrived)
    assert arrived.place == {"path": str(PurePosixPath("/scratch/em/s1/t.tif"))}


def test_shared_place_may_be_in_a_collection(tmp_path: Path) -> None:
    collection = str(uuid4())
    transfer = SharedTransfer(entry(data=[{"local_root": tmp_path, "root": "em", "collection": collection}]).data)
    transfer.send("t", [outgoing(tmp_path, "t.tif")])
    (arrived,) = transfer.poll()
    assert isinstance(arrived, Arrived)
    assert arrived.place == {"collection": collection, "path": "em/t.tif"}


def test_file_that_the_endpoint_does_not_see_never_goes(tmp_path: Path) -> None:
    transfer = SharedTransfer(entry(data=[{"local_root": tmp_path / "a", "root": "/scratch"}]).data)
    transfer.send("t", [outgoing(tmp_path / "b", "t.tif")])
    (refused,) = transfer.poll()
    assert isinstance(refused, NotSent)
    assert not refused.again
    assert f"local_root = '{tmp_path / 'b'}'" in refused.message
