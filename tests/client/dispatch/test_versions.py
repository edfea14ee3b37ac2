"""A client and a worker of different versions: what each sends is what the other takes."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mhfd.contract import Acquisition, FocusParams, FocusResult
from mhfd.images.inline import encode_tile
from mhfd.worker import score_inline
from mhfd_client.dispatch.answers import rows
from mhfd_client.dispatch.pack import Tile

DATA = Path(__file__).parents[2] / "data"
# What score_inline of 0.1.0 takes; it refuses every other key.
TILE_KEYS = {"name", "shape", "dtype", "codec", "data", "pixel_size_nm", "acquisition"}
PARAMS_KEYS = {
    "n_scales", "min_t", "max_t", "saturate", "k_noise", "polarity", "mode", "unit", "max_gpu_bytes", "max_host_bytes",
}  # fmt: skip


def answer_of_0_1_0() -> dict[str, Any]:
    found = json.loads((DATA / "rows-0.1.0.json").read_text(encoding="utf-8"))
    worker = {"host": "h", "pid": 1, "mhfd": "0.1.0", "python": "3.11", "backend": "numpy", "device": "cpu"}
    return {"schema": 1, "rows": found, "rows_file": None, "count": len(found), "worker": worker}


def test_an_older_worker_knows_every_key_that_a_client_sends() -> None:
    acquisition = FocusResult.from_dict(answer_of_0_1_0()["rows"][0]).acquisition or Acquisition()
    sent = encode_tile(np.zeros((8, 8), np.uint8), name="a", pixel_size_nm=4.0, acquisition=acquisition)
    assert set(sent) <= TILE_KEYS
    assert set(FocusParams().to_dict()) <= PARAMS_KEYS


def test_a_client_reads_what_an_older_worker_answers() -> None:
    answer = answer_of_0_1_0()
    tiles = [Tile(row["path"], row["path"], None, FocusParams()) for row in answer["rows"]]
    read = rows(answer, tiles, "dgx")
    assert [row.status for row in read] == [row["status"] for row in answer["rows"]]
    assert {row.provenance.measure for row in read} == {1}


@pytest.mark.parametrize("where", ["row", "provenance", "answer", "worker"])
def test_a_client_reads_what_a_newer_worker_answers(where: str) -> None:
    answer = json.loads(json.dumps(score_inline([encode_tile(np.zeros((64, 64), np.uint8), name="a")])))
    row = answer["rows"][0]
    places = {"row": row, "provenance": row["provenance"], "answer": answer, "worker": answer["worker"]}
    places[where]["coming"] = {"more": [1]}
    (read,) = rows(answer, [Tile("a", "a", None, FocusParams())], "dgx")
    assert read.status == "scored"


@pytest.mark.parametrize("dtype", ["uint8", "<u2", ">u2"])
def test_raw_pixels_travel_as_the_base64_of_their_bytes(dtype: str) -> None:
    pixels = np.arange(64, dtype=dtype).reshape(8, 8)[:, ::2]
    little = pixels.astype(pixels.dtype.newbyteorder("<"))
    assert encode_tile(pixels, "raw")["data"] == base64.b64encode(little.tobytes()).decode()


@pytest.mark.parametrize("name", ["a", "\u00e9\u4e2d", "\udce9"])  # the last is not UTF-8: a byte of a file's name
def test_an_older_worker_reads_the_task_that_a_client_writes(name: str) -> None:
    serialize = pytest.importorskip("globus_compute_sdk.serialize")
    from mhfd_client.compute.sdk import QuickSerializer

    task = {"tiles": [encode_tile(np.zeros((8, 8), np.uint8), name=name)], "params": FocusParams().to_dict()}
    written = QuickSerializer().serialize(task)
    assert serialize.JSONData().deserialize(written) == task
    assert written.encode("utf-8")  # as the request's body


def test_a_worker_says_which_key_of_a_newer_client_it_does_not_know() -> None:
    tile = encode_tile(np.zeros((64, 64), np.uint8), name="a")
    newer, plain = score_inline([{**tile, "coming": 1}, tile])["rows"]
    assert (newer["status"], plain["status"]) == ("failed", "scored")
    assert "coming" in newer["error"]["message"]
    refused = score_inline([tile], {"coming": 1})
    assert refused["error"]["code"] == "bad_params" and "coming" in refused["error"]["message"]
