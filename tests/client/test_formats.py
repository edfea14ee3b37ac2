"""docs/formats.md: its package adds a format and a layout; a broken one spoils its own files only."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner, Result

from mhfd_client import formats
from mhfd_client.cli import main
from mhfd_client.judge.sections import positions_of
from mhfd_client.naming import Position, open_layout
from needs import need_module
from packages import found_in, installed
from phantoms import texture

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PAGE = (Path(__file__).parents[2] / "docs" / "formats.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)
    assert found, language
    return found[1]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two sections of three frames in the page's format, and a TIFF file with the pixels of one."""
    rng = np.random.default_rng(5)
    for section in (12, 13):
        folder = tmp_path / "run" / f"slice {section}"
        folder.mkdir(parents=True)
        for name in ("a1", "a2", "b1"):
            pixels = (texture((96, 80), rng) * 30 + 128).clip(0, 255).astype(np.uint8)
            (folder / f"tile {name}.frame").write_bytes(b"1 96 80 4.6\n" + pixels.tobytes())
        tifffile.imwrite(folder / "same.tif", pixels)
    (tmp_path / "config.toml").touch()
    monkeypatch.setenv("MHFD_CONFIG", str(tmp_path / "config.toml"))
    return tmp_path / "run"


@pytest.fixture
def site(tmp_path: Path) -> Path:
    project = tomllib.loads(block("toml"))["project"]
    sources = {"facility_formats": block("python")}
    return installed(tmp_path / "site", project["name"], sources, project["entry-points"])


@pytest.fixture
def package(site: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The package of the page is installed."""
    with found_in(site, monkeypatch):
        yield


def mhfd(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(each) for each in arguments])


def rows_of(text: str) -> dict[str, Any]:
    """The rows by the file's name below the folder of its section."""
    return {"/".join(Path(row["path"]).parts[-2:]): row for row in map(json.loads, text.splitlines())}


def test_the_package_of_the_page_adds_a_format_and_a_layout(run: Path, site: Path) -> None:
    """In a process of its own, which finds the package as it would any that is installed."""
    named = [str(file) for file in sorted(run.glob("*/same.tif"))]  # these are no tiles of the layout
    command = ["score", str(run), *named, "--layout", "facility", "--format", "jsonl"]
    path = os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-m", "mhfd_client", *command], env=os.environ | {"PYTHONPATH": path},
        cwd=run.parent, capture_output=True, text=True, encoding="utf-8", timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = rows_of(done.stdout)
    assert len(rows) == 8
    for section in (12, 13):
        frame, tiff = rows[f"slice {section}/tile b1.frame"], rows[f"slice {section}/same.tif"]
        assert frame["pixel_size_nm"] == 4.6
        assert frame["acquisition"]["format"] == "frame"
        assert frame["provenance"]["tile_sha256"] == tiff["provenance"]["tile_sha256"]
        assert frame["features_by_scale"] == tiff["features_by_scale"]


@pytest.mark.usefixtures("package")
def test_images_that_are_no_tiles_of_the_layout_are_left_out_and_told(run: Path) -> None:
    done = mhfd("score", run, "--layout", "facility", "--format", "jsonl")
    assert [Path(name).name for name in rows_of(done.stdout)] == ["tile a1.frame", "tile a2.frame", "tile b1.frame"] * 2
    assert "2 images are no tiles of the layout 'facility'" in done.stderr


@pytest.mark.usefixtures("package")
def test_the_layout_of_the_page_reads_its_names() -> None:
    paths = ["run/slice 13/tile b1.frame", "run/slice 13/same.tif"]
    assert positions_of(paths, "run", open_layout("facility")) == [Position(section=13, row=1, col=1), None]


@pytest.mark.usefixtures("package")
def test_a_watch_takes_the_tiles_of_the_format_and_their_positions(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MHFD_SETTLE_S", "0.1")
    ledger = run.parent / "ledger.db"
    done = mhfd("watch", run, "--once", "--layout", "facility", "--ledger", ledger)
    assert done.exit_code == 0, done.output
    table = mhfd("export", run, "--ledger", ledger, "--format", "csv")
    rows = list(csv.DictReader(table.stdout.splitlines()))
    assert {(row["path"], row["section"], row["row"], row["col"], row["status"]) for row in rows} == {
        (f"slice {section}/tile {letter}{col}.frame", section, str("ab".index(letter)), col, "scored")
        for section in ("12", "13")
        for letter, col in (("a", "1"), ("a", "2"), ("b", "1"))
    }  # the TIFF files are no tiles of this layout


def test_without_the_package_its_files_are_left_alone_and_its_layout_is_unknown(run: Path) -> None:
    assert [Path(name).name for name in rows_of(mhfd("score", run, "--format", "jsonl").stdout)] == ["same.tif"] * 2
    asked = mhfd("score", run, "--layout", "facility")
    assert asked.exit_code == 2
    assert "'facility' is not one of" in asked.stderr


@pytest.mark.usefixtures("package")
def test_the_doctor_names_what_packages_bring(run: Path) -> None:
    (told, none), (also_told, also_none) = formats.readers(), formats.layouts()
    assert ".frame by facility-formats 1.0" in told
    assert "facility by facility-formats 1.0" in also_told
    assert none == also_none == []


BROKEN = {
    "cannot be imported": ("import no_such_module", "No module named 'no_such_module'"),
    "ends the process": ("raise SystemExit(3)", "it ends the process"),
    "is no Python": ("def", "SyntaxError"),
    "is another object": ("FrameReader = FacilityLayout = 7", "has no name or folders or open"),
    "lacks it": ("", "has no attribute 'FrameReader'"),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_package_spoils_its_own_files_only(
    how: str, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, reason = BROKEN[how]
    points = tomllib.loads(block("toml"))["project"]["entry-points"]
    site = installed(tmp_path / "site", "facility-formats", {"facility_formats": source}, points)
    with found_in(site, monkeypatch):
        done = mhfd("score", run, "--format", "jsonl")
        asked = mhfd("score", run, "--layout", "facility")
        problems = [formats.readers()[1], formats.layouts()[1]]
    assert done.exit_code == 3, done.output  # some tiles failed
    rows = rows_of(done.stdout)
    assert [name for name, row in rows.items() if row["status"] == "scored"] == [
        "slice 12/same.tif", "slice 13/same.tif",
    ]  # fmt: skip
    error = rows["slice 12/tile a1.frame"]["error"]
    assert error["code"] == "missing_codec"
    assert "facility-formats 1.0" in error["message"] and reason in error["message"]
    assert asked.exit_code == 78
    assert "the layout 'facility' cannot be used" in asked.stderr
    assert all("facility-formats 1.0" in found for ((found, _),) in problems)


def test_a_reader_of_a_suffix_that_mhfd_reads_is_told_and_not_asked(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = installed(tmp_path / "site", "other", {}, {"mhfd.readers": {"tif": "no_such_module:Reader"}})
    with found_in(site, monkeypatch):
        done = mhfd("score", run, "--format", "jsonl")
        _, ((sentence, _),) = formats.readers()
    assert {row["status"] for row in rows_of(done.stdout).values()} == {"scored"}
    assert sentence == "other 1.0 adds a reader of .tif, which mhfd reads itself"


@pytest.mark.parametrize(
    "position", ["raise KeyError(path)", "return 'section 3'"], ids=["raises", "gives another type"]
)
def test_a_layout_that_fails_on_a_name_costs_the_position_only(
    position: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = f"class L:\n    def position(self, path):\n        {position}\n"
    site = installed(tmp_path / "site", "other", {"other": source}, {"mhfd.layouts": {"odd": "other:L"}})
    with found_in(site, monkeypatch):
        layout = open_layout("odd")
        assert layout.position("a.tif") == Position()
        assert (layout.taken("a.tif"), layout.listed(tmp_path)) == ("", None)


def test_a_watch_takes_the_sections_of_a_stack(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MHFD_SETTLE_S", "0.1")
    mrcfile = need_module("mrcfile")
    folder, ledger = tmp_path / "stacks", tmp_path / "ledger.db"
    folder.mkdir()
    pixels = np.random.default_rng(1).integers(0, 99, (3, 64, 64)).astype(np.int16)
    with mrcfile.new(folder / "whole.mrc") as file:
        file.set_data(pixels)
    (folder / "cut.mrc").write_bytes((folder / "whole.mrc").read_bytes()[:-99])
    done = mhfd("watch", folder, "--once", "--ledger", ledger)
    rows = csv.DictReader(mhfd("export", folder, "--ledger", ledger, "--format", "csv").stdout.splitlines())
    found = {row["path"]: row["status"] for row in rows}
    assert {name for name, status in found.items() if status == "scored"} == {
        f"whole.mrc#page={page}" for page in range(3)
    }, done.output
