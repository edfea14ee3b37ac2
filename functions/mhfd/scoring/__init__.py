"""Tiles -> results: one tile, many tiles, a stream of them."""

from mhfd.scoring.api import find_features, iter_scores, score, score_many

__all__ = ["find_features", "iter_scores", "score", "score_many"]
