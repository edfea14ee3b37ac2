"""Globus Transfer: the unmodified SDK against the loopback's service, which really copies."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest

from mhfd_client.transfer import connection, pace
from mhfd_client.transfer.opening import open_transfer
from mhfd_client.transfer.protocol import (
    Arrived,
    TransferRefusedError,
    TransferSignInError,
    TransferUnreachableError,
)

from .conftest import Move, content, not_sent, outgoing, settle, told, until

# -------------------------------------------------------------------------------------------------------- in good order


def test_copy_has_the_bytes_of_the_file(move: Move) -> None:
    transfer = move.transfer()
    move.send(transfer, [outgoing(move.root, "s1/t 1 ä.tif", b"12345")])
    assert content(move, settle(transfer)[0]) == b"12345"


def test_all_that_has_accumulated_goes_as_one_task(move: Move) -> None:
    transfer = move.transfer()
    move.send(transfer, [outgoing(move.root, f"t{number}.tif") for number in range(250)])
    assert len(settle(transfer, 250)) == 250
    assert len(move.service.requests("submit")) == 1


def test_of_a_task_that_succeeded_no_lists_are_read(move: Move) -> None:
    transfer = move.transfer()
    move.send(transfer, [outgoing(move.root, f"t{number}.tif") for number in range(5)])
    settle(transfer, 5)
    assert not move.service.requests("successful_transfers")
    assert not move.service.requests("skipped_errors")


def test_no_room_while_all_places_are_taken(move: Move) -> None:
    move.service.set(hanging=True)
    transfer = move.transfer(active_tasks=2)
    for number in range(2):
        assert transfer.room() > 0
        move.send(transfer, [outgoing(move.root, f"t{number}.tif")])
    assert transfer.room() == 0


def test_room_again_when_a_task_has_ended(move: Move) -> None:
    transfer = move.transfer(active_tasks=1)
    move.send(transfer, [outgoing(move.root, "t.tif")])
    settle(transfer)
    assert transfer.room() > 0


def test_small_task_that_was_quick_does_not_make_the_next_ones_small(move: Move) -> None:
    transfer = move.transfer()
    for number in range(3):
        move.send(transfer, [outgoing(move.root, f"t{number}.tif", b"12")])
        settle(transfer)
    assert transfer.room() >= 1000


def test_what_exceeds_a_tasks_bytes_is_handed_back(move: Move) -> None:
    transfer = move.transfer(max_bytes=10)
    files = [outgoing(move.root, f"t{number}.tif", b"123456") for number in range(3)]
    move.send(transfer, files)
    decided = settle(transfer, 3)
    assert [each.outgoing for each in decided if isinstance(each, Arrived)] == files[:1]
    assert all(each.again and each.after_s == 0 for each in not_sent(decided))


def test_tasks_are_given_what_they_can_move_in_time(move: Move, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "TASK_S", 1e-6)
    transfer = move.transfer()
    move.send(transfer, [outgoing(move.root, "t.tif", bytes(100_000))])
    settle(transfer)
    assert transfer.room() == 1


def test_new_generation_gets_a_copy_of_its_own(move: Move) -> None:
    transfer = move.transfer()
    move.send(transfer, [outgoing(move.root, "t.tif", b"old")])
    (old,) = settle(transfer)
    move.send(transfer, [outgoing(move.root, "t.tif", b"new", generation=1)])
    (new,) = settle(transfer)
    assert (content(move, old), content(move, new)) == (b"old", b"new")


def test_runs_of_the_same_name_in_other_folders_do_not_meet(move: Move, tmp_path: Path) -> None:
    first = move.transfer()
    move.send(first, [outgoing(move.root, "t.tif", b"one")])
    (one,) = settle(first)
    move.root = move.root / "other"
    second = move.transfer(local_root=str(move.root.parent))
    move.send(second, [outgoing(move.root, "t.tif", b"two")])
    (two,) = settle(second)
    assert (content(move, one), content(move, two)) == (b"one", b"two")


def test_workers_may_call_the_folder_otherwise(move: Move) -> None:
    transfer = move.transfer(endpoint_root="/scratch/em")
    move.send(transfer, [outgoing(move.root, "s1/t.tif")])
    (arrived,) = settle(transfer)
    assert isinstance(arrived, Arrived)
    assert arrived.place is not None
    assert list(arrived.place) == ["path"]
    assert arrived.place["path"].startswith("/scratch/em/run1-")
    assert arrived.place["path"].endswith("/0/s1/t.tif")


def test_home_is_looked_up_where_workers_go_by_the_collection(move: Move) -> None:
    transfer = move.transfer()
    move.send(transfer, [outgoing(move.root, "t.tif")])
    (arrived,) = settle(transfer)
    assert isinstance(arrived, Arrived)
    assert arrived.place is not None
    assert arrived.place["path"].startswith("home/em/mhfd/run1-")


def test_every_task_has_a_deadline_and_sends_no_mail(move: Move) -> None:
    transfer = move.transfer(deadline_s=100)
    move.send(transfer, [outgoing(move.root, "t.tif")])
    settle(transfer)
    submission = next(line for line in journal(move) if line["what"] == "task")["task"]["document"]
    assert submission["verify_checksum"] is True
    assert (
        submission["notify_on_failed"] is submission["notify_on_succeeded"] is submission["notify_on_inactive"] is False
    )
    assert submission["deadline"] is not None


def test_deadline_is_by_the_services_clock(move: Move, monkeypatch: pytest.MonkeyPatch) -> None:
    from mhfd_client.transfer import service

    monkeypatch.setattr(service, "time", SimpleNamespace(time=lambda: time.time() - 86_400))
    transfer = move.transfer(deadline_s=100)
    move.send(transfer, [outgoing(move.root, "t.tif")])
    assert isinstance(settle(transfer)[0], Arrived)


def journal(move: Move) -> list[dict[str, Any]]:
    text = (move.service.folder / "journal").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


# ---------------------------------------------------------------------------------------------------------------- again


def test_ticket_sent_again_after_a_crash_moves_nothing_twice(move: Move) -> None:
    first = move.transfer()
    files = [outgoing(move.root, f"t{number}.tif", tile=number) for number in range(120)]
    ticket = move.send(first, files)
    before = settle(first, 120)
    copies = {path: path.stat().st_mtime_ns for path in move.copies()}
    second = move.transfer()
    second.send(ticket, files)
    assert settle(second, 120) == before
    assert {path: path.stat().st_mtime_ns for path in move.copies()} == copies


def test_crash_before_the_service_had_the_ticket(move: Move) -> None:
    first, file = move.transfer(), outgoing(move.root, "t.tif")
    ticket = first.ticket()
    first.send(ticket, [file])  # and no poll
    second = move.transfer()
    second.send(ticket, [file])
    assert isinstance(settle(second)[0], Arrived)


def test_task_found_again_may_be_of_fewer_files(move: Move) -> None:
    first, files = move.transfer(), [outgoing(move.root, f"t{number}.tif", tile=number) for number in range(3)]
    ticket = move.send(first, files[:2])
    settle(first, 2)
    second = move.transfer()
    second.send(ticket, files)
    decided = settle(second, 3)
    assert [each.outgoing for each in not_sent(decided)] == files[2:]
    assert all(each.again for each in not_sent(decided))


def test_files_of_an_earlier_process_are_not_handed_back(move: Move) -> None:
    """Its task may have them, even if fewer fit into one now."""
    first, files = move.transfer(), [outgoing(move.root, f"t{number}.tif", b"123456") for number in range(3)]
    ticket = first.ticket()
    second = move.transfer(max_bytes=10)
    second.send(ticket, files)
    assert all(isinstance(each, Arrived) for each in settle(second, 3))


def test_ticket_in_flight_changes_nothing(move: Move) -> None:
    move.service.set(hanging=True)
    transfer, file = move.transfer(), outgoing(move.root, "t.tif")
    ticket = move.send(transfer, [file])
    until(lambda: move.service.requests("submit"), transfer)
    transfer.send(ticket, [file])
    move.service.set(hanging=False)
    assert len(settle(transfer)) == 1
    assert len(move.service.requests("submit")) == 1


def test_ticket_that_the_service_has_forgotten_is_replaced(move: Move) -> None:
    transfer = move.transfer()
    transfer.send(str(uuid4()), [outgoing(move.root, "t.tif")])
    assert isinstance(settle(transfer)[0], Arrived)


def test_file_that_is_there_already_is_not_copied_again(move: Move) -> None:
    transfer, file = move.transfer(), outgoing(move.root, "t.tif")
    move.send(transfer, [file])
    copied_ns = move.copy(settle(transfer)[0]).stat().st_mtime_ns
    move.send(transfer, [file])
    assert move.copy(settle(transfer)[0]).stat().st_mtime_ns == copied_ns


def test_part_of_a_copy_is_not_taken_for_the_file(move: Move) -> None:
    transfer, file = move.transfer(), outgoing(move.root, "t.tif", b"12345678")
    move.send(transfer, [file])
    copy = move.copy(settle(transfer)[0])
    copy.write_bytes(b"1234")
    move.send(transfer, [file])
    settle(transfer)
    assert copy.read_bytes() == b"12345678"


def test_service_killed_in_mid_task(move: Move) -> None:
    move.service.set(bytes_per_s=200_000)
    transfer = move.transfer()
    files = [outgoing(move.root, f"t{number}.tif", bytes(100_000) + bytes([number])) for number in range(4)]
    move.send(transfer, files)
    until(move.copies, transfer)
    move.service.kill()
    until(lambda: told(transfer, "no answer from Globus since"), transfer)
    move.service.start()
    assert {content(move, each)[-1] for each in settle(transfer, 4)} == {0, 1, 2, 3}
    assert transfer.notices() == []


# ----------------------------------------------------------------------------------------------------------- connecting


def test_consent_is_asked_for_when_connecting(move: Move) -> None:
    destination = move.service.collection(move.destination, consent=True, home="/home/em")
    transfer = move.transfer(destination_collection=destination)
    move.send(transfer, [outgoing(move.root, "t.tif")])
    assert isinstance(settle(transfer)[0], Arrived)


def test_consents_to_both_collections(move: Move) -> None:
    both = {
        "source_collection": move.service.collection(move.root, consent=True),
        "destination_collection": move.service.collection(move.destination, consent=True, home="/home/em"),
    }
    transfer = move.transfer(**both)
    move.send(transfer, [outgoing(move.root, "t.tif")])
    assert isinstance(settle(transfer)[0], Arrived)


def test_nobody_is_asked_in_the_background(move: Move, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GLOBUS_COMPUTE_CLIENT_ID", "GLOBUS_COMPUTE_CLIENT_SECRET"):
        monkeypatch.delenv(name)
    with pytest.raises(TransferSignInError, match="GLOBUS_COMPUTE_CLIENT_SECRET"):
        move.transfer()


def test_somebody_is_asked_at_the_first_call_only(move: Move, monkeypatch: pytest.MonkeyPatch) -> None:
    from mhfd_client.transfer.service import Service

    asked: list[bool] = []

    def look(self: Service, collection: str, path: str, *, interactive: bool) -> dict[str, Any]:
        asked.append(interactive)
        raise TransferUnreachableError("")

    monkeypatch.setattr(connection, "somebody_is_there", lambda: True)
    monkeypatch.setattr(Service, "look", look)
    transfer = open_transfer(move.entry, root=move.root, run="run1")
    move.opened.append(transfer)
    for _ in range(2):
        with pytest.raises(TransferUnreachableError):
            transfer.connect()
    assert asked == [True, False]


def test_half_a_client_identity_is_bad_configuration(move: Move, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GLOBUS_COMPUTE_CLIENT_ID")
    with pytest.raises(TransferRefusedError, match="GLOBUS_COMPUTE_CLIENT_ID"):
        move.transfer()


def test_unknown_collection_is_bad_configuration(move: Move) -> None:
    with pytest.raises(TransferRefusedError) as refused:
        move.transfer(destination_collection=str(uuid4()))
    assert refused.value.exit_code == 78


def test_folder_that_the_source_collection_lacks_is_bad_configuration(move: Move) -> None:
    with pytest.raises(TransferRefusedError, match="set source_root"):
        move.transfer(source_root="/not/there")


def test_service_out_of_reach_when_connecting(move: Move) -> None:
    move.transfer()  # signs in
    move.service.kill()
    with pytest.raises(TransferUnreachableError, match="out of reach"):
        move.transfer()


def test_connecting_again_after_the_service_was_out_of_reach(move: Move) -> None:
    move.transfer()  # signs in
    transfer = open_transfer(move.entry, root=move.root, run="run1")
    move.opened.append(transfer)
    move.service.kill()
    with pytest.raises(TransferUnreachableError):
        transfer.connect(interactive=False)
    move.service.start()
    transfer.connect(interactive=False)
    assert transfer.room() > 0


def test_opening_imports_no_sdk() -> None:
    program = (
        "import sys, uuid, pathlib\n"
        "from mhfd_client.config import GlobusEndpoint\n"
        "from mhfd_client.transfer.opening import open_transfer\n"
        "entry = {'uuid': uuid.uuid4(), 'transfer': {name: uuid.uuid4() for name in "
        "('source_collection', 'destination_collection')}}\n"
        "transfer = open_transfer(GlobusEndpoint.model_validate(entry), root=pathlib.Path('x'), run='r')\n"
        "print(transfer.name, [name for name in sys.modules if 'globus_' in name and 'mhfd' not in name])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "globus []"


def test_command_signs_in(move: Move, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from mhfd_client.transfer.__main__ import main

    collections = [f'{key} = "{move.options[key]}"' for key in ("source_collection", "destination_collection")]
    config = tmp_path / "config.toml"
    config.write_text("\n".join([
        "[endpoints.here]", f'uuid = "{uuid4()}"', f'functions = {{score_paths = "{uuid4()}"}}',
        "[endpoints.here.transfer]", *collections, 'source_root = "/"',
    ]))  # fmt: skip
    monkeypatch.setenv("MHFD_CONFIG", str(config))
    monkeypatch.setattr(sys, "argv", ["transfer", "here", str(move.root)])
    assert main() == 0


# ----------------------------------------------------------------------------------------------------------- afterwards


def test_copies_of_scored_tiles_are_removed(move: Move) -> None:
    transfer = move.transfer()
    move.send(transfer, [outgoing(move.root, f"t{number}.tif") for number in range(3)])
    places = [each.place for each in settle(transfer, 3) if isinstance(each, Arrived) and each.place]
    transfer.clean(places[:2])
    until(lambda: len(move.copies()) == 1, transfer)
    assert move.copies()[0].name == "t2.tif"


def test_copies_are_removed_where_workers_call_the_folder_otherwise(move: Move) -> None:
    transfer = move.transfer(endpoint_root="/scratch/em")
    move.send(transfer, [outgoing(move.root, "t.tif")])
    (arrived,) = settle(transfer)
    assert isinstance(arrived, Arrived)
    assert arrived.place
    transfer.clean([arrived.place])
    until(lambda: not move.copies(), transfer)


def test_copies_may_be_kept(move: Move) -> None:
    transfer = move.transfer(keep=True)
    move.send(transfer, [outgoing(move.root, "t.tif")])
    (arrived,) = settle(transfer)
    assert isinstance(arrived, Arrived)
    transfer.clean([arrived.place or {}])
    transfer.close()
    assert not move.service.requests("submit_delete")


def test_files_of_others_are_never_removed(move: Move) -> None:
    transfer = move.transfer()
    transfer.clean(
        [{"path": "/home/em/thesis.tex"}, {"path": "../../x"}, {"collection": "c", "path": "mhfd/other-1/0/t"}]
    )
    transfer.close()
    assert not move.service.requests("submit_delete")


def test_closing_hands_over_what_is_to_be_removed(move: Move) -> None:
    transfer = move.transfer()
    move.send(transfer, [outgoing(move.root, "t.tif")])
    (arrived,) = settle(transfer)
    assert isinstance(arrived, Arrived)
    transfer.clean([arrived.place or {}])
    transfer.close()
    deadline = time.monotonic() + 10
    while copies := move.copies():
        assert time.monotonic() < deadline, f"not removed: {copies}"
        time.sleep(0.01)


def test_deletion_that_fails_is_told(move: Move) -> None:
    transfer = move.transfer(deadline_s=1)
    move.send(transfer, [outgoing(move.root, "t.tif")])
    (arrived,) = settle(transfer)
    assert isinstance(arrived, Arrived)
    move.service.set(denied_destinations=["*"])
    transfer.clean([arrived.place or {}])
    until(lambda: told(transfer, "was not removed"), transfer)


def test_copies_are_not_forgotten_while_the_service_is_out_of_reach(move: Move) -> None:
    """The ledger keeps them, and the next process asks again."""
    transfer = move.transfer()
    move.send(transfer, [outgoing(move.root, "t.tif")])
    (arrived,) = settle(transfer)
    assert isinstance(arrived, Arrived)
    move.service.kill()
    assert transfer.clean([arrived.place or {}]) is False
    assert told(transfer, "no answer from Globus since")


def test_deletion_goes_on_without_this_process(move: Move) -> None:
    first = move.transfer()
    move.send(first, [outgoing(move.root, "t.tif")])
    (arrived,) = settle(first)
    assert isinstance(arrived, Arrived)
    assert first.clean([arrived.place or {}])
    first.close()
    until(lambda: not move.copies(), move.transfer())
