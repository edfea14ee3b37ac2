"""Figure 4: one tile on devices that share the scales, phase by phase.

The paper's method gathers the stack; mhfd's gathers two planes a device: the maximum over the scales, and its scale.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from multiprocessing.pool import ThreadPool
from typing import Any

from numpy.typing import NDArray

from mhfd.contract import FocusParams
from mhfd.kernel import fourier
from mhfd_client.bench.paper import Arrays, Method
from mhfd_client.bench.watch import Laps, Watch

PHASES = ("copy in", "normalise and noise", "responses", "gather", "peaks")

Everywhere = Callable[..., list[Any]]


def of_the_paper(method: Method, tile: NDArray[Any], params: FocusParams, devices: Sequence[int]) -> Laps:
    """Time the paper's method; a phase ends when all devices are done."""
    arrays, shares = method.arrays, _shares(params, len(devices))
    banks = [method.filters(tile.shape, params, device) for device in devices]
    with _on_all(arrays, devices) as everywhere:
        watch = Watch()
        tiles = everywhere(arrays.xp.asarray, [tile] * len(devices))
        watch.lap("copy in")
        images = everywhere(lambda each: method.normalise(each, params), tiles)
        watch.lap("normalise and noise")
        parts = everywhere(
            lambda image, bank, share: method.respond(image, bank[share[0] : share[1]]), images, banks, shares
        )
        watch.lap("responses")
    with arrays.on(devices[0]):
        stack = arrays.xp.empty((params.n_scales, *tile.shape), arrays.xp.float32)
        for (first, last), part in zip(shares, parts, strict=True):
            stack[first:last] = arrays.xp.asarray(part)  # from another GPU: copied over
        arrays.wait()
        watch.lap("gather")
        features = method.peaks(stack)
        watch.lap("peaks")
    return Laps(watch.ms, features)


def of_array_code(
    arrays: Arrays, ours: Sequence[fourier.Arrays], tile: NDArray[Any], params: FocusParams, devices: Sequence[int]
) -> Laps:
    """Time mhfd's array code, scales shared; the first device estimates the noise while the others wait.

    Parameters
    ----------
    ours : of each device
    """
    first_arrays, *_ = ours
    xp, shares, t = arrays.xp, _shares(params, len(devices)), params.scales
    parts_params = [replace(params, n_scales=last - first, min_t=t[first], max_t=t[last]) for first, last in shares]
    with _on_all(arrays, devices) as everywhere:
        watch = Watch()
        tiles = everywhere(xp.asarray, [tile] * len(devices))
        watch.lap("copy in")
        images = everywhere(lambda each, on: fourier.normalise(each, params.saturate, on)[0], tiles, ours)
        with arrays.on(devices[0]):
            grey = fourier.local_mean(images[0], first_arrays)
            noise = fourier.estimate_noise(images[0], grey, first_arrays)
            arrays.wait()
        watch.lap("normalise and noise")
        planes = everywhere(fourier.maximum_over_scale, images, parts_params, ours)
        watch.lap("responses")
    with arrays.on(devices[0]):
        strength, scale = planes[0]
        for (first, _), (other, index) in zip(shares[1:], planes[1:], strict=True):
            here, there = xp.asarray(other), xp.asarray(index)  # from another GPU: copied over
            scale = xp.where(here > strength, there + xp.uint16(first), scale)
            strength = xp.maximum(strength, here)
        arrays.wait()
        watch.lap("gather")
        features = fourier.find_features(strength, scale, grey, noise, params, first_arrays)
        watch.lap("peaks")
    return Laps(watch.ms, len(features))


def _shares(params: FocusParams, devices: int) -> list[tuple[int, int]]:
    """First and last + 1 of each device's scales."""
    return list(pairwise(params.n_scales * k // devices for k in range(devices + 1)))


@contextmanager
def _on_all(arrays: Arrays, devices: Sequence[int]) -> Iterator[Everywhere]:
    """A function that runs a step on every device, with its own values, and waits for all."""

    def step_on(device: int, step: Callable[..., Any], values: Sequence[Any]) -> Any:
        with arrays.on(device):
            made = step(*values)
            arrays.wait()
        return made

    with ThreadPool(len(devices)) as pool:

        def everywhere(step: Callable[..., Any], *given: Sequence[Any]) -> list[Any]:
            work = [(device, step, values) for device, *values in zip(devices, *given, strict=True)]
            return pool.starmap(step_on, work, chunksize=1)

        yield everywhere
