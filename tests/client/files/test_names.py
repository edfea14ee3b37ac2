"""Names of files on both sides of the ledger; what holds on Windows is checked with Windows' pure paths."""

from __future__ import annotations

import errno
from pathlib import PurePath, PurePosixPath, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mhfd_client.files.names import PathError, for_system, is_away, natural_order, to_local, to_relative

LONG = "\\".join(["a-folder-with-a-long-name"] * 12)

names = st.text(st.characters(exclude_characters='/\\<>:"|?*', exclude_categories=["Cc", "Cs"]), min_size=1).filter(
    lambda name: name not in (".", "..")
)


@pytest.mark.parametrize(
    ("root", "file", "relative"),
    [
        (PurePosixPath("/run"), PurePosixPath("/run/s1/t.tif"), "s1/t.tif"),
        (PurePosixPath("/run"), PurePosixPath("/run/a\\b.tif"), "a\\b.tif"),
        (PurePosixPath("/run"), PurePosixPath("/Run/t.tif"), None),
        (PurePosixPath("/run"), PurePosixPath("/run"), None),
        (PurePosixPath("/run"), PurePosixPath("/run/../etc/t.tif"), None),
        (PureWindowsPath(r"C:\run"), PureWindowsPath(r"c:\RUN\S1\T.tif"), "S1/T.tif"),
        (PureWindowsPath(r"C:\run"), PureWindowsPath(r"D:\run\t.tif"), None),
        (PureWindowsPath(r"\\server\share\run"), PureWindowsPath(r"\\SERVER\share\run\ä b.tif"), "ä b.tif"),
        (PureWindowsPath(r"\\server\share\run"), PureWindowsPath(r"\\?\UNC\server\share\run\t.tif"), "t.tif"),
        (PureWindowsPath(r"\\?\C:\run"), PureWindowsPath("C:/run/t.tif"), "t.tif"),
    ],
)
def test_a_file_is_named_relative_to_the_run(root: PurePath, file: PurePath, relative: str | None) -> None:
    assert to_relative(root, file) == relative


@given(
    st.lists(names, min_size=1),
    st.sampled_from([PurePosixPath("/r"), PureWindowsPath("C:/r"), PureWindowsPath("//s/h/r")]),
)
def test_a_name_comes_back_from_either_platform(parts: list[str], root: PurePath) -> None:
    relative = "/".join(parts)
    assert to_relative(root, to_local(root, relative)) == relative


@pytest.mark.parametrize("relative", ["", "/t.tif", "a//t.tif", "../t.tif", "a/../t.tif", "./t.tif", "t\0.tif"])
def test_a_name_that_leads_elsewhere_is_refused(relative: str) -> None:
    with pytest.raises(PathError, match="is not the name of a file below /run"):
        to_local(PurePosixPath("/run"), relative)


@pytest.mark.parametrize("relative", ["C:/t.tif", "C:t.tif", "a\\b.tif", "t.tif:stream", "what?.tif"])
def test_a_name_that_windows_does_not_have_is_refused_there(relative: str) -> None:
    with pytest.raises(PathError, match="on Windows"):
        to_local(PureWindowsPath(r"C:\run"), relative)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (PureWindowsPath(r"C:\run\t.tif"), r"C:\run\t.tif"),
        (PureWindowsPath(rf"C:\{LONG}\t.tif"), rf"\\?\C:\{LONG}\t.tif"),
        (PureWindowsPath(rf"\\server\share\{LONG}"), rf"\\?\UNC\server\share\{LONG}"),
        (PureWindowsPath(rf"\\?\C:\{LONG}"), rf"\\?\C:\{LONG}"),
        (PureWindowsPath(r"C:\run.\t.tif"), r"\\?\C:\run.\t.tif"),
        (PureWindowsPath(LONG), LONG),
        (PurePosixPath("/", *LONG.split("\\")), "/" + LONG.replace("\\", "/")),
    ],
)
def test_the_system_is_given_long_names_in_the_form_it_takes(path: PurePath, text: str) -> None:
    assert for_system(path) == text


@pytest.mark.parametrize("number", [errno.EIO, errno.ETIMEDOUT, errno.ENODEV])
def test_a_share_that_does_not_answer_is_away(number: int) -> None:
    assert is_away(OSError(number, "told by the system"))


@pytest.mark.parametrize("number", [59, 64, 67, 121, 1231])
def test_a_share_that_windows_cannot_reach_is_away(number: int) -> None:
    error = OSError(errno.EINVAL, "told by the system")
    error.winerror = number  # type: ignore[attr-defined,unused-ignore]
    assert is_away(error)


@pytest.mark.parametrize("number", [errno.ENOENT, errno.EACCES, errno.ENOSPC])
def test_a_file_that_is_not_to_be_had_is_not_away(number: int) -> None:
    assert not is_away(OSError(number, "told by the system"))


def test_natural_order_counts() -> None:
    assert sorted(["t10", "t2", "t1"], key=natural_order) == ["t1", "t2", "t10"]


@given(st.text(), st.text())
def test_natural_order_tells_any_two_names_apart(one: str, other: str) -> None:
    assert (natural_order(one) < natural_order(other)) + (natural_order(other) < natural_order(one)) == (one != other)
