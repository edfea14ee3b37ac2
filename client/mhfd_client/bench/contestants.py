"""The programs to time: mhfd's backends that work here, and the rivals that are installed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from mhfd import score
from mhfd.backends import Backend, select_backend
from mhfd.contract import BackendError, BackendName, FocusParams
from mhfd.extras import install_hint
from mhfd_client.bench import paper, rivals
from mhfd_client.bench.plan import BACKENDS
from mhfd_client.bench.watch import Laps, Watch


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One tile to count the features of.

    Attributes
    ----------
    pixels : (side, side)
    path : the same tile as a TIFF file; None if files are not timed
    files : tiles like it, to score many
    """

    pixels: NDArray[Any]
    params: FocusParams
    path: Path | None = None
    files: tuple[Path, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """One way to count features.

    Attributes
    ----------
    name : in the tables
    device : "cpu" or the GPU's name
    ours : True for mhfd; all are compared to its fastest
    note : what it does and what it leaves out
    curves : True to include it in figures 3a and 3b
    """

    name: str
    device: str
    ours: bool
    note: str
    time: Callable[[Trial], Laps]
    curves: bool = False


@dataclass(frozen=True, kw_only=True)
class Field:
    """All contestants, and why the others are missing."""

    contestants: tuple[Contestant, ...]
    missing: tuple[str, ...]


def gather(backends: Sequence[BackendName], batch: int) -> Field:
    """Find what works on this machine.

    Parameters
    ----------
    backends : of mhfd, all of which must work; empty for those that do
    batch : tiles a batch on GPUs

    Raises
    ------
    BackendError
        one of `backends` was named but does not work here.
    """
    found: list[Backend] = []
    contestants: list[Contestant] = []
    missing: list[str] = []
    for name in backends or BACKENDS:
        if isinstance(backend := working_backend(name), Backend):
            found.append(backend)
        elif backends:
            raise backend
        else:
            missing.append(f"mhfd {name}: {backend}")
    for backend in found:
        contestants += [_on_gpu(backend, 1), _on_gpu(backend, batch)] if backend.lanes else [_on_processor(backend)]
    for make in (_paper_in_numpy, _paper_in_cupy, _opencv, _scikit_image, _cucim):
        contestant = make()
        if isinstance(contestant, str):
            missing.append(contestant)
        else:
            contestants.append(contestant)
    return Field(contestants=tuple(contestants), missing=tuple(missing))


def working_backend(name: str, **sharing: Any) -> Backend | BackendError:
    """The backend, or why it does not work here."""
    try:
        return select_backend(name, **sharing)
    except BackendError as error:
        return error
    except ImportError as error:  # an installed package that cannot be loaded is no use either
        return BackendError(str(error))


def _on_processor(backend: Backend) -> Contestant:
    def time(job: Trial) -> Laps:
        watch = Watch()
        measures, _ = backend.measure(job.pixels, job.params)
        watch.lap("kernel")
        return Laps({**watch.ms, **_file_to_number(backend, job)}, measures.features)

    note = "all measures, with the noise threshold"
    return Contestant(name=f"mhfd {backend.name}", device=backend.device, ours=True, note=note, time=time, curves=True)


def _on_gpu(backend: Backend, batch: int) -> Contestant:
    def time(job: Trial) -> Laps:
        watch = Watch()
        pending = backend.lanes[0].submit([job.pixels] * batch, job.params)
        measures = pending.result()  # waits for the device
        ms = {"kernel": pending.kernel_ms / batch, "copied": watch.total / batch}
        return Laps(ms if batch > 1 else {**ms, **_file_to_number(backend, job)}, measures[-1].features)

    return Contestant(
        name=f"mhfd {backend.name}" + (f", batches of {batch}" if batch > 1 else ""),
        device=backend.lanes[0].device,
        ours=True,
        note="all measures, with the noise threshold" + ("; a tile's share of its batch" if batch > 1 else ""),
        time=time,
        curves=batch == 1,
    )


def _file_to_number(backend: Backend, job: Trial) -> dict[str, float]:
    if job.path is None:
        return {}
    watch = Watch()
    score(job.path, job.params, backend.name)
    watch.lap("file")
    return watch.ms


def _paper_in_numpy() -> Contestant:
    method = paper.Method(paper.numpy_arrays())
    note = "Fourier products, circular boundary, full stack; float32 SciPy transforms on all cores; no noise threshold"
    return _host_rival("the paper's method in NumPy", note, method.count, curves=True)


def _opencv() -> Contestant | str:
    name = "OpenCV cascade"
    if (cv2 := _installed("cv2")) is None:
        return f"{name}: not installed (pip install opencv-python-headless)"
    note = "incremental GaussianBlur, all cores, taps to 4 sigma; no noise threshold"
    return _host_rival(name, note, lambda tile, params: rivals.opencv_cascade(cv2, tile, params))


def _scikit_image() -> Contestant | str:
    name = "scikit-image blob_dog"
    if (blob := _installed("skimage.feature.blob")) is None:
        return f"{name}: not installed (pip install scikit-image)"
    return _host_rival(name, rivals.BLOB_DOG_NOTE, lambda tile, params: rivals.blob_dog(blob, np, tile, params))


def _host_rival(
    name: str, note: str, count: Callable[[NDArray[Any], FocusParams], int], *, curves: bool = False
) -> Contestant:
    def time(job: Trial) -> Laps:
        from_file, tile = Watch(), _pixels(job)
        watch = Watch()
        features = count(tile, job.params)
        watch.lap("kernel")
        return Laps(watch.ms | ({"file": from_file.total} if job.path else {}), features)

    return Contestant(name=name, device="cpu", ours=False, note=note, time=time, curves=curves)


def _paper_in_cupy() -> Contestant | str:
    name = "the paper's method in CuPy"
    if isinstance(cupy := cupy_or_reason(), str):
        return f"{name}: {cupy}"
    method = paper.Method(paper.cupy_arrays(cupy))
    note = "as in NumPy, with cuFFT, the stack in the GPU's memory"
    return _gpu_rival(name, note, cupy, method.count, curves=True)


def _cucim() -> Contestant | str:
    name = "cuCIM blob_dog"
    if isinstance(cupy := cupy_or_reason(), str):
        return f"{name}: {cupy}"
    if (blob := _installed("cucim.skimage.feature.blob")) is None:
        return f"{name}: not installed (pip install cucim-cu12)"
    return _gpu_rival(name, rivals.BLOB_DOG_NOTE, cupy, lambda tile, params: rivals.blob_dog(blob, cupy, tile, params))


def _gpu_rival(
    name: str, note: str, cupy: Any, count: Callable[[Any, FocusParams], int], *, curves: bool = False
) -> Contestant:
    def time(job: Trial) -> Laps:
        from_file, tile = Watch(), _pixels(job)
        copied = Watch()
        on_device = cupy.asarray(tile)
        cupy.cuda.Device().synchronize()
        watch = Watch()
        features = count(on_device, job.params)
        cupy.cuda.Device().synchronize()
        watch.lap("kernel")
        ms = {**watch.ms, "copied": copied.total}
        return Laps(ms | ({"file": from_file.total} if job.path else {}), features)

    return Contestant(name=name, device=gpu_name(cupy), ours=False, note=note, time=time, curves=curves)


def cupy_or_reason() -> Any:
    """The module if a GPU answers, else the reason why not."""
    if (cupy := _installed("cupy")) is None:
        return f"CuPy is not installed ({install_hint('gpu12')})"
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except RuntimeError as error:  # CUDA's errors are
        return f"no GPU answers ({error})"
    return cupy if count else "this machine has no GPU"


def gpu_name(cupy: Any) -> str:
    return str(cupy.cuda.runtime.getDeviceProperties(0)["name"].decode())


def _installed(module: str) -> Any:
    try:
        return import_module(module)
    except ImportError:
        return None


def _pixels(job: Trial) -> NDArray[Any]:
    return job.pixels if job.path is None else np.asarray(tifffile.imread(job.path))
