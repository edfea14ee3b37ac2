"""Files appear whole under their name, or not at all."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from mhfd_client.files.whole import as_text, check_writable, write_whole, written

ROOT = hasattr(os, "geteuid") and os.geteuid() == 0


def test_a_file_has_its_name_only_when_it_is_complete(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    with written(file) as out:
        out.write(b"half")
        assert not file.exists()
        out.write(b" and half")
    assert file.read_bytes() == b"half and half"
    assert list(tmp_path.iterdir()) == [file]


def test_after_an_error_the_file_before_is_still_there_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text("old")
    with pytest.raises(KeyError), written(file) as out:
        out.write(b"new")
        raise KeyError
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_a_missing_folder_is_made(tmp_path: Path) -> None:
    write_whole(tmp_path / "a" / "b" / "t.csv", "x")
    assert (tmp_path / "a" / "b" / "t.csv").read_text() == "x"


def test_line_ends_are_kept(tmp_path: Path) -> None:
    with written(tmp_path / "t.csv") as out, as_text(out) as file:
        file.write("ä\r\nb\n")
    assert (tmp_path / "t.csv").read_bytes() == "ä\r\nb\n".encode()


def test_a_name_may_be_as_long_as_the_system_allows(tmp_path: Path) -> None:
    file = tmp_path / f"{'t' * 251}.csv"
    write_whole(file, "x")
    assert file.read_text() == "x"


@pytest.mark.skipif(sys.platform == "win32", reason="rights of POSIX")
def test_a_replaced_file_keeps_its_rights(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.touch(0o600)
    write_whole(file, "x")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link.csv").symlink_to(tmp_path / "real" / "t.csv")
    write_whole(tmp_path / "link.csv", "x")
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "real" / "t.csv").read_text() == "x"


@pytest.mark.skipif(sys.platform == "win32", reason="devices of POSIX")
def test_a_device_is_written_as_it_is() -> None:
    code = "from pathlib import Path; from mhfd_client.files.whole import write_whole as w; w(Path('/dev/stdout'), 'x')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "x"
    write_whole(Path(os.devnull), "x")
    assert not Path(os.devnull).is_file()


@pytest.mark.parametrize("n", range(3))
def test_a_disk_that_fails_at_any_call_leaves_nothing_and_names_the_file(
    n: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The write, the fsync, the rename."""
    file = tmp_path / "t.csv"
    full = OSError(errno.ENOSPC, "No space left on device")

    def fail(*_: object) -> None:
        raise full

    if n == 1:
        monkeypatch.setattr(os, "fsync", fail)
    if n == 2:
        monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError) as caught, written(file) as out:
        out.write(b"x")
        if n == 0:
            fail()
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(file))
    assert list(tmp_path.iterdir()) == []


def test_a_share_without_fsync_is_no_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(_: int) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "fsync", unknown)
    write_whole(tmp_path / "t.csv", "x")
    assert (tmp_path / "t.csv").read_text() == "x"


def test_checking_leaves_nothing_but_the_folder(tmp_path: Path) -> None:
    check_writable(tmp_path / "new" / "t.csv")
    assert list(tmp_path.rglob("*")) == [tmp_path / "new"]


def test_checking_leaves_a_file_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("old")
    check_writable(tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_text() == "old"


def test_what_cannot_be_written_is_found_before_and_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for target in (tmp_path, tmp_path / "file" / "t.csv"):
        with pytest.raises(OSError) as caught:
            check_writable(target)
        assert caught.value.filename == str(target)


@pytest.mark.skipif(ROOT or sys.platform == "win32", reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_found_before(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    try:
        with pytest.raises(PermissionError):
            check_writable(tmp_path / "t.csv")
    finally:
        tmp_path.chmod(0o755)
