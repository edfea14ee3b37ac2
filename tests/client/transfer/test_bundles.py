"""Many small files travel as few tars, are read where they lie, and leave nothing behind."""

from __future__ import annotations

import hashlib
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mhfd_client.transfer import bundle
from mhfd_client.transfer.bundle import Shelf, is_bundle
from mhfd_client.transfer.protocol import Arrived, NotSent, Outgoing, Transfer

from .conftest import Move, not_sent, outgoing, settle, until

TICKET = "6528bad6-cefc-4aa8-8dde-52b3b5ad4c5c"


@pytest.fixture
def small(move: Move, tmp_path: Path) -> Move:
    """The source collection has the folder above the run, so that bundles have a place."""
    options = {
        "source_collection": move.service.collection(tmp_path), "source_root": "/", "local_root": str(tmp_path),
        "bundle_from": 3,
    }  # fmt: skip
    move.options |= options
    return move


def files(move: Move, number: int, **options: Any) -> list[Outgoing]:
    return [
        outgoing(move.root, f"s1/t{each}.tif", b"%d pixels" % each * (each + 1), tile=each, **options)
        for each in range(number)
    ]


def place(arrived: Arrived | NotSent) -> dict[str, Any]:
    assert isinstance(arrived, Arrived), arrived
    assert arrived.place is not None
    return arrived.place


def bytes_at(move: Move, arrived: Arrived | NotSent) -> bytes:
    """What a worker reads there."""
    where = place(arrived)
    data = (move.destination / where["path"]).read_bytes()[where["offset"] : where["offset"] + where["size"]]
    assert hashlib.sha256(data).hexdigest() == where["sha256"]
    return data


def here(move: Move) -> list[Path]:
    """What is left of bundles on this machine."""
    return [each for each in move.root.parent.rglob(".mhfd-bundles*/**/*") if each.is_file()]


def swept(transfer: Transfer, *used: dict[str, Any]) -> None:
    transfer.poll()
    transfer.sweep(lambda: used)


# -------------------------------------------------------------------------------------------------------- in good order


def test_many_small_files_go_as_one(small: Move) -> None:
    transfer, sent = small.transfer(), files(small, 20)
    small.send(transfer, sent)
    decided = settle(transfer, 20)
    assert [bytes_at(small, each) for each in decided] == [each.file.read_bytes() for each in sent]
    assert [each.outgoing for each in decided] == sent
    (copy,) = small.copies()
    assert is_bundle(copy.name)
    with tarfile.open(copy) as tar:
        assert tar.getnames() == [f"0/s1/t{each}.tif" for each in range(20)]


def test_few_files_go_alone(small: Move) -> None:
    transfer = small.transfer()
    small.send(transfer, files(small, 2))
    assert all("offset" not in place(each) for each in settle(transfer, 2))


def test_large_files_go_alone_beside_the_bundle(small: Move) -> None:
    transfer = small.transfer(bundle_below_bytes=1000)
    large = outgoing(small.root, "large.tif", bytes(2000), tile=99)
    small.send(transfer, [*files(small, 5), large])
    *bundled, alone = settle(transfer, 6)
    assert all("offset" in place(each) for each in bundled)
    assert (small.destination / place(alone)["path"]).read_bytes() == bytes(2000)


@pytest.mark.parametrize("options", [{"bundle_below_bytes": 0}, {"bundle_from": 100}], ids=str)
def test_bundles_can_be_had_less_often_or_never(small: Move, options: dict[str, Any]) -> None:
    transfer = small.transfer(**options)
    small.send(transfer, files(small, 5))
    assert all("offset" not in place(each) for each in settle(transfer, 5))


def test_bundles_have_a_limit(small: Move, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "BUNDLE_BYTES", 4096)
    transfer = small.transfer()
    small.send(transfer, files(small, 12))
    decided = settle(transfer, 12)
    assert len(small.copies()) == 3  # a block for the header of each file, and one for its bytes
    assert bytes_at(small, decided[11]) == decided[11].outgoing.file.read_bytes()


def test_disk_space_for_bundles_has_a_limit(small: Move) -> None:
    transfer = small.transfer(bundle_disk_bytes=3 * 1000)  # two tasks, and one that has ended
    sent = [outgoing(small.root, f"t{each}.tif", bytes(200), tile=each) for each in range(8)]
    small.send(transfer, sent)
    assert sum("offset" in place(each) for each in settle(transfer, 8)) == 5


def test_the_folder_of_the_run_is_left_alone(small: Move) -> None:
    small.service.set(hanging=True)
    transfer, sent = small.transfer(), files(small, 5)
    small.send(transfer, sent)
    until(lambda: here(small), transfer)
    assert not [each for each in here(small) if each.is_relative_to(small.root)]
    assert sorted(each for each in small.root.rglob("*") if each.is_file()) == sorted(each.file for each in sent)
    small.service.set(hanging=False)
    settle(transfer, 5)


def test_bundle_folder_may_be_named(small: Move, tmp_path: Path) -> None:
    small.service.set(hanging=True)
    transfer = small.transfer(bundle_folder=str(tmp_path / "elsewhere"))
    small.send(transfer, files(small, 5))
    until(lambda: list((tmp_path / "elsewhere").rglob("*.tar")), transfer)
    small.service.set(hanging=False)
    settle(transfer, 5)


def test_nothing_is_left_once_the_tiles_are_scored(small: Move) -> None:
    transfer = small.transfer()
    small.send(transfer, files(small, 5))
    places = [place(each) for each in settle(transfer, 5)]
    assert transfer.clean(places[:4])
    swept(transfer, places[4])
    assert len(small.copies()) == 1  # one tile needs it still
    swept(transfer)
    until(lambda: not small.copies(), transfer)
    transfer.close()
    assert not list(small.root.parent.glob(".mhfd*"))


def test_copies_in_bundles_may_be_kept(small: Move) -> None:
    transfer = small.transfer(keep=True)
    small.send(transfer, files(small, 5))
    settle(transfer, 5)
    swept(transfer)
    assert not small.service.requests("submit_delete")


# --------------------------------------------------------------------------------------------------- killed and started


def test_bundles_of_a_killed_process_are_found_by_the_ticket(small: Move) -> None:
    first, sent = small.transfer(), files(small, 20)
    ticket = small.send(first, sent)
    before = settle(first, 20)  # and killed before it was stored
    copied_ns = small.copies()[0].stat().st_mtime_ns
    second = small.transfer()
    second.send(ticket, sent)
    assert settle(second, 20) == before
    assert small.copies()[0].stat().st_mtime_ns == copied_ns


def test_killed_while_transfer_has_the_bundle(small: Move) -> None:
    small.service.set(hanging=True)
    first, sent = small.transfer(), files(small, 5)
    ticket = small.send(first, sent)
    until(lambda: small.service.requests("submit"), first)
    second = small.transfer()
    second.send(ticket, sent)
    small.service.set(hanging=False)
    decided = settle(second, 5)
    assert [bytes_at(small, each) for each in decided] == [each.file.read_bytes() for each in sent]
    assert len(small.copies()) == 1


def test_killed_while_it_packed(small: Move, monkeypatch: pytest.MonkeyPatch) -> None:
    first, sent = small.transfer(), files(small, 5)
    ticket = small.send(first, sent)

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as dying:
        dying.setattr(bundle, "_write_index", die)
        dying.setattr(Shelf, "remove", lambda *_: None)
        with pytest.raises(KeyboardInterrupt):
            first.poll()
    assert here(small)
    second = small.transfer()
    second.send(ticket, sent)
    assert [bytes_at(small, each) for each in settle(second, 5)] == [each.file.read_bytes() for each in sent]
    swept(second)
    assert not here(small)


def test_killed_before_it_packed(small: Move) -> None:
    first, sent = small.transfer(), files(small, 5)
    ticket = small.send(first, sent)
    second = small.transfer()
    second.send(ticket, sent)
    assert all(isinstance(each, Arrived) for each in settle(second, 5))


def test_what_a_killed_process_left_is_swept(small: Move) -> None:
    first = small.transfer()
    small.send(first, files(small, 5))
    settle(first, 5)
    assert here(small) and small.copies()
    second = small.transfer()  # of a ledger that knows neither ticket nor places
    swept(second)
    assert not here(small)
    until(lambda: not small.copies(), second)


def test_what_a_killed_process_left_here_is_removed_where_copies_are_kept(small: Move) -> None:
    first = small.transfer(keep=True)
    small.send(first, files(small, 5))
    settle(first, 5)
    second = small.transfer()
    swept(second)
    assert not here(small)
    assert small.copies()


def test_files_of_others_beside_bundles_are_left_alone(small: Move) -> None:
    first = small.transfer()
    small.send(first, files(small, 5))
    copy = small.destination / place(settle(first, 5)[0])["path"]
    (copy.parent / "thesis.tex").write_text("of others")
    (theirs := here(small)[0].parent / "thesis.tex").write_text("of others")
    second = small.transfer()
    swept(second)
    until(lambda: not copy.exists(), second)
    assert (copy.parent / "thesis.tex").exists() and theirs.exists()


def test_damaged_index_is_as_none(small: Move) -> None:
    small.service.set(hanging=True)
    first, sent = small.transfer(), files(small, 5)
    ticket = small.send(first, sent)
    until(lambda: small.service.requests("submit"), first)
    next(each for each in here(small) if each.name == "index.json").write_text('{"a": 5}')
    second = small.transfer()
    second.send(ticket, sent)
    assert second.poll() == []  # it packs again, before Transfer goes on
    small.service.set(hanging=False)
    assert [bytes_at(small, each) for each in settle(second, 5)] == [each.file.read_bytes() for each in sent]


# --------------------------------------------------------------------------------------------------------------- faults


def test_file_that_is_gone_does_not_spoil_the_bundle(small: Move) -> None:
    transfer, sent = small.transfer(), files(small, 6)
    small.send(transfer, sent)
    sent[2].file.unlink()
    decided = settle(transfer, 6)
    (gone,) = not_sent(decided)
    assert (gone.outgoing, gone.code) == (sent[2], "not_found")


def test_bundle_that_is_damaged_before_transfer_reads_it_fails_and_all_is_sent_again(small: Move) -> None:
    small.service.set(hanging=True)
    transfer, sent = small.transfer(), files(small, 5)
    small.send(transfer, sent)
    until(lambda: small.service.requests("submit"), transfer)
    tar = next(each for each in here(small) if each.suffix == ".tar")
    tar.write_bytes(b"!" + tar.read_bytes()[1:])
    small.service.set(hanging=False)
    assert all(each.again for each in not_sent(settle(transfer, 5)))


def test_collection_that_does_not_move_bundles_gets_the_files_one_by_one(small: Move) -> None:
    small.service.set(denied=["*.tar"])
    transfer, sent = small.transfer(), files(small, 5)
    for _ in range(2):
        small.send(transfer, sent)
        assert all(each.again for each in not_sent(settle(transfer, 5)))
    small.send(transfer, sent)
    assert all("offset" not in place(each) for each in settle(transfer, 5))


def test_source_collection_without_the_folder_gets_the_files_one_by_one(move: Move, tmp_path: Path) -> None:
    transfer = move.transfer(bundle_from=3, bundle_folder=str(tmp_path / "elsewhere"))  # it shows the run alone
    move.send(transfer, files(move, 5))
    assert all("offset" not in place(each) for each in settle(transfer, 5))


def test_full_disk_here_gets_the_files_one_by_one(small: Move, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "FREE_BYTES", 10**18)
    transfer = small.transfer()
    small.send(transfer, files(small, 5))
    assert all("offset" not in place(each) for each in settle(transfer, 5))
    assert not here(small)


def test_deletion_is_asked_for_again_until_the_service_has_it(small: Move) -> None:
    transfer = small.transfer()
    small.send(transfer, [outgoing(small.root, "t.tif")])
    (arrived,) = settle(transfer)
    small.service.set(refuse={"status": 503, "times": 1, "kind": "submit_delete"})
    assert transfer.clean([place(arrived)]) is False
    until(lambda: transfer.clean([place(arrived)]), transfer)
    until(lambda: not small.copies(), transfer)


def test_what_the_endpoint_could_not_read_goes_alone(small: Move) -> None:
    transfer, sent = small.transfer(bundle_from=4), files(small, 6)
    sent[:1] = [replace(sent[0], returned=True)]
    small.send(transfer, sent)
    assert ["offset" in place(each) for each in settle(transfer, 6)] == [False] + 5 * [True]


def test_endpoint_that_does_not_read_bundles_gets_the_files_one_by_one(small: Move) -> None:
    """That of an older mhfd: each file comes back from it once."""
    transfer, sent = small.transfer(), files(small, 6)
    small.send(transfer, [replace(each, returned=True) for each in sent[:3]])
    settle(transfer, 3)
    small.send(transfer, sent[3:])
    assert all("offset" not in place(each) for each in settle(transfer, 3))


# ------------------------------------------------------------------------------------------------------------ the shelf


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    file = tmp_path / "t"
    file.write_bytes(b"pixels")
    shelf = Shelf(tmp_path / "shelf")
    (packed,) = shelf.pack(TICKET, {"0/\udcff ä/t.tif": file}, 6)
    assert shelf.load(TICKET) == [packed]
    assert packed.sha256 == hashlib.sha256(packed.file.read_bytes()).hexdigest()


@pytest.mark.parametrize("length", [0, 1, 511, 512, 513, 10_000])
def test_part_is_where_the_index_says(length: int, tmp_path: Path) -> None:
    content = bytes(range(256)) * (length // 256) + bytes(length % 256)
    file = tmp_path / "t"
    file.write_bytes(content)
    (packed,) = Shelf(tmp_path / "shelf").pack(TICKET, {"0/" + "long/" * 40 + "t": file, "0/u": file}, length)
    data = packed.file.read_bytes()
    for part in packed.parts.values():
        assert data[part.offset : part.offset + part.size] == content
    assert len(data) % tarfile.BLOCKSIZE == 0


def test_nothing_is_left_of_bundles_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(bundle, "_write_index", full)
    file = tmp_path / "t"
    file.write_bytes(b"pixels")
    with pytest.raises(OSError, match="No space left"):
        Shelf(tmp_path / "shelf").pack(TICKET, {"0/t": file}, 6)
    assert not list((tmp_path / "shelf").iterdir())
