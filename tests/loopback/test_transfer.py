"""The equipment for Globus Transfer: the unmodified SDK moves files with it, and its faults do what they should."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from globus_sdk import TransferClient

    from loopback.stack import Loopback
    from loopback.transfer import Transfer

Json = dict[str, Any]


@dataclass
class Two:
    """Two collections and a client."""

    service: Transfer
    client: TransferClient
    source: Path
    destination: Path
    source_id: str
    destination_id: str

    def write(self, *names: str, size: int = 10) -> None:
        for name in names:
            (self.source / name).write_bytes(name.encode().ljust(size, b"."))

    def document(self, *names: str, **options: Any) -> Any:
        from globus_sdk import TransferData

        options.setdefault("submission_id", self.client.get_submission_id()["value"])
        document = TransferData(self.source_id, self.destination_id, **options)
        for name in names:
            document.add_item(f"/{name}", f"/in/{name}")
        return document

    def submit(self, *names: str, **options: Any) -> str:
        return str(self.client.submit_transfer(self.document(*names, **options))["task_id"])

    def wait(self, task: str, fact: Callable[[Json], Any] = lambda document: document["completion_time"]) -> Json:
        """The task document, once `fact` holds of it; by default, that the task has ended."""
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            document: Json = self.client.get_task(task).data
            if fact(document):
                return document
            time.sleep(0.01)
        raise TimeoutError(str(document))

    def arrived(self) -> list[str]:
        return sorted(each.name for each in self.destination.rglob("*") if each.is_file())

    def error_codes(self, task: str) -> set[str]:
        return {event["code"] for event in self.client.task_event_list(task, limit=100) if event["is_error"]}


@pytest.fixture
def two(transfer_service: Transfer, tmp_path: Path) -> Iterator[Two]:
    from globus_sdk import AccessTokenAuthorizer, TransferClient

    source, destination = tmp_path / "source", tmp_path / "destination"
    ids = [transfer_service.collection(folder) for folder in (source, destination)]
    client = TransferClient(authorizer=AccessTokenAuthorizer("token"))
    client.retry_config.max_retries = 0
    yield Two(transfer_service, client, source, destination, *ids)
    client.close()


def soon() -> datetime:
    return datetime.now(timezone.utc) + timedelta(seconds=1)


# -------------------------------------------------------------------------------------------------------- in good order


def test_file_is_copied(two: Two) -> None:
    two.write("a", "b")
    assert two.wait(two.submit("a", "b"))["status"] == "SUCCEEDED"
    assert two.arrived() == ["a", "b"]
    assert (two.destination / "in" / "a").read_bytes() == b"a........."


def test_task_document_counts(two: Two) -> None:
    two.write("a", "b", size=1000)
    document = two.wait(two.submit("a", "b"))
    assert (document["files"], document["files_transferred"], document["bytes_transferred"]) == (2, 2, 2000)


def test_the_sdk_waits_for_a_task(two: Two) -> None:
    two.write("a")
    assert two.client.task_wait(two.submit("a"), timeout=10, polling_interval=1)


def test_successful_transfers_come_in_pages(two: Two) -> None:
    names = [f"t{number}" for number in range(230)]
    two.write(*names)
    task = two.submit(*names)
    two.wait(task)
    rows = list(two.client.paginated.task_successful_transfers(task).items())
    assert [row["destination_path"] for row in rows] == [f"/in/{name}" for name in names]


def test_successful_transfers_of_an_active_task_are_refused(two: Two) -> None:
    from globus_sdk import TransferAPIError

    two.service.set(hanging=True)
    two.write("a")
    with pytest.raises(TransferAPIError, match="still in progress"):
        two.client.task_successful_transfers(two.submit("a"))


def test_same_submission_is_one_task(two: Two) -> None:
    two.write("a")
    document = two.document("a")
    first, second = two.client.submit_transfer(document), two.client.submit_transfer(document)
    assert (first["code"], second["code"]) == ("Accepted", "Duplicate")
    assert first["task_id"] == second["task_id"]


def test_submission_id_must_have_been_given_out(two: Two) -> None:
    from globus_sdk import TransferAPIError

    with pytest.raises(TransferAPIError, match="Invalid submission_id"):
        two.submit("a", submission_id="3f5a7b0c-0000-4000-8000-000000000000")


def test_same_paths_wait_for_the_task_that_has_them(two: Two) -> None:
    from globus_sdk import TransferAPIError

    two.service.set(hanging=True)
    two.write("a")
    two.submit("a")
    with pytest.raises(TransferAPIError) as refused:
        two.submit("a")
    assert refused.value.http_status == 409


@pytest.mark.parametrize(("level", "copied"), [("exists", False), ("size", False), ("checksum", True), (None, True)])
def test_sync_level_says_what_is_copied_again(two: Two, level: Any, copied: bool) -> None:
    two.write("a")
    two.wait(two.submit("a"))
    (two.source / "a").write_bytes(b"other.....")
    options = {} if level is None else {"sync_level": level}
    document = two.wait(two.submit("a", **options))
    assert ((two.destination / "in" / "a").read_bytes() == b"other.....") is copied
    assert document["files_skipped"] == int(not copied)


def test_files_are_deleted(two: Two) -> None:
    from globus_sdk import DeleteData

    two.write("a", "b")
    document = DeleteData(two.source_id, ignore_missing=True)
    for path in ("/a", "/not-there"):
        document.add_item(path)
    two.wait(two.client.submit_delete(document)["task_id"])
    assert [each.name for each in two.source.iterdir()] == ["b"]


def test_folder_is_listed(two: Two) -> None:
    two.write("b", "a")
    assert [each["name"] for each in two.client.operation_ls(two.source_id, path="/")] == ["a", "b"]


def test_path_does_not_lead_out_of_its_collection(two: Two) -> None:
    from globus_sdk import TransferAPIError

    with pytest.raises(TransferAPIError, match="not allowed"):
        two.submit("../destination")


def test_three_tasks_at_a_time(two: Two) -> None:
    two.service.set(bytes_per_s=100_000)
    two.write(*"abcd", size=20_000)
    tasks = [two.submit(name) for name in "abcd"]
    two.wait(tasks[0])
    assert two.client.get_task(tasks[3])["status"] == "ACTIVE"
    assert two.wait(tasks[3])["status"] == "SUCCEEDED"


# --------------------------------------------------------------------------------------------------------------- faults


def test_missing_source_is_skipped_when_asked_for(two: Two) -> None:
    two.write("a")
    task = two.submit("a", "gone", skip_source_errors=True)
    assert two.wait(task)["status"] == "SUCCEEDED"
    assert [row["error_code"] for row in two.client.task_skipped_errors(task)] == ["FILE_NOT_FOUND"]
    assert two.arrived() == ["a"]


def test_missing_source_is_tried_until_the_deadline_otherwise(two: Two) -> None:
    task = two.submit("gone", deadline=soon())
    document = two.wait(task)
    assert document["fatal_error"]["code"] == "EXPIRED"
    assert document["faults"] > 1
    assert "FILE_NOT_FOUND" in two.error_codes(task)


def test_denied_source_is_skipped(two: Two) -> None:
    two.write("a")
    two.service.set(denied=["/a"])
    task = two.submit("a", skip_source_errors=True)
    two.wait(task)
    assert [row["error_code"] for row in two.client.task_skipped_errors(task)] == ["PERMISSION_DENIED"]


@pytest.mark.parametrize(("fail", "code"), [(True, "QUOTA_EXCEEDED"), (False, "EXPIRED")])
def test_quota(two: Two, fail: bool, code: str) -> None:
    two.write("a", "b", size=100)
    two.service.set(quota_bytes=150)
    document = two.wait(two.submit("a", "b", fail_on_quota_errors=fail, deadline=soon()))
    assert (document["status"], document["fatal_error"]["code"]) == ("FAILED", code)
    assert two.arrived() == ["a"]


@pytest.mark.parametrize("verify", [True, False])
def test_corrupted_copy_is_noticed_where_checksums_are_verified(two: Two, verify: bool) -> None:
    two.write("a")
    two.service.set(corrupt_once=["/a"])
    task = two.submit("a", verify_checksum=verify)
    two.wait(task)
    assert ((two.destination / "in" / "a").read_bytes() == b"a.........") is verify
    assert ("VERIFY_CHECKSUM" in two.error_codes(task)) is verify


def test_pause_has_a_message(two: Two) -> None:
    two.write("a")
    two.service.set(paused="back at noon")
    task = two.submit("a")
    two.wait(task, lambda document: document["is_paused"])
    assert two.client.task_pause_info(task)["destination_pause_message"] == "back at noon"
    two.service.set(paused=None)
    assert two.wait(task)["status"] == "SUCCEEDED"


def test_disconnected_source_keeps_a_task_waiting(two: Two) -> None:
    two.write("a")
    two.service.set(disconnected=True)
    task = two.submit("a")
    two.wait(task, lambda document: document["nice_status"] == "GC_NOT_CONNECTED")
    two.service.set(disconnected=False)
    assert two.wait(task)["status"] == "SUCCEEDED"


def test_suspended_task_is_inactive(two: Two) -> None:
    two.write("a")
    two.service.set(suspended=True)
    task = two.submit("a")
    two.wait(task, lambda document: document["status"] == "INACTIVE")
    two.service.set(suspended=False)
    assert two.wait(task)["status"] == "SUCCEEDED"


def test_cancelled_task_fails_and_keeps_what_arrived(two: Two) -> None:
    two.write("a", "b", size=100_000)
    two.service.set(bytes_per_s=1_000_000)
    task = two.submit("a", "b")
    two.wait(task, lambda document: document["files_transferred"] == 1)
    two.service.set(hanging=True)
    two.client.cancel_task(task)
    assert two.wait(task)["fatal_error"]["code"] == "CANCELED"
    assert [row["source_path"] for row in two.client.task_successful_transfers(task)] == ["/a"]


def test_administrator_cancels(two: Two) -> None:
    two.write("a")
    two.service.set(hanging=True)
    task = two.submit("a")
    two.service.set(cancel_as_admin="too large")
    assert two.wait(task)["canceled_by_admin_message"] == "too large"


def test_deaf_service_heeds_neither_cancelling_nor_deadline(two: Two) -> None:
    two.write("a")
    two.service.set(hanging=True, deaf=True)
    deadline = soon()
    task = two.submit("a", deadline=deadline)
    two.client.cancel_task(task)
    two.wait(task, lambda _: datetime.now(timezone.utc) > deadline)
    two.service.set(disconnected=True)
    two.wait(task, lambda document: document["nice_status"] == "GC_NOT_CONNECTED")  # it was looked at since
    assert two.client.get_task(task)["status"] == "ACTIVE"


def test_slow_copy_grows(two: Two) -> None:
    two.write("a", size=1_000_000)
    two.service.set(bytes_per_s=500_000)
    task = two.submit("a")
    copy = two.destination / "in" / "a"
    two.wait(task, lambda _: copy.exists() and 0 < copy.stat().st_size < 1_000_000)
    two.service.set(bytes_per_s=None)
    assert two.wait(task)["status"] == "SUCCEEDED"


@pytest.mark.parametrize("status", [401, 429, 503])
def test_refused_requests(two: Two, status: int) -> None:
    from globus_sdk import TransferAPIError

    two.service.set(refuse={"status": status, "times": 1, "kind": None, "retry_after_s": 7})
    with pytest.raises(TransferAPIError) as refused:
        two.client.get_submission_id()
    assert refused.value.http_status == status
    assert refused.value.headers is not None
    assert refused.value.headers["Retry-After"] == "7"
    assert two.client.get_submission_id()["value"]


def test_expired_token(two: Two) -> None:
    from globus_sdk import TransferAPIError

    two.client.get_submission_id()
    two.service.set(expire_tokens=True)
    with pytest.raises(TransferAPIError, match="not active"):
        two.client.get_submission_id()


def test_lost_records(two: Two) -> None:
    from globus_sdk import TransferAPIError

    two.write("a")
    task = two.submit("a")
    two.service.set(forget_tasks=True)
    with pytest.raises(TransferAPIError) as refused:
        two.client.get_task(task)
    assert refused.value.http_status == 404


def test_unknown_fault_is_refused(two: Two) -> None:
    with pytest.raises(ValueError, match="no fault named"):
        two.service.set(hangign=True)


def test_requests_are_recorded(two: Two) -> None:
    two.client.get_submission_id()
    assert [each["status"] for each in two.service.requests("submission_id")] == [200]


# --------------------------------------------------------------------------------------------------- killed and started


def test_task_goes_on_after_a_kill(two: Two) -> None:
    names = [f"t{number}" for number in range(4)]
    two.write(*names, size=200_000)
    two.service.set(bytes_per_s=1_000_000)
    task = two.submit(*names)
    two.wait(task, lambda document: document["files_transferred"] == 1)
    two.service.kill()
    two.service.start()
    assert two.wait(task)["files_transferred"] == 4
    assert two.arrived() == names
    assert {(two.destination / "in" / name).stat().st_size for name in names} == {200_000}


def test_submission_is_known_after_a_kill(two: Two) -> None:
    two.write("a")
    document = two.document("a")
    task = two.client.submit_transfer(document)["task_id"]
    two.service.kill()
    two.service.start()
    again = two.client.submit_transfer(document)
    assert (again["code"], again["task_id"]) == ("Duplicate", task)


def test_half_written_line_of_the_journal_is_left_out(two: Two) -> None:
    two.write("a")
    task = two.submit("a")
    two.wait(task)
    two.service.kill()
    with (two.service.folder / "journal").open("a") as journal:
        journal.write('{"what": "set", "task": "')
    two.service.start()
    assert two.client.get_task(task)["status"] == "SUCCEEDED"


# ------------------------------------------------------------------------------------------------------ the whole stack


def test_loopback_offers_transfer_too(loopback: Loopback, tmp_path: Path) -> None:
    """The variables of `loopback` lead the client to both services, with one sign-in."""
    from mhfd_client.config import GlobusEndpoint
    from mhfd_client.transfer.opening import open_transfer
    from mhfd_client.transfer.protocol import Arrived, Outgoing

    service, root = loopback.transfer, tmp_path / "run"
    root.mkdir()
    (root / "t.tif").write_bytes(b"pixels")
    entry = GlobusEndpoint.model_validate({
        "uuid": loopback.endpoint_id,
        "transfer": {
            "source_collection": service.collection(root), "source_root": "/",
            "destination_collection": service.collection(tmp_path / "staged"), "destination_root": "/in",
        },
    })  # fmt: skip
    transfer = open_transfer(entry, root=root, run="run1")
    transfer.connect(interactive=False)
    transfer.send(transfer.ticket(), [Outgoing((1,), root / "t.tif", "t.tif", 6, 0)])
    decided = transfer.poll()
    deadline = time.monotonic() + 20
    while not decided:
        assert time.monotonic() < deadline, f"nothing was decided; {transfer.notices()}"
        decided = transfer.poll()
        time.sleep(0.02)
    transfer.close()
    (arrived,) = decided
    assert isinstance(arrived, Arrived)
    assert arrived.place is not None
    assert (tmp_path / "staged" / arrived.place["path"]).read_bytes() == b"pixels"
