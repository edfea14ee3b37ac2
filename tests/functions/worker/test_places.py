"""A path in a collection leads to a file below its mount, and nowhere else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tifffile

from mhfd.worker import score_paths

from .conftest import COLLECTION, QUICK, codes, paths_of, tissue, write_run


@pytest.mark.parametrize("path", ["run/t00.tif", "/run/t00.tif", "run/../run/t00.tif"])
@pytest.mark.parametrize("uuid", [COLLECTION, COLLECTION.lower()])
def test_a_collection_is_its_mount(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, uuid: str) -> None:
    write_run(tmp_path / "run", 1)
    monkeypatch.setenv("GCS_LOCAL_MAPS", json.dumps({uuid: str(tmp_path)}))
    answer = score_paths([{"path": path, "collection": COLLECTION}], QUICK)
    assert codes(answer) == [None]
    assert paths_of(answer) == [path]


@pytest.mark.parametrize(
    "path", ["../secret.tif", "/../secret.tif", "a/../../secret.tif", "link.tif", "way/secret.tif"]
)
def test_nothing_leads_out_of_a_collection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    mount = tmp_path / "mount"
    (mount / "a").mkdir(parents=True)
    tifffile.imwrite(tmp_path / "secret.tif", tissue())
    try:
        (mount / "link.tif").symlink_to(tmp_path / "secret.tif")
        (mount / "way").symlink_to(tmp_path, target_is_directory=True)
    except OSError:
        pytest.skip("no symbolic links")
    monkeypatch.setenv("GCS_LOCAL_MAPS", json.dumps({COLLECTION: str(mount)}))
    assert codes(score_paths([{"path": path, "collection": COLLECTION}], QUICK)) == ["permission_denied"]


@pytest.mark.parametrize("maps", [None, "", "{}", "not json", "[]", '"x"'])
def test_an_unmapped_collection_says_where_to_map_it(monkeypatch: pytest.MonkeyPatch, maps: str | None) -> None:
    if maps is not None:
        monkeypatch.setenv("GCS_LOCAL_MAPS", maps)
    (row,) = score_paths([{"path": "a.tif", "collection": COLLECTION}], QUICK)["rows"]
    assert row["error"]["code"] == "not_found"
    assert "GCS_LOCAL_MAPS" in row["error"]["message"]


def test_a_null_character_is_one_failed_row(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GCS_LOCAL_MAPS", json.dumps({COLLECTION: str(tmp_path)}))
    assert codes(score_paths(["a\0b", {"path": "a\0b", "collection": COLLECTION}], QUICK)) == ["not_found"] * 2
