"""Time the contestants in rounds, so that a busy machine slows all alike; summarise.

A contestant finds the memory and the processor's caches full of what the others left there, which a microscope's next
tile does not. So it runs for a while in its turn, and its last run counts; what the first took is told beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from mhfd.contract import MhfdError
from mhfd_client.bench.contestants import Contestant, Trial
from mhfd_client.bench.plan import Figure
from mhfd_client.bench.watch import Laps

FIRST = "first"
"""Lap of the kernel in the first run of a turn."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One time: a line of raw.csv.

    Attributes
    ----------
    repeat : from 0, which does not count
    lap : what was timed, see `watch.Laps`; or FIRST
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
    ratio : to mhfd's fastest at the same job: median over the rounds of the ratio in one round; None if none of mhfd's
        took part
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
    figure: Figure,
    contestants: Sequence[Contestant],
    job: Trial,
    repeats: int,
    advance: Callable[[], None],
    settle_s: float = 0,
) -> tuple[list[Sample], list[str]]:
    """Time all contestants in turn, `repeats` times; also a sentence for each that failed.

    Parameters
    ----------
    advance : called after each turn
    settle_s : see `plan.BenchPlan`
    """
    samples: list[Sample] = []
    failed: dict[str, str] = {}
    side, n_scales = job.pixels.shape[0], job.params.n_scales
    for repeat in range(repeats):
        for contestant in contestants:
            if contestant.name not in failed:
                try:
                    laps = _settled(contestant, job, settle_s)
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


def _settled(contestant: Contestant, job: Trial, settle_s: float) -> Laps:
    """A turn: the last run's times, and the first one's."""
    if not settle_s:
        return contestant.time(job)
    start = perf_counter()
    first = laps = contestant.time(job)
    while laps is first or perf_counter() - start < settle_s:
        laps = contestant.time(job)
    kernel = {FIRST: first.ms["kernel"]} if "kernel" in first.ms else {}
    return Laps({**laps.ms, **kernel}, laps.features)


def summarise(samples: Sequence[Sample]) -> list[Summary]:
    """Medians and quartiles over the repeats but the first, in the order of the samples."""
    groups: dict[tuple[Figure, int, int, str, str], list[Sample]] = {}
    for sample in samples:
        if sample.repeat:
            key = sample.figure, sample.side, sample.n_scales, sample.lap, sample.contestant
            groups.setdefault(key, []).append(sample)
    medians = {key: float(np.median([sample.ms for sample in group])) for key, group in groups.items()}
    fastest: dict[tuple[Figure, int, int, str], list[Sample]] = {}
    for key in sorted(medians, key=medians.__getitem__):
        if groups[key][0].ours:
            fastest.setdefault(key[:4], groups[key])
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
                ratio=_ratio(group, fastest.get(key[:4], ())),
                features=group[-1].features,
            )
        )
    return summaries


def _ratio(samples: Sequence[Sample], others: Sequence[Sample]) -> float | None:
    """Median of the ratios of times of the same rounds; None without any."""
    other = {sample.repeat: sample.ms for sample in others}
    ratios = [sample.ms / other[sample.repeat] for sample in samples if other.get(sample.repeat)]
    return float(np.median(ratios)) if ratios else None
