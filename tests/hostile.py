"""Texts as they come from outside: names of files, and messages that quote them."""

from __future__ import annotations

import os

from hypothesis import strategies as st

from mhfd.contract import Failure, FocusParams, FocusResult, Provenance, Remark

NAMES = (
    "<img src=x onerror=alert(1)>.tif",
    "\"><script>alert('x')</script>.tif",
    "' onmouseover='alert(1)",
    "</title></style></svg><script>alert(1)</script>",
    "]]>--><iframe src=javascript:alert(1)>",
    "{{ 7 * 7 }}{% raw %}.tif",
    "\x1b]0;owned\x07\x1b[2J\x1b[H.tif",
    "\x1b]52;c;cm0gLXJmIH4=\x07.tif",
    "\x9b2J\x90q\x9c\x85.tif",
    "a.tif\nfailed: every tile: bring your own disk",
    "a.tif\r\x7f\x08\x08\x08ok",
    "line\u2028paragraph\u2029.tif",
    "\u202egnp.fit\u202c\u2066\u2069\u200f\u061c\ufeff\U000e0041",
    "=1+1.tif", "+1.tif", "-1.tif", "@SUM(A1).tif", "\t=1+1", "\r=1+1", "\n=1+1", "  =1+1", "\uff1d1\uff0b1",
    os.fsdecode(b"M\xe9tal.tif"),
    "half a pair \ud800.tif",
    ":boom:[bold red]x[/].tif",
    'Schnitt \u00e4, "\u5207\u7247";.tif',
    "",
)  # fmt: skip

_EXPLICIT = st.sampled_from(NAMES)
_PIECES = st.sampled_from([*"<>&\"'`=-@+\n\r\t\x9b\u202e", "\x1b["])
TEXTS = (
    _EXPLICIT
    | st.text(st.characters(), max_size=30)  # surrogates among them
    | st.lists(_PIECES | st.text(st.characters(), max_size=5), max_size=8).map("".join)
    | st.binary(max_size=20).map(lambda name: name.decode(errors="surrogateescape"))
)


def row(path: str = "t.tif", *, message: str | None = None, other: str = "cpu", **given: object) -> FocusResult:
    """A result whose texts are as given: scored, or failed with a message."""
    about = Provenance(mhfd=other, params_sha256=FocusParams().sha256, backend=other, device=other)
    if message is not None:
        error = Failure(code="not_an_image", message=message)
        return FocusResult(path=path, status="failed", error=error, verdict="failed", provenance=about)
    measures: dict[str, object] = {
        "shape": (4, 4), "dtype": "uint8", "features": 3, "features_per_mpx": 3.0, "features_by_scale": (3,),
        "scales_px": (1.0,), "focus_score": 2.0, "noise": 0.01, "content": 0.9, "anisotropy": 0.1, "saturated": 0.0,
        "vollath_f4": -0.001, "verdict": "in_focus", "confidence": 0.9,
        "remarks": (Remark(code="identical_frame", message=f"the pixels of {other}"),),
    }  # fmt: skip
    return FocusResult(path=path, status="scored", provenance=about, **{**measures, **given})  # type: ignore[arg-type]
