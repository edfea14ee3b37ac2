"""Every alarm has a page that says what to do, and every page has its alarm."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mhfd_client import doctor
from mhfd_client.config.alerts import ALL
from mhfd_client.notify.words import BUNDLES, TITLES, page_of

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "docs" / "alarms"
KINDS = sorted({*ALL, *BUNDLES, *TITLES})


def test_every_alarm_has_its_page_and_every_page_its_alarm() -> None:
    assert sorted(path.stem for path in FOLDER.glob("*.md")) == sorted([*KINDS, "doctor", "README"])


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_says_what_the_alarm_means_what_to_look_at_and_what_to_do(kind: str) -> None:
    text = (ROOT / page_of(kind)).read_text(encoding="utf-8")
    assert text.startswith(f"# {kind}: ")
    for heading in ("**What it means.**", "**What to look at.**", "**What to do.**"):
        assert heading in text
    assert f"[{kind}]({kind}.md)" in (FOLDER / "README.md").read_text(encoding="utf-8")


def test_every_kind_that_the_program_begins_is_known() -> None:
    begun = set()
    for path in (ROOT / "client" / "mhfd_client").rglob("*.py"):
        begun |= set(re.findall(r"_book\.(?:begin|gather)\(\s*\"(\w+)\"", path.read_text(encoding="utf-8")))
    assert {"worsening", "many", "missing", "endpoint", "sign_in", "silence"} <= begun <= set(KINDS)


def test_every_check_of_doctor_is_explained() -> None:
    source = Path(doctor.__file__).read_text(encoding="utf-8")
    names = set(re.findall(r"(?:Check|_port)\(\s*\"([^\"]+)\"", source))
    assert len(names) > 10
    page = (FOLDER / "doctor.md").read_text(encoding="utf-8")
    assert {name for name in names if f"`{name}`" not in page} == set()
    listed = set(re.findall(r"^\| `([^`]+)` \|", page, flags=re.MULTILINE))
    assert listed == names, "the page explains checks that there are no more"


def test_the_links_of_the_pages_lead_somewhere() -> None:
    for path in FOLDER.glob("*.md"):
        for target in re.findall(r"\]\(([^)#:]+)\)", path.read_text(encoding="utf-8")):
            assert (FOLDER / target).is_file(), f"{path.name} links to {target}"
