"""File names and patterns of any kind: a position, none, or a mistake that is explained."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from hypothesis import given
from hypothesis import strategies as st

from mhfd_client.naming import LayoutError, Position, open_layout
from mhfd_client.naming.protocol import LayoutName

from .drawing import fuzzed, texts

REAL = [
    "tiles/g0000/t0066/test_g0000_t0066_s00000.tif",
    "181_S182R1/000007/181_000007_055_2021-05-25T2146499297643.bmp",
    "s0001_r00_c01.tif",
    "Tile_001-002-000000_0-000.tif",
]
NAMED = [name for name in get_args(LayoutName) if name not in ("auto", "regex")]

digits = st.text("0123456789²٣", max_size=30)  # what isdigit and \d also take
pieces = texts | digits | st.sampled_from([part for name in REAL for part in name.replace("_", "/").split("/")])
names = st.sampled_from(REAL) | st.lists(pieces, max_size=5).flatmap(
    lambda parts: st.sampled_from("_/-.").map(lambda between: between.join(parts))
)


def storable(position: Position | None) -> bool:
    """True if the ledger's integer columns can hold the position."""
    numbers = () if position is None else (position.section, *position.cell)
    return all(number is None or 0 <= number < 2**63 for number in numbers)


@fuzzed
@given(paths=st.lists(names, max_size=4), layout=st.sampled_from(NAMED))
def test_a_name_has_a_position_or_none(paths: list[str], layout: str, tmp_path: Path) -> None:
    opened = open_layout(layout)
    for path in paths:
        assert storable(opened.position(path))
        assert isinstance(opened.taken(path), str)
    assert not list(opened.listed(tmp_path) or ())  # the folder is empty


@fuzzed
@given(pattern=names | st.from_regex(r"(\(\?P<(section|row|col|tile)>[a-z0-9\\d+*]{1,4}\)?[_.]?){1,3}"), path=names)
def test_a_pattern_is_used_or_explained(pattern: str, path: str) -> None:
    try:
        layout = open_layout("regex", pattern=pattern)
    except LayoutError as error:
        assert str(error)
        return
    assert storable(layout.position(path))


@fuzzed
@given(content=st.binary(max_size=300) | st.text(max_size=300).map(lambda text: text.encode("utf-8", "replace")))
def test_a_list_of_tiles_with_anything_in_it_is_read(content: bytes, tmp_path: Path) -> None:
    for name in ("full_image_coordinates.txt", "meta/logs/imagelist_0.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    for layout in NAMED:
        for path in open_layout(layout).listed(tmp_path) or ():
            assert not path.startswith("/") and ".." not in path.split("/")
