"""What the fuzz tests draw from: damaged bytes, JSON of any shape, and how many examples. `make fuzz` draws many."""

from __future__ import annotations

import os
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

EXAMPLES = int(os.environ.get("MHFD_FUZZ", "60"))

# The few of an ordinary run are the same each time; many are new each time, and those that fail are kept.
fuzzed = settings(
    max_examples=EXAMPLES,
    derandomize="MHFD_FUZZ" not in os.environ,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large],
)

numbers = (
    st.integers()
    | st.floats()
    | st.sampled_from([-1, 0, 1, 2**31, 2**63, 10**400, 1e308, -1e308, float("nan"), float("inf"), True, False])
)
texts = st.text(max_size=30) | st.sampled_from(
    ["", "/", ".", "..", "~", "/etc/passwd", "../..", "\0", "a\nb", "\x1b[2J", "*", "**/*", "a" * 5000, "\udcff"]
)
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=8,
)


def changed(given: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """`given` with up to three of its values replaced, a few keys left out or added."""
    values = st.dictionaries(st.sampled_from(sorted(given)), json_values, max_size=3)
    more = st.dictionaries(texts, json_values, max_size=1)
    less = st.sets(st.sampled_from(sorted(given)), max_size=1)
    return st.tuples(values, more, less).map(
        lambda drawn: {key: value for key, value in (given | drawn[0] | drawn[1]).items() if key not in drawn[2]}
    )


@st.composite
def damaged(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """One of the seeds with bytes changed, a part cut out, doubled, or taken from another."""
    content = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(1, 6))):
        # Headers are where damage is worst, so half of it goes there.
        at = draw(st.integers(0, max(len(content) - 1, 0)) | st.integers(0, min(max(len(content) - 1, 0), 300)))
        length = draw(st.integers(1, 4) | st.integers(1, 4000))
        kind = draw(st.sampled_from(["set", "set", "set", "cut", "end", "double", "other"]))
        if kind == "set":
            few = min(length, 8)
            content[at : at + few] = draw(st.sampled_from([b"\0", b"\xff", b"\x7f"]) | st.binary(max_size=1)) * few
        elif kind == "cut":
            del content[at : at + length]
        elif kind == "end":
            del content[at:]
        elif kind == "double":
            content[at:at] = content[at : at + length]
        else:
            other = draw(st.sampled_from(seeds))
            content[at : at + length] = other[at : at + length]
    return bytes(content)
