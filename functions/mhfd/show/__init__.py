"""Tiles and their results to look at: tables, plots, layers for napari."""
