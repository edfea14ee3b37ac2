"""Draw the pictures of docs/pictures.md from simulated tissue: `python docs/draw_pictures.py FOLDER`.

The tissue, its blur and its noise are known, so each picture can be checked against the truth. Needs the extras `demo`
and `notebook`.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

import mhfd
from mhfd.kernel.reference import dog_stack, normalise
from mhfd.show.figure import LINE, SOFT, Drawn, new_figure, plain
from mhfd.show.tile import FEATURE
from mhfd.spectrum import FREQUENCIES, Spectrum, bin_sizes
from mhfd_client.simulate import RunPlan, SeriesPlan, simulate_series

SIDE_PX, NM = 512, 8.0
SHOWN = (0, 2, 5, 11)  # of the sixteen differences
CROP = slice(150, 350)
DOSES = (200.0, 10.0)  # electrons a pixel
Frame = tuple[float, NDArray[np.uint8]]  # standard deviation of the point-spread function in px, and the tile


def frames(dose: float) -> list[Frame]:
    """One place at nine distances, the sharpest first."""
    field = RunPlan(sections=1, rows=1, cols=1, tile_px=SIDE_PX, pixel_size_nm=NM, dose=dose)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        truths = simulate_series(folder, SeriesPlan(field=field))
        return sorted(
            ((each.blur_px, tifffile.imread(folder / each.file)) for each in truths), key=lambda each: each[0]
        )


def scale_space(sharp: Frame, blurred: Frame) -> Drawn:
    """D_i at four scales: fine structure is only in the sharp tile, coarse structure in both."""
    figure = new_figure(8, 3.6)
    axes = figure.subplots(2, 1 + len(SHOWN))
    params = mhfd.FocusParams()
    stacks = [dog_stack(normalise(tile, params.saturate)[0], params) for _, tile in (sharp, blurred)]
    for line, (blur_px, tile), stack in zip(axes, (sharp, blurred), stacks, strict=True):
        line[0].imshow(tile[CROP, CROP], "gray")
        line[0].set_ylabel(f"blur {blur_px:.1f} px", fontsize=8)
        line[0].set_title("tile", fontsize=8)
        for panel, i in zip(line[1:], SHOWN, strict=True):
            most = np.quantile(np.abs(stacks[0][i]), 0.995)
            panel.imshow(stack[i][CROP, CROP], "gray_r", vmin=-most, vmax=most)
            panel.set_title(f"D at t = {params.scales[i]:g} px", fontsize=8)
        for panel in line:
            panel.set(xticks=[], yticks=[])
    return figure


def counts(series: dict[float, list[Frame]]) -> Drawn:
    """Features against blur, with the noise threshold and as published, at a usual and at a low dose."""
    figure = new_figure(7, 3)
    for axes, (dose, tiles) in zip(figure.subplots(1, 2), series.items(), strict=True):
        blur = [each for each, _ in tiles]
        for mode, colour, mark in (("robust", LINE, "o"), ("paper", FEATURE, "s")):
            params = replace(mhfd.FocusParams(), mode=mode)
            found = [mhfd.score(tile, params, "numpy").features or 0 for _, tile in tiles]
            axes.plot(blur, found, mark + "-", color=colour, markersize=3, linewidth=1, label=f'mode "{mode}"')
        axes.set(xlabel="blur, px", ylabel="features", ylim=(0, None))
        axes.set_title(f"{dose:g} electrons a pixel", fontsize=8)
        axes.legend(fontsize=7, frameon=False)
        plain(axes)
    return figure


def powers(tile: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(14,) power by frequency, over all directions, without that of the noise; and that of the noise."""
    packed = mhfd.score(tile, backend="numpy").spectrum
    assert packed is not None, "tissue has content"
    spectrum, weights = Spectrum.unpack(packed), bin_sizes()
    both = (spectrum.by_direction, spectrum.noise())  # NaN in bins without a frequency
    whole, noise = (np.nansum(weights * each, axis=0) / weights.sum(0) for each in both)
    return whole - noise, noise


def spectra(tiles: list[Frame]) -> Drawn:
    """Power over that of the sharpest frame; dashed: exp(a - 4 pi^2 D f^2) with the true D."""
    figure = new_figure(5, 3.4)
    axes = figure.subplots()
    sharpest_px, (reference, _) = tiles[0][0], powers(tiles[0][1])
    for (blur_px, tile), colour in zip(tiles[2::2], (SOFT, LINE, FEATURE), strict=False):
        power, noise = powers(tile)
        ratio, kept = power / reference, np.logical_and.accumulate(power > noise)  # beyond, noise drowns it
        true = blur_px**2 - sharpest_px**2
        squared, law = FREQUENCIES[kept] ** 2, -4 * np.pi**2 * true * FREQUENCIES[kept] ** 2
        contrast = np.mean(np.log(ratio[kept]) - law)
        axes.plot(squared, ratio[kept], "o", color=colour, markersize=3, label=f"D = {true:.2f} px^2")
        axes.plot(squared, np.exp(contrast + law), "--", color=colour, linewidth=1)
    axes.set(yscale="log", xlabel="frequency squared, (cycles a pixel)^2", ylabel="power, of the sharpest frame's")
    axes.legend(fontsize=7, frameon=False, title="truth", title_fontsize=7)
    plain(axes)
    return figure


def main(folder: Path) -> None:
    """Write every picture."""
    folder.mkdir(parents=True, exist_ok=True)
    series = {dose: frames(dose) for dose in DOSES}
    usual = series[DOSES[0]]
    pictures = {
        "measure_scales": scale_space(usual[0], usual[-1]),
        "measure_sharp": mhfd.plot(usual[0][1], backend="numpy", pixel_size_nm=NM),
        "measure_blurred": mhfd.plot(usual[-1][1], backend="numpy", pixel_size_nm=NM),
        "measure_counts": counts(series),
        "measure_spectra": spectra(usual),
    }
    for name, figure in pictures.items():
        (folder / f"{name}.png").write_bytes(figure._repr_png_())


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "images")
