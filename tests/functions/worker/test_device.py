"""A worker keeps to its own GPU or its share of the cores, and ends when its GPU fails."""

from __future__ import annotations

from functools import cache
from typing import Any
from uuid import UUID

import pytest

from mhfd import cuda
from mhfd.backends import Backend
from mhfd.contract import FocusResult
from mhfd.images.inline import encode_tile
from mhfd.worker import affinity, device, score_inline

from .conftest import QUICK, tissue


@pytest.mark.parametrize(
    ("environment", "number"),
    [
        ({}, 0),
        ({"PARSL_WORKER_RANK": "3"}, 3),
        ({"PARSL_WORKER_RANK": "9"}, 1),
        ({"PARSL_WORKER_RANK": "x"}, 0),
        ({"CUDA_VISIBLE_DEVICES": "5", "PARSL_WORKER_RANK": "5"}, 0),
        ({"CUDA_VISIBLE_DEVICES": "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6", "PARSL_WORKER_RANK": "5"}, 0),
        ({"CUDA_VISIBLE_DEVICES": "0,1,2,3", "PARSL_WORKER_RANK": "2"}, 2),
    ],
)
def test_a_worker_has_one_gpu(environment: dict[str, str], number: int) -> None:
    assert device.gpu_number(environment, 4) == number


@pytest.mark.parametrize(
    ("of_the_node", "workers", "gpus", "threads"),
    [
        (16, 4, None, 4),  # no cores of its own
        (64, 4, None, 16),  # `cpu_affinity` has shared them out
        (0, 4, None, 4),  # our parent has gone
        (64, 4, 1, 16),  # next to its GPU
        (64, 4, 2, 8),  # next to its own and another
        (64, 32, 2, 2),  # eight workers a GPU
        (0, 4, 1, 4),
    ],
)
def test_workers_share_the_cores(
    of_the_node: int, workers: int, gpus: int | None, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    near = None if gpus is None else affinity.Near(frozenset(range(16)), gpus)
    monkeypatch.setattr(device, "near_gpu", cache(lambda: near))
    monkeypatch.setattr(device, "available_cores", lambda: 16)
    monkeypatch.setattr(device, "_cores_of_the_node", lambda: of_the_node)
    monkeypatch.setenv("PARSL_WORKER_COUNT", str(workers))
    assert device.threads_here() == threads


def test_a_worker_keeps_to_the_cores_of_its_own_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    near = affinity.Near(frozenset({3}), 2)
    monkeypatch.setenv("MHFD_BACKEND", "cupy")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3")
    monkeypatch.setenv("PARSL_WORKER_RANK", "2")
    monkeypatch.setattr(cuda, "device_count", lambda: 4)
    monkeypatch.setattr(cuda, "pci_bus_id", lambda number: f"0000:{number:02}:00.0")
    monkeypatch.setattr(affinity, "keep_near", {"0000:02:00.0": near}.get)
    assert device.near_gpu() is near


@pytest.mark.skipif(cuda.unavailable() is None, reason="there is a GPU")
def test_without_a_gpu_nothing_is_asked_of_the_bus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MHFD_BACKEND", "cupy")
    assert device.near_gpu() is None


def test_a_worker_on_the_processor_keeps_the_cores_it_has() -> None:
    assert device.near_gpu() is None
    assert device.worker()["cores"] == affinity.cores_text()


def test_the_gpu_is_named_by_its_uuid(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gpu:
        uuid = UUID(int=7)

    class Fused:
        name, device = "cupy", "NVIDIA X"

    monkeypatch.setattr(cuda, "device_count", lambda: 2)
    monkeypatch.setattr(cuda, "device", lambda number: Gpu())
    with monkeypatch.context() as patched:
        patched.setattr(device, "backend", Fused)
        assert device.worker()["device_uuid"] == str(UUID(int=7))


def test_the_answer_names_the_backend_that_scored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "threads_here", lambda: 4)
    chosen: list[tuple[str, int | None]] = []
    select = device.select_backend

    def counted(name: str, **options: Any) -> Backend:
        chosen.append((name, options.get("threads")))
        return select(name, **options)

    monkeypatch.setattr(device, "select_backend", counted)
    for name in ("numpy", "auto"):  # a worker keeps its backend, whatever happens to the setting or the machine
        monkeypatch.setenv("MHFD_BACKEND", name)
        answer = score_inline([encode_tile(tissue())], QUICK)
        assert answer["worker"]["backend"] == answer["rows"][0]["provenance"]["backend"] == "numpy"
    assert chosen == [("numpy", 1), ("numpy", 4), ("numpy", 4)]


def test_a_worker_whose_gpu_failed_ends_with_the_next_task(monkeypatch: pytest.MonkeyPatch) -> None:
    class EndedError(Exception):
        pass

    def end(status: int) -> None:
        raise EndedError(status)

    monkeypatch.setattr("mhfd.worker.device.os._exit", end)
    device.device_failed()
    assert score_inline([])["rows"] == []  # outside Parsl no process is ended
    monkeypatch.setenv("PARSL_WORKER_RANK", "0")
    with pytest.raises(EndedError):
        score_inline([])


def test_a_failed_device_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    failed = score_inline([None], QUICK)["rows"][0]
    failed["error"]["code"] = "device_failed"
    monkeypatch.setattr("mhfd.worker.device.threads_here", lambda: 2)
    monkeypatch.setattr("mhfd.worker.tasks.stream.in_threads", lambda *_: iter([FocusResult.from_dict(failed)]))
    score_inline([encode_tile(tissue())] * 2, QUICK)
    assert device._failed.is_set()
