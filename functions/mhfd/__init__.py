"""Focus quality of electron-microscopy tiles by multi-scale histologic feature detection.

    >>> import mhfd
    >>> result = mhfd.score("s0001_r0_c1.tif")      # or a NumPy array
    >>> result.focus_score, result.features

`score`, `find_features` and `plot` take one tile, `score_many` and `iter_scores` many, `best_focus` a focal series.
Importing this package is quick: NumPy is loaded by the first call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mhfd._version import __version__
from mhfd.contract import BackendError, FocusParams, FocusResult, MhfdError, ParamsError, TileError

if TYPE_CHECKING:
    from mhfd.focus import BestFocus, best_focus
    from mhfd.kernel.measures import FeatureList
    from mhfd.scoring import find_features, iter_scores, score, score_many
    from mhfd.show.results import Results
    from mhfd.show.tile import plot

__all__ = [
    "BackendError",
    "BestFocus",
    "FeatureList",
    "FocusParams",
    "FocusResult",
    "MhfdError",
    "ParamsError",
    "Results",
    "TileError",
    "__version__",
    "best_focus",
    "find_features",
    "iter_scores",
    "plot",
    "score",
    "score_many",
]


def __getattr__(name: str) -> Any:
    """Load the numerical part when it is first used (PEP 562)."""
    if name == "FeatureList":
        from mhfd.kernel.measures import FeatureList

        return FeatureList
    if name in {"find_features", "iter_scores", "score", "score_many"}:
        from mhfd import scoring

        return getattr(scoring, name)
    if name in {"BestFocus", "best_focus"}:
        from mhfd import focus

        return getattr(focus, name)
    if name == "Results":
        from mhfd.show.results import Results

        return Results
    if name == "plot":
        from mhfd.show.tile import plot

        return plot
    raise AttributeError(f"module 'mhfd' has no attribute {name!r}")
