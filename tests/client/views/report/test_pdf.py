"""A PDF is printed by what is here; where nothing is, that is said before the work."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from mhfd_client.views.report.pdf import PdfError, check_pdf, find_browser, write_pdf


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The only folder in which programs are looked for."""
    if sys.platform != "linux":
        pytest.skip("elsewhere browsers lie in places of their own")
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def script(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@pytest.mark.skipif(find_spec("weasyprint") is not None, reason="WeasyPrint is installed")
def test_the_error_names_both_ways(bare: Path) -> None:
    with pytest.raises(PdfError, match=r"Chromium, Chrome or Edge.*WeasyPrint.*pdf"):
        check_pdf()


@pytest.mark.parametrize("name", ["chromium", "google-chrome", "msedge"])
def test_a_browser_is_found_in_the_path(bare: Path, name: str) -> None:
    script(bare / name, "exit 0")
    assert find_browser() == str(bare / name)


def test_a_browser_that_makes_nothing_is_an_error_with_its_last_line(bare: Path) -> None:
    script(bare / "chromium", "echo first >&2; echo cannot open display >&2; exit 3")
    with pytest.raises(PdfError, match="cannot open display"):
        write_pdf("<p>x", bare / "x.pdf")
    assert not (bare / "x.pdf").exists()


def test_weasyprint_makes_one_where_no_browser_is(bare: Path) -> None:
    pytest.importorskip("weasyprint")
    write_pdf("<!DOCTYPE html><title>x</title><p>x", bare / "x.pdf")
    assert (bare / "x.pdf").read_bytes().startswith(b"%PDF-")
