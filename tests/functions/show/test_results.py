"""`Results` is a list; its tables have the columns of `mhfd export`; its HTML holds nothing that a name brings in."""

from __future__ import annotations

import pickle
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

import mhfd
import mhfd_client
from mhfd.contract import FocusResult, Provenance, Remark, Verdict
from mhfd.show.columns import RESULT_COLUMNS, flat_result
from mhfd.show.marks import MARKS, mark_html
from mhfd.show.table import MOST_ROWS, results_html
from mhfd_client import Client
from mhfd_client.views.export import COLUMNS

ABOUT = Provenance(mhfd="0.4.0", params_sha256="p", backend="numpy", device="cpu", tile_sha256="t")


def scored(path: str, verdict: Verdict | None = "in_focus", **keys: object) -> FocusResult:
    known = {"shape": (64, 48), "features": 7, "focus_score": 2.5, **keys}
    return FocusResult(path=path, status="scored", provenance=ABOUT, verdict=verdict, **known)  # type: ignore[arg-type]


FAILED = FocusResult.failed("gone.tif", "not_found", "gone.tif: no such file", ABOUT)
THREE = mhfd.Results(
    [
        scored("a.tif", blur_px=0.25, remarks=(Remark(code="lossy", message="JPEG"),)),
        scored("b.tif", "out_of_focus", blur_px=3.0, defocus_interval_um=(1.0, 2.0)),
        FAILED,
    ]
)


def test_results_are_a_list() -> None:
    assert list(THREE) == THREE
    assert isinstance(THREE, list)
    assert THREE[1].path == "b.tif"
    assert pickle.loads(pickle.dumps(THREE)) == THREE


def test_slices_sums_and_copies_are_results() -> None:
    for part in (THREE[1:], THREE[:1] + THREE[1:], THREE.copy(), THREE + list(THREE)):
        assert type(part) is mhfd.Results
    assert THREE[:1] + THREE[1:] == THREE


def test_flagged_tiles_are_those_to_look_at() -> None:
    assert [row.path for row in THREE.flagged] == ["b.tif", "gone.tif"]


def test_score_many_gives_results_and_iter_scores_a_stream(rng: np.random.Generator) -> None:
    tiles = [rng.random((64, 64)), rng.random((64, 64))]
    many = mhfd.score_many(tiles, backend="numpy")
    assert type(many) is mhfd.Results
    stream = mhfd.iter_scores(tiles, backend="numpy")
    assert next(stream).features == many[0].features
    assert not isinstance(stream, list)


def test_a_client_gives_results(rng: np.random.Generator) -> None:
    with Client() as client:
        assert type(client.score([rng.random((64, 64))])) is mhfd.Results


def test_columns_are_those_of_the_export_in_its_order() -> None:
    assert [name for name in COLUMNS if name in RESULT_COLUMNS] == list(RESULT_COLUMNS)
    assert {name: COLUMNS[name] for name in RESULT_COLUMNS} == RESULT_COLUMNS


def test_a_row_of_a_table_says_what_the_result_says() -> None:
    good, blurred, failed = (flat_result(row.to_dict()) for row in THREE)
    assert list(good) == list(RESULT_COLUMNS)
    assert (good["height"], good["width"], good["remarks"], good["backend"]) == (64, 48, "lossy", "numpy")
    assert (blurred["defocus_low_um"], blurred["defocus_high_um"]) == (1.0, 2.0)
    assert (failed["error_code"], failed["features"]) == ("not_found", None)


def test_pandas_polars_and_arrow_hold_the_same() -> None:
    frame, polars, arrow = THREE.to_pandas(), THREE.to_polars(), THREE.to_arrow()
    assert list(frame.columns) == polars.columns == arrow.column_names == list(RESULT_COLUMNS)
    for name in ("path", "verdict", "features", "blur_px"):
        wanted = [flat_result(row.to_dict())[name] for row in THREE]
        assert polars[name].to_list() == arrow[name].to_pylist() == wanted
        assert [None if unknown else value for value, unknown in zip(frame[name], frame[name].isna(), strict=True)] == (
            wanted
        )
    assert str(frame["features"].dtype) == "Int64"  # whole numbers stay whole beside unknown ones


def test_empty_results_have_the_same_columns() -> None:
    empty = mhfd.Results()
    assert list(empty.to_pandas().columns) == empty.to_arrow().column_names == list(RESULT_COLUMNS)
    assert empty.to_polars().height == 0
    assert "0 tiles" in results_html(empty)


class Elements(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)


OURS = {"style", "p", "table", "thead", "tbody", "tr", "th", "td", "svg", "path", "bdi", "code"}


def test_a_hostile_name_is_only_text() -> None:
    name = '<img src=x onerror=alert(1)>"\x1b[31m\u202e.tif'
    text = results_html([scored(name), replace(FAILED, path=name)])
    assert set(Elements(text).tags) <= OURS
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_the_table_says_each_verdict_by_shape_and_word() -> None:
    text = results_html(THREE)
    assert "3 tiles: " in text
    triangle = f"{mark_html('out_of_focus')} "
    assert MARKS["out_of_focus"].shape in triangle
    assert f"{triangle}1 out of focus" in text
    assert f"{triangle}out of focus</td>" in text
    assert "gone.tif: no such file" in text


def test_of_many_tiles_those_to_look_at_are_shown() -> None:
    many = [scored(f"t{number}.tif", "out_of_focus" if number == 70 else "in_focus") for number in range(100)]
    text = results_html(many)
    assert Elements(text).tags.count("tr") == 1 + MOST_ROWS
    assert "t70.tif" in text
    assert "80 more tiles" in text


NEITHER = """
import sys
for name in ("pandas", "polars", "pyarrow", "matplotlib"):
    sys.modules[name] = None  # as where it is not installed
import mhfd
from mhfd.extras import MissingExtraError
results = mhfd.Results()
assert results._repr_html_()
calls = {
    "pandas": (results.to_pandas, "notebook"), "polars": (results.to_polars, "polars"),
    "pyarrow": (results.to_arrow, "parquet"), "matplotlib": (results.plot, "notebook"),
    "matplotlib for a tile": (lambda: mhfd.plot("x.tif"), "notebook"),
}
for name, (call, extra) in calls.items():
    try:
        call()
    except MissingExtraError as error:
        assert name.split()[0] in str(error) and f"[{extra}]" in str(error), error
    else:
        raise AssertionError(name)
"""


def test_without_the_extras_each_call_says_which_one_it_needs() -> None:
    done = subprocess.run([sys.executable, "-c", NEITHER], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_results_are_imported_without_numpy_or_pandas() -> None:
    program = (
        "import sys, mhfd; mhfd.Results()._repr_html_()\n"
        "sys.exit(str([m for m in ('numpy', 'pandas', 'polars', 'pyarrow', 'matplotlib') if m in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stderr == "[]\n"


@pytest.mark.parametrize("name", ["score_many", "iter_scores", "score"])
def test_scoring_loads_no_matplotlib(name: str) -> None:
    program = f"import sys, mhfd; mhfd.{name}; sys.exit('matplotlib' in sys.modules or 'pandas' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_the_marks_are_those_of_the_live_page() -> None:
    static = Path(mhfd_client.__file__).parent / "views" / "page" / "static"
    shapes, colours = (static / "marks.js").read_text(encoding="utf-8"), (static / "page.css").read_text("utf-8")
    for verdict, mark in MARKS.items():
        assert f"{verdict}: '{mark.shape}'" in shapes
        light, dark = re.findall(rf"--{verdict}: (#\w+);", colours)[:2]
        assert (mark.light, mark.dark) == (light, dark)
