"""The programs that share one tile between devices: their phases for figure 4, their curves for figures 3a and 3b."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Literal

from numpy.typing import NDArray

from mhfd import cuda
from mhfd.backends import Backend
from mhfd.contract import BackendName, FocusParams
from mhfd.kernel import fourier
from mhfd_client.bench import paper, phases
from mhfd_client.bench.contestants import Contestant, Field, Trial, cupy_or_reason, gpu_name, working_backend
from mhfd_client.bench.watch import Laps

SHARING: tuple[BackendName, ...] = ("numba", "cupy")
"""Backends that share a tile."""

Work = Callable[[NDArray[Any], FocusParams], Laps]
"""Laps by `phases.PHASES` of one tile."""


def gather_phases(backends: Sequence[BackendName], devices: Sequence[int]) -> Field:
    """Those that time each phase of a tile on several devices; `backends` as in `contestants.gather`.

    Parameters
    ----------
    devices : numbers of GPUs, also the same one twice; empty: the first two, or the only one twice. The processor
        stands for each
    """
    count = max(2, len(devices))
    here = [0] * count
    method = paper.Method(paper.numpy_arrays())
    in_numpy = partial(phases.of_array_code, method.arrays, [fourier.NUMPY] * count, devices=here)
    contestants = [
        _phases("the paper's method in NumPy", "cpu", partial(phases.of_the_paper, method, devices=here)),
        _phases("mhfd's array code in NumPy", "cpu", in_numpy, ours=True),
    ]
    missing = []
    if isinstance(cupy := cupy_or_reason(), str):
        missing.append(f"phases on GPUs: {cupy}")
    else:
        devices = devices if len(devices) > 1 else [0, 1] if cupy.cuda.runtime.getDeviceCount() > 1 else [0, 0]
        device = _named(cupy, devices)
        on_gpu = paper.Method(paper.cupy_arrays(cupy))
        libraries = {number: cuda.arrays() for number in devices}
        in_cupy = partial(
            phases.of_array_code, on_gpu.arrays, [libraries[number] for number in devices], devices=devices
        )
        contestants += [
            _phases("the paper's method in CuPy", device, partial(phases.of_the_paper, on_gpu, devices=devices)),
            _phases("mhfd's array code in CuPy", device, in_cupy, ours=True),
        ]
    for name in _wanted(backends):
        backend = working_backend(name, devices=devices or here if name == "cupy" else here, partition="scales")
        if not isinstance(backend, Backend):
            missing.append(f"mhfd {name}: {backend}")
        elif backend.phases:  # a fused kernel has to time its own phases
            contestants.append(
                _phases(f"mhfd {name}", backend.device, partial(_told_by_itself, backend.phases), ours=True)
            )
    return Field(contestants=tuple(contestants), missing=tuple(missing))


def gather_curves(backends: Sequence[BackendName], devices: Sequence[int]) -> Field:
    """Those whose time for one tile is measured by number of devices: 2, 4, 8 .. and all; arguments as above.

    Without `devices`, on all GPUs where there are several, and else none.
    """
    cupy = cupy_or_reason()
    gpus = 0 if isinstance(cupy, str) else int(cupy.cuda.runtime.getDeviceCount())
    on_gpus = list(devices or range(gpus)) if gpus else []
    contestants: list[Contestant] = []
    missing: list[str] = []
    if len(on_gpus) > 1:
        method = paper.Method(paper.cupy_arrays(cupy))
        for some in _more_and_more(on_gpus):
            work = partial(phases.of_the_paper, method, devices=some)
            contestants.append(_curve("the paper's method in CuPy", _named(cupy, some), some, work, how=""))
    for name in _wanted(backends):
        for some in _more_and_more(on_gpus if name == "cupy" else [0] * len(devices)):
            for how in ("scales", "strips"):
                backend = working_backend(name, devices=some, partition=how)
                if not isinstance(backend, Backend) or backend.phases is None:
                    missing.append(f"mhfd {name} on {len(some)} devices: {backend}")
                    break
                where = "cpu" if name == "numba" else _named(cupy, some)
                own = partial(_told_by_itself, backend.phases)
                contestants.append(_curve(f"mhfd {name}", where, some, own, how=how))
    return Field(contestants=tuple(contestants), missing=tuple(dict.fromkeys(missing)))


def _more_and_more(devices: Sequence[int]) -> Iterator[Sequence[int]]:
    """The first 2, 4, 8 .. of them, and all; none of one."""
    counts = [2**k for k in range(1, len(devices).bit_length()) if 2**k < len(devices)]
    return (devices[:count] for count in (*counts, len(devices)) if count > 1)


def _wanted(backends: Sequence[BackendName]) -> list[BackendName]:
    return [name for name in SHARING if not backends or name in backends]


def _named(cupy: Any, devices: Sequence[int]) -> str:
    *others, last = map(str, devices)
    return f"{gpu_name(cupy)}, devices {', '.join(others)} and {last}"


def _told_by_itself(own_phases: Callable[..., Any], tile: NDArray[Any], params: FocusParams) -> Laps:
    """Laps from a backend's `phases(tile, params)`: milliseconds by `phases.PHASES`, and the `Measures`."""
    ms, measures = own_phases(tile, params)
    return Laps(ms, measures.features)


def _phases(name: str, device: str, work: Callable[..., Laps], *, ours: bool = False) -> Contestant:
    def time(job: Trial) -> Laps:
        return work(tile=job.pixels, params=job.params)

    return Contestant(name=name, device=device, ours=ours, note="devices share the scales", time=time)


def _curve(
    name: str, device: str, devices: Sequence[int], work: Callable[..., Laps], *, how: Literal["scales", "strips", ""]
) -> Contestant:
    """The sum of the phases: the kernel's without the copy to the devices."""

    def time(job: Trial) -> Laps:
        laps = work(tile=job.pixels, params=job.params)
        total = sum(laps.ms.values())
        return Laps({"kernel": total - laps.ms.get("copy in", 0.0), "copied": total}, laps.features)

    return Contestant(
        name=f"{name}, {len(devices)} devices" + (f" by {how}" if how else ""),
        device=device,
        ours=bool(how),
        note=f"devices share the {how or 'scales'}",
        time=time,
        curves=True,
    )
