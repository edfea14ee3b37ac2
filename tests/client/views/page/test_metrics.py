"""The numbers for Prometheus, their page, and the board that shows them: all three name the same."""

from __future__ import annotations

import json
import re
from itertools import combinations
from pathlib import Path

import pytest

from mhfd_client.views.page.metrics import Histogram
from mhfd_client.views.page.opening import Door
from page_client import served
from page_run import Wafer

ROOT = Path(__file__).parents[4]
BOARD = json.loads((ROOT / "deploy" / "grafana" / "mhfd.json").read_text(encoding="utf-8"))
PANELS = BOARD["panels"]


def test_what_is_served_is_what_the_page_lists_and_the_board_shows(tmp_path: Path) -> None:
    pytest.importorskip("prometheus_client")
    with served(tmp_path, Wafer(sections=1, rows=1, cols=2)) as page:
        text = page.get("/metrics").body.decode()
    families = set(re.findall(r"^# TYPE (\w+ \w+)$", text, flags=re.MULTILINE))
    listed = (ROOT / "docs" / "page.md").read_text(encoding="utf-8").partition("| metric | type |")[2]
    rows = re.findall(r"^\| `(mhfd_\w+).*?\| (\w+) \|", listed, re.MULTILINE)
    assert {f"{name} {kind}" for name, kind in rows} == families
    series = {re.split(r"[{ ]", line)[0] for line in text.splitlines() if not line.startswith("#")}
    shown = {name for expr in expressions() for name in re.findall(r"\bmhfd_\w+", expr)}
    assert shown <= series


def test_a_program_without_the_token_is_told_so(tmp_path: Path) -> None:
    pytest.importorskip("prometheus_client")
    with served(tmp_path, Wafer(sections=1, rows=1, cols=2), Door(tokens=("s3cret-s3cret-s3cret-s3cret",))) as page:
        refused = page.get("/metrics", Authorization="Bearer other")
        assert refused.status == 401 and "token" in refused.json["error"]
        assert page.get("/metrics", Authorization="Bearer s3cret-s3cret-s3cret-s3cret").body.startswith(b"# HELP mhfd_")


def expressions() -> list[str]:
    variables = [each["query"]["query"] for each in BOARD["templating"]["list"]]
    return [target["expr"] for panel in PANELS for target in panel["targets"]] + variables


def test_the_board_can_be_imported() -> None:
    """What Grafana's importer asks for: no id of its own, and each data source by the input that is asked for."""
    assert BOARD["id"] is None and BOARD["schemaVersion"] >= 38 and BOARD["title"] and BOARD["uid"]
    (asked,) = BOARD["__inputs"]
    used = {json.dumps(panel["datasource"]) for panel in PANELS}
    assert used == {json.dumps({"type": asked["pluginId"], "uid": f"${{{asked['name']}}}"})}
    kinds = {each["id"] for each in BOARD["__requires"] if each["type"] == "panel"}
    assert {panel["type"] for panel in PANELS} == kinds
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)


def test_the_boards_panels_lie_beside_each_other() -> None:
    places = [panel["gridPos"] for panel in PANELS]
    assert all(at["x"] >= 0 and at["x"] + at["w"] <= 24 for at in places)
    for a, b in combinations(places, 2):
        apart = (
            a["x"] + a["w"] <= b["x"]
            or b["x"] + b["w"] <= a["x"]
            or a["y"] + a["h"] <= b["y"]
            or b["y"] + b["h"] <= a["y"]
        )
        assert apart


def test_a_histogram_counts_up_to_each_bound() -> None:
    histogram = Histogram((1.0, 10.0))
    for value in (0.5, 1.0, 5.0, 100.0):
        histogram.add(value)
    assert histogram.buckets() == [("1.0", 2.0), ("10.0", 3.0), ("+Inf", 4.0)] and histogram.total == 106.5
