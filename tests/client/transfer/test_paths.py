"""Paths of files: in Globus Connect Personal, in the collections, and on the workers."""

from __future__ import annotations

from pathlib import Path, PurePosixPath, PureWindowsPath
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mhfd_client.config import TransferEntry
from mhfd_client.transfer.gcp import gcp_path
from mhfd_client.transfer.protocol import Outgoing, TransferRefusedError
from mhfd_client.transfer.staging import Staging

NAMES = st.text(st.characters(codec="utf-8", exclude_characters='/\\:*?"<>|\0', exclude_categories=["Cc"]), min_size=1)
PATHS = st.lists(NAMES.filter(lambda name: name.strip(". ")), min_size=1, max_size=4).map("/".join)

COLLECTIONS = {"source_collection": uuid4(), "destination_collection": uuid4()}


def staging(root: str = "/data/run", run: str = "run1", **options: object) -> Staging:
    return Staging(TransferEntry.model_validate({**COLLECTIONS, **options}), root=Path(root), run=run)


def tile(file: str, path: str = "t.tif", generation: int = 0) -> Outgoing:
    return Outgoing((1,), Path(file), path, 1, generation)


# --------------------------------------------------------------------------------------------- Globus Connect Personal


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (r"C:\x y\ä", "/c/x y/ä"),
        (r"d:\EM\s0001\t.tif", "/d/EM/s0001/t.tif"),
        ("D:/EM/t.tif", "/d/EM/t.tif"),
        ("C:\\", "/c"),
        (r"\\?\C:\very\long", "/c/very/long"),
        (r"C:\100%\#1 [a]", "/c/100%/#1 [a]"),
        (r"Z:\share\图像.tif", "/z/share/图像.tif"),
    ],
)
def test_windows(path: str, name: str) -> None:
    assert gcp_path(PureWindowsPath(path)) == name


@pytest.mark.parametrize("path", ["/data/x y/ä", "/Users/em/t.tif", "/data/back\\slash"])
def test_elsewhere_paths_are_as_they_are(path: str) -> None:
    assert gcp_path(PurePosixPath(path)) == path


@pytest.mark.parametrize("path", [r"\\server\share\run", r"\\?\UNC\server\share\run"])
def test_network_share_without_a_drive_is_refused_with_the_remedy(path: str) -> None:
    with pytest.raises(TransferRefusedError, match="net use Z:") as refused:
        gcp_path(PureWindowsPath(path))
    assert refused.value.exit_code == 78


@pytest.mark.parametrize("path", [r"run\t.tif", r"C:run\t.tif", r"\run\t.tif"])
def test_windows_path_that_is_not_absolute_is_refused(path: str) -> None:
    with pytest.raises(TransferRefusedError):
        gcp_path(PureWindowsPath(path))


@given(PATHS)
def test_windows_name_has_the_parts_of_the_path(path: str) -> None:
    assert gcp_path(PureWindowsPath("E:/", path)) == f"/e/{path}"


# ------------------------------------------------------------------------------------------------- source collection


def test_source_is_named_as_globus_connect_personal_does() -> None:
    assert staging().source(tile("/data/run/s1/t.tif")) == gcp_path(Path("/data/run/s1/t.tif").absolute())


def test_source_root_stands_for_the_runs_folder() -> None:
    assert staging(source_root="/~/em").source(tile("/data/run/s1/t.tif")) == "/~/em/s1/t.tif"


def test_source_root_stands_for_the_local_root() -> None:
    named = staging(source_root="/em", local_root="/data")
    assert named.source(tile("/data/run/s1/t.tif")) == "/em/run/s1/t.tif"


def test_file_outside_the_local_root_has_no_name() -> None:
    assert staging().source(tile("/elsewhere/t.tif")) is None


def test_parent_folders_do_not_lead_out_of_the_local_root() -> None:
    assert staging().source(tile("/data/run/../secret.tif")) is None


# --------------------------------------------------------------------------------------------------------- destination


def test_copies_of_generations_differ() -> None:
    named = staging()
    assert len({named.destination(named.tail(tile("x", generation=number))) for number in range(3)}) == 3


@pytest.mark.parametrize("other", [{"root": "/data/other"}, {"run": "run2"}, {"source_collection": uuid4()}])
def test_copies_of_runs_differ(other: dict[str, str]) -> None:
    assert staging(**other).destination_folder != staging().destination_folder


def test_folder_of_a_run_stays_the_same() -> None:
    assert staging().destination_folder == staging().destination_folder


@pytest.mark.parametrize("run", ["../..", "a/b", "ä", "", ".hidden", "x" * 500])
def test_folder_of_a_run_is_plain(run: str) -> None:
    folder = PurePosixPath(staging(run=run).destination_folder)
    assert folder.parent == PurePosixPath("/~/mhfd")
    assert folder.name.isascii()
    assert len(folder.name) < 100


@given(PATHS, st.integers(0, 9), st.sampled_from(["/~/mhfd/", "/scratch/x y", "/"]))
def test_copy_is_found_again_by_its_name(path: str, generation: int, root: str) -> None:
    named = staging(destination_root=root)
    tail = named.tail(tile("x", path, generation))
    assert named.tail_of(named.destination(tail)) == tail


@given(PATHS, st.sampled_from([None, "/gpfs/em/mhfd"]))
def test_copy_is_found_again_by_its_place(path: str, endpoint_root: str | None) -> None:
    named = staging(destination_root="/projects/em", endpoint_root=endpoint_root)
    tail = named.tail(tile("x", path))
    assert named.copy_at(named.place(tail)) == named.destination(tail)


def test_place_in_the_collection_counts_from_its_root() -> None:
    named = staging(destination_root="/projects/em")
    place = named.place("0/t.tif")
    assert place["collection"] == str(COLLECTIONS["destination_collection"])
    assert place["path"].startswith("projects/em/run1-")


def test_home_is_written_out_once_it_is_known() -> None:
    named = staging()
    assert named.needs_home
    named.know_home("/home/em/")
    assert not named.needs_home
    assert named.destination_folder.startswith("/home/em/mhfd/run1-")


def test_home_need_not_be_known_where_workers_have_a_name_for_it() -> None:
    assert not staging(endpoint_root="/gpfs/em").needs_home


@pytest.mark.parametrize("place", [{}, {"path": ""}, {"path": "/etc/passwd"}, {"path": "mhfd/run1-0000/0/t.tif"}])
def test_place_of_something_else_is_no_copy(place: dict[str, str]) -> None:
    assert staging().copy_at(place) is None


def test_place_does_not_lead_out_of_the_runs_folder() -> None:
    named = staging(destination_root="/projects/em")
    assert named.copy_at({"path": f"{named.destination_folder}/0/../../thesis.tex"}) is None


def test_without_collections_there_is_no_transfer() -> None:
    with pytest.raises(TransferRefusedError, match="destination_collection"):
        Staging(TransferEntry(), root=Path("/data/run"), run="r")
