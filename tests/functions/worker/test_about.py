"""A worker describes itself, and shows on a probe that it counts right."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import mhfd
from mhfd.worker import describe, warmup
from mhfd.worker.about import PROBE_FEATURES, parse_gpus


def test_the_probe_has_a_feature_a_blob() -> None:
    answer = warmup()
    assert (answer["ok"], answer["features"], answer["expected"]) == (True, PROBE_FEATURES, 256)
    assert json.loads(json.dumps(answer, allow_nan=False)) == answer


@pytest.mark.gpu
def test_the_worker_scores_on_its_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MHFD_BACKEND", "auto")
    answer = warmup()
    assert (answer["ok"], answer["worker"]["backend"]) == (True, "cupy")
    assert answer["worker"]["device_uuid"] in {gpu["uuid"] for gpu in describe()["gpus"]}


def test_a_description_names_versions_device_and_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MHFD_RESULT_DIR", str(tmp_path))
    told = json.loads(json.dumps(describe()))
    assert (told["mhfd"], told["numpy"]) == (mhfd.__version__, np.__version__)
    assert told["env"]["backend"] == "numpy"
    assert told["scratch"]["free_bytes"] > 0
    assert set(told["codecs"]) >= {"raw", "zlib", "delta-zlib"}
    assert {"cupy", "numba", "dill", "globus_compute_sdk", "globus_compute_endpoint", "gpus"} <= set(told)


def test_a_description_has_gaps_rather_than_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MHFD_BACKEND", "abacus")
    monkeypatch.setenv("MHFD_RESULT_DIR", "/none/at/all")
    told = describe()
    assert (told["env"]["backend"], told["scratch"]) == (None, None)
    assert len(told["problems"]) >= 2


def test_a_description_holds_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLOBUS_COMPUTE_CLIENT_SECRET", "hush-hush")
    assert "hush-hush" not in json.dumps(describe())


def test_the_drivers_list_of_gpus_is_understood() -> None:
    text = "0, NVIDIA H200, GPU-8932f937-d72c-4106-c12f-20bd9faed9f6, 142000, 143771\n1, GB10, GPU-1, [N/A], [N/A]\n"
    assert parse_gpus(text) == [
        {
            "number": 0,
            "name": "NVIDIA H200",
            "uuid": "8932f937-d72c-4106-c12f-20bd9faed9f6",
            "free_bytes": 142000 * 2**20,
            "total_bytes": 143771 * 2**20,
        },
        {"number": 1, "name": "GB10", "uuid": "1", "free_bytes": None, "total_bytes": None},
    ]
