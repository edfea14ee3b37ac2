"""Faults of Globus Transfer, each by itself and all at once."""

from __future__ import annotations

import contextlib
import random
import time
from typing import Any
from uuid import uuid4

import pytest

from mhfd_client.transfer.protocol import (
    Arrived,
    Outgoing,
    TransferError,
    TransferSignInError,
    TransferUnreachableError,
)

from .conftest import Move, content, not_sent, outgoing, settle, told, until

# --------------------------------------------------------------------------------------------------------------- faults


def test_missing_file_does_not_stop_the_others(move: Move) -> None:
    transfer = move.transfer()
    files = [outgoing(move.root, f"t{number}.tif") for number in range(3)]
    files[1].file.unlink()
    move.send(transfer, files)
    decided = settle(transfer, 3)
    (missing,) = not_sent(decided)
    assert (missing.outgoing, missing.code, missing.again) == (files[1], "not_found", False)
    assert len(decided) == 3


def test_unreadable_file_becomes_a_failed_row_after_three_times(move: Move) -> None:
    move.service.set(denied=["*/bad.tif"])
    transfer = move.transfer()
    bad, codes = outgoing(move.root, "bad.tif"), []
    for number in range(3):
        move.send(transfer, [bad, outgoing(move.root, f"t{number}.tif")])
        (failed,) = not_sent(settle(transfer, 2))
        codes.append((failed.code, failed.again))
    assert codes == [(None, True), (None, True), ("permission_denied", False)]
    assert "Options > Access" in failed.message


def test_folder_that_may_not_be_read_is_told_and_waited_for(move: Move) -> None:
    move.service.set(denied=["*"])
    transfer = move.transfer()
    file = outgoing(move.root, "t.tif")
    for _ in range(4):
        move.send(transfer, [file])
        (failed,) = not_sent(settle(transfer))
        assert failed.again
    assert transfer.room() == 0
    assert told(transfer, "nothing is sent until")


def test_full_destination_keeps_what_arrived_and_rests(move: Move) -> None:
    move.service.set(quota_bytes=25)
    transfer = move.transfer()
    move.send(transfer, [outgoing(move.root, f"t{number}.tif", b"0123456789") for number in range(4)])
    decided = settle(transfer, 4)
    assert len(decided) - len(not_sent(decided)) == 2
    assert all(each.again and each.after_s > 0 and "full" in each.message for each in not_sent(decided))
    assert transfer.room() == 0
    assert told(transfer, "the destination is full")


def test_sending_goes_on_when_there_is_space_again(move: Move) -> None:
    move.service.set(quota_bytes=5)
    transfer, file = move.transfer(), outgoing(move.root, "t.tif", b"0123456789")
    move.send(transfer, [file])
    settle(transfer)
    move.service.set(quota_bytes=None)
    until(transfer.room, transfer)
    move.send(transfer, [file])
    assert content(move, settle(transfer)[0]) == b"0123456789"


def test_administrators_pause_is_told_with_their_words(move: Move) -> None:
    move.service.set(paused="maintenance until noon")
    transfer = move.transfer()
    move.send(transfer, [outgoing(move.root, "t.tif")])
    until(lambda: told(transfer, "paused by the destination: maintenance until noon"), transfer)
    move.service.set(paused=None, hanging=True)
    until(lambda: not transfer.notices(), transfer)
    move.service.set(hanging=False)
    assert isinstance(settle(transfer)[0], Arrived)


def test_administrators_cancelling_is_told_and_the_files_go_again(move: Move) -> None:
    move.service.set(hanging=True)
    transfer = move.transfer()
    move.send(transfer, [outgoing(move.root, "t.tif")])
    until(lambda: move.service.requests("task"), transfer)
    move.service.set(cancel_as_admin="too many files")
    (failed,) = not_sent(settle(transfer))
    assert failed.again
    assert "administrator of the destination: too many files" in failed.message


def test_globus_connect_personal_that_is_off_is_told(move: Move) -> None:
    transfer = move.transfer()
    move.service.set(disconnected=True)
    move.send(transfer, [outgoing(move.root, "t.tif")])
    until(lambda: told(transfer, "start it"), transfer)
    move.service.set(disconnected=False)
    assert isinstance(settle(transfer)[0], Arrived)


def test_expired_credentials_of_a_collection_are_told(move: Move) -> None:
    move.service.set(suspended=True)
    transfer = move.transfer()
    move.send(transfer, [outgoing(move.root, "t.tif")])
    until(lambda: told(transfer, "suspended until you sign in to the collection"), transfer)
    move.service.set(suspended=False)
    assert isinstance(settle(transfer)[0], Arrived)


def test_corrupted_copy_is_made_again(move: Move) -> None:
    move.service.set(corrupt_once=["*"])
    transfer = move.transfer()
    move.send(transfer, [outgoing(move.root, "t.tif", b"right")])
    assert content(move, settle(transfer)[0]) == b"right"


def test_trouble_that_has_passed_is_told_no_more(move: Move) -> None:
    move.service.set(corrupt=["*/a.tif"])
    transfer = move.transfer()
    move.send(transfer, [outgoing(move.root, "a.tif"), outgoing(move.root, "b.tif", bytes(200_000))])
    until(lambda: told(transfer, "verify checksum"), transfer)
    move.service.set(corrupt=[], bytes_per_s=50_000)
    until(lambda: not transfer.notices(), transfer)


def test_copy_that_is_never_right_does_not_hold_up_the_others_for_ever(move: Move) -> None:
    move.service.set(corrupt=["*/bad.tif"])
    transfer = move.transfer(deadline_s=2)
    files = [outgoing(move.root, name, b"right") for name in ("a.tif", "bad.tif")]
    move.send(transfer, files)
    until(lambda: told(transfer, "checksum"), transfer)
    decided = settle(transfer, 2)
    (failed,) = not_sent(decided)
    assert failed.outgoing == files[1]
    assert failed.again
    assert "did not end within 2 s" in failed.message


def test_task_that_hangs_ends_at_its_deadline_and_what_arrived_counts(move: Move) -> None:
    transfer = move.transfer(deadline_s=2)
    move.service.set(bytes_per_s=100_000)
    files = [outgoing(move.root, f"t{number}.tif", bytes(1_000 if number == 0 else 10_000_000)) for number in range(2)]
    move.send(transfer, files)
    decided = settle(transfer, 2)
    assert [each.outgoing for each in not_sent(decided)] == files[1:]


def test_task_for_ever_active_is_cancelled_and_given_up(
    move: Move, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    move.service.set(hanging=True, deaf=True)
    transfer = move.transfer(deadline_s=1)
    file = outgoing(move.root, "t.tif")
    move.send(transfer, [file])
    (failed,) = not_sent(settle(transfer))
    assert move.service.requests("cancel")
    assert failed.again
    assert "neither ended nor could be cancelled" in failed.message


def test_files_wait_while_an_abandoned_task_still_has_them(move: Move) -> None:
    move.service.set(hanging=True, deaf=True)
    transfer, file = move.transfer(deadline_s=1), outgoing(move.root, "t.tif")
    move.send(transfer, [file])
    settle(transfer)
    until(transfer.room, transfer)
    move.send(transfer, [file])
    until(lambda: told(transfer, "on their way already"), transfer)
    move.service.set(clear=True)
    assert isinstance(settle(transfer)[0], Arrived)


def test_lost_task_records_send_the_files_again(move: Move) -> None:
    move.service.set(hanging=True)
    transfer, file = move.transfer(), outgoing(move.root, "t.tif")
    move.send(transfer, [file])
    until(lambda: move.service.requests("task"), transfer)
    move.service.set(clear=True, forget_tasks=True)
    (failed,) = not_sent(settle(transfer))
    assert failed.again
    move.send(transfer, [file])
    assert isinstance(settle(transfer)[0], Arrived)


def test_slow_transfer_is_told(move: Move, monkeypatch: pytest.MonkeyPatch) -> None:
    from mhfd_client.transfer import task

    monkeypatch.setattr(task, "SLOW_AFTER_S", 0.2)
    move.service.set(bytes_per_s=100_000)
    transfer = move.transfer(deadline_s=5)
    move.send(transfer, [outgoing(move.root, f"t{number}.tif", bytes(50_000)) for number in range(200)])
    until(lambda: told(transfer, "MB/s"), transfer)


# --------------------------------------------------------------------------------------------------- the service itself


def test_service_out_of_reach_loses_nothing(move: Move) -> None:
    transfer = move.transfer()
    move.send(transfer, [outgoing(move.root, "t.tif")])
    move.service.kill()
    until(lambda: told(transfer, "1 file is on its way"), transfer)
    move.service.start()
    assert isinstance(settle(transfer)[0], Arrived)


def test_no_ticket_while_the_service_is_out_of_reach(move: Move) -> None:
    transfer = move.transfer()
    move.service.kill()
    with pytest.raises(TransferUnreachableError, match="out of reach"):
        transfer.ticket()
    move.service.start()
    until(transfer.room, transfer)
    assert transfer.ticket()


@pytest.mark.parametrize("status", [429, 500, 503])
def test_refused_requests_are_made_again(move: Move, status: int) -> None:
    transfer = move.transfer()
    move.service.set(refuse={"status": status, "times": 3, "kind": None})
    transfer.send(str(uuid4()), [outgoing(move.root, "t.tif")])
    assert isinstance(settle(transfer)[0], Arrived)


def test_service_that_refuses_is_not_pestered(move: Move) -> None:
    transfer = move.transfer()
    move.send(transfer, [outgoing(move.root, "t.tif")])
    move.service.set(refuse={"status": 503, "times": 1000, "kind": None})
    deadline = time.monotonic() + 0.5
    while time.monotonic() < deadline:
        transfer.poll()
    assert len(move.service.requests("submit")) < 15


def test_retry_after_is_obeyed(move: Move) -> None:
    transfer = move.transfer()
    move.send(transfer, [outgoing(move.root, "t.tif")])
    move.service.set(refuse={"status": 429, "times": 1, "kind": "submit", "retry_after_s": 1})
    begun_s = time.monotonic()
    settle(transfer)
    assert time.monotonic() - begun_s > 1
    assert len(move.service.requests("submit")) == 2


def test_long_retry_after_is_not_slept_through(move: Move) -> None:
    transfer = move.transfer()
    move.service.set(refuse={"status": 429, "times": 1, "kind": None, "retry_after_s": 3600})
    begun_s = time.monotonic()
    for _ in range(2):
        with pytest.raises(TransferUnreachableError) as refused:
            transfer.ticket()
    assert time.monotonic() - begun_s < 5
    assert refused.value.after_s > 3500
    assert transfer.room() == 0


def test_requests_keep_to_the_rate(move: Move) -> None:
    from mhfd_client.service.pacing import TokenBucket
    from mhfd_client.transfer.globus import GlobusTransfer

    transfer = move.transfer()
    assert isinstance(transfer, GlobusTransfer)
    move.service.set(clear=True, hanging=True)
    transfer._connection.bucket = transfer._connection.service.bucket = TokenBucket(5)
    transfer.send(str(uuid4()), [outgoing(move.root, "t.tif")])
    deadline = time.monotonic() + 1
    while time.monotonic() < deadline:
        transfer.poll()
        time.sleep(0.005)
    assert len(move.service.requests()) == 5


def test_expired_token_is_renewed_where_a_secret_is_at_hand(move: Move) -> None:
    transfer = move.transfer()
    move.send(transfer, [outgoing(move.root, "t.tif")])
    move.service.set(expire_tokens=True)
    assert isinstance(settle(transfer)[0], Arrived)


def test_sign_in_that_is_not_accepted_keeps_everything(move: Move) -> None:
    transfer = move.transfer()
    move.send(transfer, [outgoing(move.root, "t.tif")])
    move.service.set(refuse={"status": 401, "times": 10_000, "kind": None})
    with pytest.raises(TransferSignInError, match=r"run `python -m mhfd_client.transfer "):
        settle(transfer)
    assert transfer.room() == 0
    move.service.set(clear=True)
    transfer.connect(interactive=False)
    assert isinstance(settle(transfer)[0], Arrived)


def test_sign_in_error_ends_a_command_with_77() -> None:
    assert TransferSignInError("").exit_code == 77


# ---------------------------------------------------------------------------------------------------- all of it at once

STORMS: list[dict[str, Any]] = [
    {"bytes_per_s": 50_000}, {"bytes_per_s": None}, {"hanging": True}, {"paused": "!"}, {"disconnected": True},
    {"quota_bytes": 200_000}, {"corrupt_once": ["*"]}, {"denied_destinations": ["*3.tif"]}, {"denied": ["*7.tif"]},
    {"cancel_as_admin": "no"}, {"forget_tasks": True}, {"expire_tokens": True}, {"clear": True}, {"clear": True},
    {"refuse": {"status": 503, "times": 5, "kind": None}}, {"refuse": {"status": 429, "times": 5, "kind": None}},
]  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
def test_after_any_storm_every_file_is_there_and_was_decided_once(move: Move, seed: int) -> None:
    """Files come during the storm, in which service and client are killed; `waiting` and `tickets` play the ledger."""
    rng = random.Random(seed)
    files = [outgoing(move.root, f"t{number}.tif", rng.randbytes(5_000), tile=number) for number in range(40)]
    coming, waiting, done = list(files), list[Outgoing](), dict[str, Arrived]()
    tickets: dict[str, list[Outgoing]] = {}
    transfer = move.transfer(deadline_s=1.5)
    begun_s, storm_s, calm = time.monotonic(), 0.0, False
    while len(done) < len(files):
        age_s = time.monotonic() - begun_s
        assert age_s < 60, (transfer.notices(), waiting, tickets)
        while coming and age_s > (len(files) - len(coming)) * 2.5 / len(files):
            waiting.append(coming.pop(0))
        if age_s < 3 and age_s > storm_s:
            storm_s = age_s + 0.1
            move.service.set(**rng.choice(STORMS))
            if rng.random() < 0.1:
                move.service.kill()
                move.service.start()
            if rng.random() < 0.2:  # the client dies, another one takes up what the ledger knows
                with contextlib.suppress(TransferError):
                    transfer = move.transfer()
                    for ticket, sent in tickets.items():
                        transfer.send(ticket, sent)
        elif age_s >= 3 and not calm:
            calm = True
            move.service.set(clear=True)
        with contextlib.suppress(TransferUnreachableError):
            if waiting and transfer.room():
                ticket, number = transfer.ticket(), rng.randint(1, 15)
                tickets[ticket], waiting = waiting[:number], waiting[number:]
                transfer.send(ticket, tickets[ticket])
        for each in transfer.poll():
            assert each.outgoing.path not in done
            tickets = {ticket: [file for file in sent if file != each.outgoing] for ticket, sent in tickets.items()}
            if isinstance(each, Arrived):
                done[each.outgoing.path] = each
            else:
                waiting.append(each.outgoing)
        time.sleep(0.005)
    for file in files:
        assert content(move, done[file.path]) == file.file.read_bytes()
