"""A result as one row of a table: names and kinds of its columns, the same for all that make tables of results."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Kinds = Mapping[str, str]
"""Column -> "string", "int64", "double" or "time"."""

# Groups, since a table of a run has columns between them.
MEASURES: Kinds = {
    "path": "string", "status": "string", "verdict": "string", "confidence": "double", "focus_score": "double",
    "features": "int64", "features_per_mpx": "double", "characteristic_scale_px": "double", "noise": "double",
    "content": "double", "anisotropy": "double", "saturated": "double", "vollath_f4": "double",
    "pixel_size_nm": "double", "error_code": "string", "error_message": "string", "defocus_um": "double",
}  # fmt: skip
SIZE: Kinds = {"height": "int64", "width": "int64"}
ORIGIN_AND_BLUR: Kinds = {
    "backend": "string", "device": "string", "mhfd": "string", "tile_sha256": "string", "remarks": "string",
    "blur_px": "double", "blur_nm": "double", "blur_error_px": "double", "flag_px": "double", "reference": "string",
}  # fmt: skip
DEFOCUS: Kinds = {"defocus_low_um": "double", "defocus_high_um": "double"}

RESULT_COLUMNS: Kinds = {**MEASURES, **SIZE, **ORIGIN_AND_BLUR, **DEFOCUS}


def flat_result(result: Mapping[str, Any]) -> dict[str, Any]:
    """One row, by column.

    Parameters
    ----------
    result : as `FocusResult.to_dict` has it; missing keys are null
    """
    about, error = result.get("provenance") or {}, result.get("error") or {}
    low, high = result.get("defocus_interval_um") or (None, None)
    height, width = result.get("shape") or (None, None)
    return {
        **{name: result.get(name) for name in RESULT_COLUMNS},
        "error_code": error.get("code"),
        "error_message": error.get("message"),
        "height": height,
        "width": width,
        "backend": about.get("backend"),
        "device": about.get("device"),
        "mhfd": about.get("mhfd"),
        "tile_sha256": about.get("tile_sha256"),
        "remarks": " ".join(remark["code"] for remark in result.get("remarks") or ()),
        "defocus_low_um": low,
        "defocus_high_um": high,
    }
