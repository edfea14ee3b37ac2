"""Draw the features of two tiles side by side: `python draw_features.py SHARP BLURRED OUT.png`.

Shows the result of `mhfd.find_features`: a circle at each feature, as wide as the structure that made it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

import mhfd

SIDE_PX, ZOOM = 200, 3


def drawn(path: str) -> Image.Image:
    """The middle of a tile, enlarged, with its features."""
    grey = np.asarray(Image.open(path).convert("L"))
    features = mhfd.find_features(path)
    top, left = ((n - SIDE_PX) // 2 for n in grey.shape)
    crop = Image.fromarray(grey[top : top + SIDE_PX, left : left + SIDE_PX])
    canvas = crop.resize((ZOOM * SIDE_PX, ZOOM * SIDE_PX), Image.Resampling.BICUBIC).convert("RGB")
    draw = ImageDraw.Draw(canvas)
    for row, col, radius_px in zip(features.rows, features.cols, features.radii_px, strict=True):
        y, x, radius = (row - top + 0.5) * ZOOM, (col - left + 0.5) * ZOOM, radius_px * ZOOM
        if 0 <= x < canvas.width and 0 <= y < canvas.height:
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), outline=(0, 214, 120))
    return canvas


def main() -> None:
    sharp, blurred, out = sys.argv[1:]
    pair = [drawn(sharp), drawn(blurred)]
    picture = Image.new("RGB", (2 * ZOOM * SIDE_PX + 12, ZOOM * SIDE_PX), "white")
    picture.paste(pair[0], (0, 0))
    picture.paste(pair[1], (ZOOM * SIDE_PX + 12, 0))
    picture.save(Path(out), optimize=True)


if __name__ == "__main__":
    main()
