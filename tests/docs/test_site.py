"""The pages as a site: each has its place in a list, and what they quote is what the program says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from messages import said
from needs import need_module

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
INDEX = (DOCS / "index.md").read_text(encoding="utf-8")


def listed() -> list[str]:
    """Entries of the toctrees in index.md, without options."""
    blocks = re.findall(r"```\{toctree\}\n(.*?)```", INDEX, flags=re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if not line.startswith(":")]
    return [re.sub(r".* <(.*)>", r"\1", line) for line in lines]  # "title <page>"


def found() -> set[Path]:
    """The pages that the toctrees bring, in any folder."""
    return {path.resolve() for entry in listed() for path in DOCS.glob(f"{entry}.md")}


def test_every_page_is_in_a_toctree() -> None:
    pages = {
        *DOCS.glob("**/*.md"),
        *ROOT.glob("*.md"),
        *ROOT.glob("deploy/**/*.md"),
        *ROOT.glob("endpoint_configs/**/*.md"),
    }
    assert {str(page.relative_to(ROOT)) for page in pages - found() if page.name != "index.md"} == set()


@pytest.mark.parametrize("entry", listed())
def test_every_entry_of_a_toctree_is_a_page(entry: str) -> None:
    assert list(DOCS.glob(f"{entry}.md"))


def test_a_page_for_each_kind_of_user_is_on_the_first_one() -> None:
    kinds = {path.name for path in DOCS.glob("for-*.md")}
    assert len(kinds) == 5
    assert [name for name in kinds if f"({name})" not in INDEX] == []


# --- Troubleshooting ----------------------------------------------------------------------------------------------

TROUBLES = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
SHELL = {"mhfd: command not found"}  # said by others
WORDS = {"seen", "mhfd status", "growing", "settling", "locked", "marker"}  # within a sentence of ours


def quoted() -> list[str]:
    """Messages in the first column of the tables."""
    cells = re.findall(r"^\| (.*?) \| ", TROUBLES, flags=re.MULTILINE)
    return [text for cell in cells for text in re.findall(r"`([^`]+)`", cell) if text not in WORDS]


@pytest.mark.parametrize("message", quoted())
def test_a_message_in_troubleshooting_is_one_of_the_program(message: str) -> None:
    assert message in SHELL or message in said()


def test_troubleshooting_quotes_many_messages() -> None:
    assert len(quoted()) > 40


def test_a_message_that_the_program_does_not_say_is_noticed() -> None:
    assert "the flux capacitor of '...' is not charged" not in said()


# --- Pictures -----------------------------------------------------------------------------------------------------


def test_the_script_draws_every_picture_of_the_page(tmp_path: Path) -> None:
    for extra in ("matplotlib", "scipy"):
        need_module(extra)
    subprocess.run([sys.executable, DOCS / "draw_pictures.py", tmp_path], check=True)
    drawn = {path.name for path in tmp_path.iterdir()}
    page = (DOCS / "pictures.md").read_text(encoding="utf-8")
    assert drawn == set(re.findall(r"\]\(images/(.*?)\)", page))
    assert [name for name in drawn if not (DOCS / "images" / name).is_file()] == []
