"""Tiles to look at are named once, when there is enough to compare them with."""

from __future__ import annotations

from mhfd.contract import Failure, FocusResult, Provenance
from mhfd_client.judge import alerts
from mhfd_client.judge.alerts import Alerts

PROVENANCE = Provenance(mhfd="0", params_sha256="0", backend="numpy", device="cpu")


def tile(path: str, score: float = 10.0) -> FocusResult:
    return FocusResult(
        path=path, status="scored", provenance=PROVENANCE, focus_score=score, content=1.0, anisotropy=0.05
    )


def names(rows: list[FocusResult]) -> list[str]:
    return [row.path for row in rows]


def test_blurred_tile_among_sharp_ones_is_named() -> None:
    watch = Alerts()
    watch.add(tile(f"run/{k}.tif") for k in range(8))
    assert names(watch.add([tile("run/bad.tif", 2.0)])) == ["run/bad.tif"]


def test_blurred_tile_that_came_first_is_named_when_there_are_others() -> None:
    watch = Alerts()
    assert watch.add([tile("run/bad.tif", 2.0)]) == []
    assert names(watch.add(tile(f"run/{k}.tif") for k in range(8))) == ["run/bad.tif"]


def test_tile_is_named_once() -> None:
    watch = Alerts()
    watch.add(tile(f"run/{k}.tif") for k in range(8))
    watch.add([tile("run/bad.tif", 2.0)])
    assert watch.add([tile("run/9.tif")]) == []


def test_failed_tile_is_named_at_once() -> None:
    failed = FocusResult(
        path="run/t.tif", status="failed", provenance=PROVENANCE, error=Failure(code="corrupt", message="it is damaged")
    )
    assert names(Alerts().add([failed])) == ["run/t.tif"]


def test_folders_are_judged_apart() -> None:
    watch = Alerts()
    watch.add(tile(f"one/{k}.tif") for k in range(8))
    assert watch.add(tile(f"two/{k}.tif", 2.0) for k in range(8)) == []


def test_memory_is_bounded() -> None:
    watch = Alerts()
    for k in range(3 * alerts.FOLDERS):
        watch.add(tile(f"{k}/{i}.tif") for i in range(3))
    watch.add(tile(f"run/{k}.tif") for k in range(3 * alerts.PEERS))
    assert len(watch._folders) == alerts.FOLDERS
    assert len(watch._folders[next(reversed(watch._folders))].latest) == alerts.PEERS
