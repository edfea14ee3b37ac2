"""A folder that somebody writes to, and what scans find in it."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from watchdog.observers.api import BaseObserver, EventEmitter

from mhfd_client.ledger.model import Known, SeenFile
from mhfd_client.watch import Changes, Folder, NotFollowed, Pace, Scanner, ShareAwayError, Unlisted, Waker, compare
from mhfd_client.watch.wake import MEND_S, TRY_AGAIN_S, new_observer

BENCHMARK = Path(__file__).parents[3] / "benchmarks" / "scan_cost.py"

posix = pytest.mark.skipif(sys.platform == "win32", reason="makes what Windows does not have, or not for everybody")
not_root = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")


def put(root: Path, *names: str) -> None:
    for name in names:
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"pixels")


def scanner(root: Path, exclude: Sequence[str] = (), **options: Any) -> Scanner:
    return Scanner(root, is_tile=lambda path: "overview" not in path, exclude=exclude, **options)


def folders(found: Scanner) -> dict[str, Folder]:
    return {each.path: each for each in found.scan() if isinstance(each, Folder)}


def tiles(found: Scanner) -> list[str]:
    """All files that a scan finds new, compared with an empty ledger."""
    return [file.path for folder in folders(found).values() for file in compare(folder, {}).new]


def unlisted(found: Scanner) -> dict[str, str]:
    return {each.path: each.message for each in found.scan() if isinstance(each, Unlisted)}


def known(*files: SeenFile, gone: bool = False) -> dict[str, Known]:
    return {Path(each.path).name: Known(each.size, each.mtime_ns, "scored", gone) for each in files}


# --- What is found ----------------------------------------------------------------------------------------------


def test_tiles_come_in_natural_order_folder_by_folder(tmp_path: Path) -> None:
    put(tmp_path, "s10/t1.tif", "s2/t10.tif", "s2/t9.tif", "t.tif", "s2/deep/t.tif")
    assert tiles(scanner(tmp_path)) == ["t.tif", "s2/t9.tif", "s2/t10.tif", "s2/deep/t.tif", "s10/t1.tif"]


def test_only_images_count_that_are_visible_and_whole(tmp_path: Path) -> None:
    put(
        tmp_path, "t.TIF", "t.png", "t.jpeg", "t.bmp", ".t.tif", "._t.tif", ".cache/t.tif", "t.tif.part", "t.txt", "tif"
    )
    assert tiles(scanner(tmp_path)) == ["t.TIF", "t.bmp", "t.jpeg", "t.png"]


def test_the_layout_says_which_images_are_tiles(tmp_path: Path) -> None:
    put(tmp_path, "s1/t.tif", "s1/overview.tif", "overviews/o.tif")
    assert tiles(scanner(tmp_path)) == ["s1/t.tif"]


@pytest.mark.parametrize(
    ("pattern", "left"),
    [
        ("thumbs", ["a/t.tif", "t.tif"]),
        ("t.tif", ["a/thumbs/p.tif"]),
        ("a/*", ["t.tif"]),
        ("*/p.tif", ["a/t.tif", "t.tif"]),
        ("[at]*", []),
    ],
)
def test_what_is_excluded_is_left_out(tmp_path: Path, pattern: str, left: list[str]) -> None:
    put(tmp_path, "t.tif", "a/t.tif", "a/thumbs/p.tif")
    assert sorted(tiles(scanner(tmp_path, [pattern]))) == left


def test_a_file_has_its_size_and_time(tmp_path: Path) -> None:
    put(tmp_path, "s/t.tif")
    state = (tmp_path / "s/t.tif").stat()
    assert folders(scanner(tmp_path))["s"].files == (
        SeenFile("s/t.tif", state.st_size, state.st_mtime_ns, state.st_ctime_ns),
    )


def test_names_that_are_not_ascii_are_found(tmp_path: Path) -> None:
    put(tmp_path, "Probe Ä/3²5 µm #1 – 切片.tif")
    assert tiles(scanner(tmp_path)) == ["Probe Ä/3²5 µm #1 – 切片.tif"]


def test_a_folder_called_like_an_image_is_a_folder(tmp_path: Path) -> None:
    put(tmp_path, "run.tif/t.tif")
    assert tiles(scanner(tmp_path)) == ["run.tif/t.tif"]


def test_a_relative_root_is_watched_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "run/t.tif")
    monkeypatch.chdir(tmp_path)
    here = scanner(Path("run"))
    monkeypatch.chdir("/")
    assert tiles(here) == ["t.tif"]


# --- What is odd ------------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_name_that_is_no_text_is_told_and_not_taken_up(tmp_path: Path) -> None:
    put(tmp_path, "t.tif")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/bad\xff.tif")).touch()
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/bad\xfe")).mkdir()
    odd = scanner(tmp_path)
    assert set(unlisted(odd)) == {"bad\\xff.tif", "bad\\xfe"}
    odd.forget()
    assert tiles(odd) == ["t.tif"]


@posix
def test_links_are_followed_but_not_in_a_ring(tmp_path: Path) -> None:
    put(tmp_path, "run/a/t.tif", "elsewhere/u.tif")
    for link, target in (("a/up", ".."), ("a/self", "self"), ("a/out", "../.."), ("b", "a"), ("c", "../elsewhere")):
        (tmp_path / "run" / link).symlink_to(target)
    (tmp_path / "run/a/nowhere.tif").symlink_to("missing")
    (tmp_path / "run/a/round.tif").symlink_to("round.tif")
    assert tiles(scanner(tmp_path / "run")) == ["a/t.tif", "c/u.tif"]
    left_out = {each.path: each.message for each in scanner(tmp_path / "run").scan() if isinstance(each, NotFollowed)}
    assert set(left_out) == {"a/up", "a/out", "b"}
    assert "leads back" in left_out["a/up"]
    assert left_out["b"] == "b is a link to a, where its files are taken"


@posix
def test_a_folder_is_looked_into_once_whatever_links_lead_to_it(tmp_path: Path) -> None:
    put(tmp_path, "run/b/t.tif", "elsewhere/deep/u.tif")
    for link, target in (("a", "b"), ("c", "../elsewhere"), ("d", "../elsewhere/deep"), ("z", "../elsewhere")):
        (tmp_path / "run" / link).symlink_to(target)
    (tmp_path / "elsewhere/deep/round").symlink_to("..")
    assert tiles(scanner(tmp_path / "run")) == ["b/t.tif", "d/u.tif"]


@posix
def test_a_link_to_a_hidden_or_excluded_folder_below_the_root_is_followed(tmp_path: Path) -> None:
    put(tmp_path, "run/.data/1/t.tif", "run/store/2/u.tif")
    (tmp_path / "run/s1").symlink_to(".data/1")
    (tmp_path / "run/s2").symlink_to("store/2")
    assert tiles(scanner(tmp_path / "run", ["store"])) == ["s1/t.tif", "s2/u.tif"]


def test_files_of_formats_that_are_not_read_are_counted(tmp_path: Path) -> None:
    put(tmp_path, "a.eer", "s/b.DM4", "s/c.dm4", "s/t.tif", "s/.hidden.eer", "s/notes.txt")
    for _ in range(2):  # also when nothing has changed
        found = folders(scanner(tmp_path))
        assert {path: dict(folder.foreign) for path, folder in found.items()} == {"": {".eer": 1}, "s": {".dm4": 2}}


def test_a_folder_that_is_one_input_is_told_and_not_looked_into(tmp_path: Path) -> None:
    put(tmp_path, "s/a.zarr/zarr.json", "s/a.zarr/0/t.tif", "s/t.mrc")
    found = list(scanner(tmp_path).scan())
    assert [each.path for each in found if isinstance(each, NotFollowed)] == ["s/a.zarr"]
    assert [file.path for each in found if isinstance(each, Folder) for file in each.files] == ["s/t.mrc"]


@posix
def test_links_that_lead_nowhere_do_not_keep_a_folder_fresh(tmp_path: Path) -> None:
    put(tmp_path, "t.tif")
    (tmp_path / "nowhere.tif").symlink_to("missing")
    links = scanner(tmp_path)
    assert [folders(links)[""].fresh for _ in range(2)] == [True, False]


@posix
def test_what_is_no_ordinary_file_is_passed_over(tmp_path: Path) -> None:
    if sys.platform != "win32":
        os.mkfifo(tmp_path / "pipe.tif")
    put(tmp_path, "t.tif")
    assert tiles(scanner(tmp_path)) == ["t.tif"]


@not_root
def test_a_folder_that_may_not_be_read_is_told_and_its_tiles_are_not_gone(tmp_path: Path) -> None:
    check_closed_folder(tmp_path)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can become somebody else")
def test_a_folder_that_may_not_be_read_is_told_by_another_user(tmp_path: Path) -> None:
    for folder in (tmp_path, *tmp_path.parents[:-2]):
        folder.chmod(0o755)
    code = (
        "import os, sys; from pathlib import Path; sys.path[:0] = sys.argv[2:]; import test_watch; os.setuid(65534);"
        "test_watch.check_closed_folder(Path(sys.argv[1]))"
    )
    tmp_path.chmod(0o777)
    here = [str(Path(__file__).parent), str(Path(__file__).parents[2])]
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), *here], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def check_closed_folder(root: Path) -> None:
    put(root, "open/t.tif", "closed/t.tif", "closed/deep/t.tif", "flat/t.tif", "flat/deep/t.tif")
    closed = scanner(root)
    before = folders(closed)["flat"].files
    (root / "closed").chmod(0o000)
    (root / "flat").chmod(0o444)  # names can be listed, but the files' sizes not be read
    try:
        told = list(closed.scan())
    finally:
        (root / "closed").chmod(0o755)
        (root / "flat").chmod(0o755)
    assert {each.path for each in told if isinstance(each, Unlisted)} == {"closed", "flat", "flat/deep"}
    seen = {each.path: each for each in told if isinstance(each, Folder)}
    assert set(seen) == {"", "open", "flat"}
    assert compare(seen["flat"], known(*before)) == Changes()


def test_files_may_vanish_while_they_are_looked_at(tmp_path: Path) -> None:
    """Another thread makes and removes files and folders all the time; one tile stays, and is never gone."""
    put(tmp_path, "s/stays.tif")
    stays = known(*folders(scanner(tmp_path))["s"].files)
    stop = threading.Event()

    def churn() -> None:
        while not stop.is_set():
            for k in range(20):
                put(tmp_path, f"s/{k}.tif", f"s/d{k}/t.tif")
            for k in range(20):
                (tmp_path / f"s/{k}.tif").unlink()
                (tmp_path / f"s/d{k}/t.tif").unlink()
                (tmp_path / f"s/d{k}").rmdir()

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        busy = scanner(tmp_path)
        for _ in range(100):
            for each in busy.scan():
                if isinstance(each, Folder) and each.path == "s":
                    changes = compare(each, stays)
                    assert not (changes.gone or changes.changed)
    finally:
        stop.set()
        thread.join()


# --- From scan to scan ------------------------------------------------------------------------------------------


def test_a_folder_that_is_the_same_is_not_given_again(tmp_path: Path) -> None:
    put(tmp_path, "s1/t.tif", "s2/t.tif")
    same = scanner(tmp_path)
    folders(same)
    put(tmp_path, "s2/u.tif")
    assert {path: folder.fresh for path, folder in folders(same).items()} == {"": False, "s1": False, "s2": True}


@pytest.mark.parametrize("what", ["size", "time", "name", "fewer", "change time"])
def test_each_change_makes_a_folder_fresh(tmp_path: Path, what: str) -> None:
    put(tmp_path, "s/t.tif", "s/u.tif")
    tile = tmp_path / "s/t.tif"
    changing = scanner(tmp_path)
    folders(changing)
    state = tile.stat()
    if what == "size":
        tile.write_bytes(b"more pixels")
        os.utime(tile, ns=(state.st_atime_ns, state.st_mtime_ns))
    elif what == "time":
        os.utime(tile, ns=(state.st_atime_ns, state.st_mtime_ns + 100))
    elif what == "change time":
        if sys.platform == "win32":
            pytest.skip("Windows keeps no change time")
        while tile.stat().st_ctime_ns == state.st_ctime_ns:
            tile.chmod(0o600)
    elif what == "name":
        tile.rename(tmp_path / "s/v.tif")
    else:
        tile.unlink()
    assert folders(changing)["s"].fresh


def test_a_folder_is_given_again_when_its_first_taker_failed(tmp_path: Path) -> None:
    put(tmp_path, "s/t.tif")
    retold = scanner(tmp_path)
    with pytest.raises(RuntimeError, match="disk full"):
        for each in retold.scan():
            if each.path == "s":
                raise RuntimeError("disk full")
    assert {path: folder.fresh for path, folder in folders(retold).items()} == {"": False, "s": True}


def test_all_is_given_again_on_request(tmp_path: Path) -> None:
    put(tmp_path, "s/t.tif")
    forgetful = scanner(tmp_path)
    folders(forgetful)
    forgetful.forget()
    assert tiles(forgetful) == ["s/t.tif"]


def test_a_folder_that_has_vanished_is_given_once_and_empty(tmp_path: Path) -> None:
    put(tmp_path, "t.tif", "s/t.tif", "s/deep/t.tif")
    shrinking = scanner(tmp_path)
    folders(shrinking)
    (tmp_path / "s/deep/t.tif").unlink()
    (tmp_path / "s/deep").rmdir()
    assert folders(shrinking)["s/deep"] == Folder("s/deep", (), fresh=True)
    assert "s/deep" not in folders(shrinking)


def test_a_root_that_is_not_there_is_away(tmp_path: Path) -> None:
    with pytest.raises(ShareAwayError, match="cannot be listed"):
        folders(scanner(tmp_path / "missing"))


def test_a_root_that_goes_is_away_and_comes_back_whole(tmp_path: Path) -> None:
    put(tmp_path, "run/s/t.tif")
    share = scanner(tmp_path / "run")
    folders(share)
    (tmp_path / "run").rename(tmp_path / "away")
    with pytest.raises(ShareAwayError):
        folders(share)
    (tmp_path / "away").rename(tmp_path / "run")
    assert {path: folder.fresh for path, folder in folders(share).items()} == {"": False, "s": False}


def test_an_empty_root_is_away_when_there_were_tiles(tmp_path: Path) -> None:
    put(tmp_path, "run/t.tif")
    share = scanner(tmp_path / "run")
    folders(share)
    (tmp_path / "run").rename(tmp_path / "away")
    (tmp_path / "run").mkdir()
    with pytest.raises(ShareAwayError, match="is empty"):
        folders(share)


def test_an_empty_root_is_away_when_an_earlier_process_saw_tiles(tmp_path: Path) -> None:
    with pytest.raises(ShareAwayError, match="is empty"):
        folders(scanner(tmp_path, seen_before=True))


def test_an_empty_root_is_where_a_run_begins(tmp_path: Path) -> None:
    assert folders(scanner(tmp_path)) == {"": Folder("", (), fresh=True)}


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="needs a second file system")
def test_another_disk_in_the_same_place_is_away(tmp_path: Path) -> None:
    import tempfile

    put(tmp_path, "disk/t.tif")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as other:
        if Path(other).stat().st_dev == tmp_path.stat().st_dev:
            pytest.skip("needs a second file system")
        put(Path(other), "something else.txt")
        (tmp_path / "run").symlink_to("disk")
        share = scanner(tmp_path / "run")
        folders(share)
        (tmp_path / "run").unlink()
        (tmp_path / "run").symlink_to(other)
        with pytest.raises(ShareAwayError, match="another disk"):
            folders(share)
        put(Path(other), "t.tif")  # the same share under a new device number, as after it was mounted again
        assert tiles(share) == ["t.tif"]


# --- What has changed -------------------------------------------------------------------------------------------

T1, T2, T10 = SeenFile("s/t1.tif", 6, 1), SeenFile("s/t2.tif", 6, 2), SeenFile("s/t10.tif", 6, 3)


def test_what_nobody_knows_is_new_in_natural_order() -> None:
    assert compare(Folder("s", (T10, T2), True), known(T1, gone=True)) == Changes(new=(T2, T10))


@pytest.mark.parametrize("was", [SeenFile("s/t1.tif", 5, 1), SeenFile("s/t1.tif", 6, 0), SeenFile("s/t1.tif", 6, 9)])
@pytest.mark.parametrize("gone", [False, True])
def test_another_size_or_time_is_a_change(was: SeenFile, gone: bool) -> None:
    assert compare(Folder("s", (T1,), True), known(was, gone=gone)) == Changes(changed=(T1,))


def test_another_change_time_is_a_change_where_both_are_known() -> None:
    now = SeenFile("s/t1.tif", 6, 1, 200)
    for before, changes in ((200, Changes()), (100, Changes(changed=(now,))), (None, Changes())):
        assert compare(Folder("s", (now,), True), {"t1.tif": Known(6, 1, "scored", False, before)}) == changes
    assert compare(Folder("s", (T1,), True), {"t1.tif": Known(6, 1, "scored", False, 100)}) == Changes()


def test_what_is_not_listed_is_gone_in_natural_order() -> None:
    assert compare(Folder("s", (), True), known(T10, T2)) == Changes(gone=("s/t2.tif", "s/t10.tif"))


def test_what_is_gone_in_the_root_has_no_folder() -> None:
    assert compare(Folder("", (), True), known(T1)) == Changes(gone=("t1.tif",))


def test_what_returns_unchanged_is_back() -> None:
    assert compare(Folder("s", (T1,), True), known(T1, gone=True)) == Changes(back=(T1,))


def test_what_was_told_before_is_no_change() -> None:
    assert compare(Folder("s", (), False), known(T1)) == Changes()


def test_nothing_is_gone_from_a_folder_that_was_not_read_in_full() -> None:
    assert compare(Folder("s", (T2,), True, complete=False), known(T1)) == Changes(new=(T2,))


names = st.sampled_from([f"t{k}.tif" for k in range(6)])
states = st.tuples(st.integers(0, 2), st.integers(0, 2))


@given(listed=st.dictionaries(names, states), before=st.dictionaries(names, st.tuples(states, st.booleans())))
@settings(max_examples=200)
def test_a_ledger_that_takes_up_the_changes_agrees_with_the_folder(
    listed: dict[str, tuple[int, int]], before: dict[str, tuple[tuple[int, int], bool]]
) -> None:
    ledger = {name: Known(*state, "seen", gone) for name, (state, gone) in before.items()}
    folder = Folder("s", tuple(SeenFile(f"s/{name}", *state) for name, state in listed.items()), True)
    changes = compare(folder, ledger)
    for file in (*changes.new, *changes.changed, *changes.back):
        ledger[file.path[2:]] = Known(file.size, file.mtime_ns, "seen", False)
    for path in changes.gone:
        old = ledger[path[2:]]
        ledger[path[2:]] = Known(old.size, old.mtime_ns, "seen", True)
    assert {name: (each.size, each.mtime_ns) for name, each in ledger.items() if not each.gone} == listed


# --- The bell ---------------------------------------------------------------------------------------------------


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Deaf(BaseObserver):
    """An observer on a system that refuses to watch."""

    def __init__(self, number: int) -> None:
        super().__init__(EventEmitter)
        self.number = number

    def start(self) -> None:
        raise OSError(self.number, os.strerror(self.number))


def rings(waker: Waker, act: Callable[[], object], attempts: int = 50) -> bool:
    """True if acting wakes; acts again a few times, as a system may take a moment to begin watching."""
    for _ in range(attempts):
        act()
        if waker.wait(0.2):
            return True
    return False


def test_a_new_tile_rings(tmp_path: Path) -> None:
    with Waker(tmp_path) as waker:
        assert rings(waker, lambda: put(tmp_path, "t.tif"))


def test_a_tile_in_a_new_folder_rings(tmp_path: Path) -> None:
    with Waker(tmp_path) as waker:
        (tmp_path / "s1").mkdir()
        assert rings(waker, lambda: put(tmp_path, "s1/t.tif"))


def test_a_tile_that_is_renamed_into_place_rings(tmp_path: Path) -> None:
    put(tmp_path, "t.tmp")
    with Waker(tmp_path) as waker:
        assert rings(waker, lambda: (tmp_path / "t.tmp").exists() and (tmp_path / "t.tmp").rename(tmp_path / "t.tif"))


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere reading is not told at all")
def test_reading_does_not_ring_nor_does_another_file(tmp_path: Path) -> None:
    put(tmp_path, "t.tif")
    with Waker(tmp_path) as waker:
        (tmp_path / "t.tif").read_bytes()
        put(tmp_path, "ledger.db-wal")
        assert not waker.wait(0.3)
        assert rings(waker, lambda: put(tmp_path, "t.tif"))


def test_a_marker_rings_where_it_is_asked_for(tmp_path: Path) -> None:
    with Waker(tmp_path, wakes=lambda name: name.endswith(".done")) as waker:
        assert rings(waker, lambda: put(tmp_path, "t.tif.done"))


def closed(waker: Waker, act: Callable[[], object]) -> tuple[list[str], bool]:
    """The names of the files that are told as closed when acting wakes, and whether a scan is wanted."""
    waker.wait(0)
    waker.closed()
    assert rings(waker, act)
    files, scan = waker.closed()
    return [file.name for file in files], scan


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it is not told that files are closed")
def test_a_file_that_is_closed_is_told_by_name(tmp_path: Path) -> None:
    put(tmp_path, "t.tif")
    with Waker(tmp_path) as waker:
        assert closed(waker, lambda: put(tmp_path, "t.tif")) == (["t.tif"], False)


def test_a_file_that_is_renamed_into_place_is_told_by_name(tmp_path: Path) -> None:
    with Waker(tmp_path) as waker:

        def rename() -> None:
            put(tmp_path, "t.tmp")
            (tmp_path / "t.tmp").replace(tmp_path / "t.tif")

        assert closed(waker, rename) == (["t.tif"], False)


def test_a_tile_that_is_renamed_is_also_missed(tmp_path: Path) -> None:
    with Waker(tmp_path) as waker:

        def rename() -> None:
            put(tmp_path, "t.tif")
            waker.wait(0.2)
            waker.closed()
            (tmp_path / "t.tif").replace(tmp_path / "u.tif")

        assert closed(waker, rename) == (["u.tif"], True)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere watchdog follows folders")
def test_a_folder_that_is_renamed_is_watched_under_its_new_name(tmp_path: Path) -> None:
    (tmp_path / "a" / "deep").mkdir(parents=True)
    with Waker(tmp_path) as waker:
        (tmp_path / "a").rename(tmp_path / "b")
        assert waker.wait(30)
        assert waker.closed() == ([], True)
        assert rings(waker, lambda: put(tmp_path, "b/deep/t.tif"))
        assert waker.closed()[0] == [tmp_path / "b" / "deep" / "t.tif"]


@pytest.mark.skipif(sys.platform != "linux", reason="it is Linux that says so")
def test_where_the_system_lost_events_a_scan_is_wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mhfd_client.watch import inotify

    with Waker(tmp_path) as waker:
        monkeypatch.setattr(inotify, "_events", lambda read: [(-1, inotify._OVERFLOW, b"")])
        assert rings(waker, lambda: put(tmp_path, "t.tif"))
        assert waker.closed() == ([], True)


def test_rung_by_hand_it_wants_a_scan(tmp_path: Path) -> None:
    with Waker(tmp_path) as waker:
        waker.ring()
        assert waker.closed() == ([], True)


@pytest.mark.parametrize(
    "path", ["t.tif", "s1/t.tif", "overview.tif", "no/t.tif", "s1/.t.tif", ".s/t.tif", "s1/t.txt", "s1/skip.tif"]
)
def test_one_file_is_looked_at_as_in_a_scan(tmp_path: Path, path: str) -> None:
    put(tmp_path, path)
    scan = scanner(tmp_path, ["no", "s1/skip*"])
    found = [file for folder in folders(scan).values() for file in folder.files]
    looked = scan.look(tmp_path / path)
    assert ([] if looked is None else [looked]) == found


def test_what_is_not_there_or_elsewhere_is_no_tile(tmp_path: Path) -> None:
    put(tmp_path, "run/a.tif/t.txt", "t.tif")
    scan = scanner(tmp_path / "run")
    assert [scan.look(tmp_path / each) for each in ("run/t.tif", "run/a.tif", "t.tif")] == [None] * 3


def test_it_can_be_rung_by_hand_from_another_thread(tmp_path: Path) -> None:
    with Waker(tmp_path) as waker:
        threading.Timer(0.05, waker.ring).start()
        assert waker.wait(30)
        assert not waker.wait(0)


def test_without_a_ring_it_waits_as_long_as_asked(tmp_path: Path) -> None:
    with Waker(tmp_path) as waker:
        start = time.monotonic()
        assert not waker.wait(0.1)
        assert time.monotonic() - start >= 0.09


def test_when_watching_ends_it_begins_anew(tmp_path: Path) -> None:
    made: list[BaseObserver] = []
    clock = Clock()
    with Waker(tmp_path, observer=lambda: keep(made), clock=clock) as waker:
        made[0].stop()
        made[0].join()
        assert not waker.has_events
        clock.now += MEND_S
        assert waker.wait(5)  # once without an event, as something may have happened in between
        assert waker.has_events
        assert rings(waker, lambda: put(tmp_path, "t.tif"))


def keep(made: list[BaseObserver]) -> BaseObserver:
    made.append(new_observer())
    return made[-1]


def test_when_one_of_its_threads_ends_it_begins_anew(tmp_path: Path) -> None:
    made: list[BaseObserver] = []
    clock = Clock()
    with Waker(tmp_path, observer=lambda: keep(made), clock=clock) as waker:
        (emitter,) = made[0].emitters
        emitter.stop()
        emitter.join()
        clock.now += MEND_S
        assert waker.wait(5)
        assert len(made) == 2


def test_when_the_folder_comes_back_it_is_watched_again(tmp_path: Path) -> None:
    root = tmp_path / "run"
    root.mkdir()
    with Waker(root) as waker:
        root.rename(tmp_path / "away")
        assert not waker.wait(0.05)
        assert not waker.has_events
        root.mkdir()
        assert waker.wait(5)
        assert rings(waker, lambda: put(root, "t.tif"))


def test_a_folder_that_is_not_there_yet_is_watched_when_it_is(tmp_path: Path) -> None:
    root = tmp_path / "run"
    with Waker(root) as waker:
        assert not waker.wait(0.05)
        root.mkdir()
        assert waker.wait(5)
        assert waker.has_events


@pytest.mark.skipif(sys.platform != "linux", reason="these limits are Linux's")
@pytest.mark.parametrize(
    ("number", "key"),
    [(errno.ENOSPC, "fs.inotify.max_user_watches"), (errno.EMFILE, "fs.inotify.max_user_instances")],
)
def test_where_the_system_watches_no_more_one_notice_names_the_key(tmp_path: Path, number: int, key: str) -> None:
    told: list[str] = []
    tried: list[Deaf] = []
    clock = Clock()

    def deaf() -> BaseObserver:
        tried.append(Deaf(number))
        return tried[-1]

    with Waker(tmp_path, notice=told.append, observer=deaf, clock=clock) as waker:
        assert not waker.wait(0.01)
        clock.now += TRY_AGAIN_S
        assert not waker.wait(0.01)
        waker.ring()
        assert waker.wait(0)
    assert len(tried) == 2
    assert len(told) == 1
    assert f"sysctl {key} " in told[0]


@posix
def test_a_folder_on_a_network_share_is_looked_at_without_events(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mhfd_client.watch.wake.share_below", lambda path: "9p")
    monkeypatch.setattr("mhfd_client.watch.wake.sys.platform", "linux")
    told: list[str] = []
    with Waker(tmp_path, notice=told.append) as waker:
        assert not waker.has_events
    assert ["network share (9p)" in each for each in told] == [True]


# --- The pace ---------------------------------------------------------------------------------------------------


def test_the_first_scan_is_due_at_once() -> None:
    assert Pace(5.0, Clock()).due_in_s(rung=False) == 0


@pytest.mark.parametrize(
    ("poll_s", "took_s", "rung", "due_in_s"),
    [
        (5.0, 0.01, False, 5.0),
        (5.0, 2.0, False, 20.0),
        (5.0, 0.01, True, 0.5),
        (5.0, 2.0, True, 2.0),
        (0.1, 0.01, False, 0.5),
        (0.1, 0.01, True, 0.5),
    ],
)
def test_the_next_scan_is_due(poll_s: float, took_s: float, rung: bool, due_in_s: float) -> None:
    clock = Clock()
    pace = Pace(poll_s, clock)
    pace.scanned(took_s)
    assert pace.due_in_s(rung=rung) == pytest.approx(due_in_s)
    clock.now += due_in_s
    assert pace.due_in_s(rung=rung) == pytest.approx(0, abs=1e-9)


def test_the_benchmark_runs_and_prints_its_tables(tmp_path: Path) -> None:
    out = tmp_path / "raw.csv"
    options = ["--files", "60", "--folders", "3", "--repeats", "1", "--tiles", "1", "--sides", "64", "--out", str(out)]
    done = subprocess.run([sys.executable, str(BENCHMARK), *options], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "| 60 | 3 |" in done.stdout
    assert "| 64 x 64 |" in done.stdout
    assert len(out.read_text(encoding="utf-8").splitlines()) == 1 + 3 + 2
