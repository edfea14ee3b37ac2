"""Time the contestants in rounds, so that a busy machine slows all alike; summarise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from mhfd.contract import MhfdError
from mhfd_client.bench.contestants import Contestant, Trial
from mhfd_client.bench.plan import Figure


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One time: a line of raw.csv.

    Attributes
    ----------
    repeat : from 0, which does not count
    lap : what was timed, see `watch.Laps`
    ms : milliseconds a tile
    """

    figure: Figure
    contestant: str
    device: str
    ours: bool
    side: int
    n_scales: int
    lap: str
    repeat: int
    ms: float
    features: int


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Statistics of one time's repeats: a line of summary.csv.

    Attributes
    ----------
    runs : that counted
    median_ms, q1_ms, q3_ms : median and quartiles, milliseconds a tile
    ratio : of the median to that of mhfd's fastest at the same job; None if none of mhfd's took part
    """

    figure: Figure
    contestant: str
    device: str
    side: int
    n_scales: int
    lap: str
    runs: int
    median_ms: float
    q1_ms: float
    q3_ms: float
    ratio: float | None
    features: int


def race(
    figure: Figure, contestants: Sequence[Contestant], job: Trial, repeats: int, advance: Callable[[], None]
) -> tuple[list[Sample], list[str]]:
    """Time all contestants in turn, `repeats` times; also a sentence for each that failed.

    Parameters
    ----------
    advance : called after each turn
    """
    samples: list[Sample] = []
    failed: dict[str, str] = {}
    side, n_scales = job.pixels.shape[0], job.params.n_scales
    for repeat in range(repeats):
        for contestant in contestants:
            if contestant.name not in failed:
                try:
                    laps = contestant.time(job)
                except (MemoryError, MhfdError) as error:
                    failed[contestant.name] = f"{contestant.name}, {side} x {side} px, {n_scales} scales: {error}"
                else:
                    samples += [
                        Sample(
                            figure=figure,
                            contestant=contestant.name,
                            device=contestant.device,
                            ours=contestant.ours,
                            side=side,
                            n_scales=n_scales,
                            lap=lap,
                            repeat=repeat,
                            ms=ms,
                            features=laps.features,
                        )
                        for lap, ms in laps.ms.items()
                    ]
            advance()
    return [sample for sample in samples if sample.contestant not in failed], list(failed.values())


def summarise(samples: Sequence[Sample]) -> list[Summary]:
    """Medians and quartiles over the repeats but the first, in the order of the samples."""
    groups: dict[tuple[Figure, int, int, str, str], list[Sample]] = {}
    for sample in samples:
        if sample.repeat:
            key = sample.figure, sample.side, sample.n_scales, sample.lap, sample.contestant
            groups.setdefault(key, []).append(sample)
    medians = {key: float(np.median([sample.ms for sample in group])) for key, group in groups.items()}
    fastest: dict[tuple[Figure, int, int, str], float] = {}
    for key, median in medians.items():
        if groups[key][0].ours:
            fastest[key[:4]] = min(median, fastest.get(key[:4], median))
    summaries = []
    for key, group in groups.items():
        figure, side, n_scales, lap, contestant = key
        q1, q3 = np.percentile([sample.ms for sample in group], [25, 75]).tolist()
        summaries.append(
            Summary(
                figure=figure,
                contestant=contestant,
                device=group[0].device,
                side=side,
                n_scales=n_scales,
                lap=lap,
                runs=len(group),
                median_ms=medians[key],
                q1_ms=q1,
                q3_ms=q3,
                ratio=medians[key] / fastest[key[:4]] if fastest.get(key[:4]) else None,
                features=group[-1].features,
            )
        )
    return summaries
