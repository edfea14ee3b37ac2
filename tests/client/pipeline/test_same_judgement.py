"""One answer a tile: what `watch` left, `status`, `export`, `retakes`, `score` and the report say of the same files.

The tiles go the whole line: files with headers, a watch, a ledger, the commands.
"""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner, Result
from numpy.typing import NDArray
from scipy import ndimage

from mhfd_client.cli import main

SIDE_PX = 256
MEASURE = ("--n-scales", "4", "--max-t", "5")
CONFIG = """
profile = "p"
[profiles.p]
poll_s = 0.5
settle_s = 0.2
instrument = "sem1"
params = {n_scales = 4, max_t = 5.0}
[endpoints.local]
workers = 1
"""
BLURRED = {"s0002_r0_c1.tif": 2.0, "s0003_r1_c0.tif": 2.5}


def tissue(seed: int, blur_px: float = 0.0) -> NDArray[np.uint8]:
    """Structure of power f^-2.4, blurred, and noise."""
    rng = np.random.default_rng(seed)
    f = np.hypot(np.fft.fftfreq(SIDE_PX)[:, None], np.fft.rfftfreq(SIDE_PX)[None])
    f[0, 0] = 1.0
    picture = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((SIDE_PX, SIDE_PX))) * f**-1.2, s=(SIDE_PX, SIDE_PX))
    picture = ndimage.gaussian_filter(picture, blur_px, mode="wrap") / picture.std()
    grey = 128 + 35 * picture + rng.normal(0, 5, picture.shape)
    return np.clip(np.round(grey), 1, 254).astype(np.uint8)


def stage_um(section: int, row: int, col: int) -> tuple[float, float, float]:
    return (1000.0 * section + 10.0 * col, -500.0 + 10.0 * row, 10000.0)


def write(folder: Path, name: str, blur_px: float, take: int = 0) -> None:
    """A tile with the header of a Zeiss microscope."""
    section, row, col = map(int, re.findall(r"\d+", name))
    x, y, z = stage_um(section, row, col)
    lines = [
        *["0", "AP_IMAGE_PIXEL_SIZE", "Image Pixel Size = 4.000 nm", "DP_DWELL_TIME", "Dwell Time = 800 ns"],
        *["AP_STAGE_AT_X", f"Stage at X = {x / 1000:.6f} mm", "AP_STAGE_AT_Y", f"Stage at Y = {y / 1000:.6f} mm"],
        *["AP_STAGE_AT_Z", f"Stage at Z = {z / 1000:.6f} mm", ""],
    ]
    header = "\r\n".join(lines).encode("latin-1")
    tags = [(34118, 1, len(header), header, True)]
    pixels = tissue(1000 * section + 10 * row + col + 10**6 * take, blur_px)
    tifffile.imwrite(folder / name, pixels, metadata=None, extratags=tags)


@dataclass(frozen=True)
class Scene:
    """A folder, and the configuration with its ledger."""

    run: Path
    config: Path

    def __call__(self, *args: str | Path) -> Result:
        done = CliRunner().invoke(main, [str(each) for each in args], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done

    def ledger(self, command: str, *args: str | Path) -> str:
        """What a command that reads the ledger prints."""
        return self(command, self.run, "--config", self.config, *args).stdout

    def watch(self) -> str:
        return self.ledger("watch", "--once")

    def retakes(self, *args: str) -> dict[str, dict[str, Any]]:
        return {each["tile"]: each for each in json.loads(self.ledger("retakes", "--json", *args))["tiles"]}

    def exported(self) -> dict[str, dict[str, Any]]:
        lines = self.ledger("export", "--format", "jsonl").splitlines()
        return {each["path"]: each for each in map(json.loads, lines)}

    def scored(self, *args: str | Path) -> dict[str, dict[str, Any]]:
        rows = json.loads(self("score", self.run, "--json", *MEASURE, *args).stdout)
        return {Path(each["path"]).relative_to(self.run).as_posix(): each for each in rows}


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """Three sections of four tiles in a folder of each, two of the tiles blurred."""
    config = tmp_path / "config.toml"
    config.write_text(f'ledger = "{(tmp_path / "ledger.db").as_posix()}"\n{CONFIG}')
    run = tmp_path / "2024"  # no section
    run.mkdir()
    for section in (1, 2, 3):
        for row, col in np.ndindex(2, 2):
            name = f"s{section:04}_r{row}_c{col}.tif"
            write(run, name, BLURRED.get(name, 0.0))
    return Scene(run, config)


JUDGED = ("verdict", "confidence", "blur_px", "blur_nm", "flag_px", "worst_block", "reference", "remarks")


def test_every_view_says_the_same_of_every_tile(scene: Scene, tmp_path: Path) -> None:
    told = scene.watch()
    exported = scene.exported()
    assert {name for name, each in exported.items() if each["verdict"] == "out_of_focus"} == set(BLURRED)
    assert all(f"out of focus: {name} " in told for name in BLURRED)

    page = tmp_path / "report.html"
    scored = scene.scored("--html", page)
    assert scored.keys() == exported.keys()
    for name, each in exported.items():
        assert [scored[name][key] for key in JUDGED] == [each[key] for key in JUDGED], name

    table = {each["path"]: each for each in csv.DictReader(io.StringIO(scene.ledger("export")))}
    assert {name: (each["verdict"], float(each["blur_px"])) for name, each in table.items()} == {
        name: (each["verdict"], each["blur_px"]) for name, each in exported.items()
    }

    expected = {name: (each["verdict"], each["blur_px"]) for name, each in exported.items() if name in BLURRED}
    assert {name: (each["verdict"], each["blur_px"]) for name, each in scene.retakes().items()} == expected
    status = json.loads(scene.ledger("status", "--json"))
    assert {each["tile"]: (each["verdict"], each["blur_px"]) for each in status["tiles_to_look_at"]} == expected
    assert status["verdicts_by"] == "watch"
    assert {verdict: n for verdict, n in status["verdicts"].items() if n} == {"in_focus": 10, "out_of_focus": 2}

    html = page.read_text(encoding="utf-8")
    for name, each in exported.items():
        cells = re.search(rf'<tr data-v="(\w+)"><td><bdi>{name}</bdi></td>(.*?)</tr>', html)
        assert cells is not None and cells[1] == each["verdict"]
        assert f'<td class="n">{each["blur_px"]:.1f}</td>' in cells[2]


def test_stage_coordinates_are_those_of_the_headers(scene: Scene) -> None:
    scene.watch()
    found = scene.retakes()
    assert found.keys() == BLURRED.keys()
    for each in found.values():
        where = each["position"]
        assert each["stage_um"] == pytest.approx(stage_um(where["section"], where["row"], where["col"]))


def test_the_list_empties_itself_when_the_tiles_are_taken_again(scene: Scene) -> None:
    scene.watch()
    assert {name: each["state"] for name, each in scene.retakes().items()} == dict.fromkeys(BLURRED, "open")
    first, second = BLURRED
    write(scene.run, first, 0.0, take=1)
    write(scene.run, second, 3.0, take=1)
    scene.watch()
    found = scene.retakes()
    assert {name: (each["state"], each["taken_again"]) for name, each in found.items()} == {second: ("open", 1)}
    write(scene.run, second, 0.0, take=2)
    scene.watch()
    assert scene.retakes() == {}
    assert json.loads(scene.ledger("status", "--json"))["tiles_to_look_at"] == []
    assert {each["verdict"] for each in scene.exported().values()} == {"in_focus"}
    closed = scene.retakes("--all")
    assert {name: each["state"] for name, each in closed.items()} == dict.fromkeys(BLURRED, "closed")


def test_score_judges_by_what_is_kept_of_an_instrument(scene: Scene, tmp_path: Path) -> None:
    scene.watch()
    other = tmp_path / "other"
    other.mkdir()
    for k, blur_px in enumerate((0.0, 2.0)):  # too few to be compared with each other
        write(other, f"s0009_r0_c{k}.tif", blur_px)
    alone = json.loads(scene("score", other, "--json", *MEASURE).stdout)
    assert [each["verdict"] for each in alone] == ["cannot_tell"] * 2
    given = ("--instrument", "sem1", "--config", scene.config)
    kept = json.loads(scene("score", other, "--json", *MEASURE, *given).stdout)
    assert [each["verdict"] for each in kept] == ["in_focus", "out_of_focus"]
    assert "of run 1" in kept[0]["reference"]


def test_an_instrument_that_nothing_is_kept_of_is_refused(scene: Scene, tmp_path: Path) -> None:
    def refused(*args: str | Path) -> Result:
        return CliRunner().invoke(main, ["score", str(scene.run), *map(str, args)])

    none = refused("--instrument", "sem2", "--ledger", tmp_path / "none.db")
    assert (none.exit_code, (tmp_path / "none.db").exists()) == (78, False)
    scene.watch()
    unknown = refused("--instrument", "sem2", "--config", scene.config)
    assert (unknown.exit_code, "nothing is kept of the instrument 'sem2'; there is: sem1" in unknown.stderr) == (
        78,
        True,
    )
    assert refused("--ledger", tmp_path / "none.db").exit_code == 2


def test_score_alone_makes_no_ledger(scene: Scene) -> None:
    scene.scored("--config", scene.config)
    assert not scene.config.with_name("ledger.db").exists()
