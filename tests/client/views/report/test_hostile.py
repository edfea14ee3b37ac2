"""report.html: whatever names and messages say, a browser finds the template's elements and nothing else."""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hostile import NAMES, TEXTS, row
from mhfd import find_features
from mhfd.contract import FocusResult, Remark
from mhfd.text import visible
from mhfd_client.judge import run
from mhfd_client.views.marks import MARKS
from mhfd_client.views.picture import data_uri, stretched
from mhfd_client.views.report import gathering, pictures
from mhfd_client.views.report.gathering import of_results
from mhfd_client.views.report.page import render_report, write_report
from phantoms import as_uint8, texture

PIXELS = as_uint8(texture((96, 96), np.random.default_rng(3)))
VOID = {"meta", "br", "img", "input"}


class Page(HTMLParser):
    """The elements of a page, in order, with the names of their attributes; its texts; its URLs."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, tuple[str, ...]]] = []
        self.classes: set[str] = set()
        self.urls: list[str] = []
        self.policy = ""
        self.style = self.script = ""
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.elements.append((tag, tuple(name for name, _ in attrs)))
        given = {name: value or "" for name, value in attrs}
        self.classes.update(given.get("class", "").split())
        self.urls += [given[name] for name in ("src", "href", "action", "srcset", "xlink:href") if name in given]
        self.texts += [given[name] for name in ("aria-label", "alt") if name in given]
        if given.get("http-equiv") == "Content-Security-Policy":
            self.policy = given["content"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "style":
            self.style += data
        if self.open and self.open[-1] == "script":
            self.script += data
        self.texts.append(data)

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"the template has no comment: {data}")

    unknown_decl = handle_pi = handle_comment


def results_named(path: str, other: str, verdict: str) -> list[FocusResult]:
    """A sharp tile, an alarm and a failure: every part of the report has something to show."""
    return [
        row(f"1{path}", other=other),
        row(f"2{path}", other=other, verdict="astigmatic", focus_score=0.5),
        row(f"3{path}", other=other, message=f"{path}: {other}"),
        row(f"4{path}", other=other, focus_score=None, verdict=verdict),
    ]


def page_of(path: str, other: str, title: str, kind: str, verdict: str) -> Page:
    rows = results_named(path, other, verdict)
    return Page(render_report(of_results(rows, title, 0.0, truth={each.path: kind for each in rows})))


@pytest.fixture(scope="module", autouse=True)
def real_pictures() -> object:
    """Every name is that of a picture, and tells no section; the features are real."""
    with pytest.MonkeyPatch.context() as patch:
        features, uri = find_features(PIXELS), data_uri(stretched(PIXELS))
        patch.setattr(pictures, "read_tile", lambda *_, **__: SimpleNamespace(pixels=PIXELS))
        patch.setattr(pictures, "find_features", lambda *_, **__: features)
        patch.setattr(pictures, "data_uri", lambda *_: uri)  # encoded once: that is most of the time
        patch.setattr(gathering, "positions_of", lambda paths, *_: [None] * len(paths))
        patch.setattr(run, "sections_of", lambda paths, *_: [None] * len(paths))
        yield


PLAIN = ("a.tif", "cpu", "run", "good", "cannot_tell")


@pytest.mark.parametrize("place", range(5))
def test_a_hostile_text_in_each_place_adds_no_element_and_no_attribute(place: int) -> None:
    texts = list(PLAIN)
    texts[place] = " ".join(NAMES)
    assert page_of(*texts).elements == page_of(*PLAIN).elements


@pytest.mark.parametrize("name", NAMES)
def test_a_hostile_text_adds_no_element_and_no_attribute(name: str) -> None:
    assert page_of(name, name, name, name, name).elements == page_of(*PLAIN).elements


@settings(max_examples=40, deadline=None)
@given(st.tuples(TEXTS, TEXTS, TEXTS, TEXTS, TEXTS))
def test_no_text_adds_an_element_an_attribute_a_class_or_a_url(texts: tuple[str, str, str, str, str]) -> None:
    page, plain = page_of(*texts), page_of(*PLAIN)
    assert page.elements == plain.elements
    assert page.classes == plain.classes
    assert page.open == []
    shapes = {f"#v-{key}" for key in MARKS}
    files = [url for url in page.urls if url not in shapes]
    assert all(url.startswith("data:image/png;base64,") for url in files)
    assert len(files) == 2 + 1 + 2  # the features, a bad tile without a sharp one, the map on light and dark


@settings(max_examples=30, deadline=None)
@given(TEXTS)
def test_every_text_is_shown_as_it_is(name: str) -> None:
    found = "\0".join(page_of(name, name, name, name, "in_focus").texts)
    assert Counter(found)["\0"] > 20
    assert found.count(visible(name)) >= 8 or not name


def test_the_policy_of_the_page_lets_nothing_in_but_its_own_style_script_and_pictures() -> None:
    page = page_of(*PLAIN)
    rules = dict(rule.strip().split(" ", 1) for rule in page.policy.split(";"))
    style, script = (
        base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (page.style, page.script)
    )
    assert rules == {
        "default-src": "'none'",
        "img-src": "data:",
        "style-src": f"'sha256-{style}'",
        "script-src": f"'sha256-{script}'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }


def test_the_policy_comes_before_anything_that_it_governs() -> None:
    assert [tag for tag, _ in page_of(*PLAIN).elements[:4]] == ["html", "head", "meta", "meta"]
    text = render_report(of_results([row()], "run", 0.0))
    assert text.index("Content-Security-Policy") < text.index("<title>") < text.index("<style>")


def test_nothing_in_the_page_needs_what_the_policy_forbids() -> None:
    """A style attribute or a handler would be refused by the browser."""
    page = page_of(*PLAIN)
    names = {name for _, attributes in page.elements for name in attributes}
    assert "style" not in names
    assert not any(name.startswith("on") for name in names)
    assert [tag for tag, _ in page.elements].count("script") == 1
    assert not {"iframe", "object", "embed", "link", "form", "base"} & {tag for tag, _ in page.elements}


def test_each_verdict_has_its_colours_and_its_shape() -> None:
    page = page_of(*PLAIN)
    for verdict, mark in MARKS.items():
        assert all(f"--{verdict}: {colour};" in page.style for colour in mark.colours)
    assert {f"#v-{verdict}" for verdict in ("in_focus", "astigmatic", "failed", "cannot_tell")} <= set(page.urls)


def test_a_remark_stands_beside_the_verdict() -> None:
    remark = Remark(code="constant_rows", message="the last 5 rows are constant")
    page = render_report(of_results([row("a.tif", remarks=(remark,))], "t", 0.0))
    assert '<td class="long">the last 5 rows are constant (constant_rows)</td></tr>' in page


@pytest.mark.parametrize("name", NAMES)
def test_the_file_is_utf_8_whatever_the_names(name: str, tmp_path: Path) -> None:
    rows = [replace(row(name), verdict="in_focus"), row(name, message=name)]
    write_report(of_results(rows, name, 0.0), tmp_path / "r.html")
    assert visible(name) in "".join(Page((tmp_path / "r.html").read_text(encoding="utf-8")).texts)


@settings(max_examples=100, deadline=None)
@given(TEXTS, TEXTS, TEXTS)
def test_a_row_in_a_notebook_is_its_table_and_nothing_else(path: str, message: str, verdict: str) -> None:
    for result in (row(path, verdict=verdict or "x", dtype=message), row(path, message=message)):
        page = Page(result._repr_html_())
        assert {tag for tag, _ in page.elements} == {"table", "tr", "th", "td"}
        assert {names for _, names in page.elements} == {(), ("style",)}
        assert visible(path) in "".join(page.texts)
        assert result._repr_html_().encode()
