"""napari's reader and points are plain data; the manifest names functions that exist."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile

import mhfd
from mhfd.contract import IMAGE_SUFFIXES
from mhfd.show.layers import features_of, read_layers, reader
from needs import give_up
from phantoms import discs

ROOT = Path(__file__).parents[3]
MANIFEST = ROOT / "functions" / "mhfd" / "napari.yaml"
TEXT = MANIFEST.read_text(encoding="utf-8")
CENTRES = [(30.0, 40.0), (30.0, 90.0), (70.0, 60.0)]
RADIUS = 6.0


@pytest.fixture
def grey() -> np.ndarray:
    return (255 * discs((100, 130), CENTRES, RADIUS)).astype(np.uint8)


def test_a_tile_is_an_image_layer_with_its_pixel_size(grey: np.ndarray, tmp_path: Path) -> None:
    file = tmp_path / "s0001_r0_c1.tif"
    tifffile.imwrite(file, grey, resolution=(2e6, 2e6), resolutionunit="CENTIMETER")
    read = reader(str(file))
    assert read is not None
    ((pixels, keywords, kind),) = read(str(file))
    assert kind == "image"
    assert np.array_equal(pixels, grey)
    assert keywords["name"] == file.name
    assert keywords["scale"] == pytest.approx((5.0, 5.0))
    assert keywords["units"] == ("nm", "nm")
    low, high = keywords["contrast_limits"]
    assert grey.min() <= low < high <= grey.max()


def test_each_page_of_each_file_is_a_layer(grey: np.ndarray, tmp_path: Path) -> None:
    files = [str(tmp_path / "a.tif"), str(tmp_path / "b.tif")]
    tifffile.imwrite(files[0], np.stack([grey, 255 - grey]), photometric="minisblack")
    tifffile.imwrite(files[1], np.full((64, 64), 7, np.uint8))
    layers = read_layers(files)
    assert [keywords["name"] for _, keywords, _ in layers] == ["a.tif#page=0", "a.tif#page=1", "b.tif"]
    assert np.array_equal(layers[1][0], 255 - grey)
    assert "scale" not in layers[2][1]
    low, high = layers[2][1]["contrast_limits"]  # napari refuses limits that are equal
    assert low < high


def test_other_files_are_left_to_other_readers(tmp_path: Path) -> None:
    assert reader("a.txt") is None
    assert reader(["a.tif", "a.zarr"]) is None
    assert reader([]) is None


def test_a_file_that_is_no_tile_says_why(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(b"not a tile")
    with pytest.raises(mhfd.TileError, match="not_an_image"):
        read_layers(str(tmp_path / "a.tif"))


def test_features_are_points_as_large_as_the_discs(grey: np.ndarray) -> None:
    image = SimpleNamespace(data=grey, name="tile", metadata={"pixel_size_nm": 5.0})
    points, keywords, kind = features_of(image, n_scales=16)
    assert kind == "points"
    sizes = {tuple(at): size for at, size in zip(points, keywords["size"], strict=True)}
    for centre in CENTRES:
        assert sizes[centre] / 2 == pytest.approx(RADIUS, abs=np.sqrt(2))  # scales are a pixel apart
    assert keywords["scale"] == (5.0, 5.0)
    assert {len(each) for each in keywords["features"].values()} == {len(points)}


def test_the_reader_takes_what_mhfd_scores() -> None:
    for suffix in IMAGE_SUFFIXES:
        assert f'"*{suffix}"' in TEXT


def test_the_functions_of_the_manifest_exist() -> None:
    names = [line.split("python_name:")[1].strip() for line in TEXT.splitlines() if "python_name:" in line]
    assert len(names) == 2
    for name in names:
        module, _, function = name.partition(":")
        assert callable(getattr(import_module(module), function))


def test_napari_finds_the_manifest_beside_the_package() -> None:
    module, _, file = "mhfd:napari.yaml".partition(":")
    assert f'[project.entry-points."napari.manifest"]\nmhfd = "{module}:{file}"' in (ROOT / "pyproject.toml").read_text(
        encoding="utf-8"
    )
    assert Path(mhfd.__file__).with_name(file) == MANIFEST


def test_npe2_takes_the_manifest() -> None:
    if find_spec("npe2") is None:
        give_up("npe2 is not installed: python -m pip install npe2")
    done = subprocess.run(
        [sys.executable, "-m", "npe2", "validate", "--imports", str(MANIFEST)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_widget_can_be_made_of_the_annotations() -> None:
    """magicgui finds names of napari by itself, and no others."""
    told = {name: kind for name, kind in features_of.__annotations__.items() if isinstance(kind, str)}
    assert all(kind.startswith("napari.") for kind in told.values())
    assert features_of.__annotations__["k_noise"] is float


def test_nothing_of_it_imports_napari() -> None:
    program = "import sys, mhfd.show.layers; sys.exit('napari' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
