"""The command that adds an extra, from where mhfd was installed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from mhfd import extras
from mhfd.extras import install_hint

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def asked_anew() -> None:
    install_hint.cache_clear()


def hint(origin: dict[str, Any] | None, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(extras, "_origin", lambda: origin)
    return install_hint("cpu")


def test_this_checkout_is_named_as_it_was_installed() -> None:
    assert re.fullmatch(r'pip install (--editable )?".*\[globus\]".*', install_hint("globus"))


@pytest.mark.parametrize(("editable", "option"), [(True, "--editable "), (False, "")])
def test_from_a_checkout_the_extra_comes_from_the_same_checkout(
    editable: bool, option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout = tmp_path / "a checkout"
    checkout.mkdir()
    origin = {"url": checkout.as_uri(), "dir_info": {"editable": editable}}
    assert hint(origin, monkeypatch) == f'pip install {option}"{checkout}[cpu]"'


def test_a_checkout_that_is_gone_is_not_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    origin = {"url": (tmp_path / "gone").as_uri(), "dir_info": {}}
    assert hint(origin, monkeypatch) == 'pip install ".[cpu]" in a checkout of mhfd'


def test_a_module_that_is_not_installed_is_installed_from_a_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    assert hint(None, monkeypatch) == 'pip install ".[cpu]" in a checkout of mhfd'


def test_from_a_repository_the_extra_comes_from_the_same_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    origin = {"url": "https://example.org/mhfd", "vcs_info": {"vcs": "git", "commit_id": "ab12"}}
    assert hint(origin, monkeypatch) == 'pip install "mhfd[cpu] @ git+https://example.org/mhfd@ab12"'


def test_from_an_archive_the_extra_comes_from_the_same_archive(monkeypatch: pytest.MonkeyPatch) -> None:
    origin = {"url": "https://example.org/mhfd-1.whl", "archive_info": {}}
    assert hint(origin, monkeypatch) == 'pip install "mhfd[cpu] @ https://example.org/mhfd-1.whl"'


def test_only_what_was_installed_by_its_name_is_asked_for_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert hint({}, monkeypatch).startswith('pip install "mhfd[cpu]" (with --find-links')


def test_no_text_promises_an_index_that_does_not_have_mhfd() -> None:
    """The one exception in deploy/ names the folder of wheels, with --find-links."""
    texts = [ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("deploy/**/*.md"), *ROOT.glob("examples/*")]
    sources = [*ROOT.glob("functions/**/*.py"), *ROOT.glob("client/**/*.py")]
    promised = [
        f"{path.relative_to(ROOT)}: {line}"
        for path in (*texts, *sources)
        for line in path.read_text(encoding="utf-8").splitlines()
        if re.search(r"""pip install ['"]*mhfd\[""", line) and "--find-links" not in line
    ]
    assert promised == []
