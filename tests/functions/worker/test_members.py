"""Files inside a larger one are scored where they lie, and only if their bytes are those that were put there."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from mhfd.worker import score_paths

from .conftest import QUICK, codes, paths_of, tissue, write_run, write_stack


def bundled(folder: Path, *files: Path) -> list[dict[str, Any]]:
    """The files in a tar of their own, as the places that a task names."""
    bundle = folder / "bundle.tar"
    with tarfile.open(bundle, "w") as tar:
        for file in files:
            tar.add(file, file.name)
    with tarfile.open(bundle) as tar:
        return [
            {
                "path": str(bundle), "offset": each.offset_data, "size": each.size, "name": each.name,
                "sha256": hashlib.sha256((folder / each.name).read_bytes()).hexdigest(),
            }
            for each in tar
        ]  # fmt: skip


def about(row: dict[str, Any], *, name: bool = True) -> dict[str, Any]:
    """A row without what differs between two runs, and without its name if that is to differ."""
    return {key: value for key, value in row.items() if key != "timing_ms" and (name or key != "path")}


def test_members_have_the_rows_of_their_files(tmp_path: Path) -> None:
    files = [tmp_path / name for name in write_run(tmp_path, 3)]
    alone = score_paths([{"path": str(file), "name": file.name} for file in files], QUICK)["rows"]
    together = score_paths(bundled(tmp_path, *files), QUICK)["rows"]
    assert list(map(about, together)) == list(map(about, alone))


@pytest.mark.parametrize("suffix", ["png", "bmp", "jpg"])
def test_members_of_all_formats(suffix: str, tmp_path: Path) -> None:
    file = tmp_path / f"t.{suffix}"
    Image.fromarray(tissue()).save(file)
    alone, (row,) = score_paths([str(file)], QUICK)["rows"][0], score_paths(bundled(tmp_path, file), QUICK)["rows"]
    assert about(row, name=False) == about(alone, name=False)


def test_pages_of_a_member(tmp_path: Path) -> None:
    write_stack(tmp_path / "s.tif", 3)
    (place,) = bundled(tmp_path, tmp_path / "s.tif")
    assert paths_of(score_paths([place], QUICK)) == ["s.tif#page=0", "s.tif#page=1", "s.tif#page=2"]
    one = score_paths([place | {"page": 1, "name": "one"}], QUICK)["rows"]
    assert about(one[0], name=False) == about(score_paths([str(tmp_path / "s.tif")], QUICK)["rows"][1], name=False)


def test_damaged_member_is_a_file_that_could_not_be_read(tmp_path: Path) -> None:
    places = bundled(tmp_path, *(tmp_path / name for name in write_run(tmp_path, 2)))
    with (tmp_path / "bundle.tar").open("r+b") as file:
        file.seek(places[0]["offset"] + 5)
        file.write(b"!")
    assert codes(score_paths(places, QUICK)) == ["read_failed", None]


def test_cut_bundle_is_a_file_that_could_not_be_read(tmp_path: Path) -> None:
    places = bundled(tmp_path, *(tmp_path / name for name in write_run(tmp_path, 2)))
    data = (tmp_path / "bundle.tar").read_bytes()
    (tmp_path / "bundle.tar").write_bytes(data[: places[1]["offset"] + 9])
    assert codes(score_paths(places, QUICK)) == [None, "read_failed"]


def test_member_of_a_bundle_that_is_gone(tmp_path: Path) -> None:
    (place,) = bundled(tmp_path, tmp_path / write_run(tmp_path, 1)[0])
    (tmp_path / "bundle.tar").unlink()
    assert codes(score_paths([place], QUICK)) == ["not_found"]


def test_member_stays_within_the_folders_that_may_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place,) = bundled(tmp_path, tmp_path / write_run(tmp_path, 1)[0])
    monkeypatch.setenv("MHFD_ROOTS", str(tmp_path / "elsewhere"))
    assert codes(score_paths([place], QUICK)) == ["permission_denied"]


def test_member_that_would_fill_the_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MHFD_MAX_PIXELS", "100")
    (place,) = bundled(tmp_path, tmp_path / write_run(tmp_path, 1)[0])
    assert codes(score_paths([place], QUICK)) == ["too_large"]


@pytest.mark.parametrize(
    "change",
    [{"offset": -1}, {"size": True}, {"sha256": None}, {"offset": "0"}, {"size": 2**64}, {"sha256": 5}],
    ids=str,
)
def test_parts_that_make_no_sense_are_failed_rows(change: dict[str, Any], tmp_path: Path) -> None:
    (place,) = bundled(tmp_path, tmp_path / write_run(tmp_path, 1)[0])
    row = score_paths([place | change], QUICK)["rows"][0]
    assert (row["error"]["code"], row["path"]) == ("unsupported", place["name"])


def test_member_may_be_a_huge_page_of_few_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that would stay in its file, were it not in memory already."""
    import numpy as np
    import tifffile

    from mhfd.images import files

    data = io.BytesIO()
    tifffile.imwrite(data, np.tile(tissue(), (4, 4)), compression="zlib", rowsperstrip=16)
    (tmp_path / "t.tif").write_bytes(data.getvalue())
    monkeypatch.setattr(files, "DEFAULT_MAX_RESIDENT_BYTES", 1000)
    assert codes(score_paths(bundled(tmp_path, tmp_path / "t.tif"), QUICK)) == [None]
