"""What the page says of a tile is what `mhfd retakes`, `mhfd explain` and `mhfd export` say."""

from __future__ import annotations

import csv
import io
import json
import struct
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from mhfd_client.cli import main
from mhfd_client.ledger import Decision, Ledger, SeenFile
from mhfd_client.naming.position import Position
from mhfd_client.views.page.columns import VERDICTS
from page_client import Served, served, until
from page_run import Filling, Spot, Wafer

BAD, AGAIN, FAILED, ACCEPTED, TOUCHED = (3, 1, 1), (2, 0, 1), (4, 0, 2), (4, 1, 0), (1, 1, 2)
WAFER = Wafer(
    sections=4, rows=2, cols=3, pictures=False, blank=frozenset({(0, 0)}),
    odd={BAD: 2.6, AGAIN: 2.9, ACCEPTED: 1.9, TOUCHED: 2.2, FAILED: None},
)  # fmt: skip


def number(ledger: Ledger, run_id: int, spot: Spot) -> int:
    return next(row.tile_id for row in ledger.rows(run_id) if row.path == WAFER.name(spot))


def take_again(filling: Filling, spot: Spot, wafer: Wafer) -> None:
    """Its file is written anew."""
    ledger, run_id = filling.ledger, filling.run.run_id
    (row,) = ledger.get([number(ledger, run_id, spot)])
    place = Position(section=spot[0], row=spot[1], col=spot[2])
    ledger.see(run_id, [(SeenFile(row.path, row.size + 1, row.mtime_ns + 10**9), place)], time.time())
    (new,) = ledger.take(run_id, "seen", 9, order="oldest", now=time.time())
    ledger.finish(new.tile_id, [(wafer.pixels(spot), (256, 256))], time.time())
    ledger.store([(new.tile_id, wafer.result(spot, np.random.default_rng(9)))], time.time())


@pytest.fixture(scope="module", params=["opened afterwards", "opened before"])
def page(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Served]:
    """A run with a bad tile, one taken again and sharp, one accepted and then touched, one that failed."""
    folder = tmp_path_factory.mktemp("page")
    if request.param == "opened before":
        with served(folder, WAFER) as page:
            happen(page.filling)
            until(lambda: listed(page) == told_list(page))  # judged as a whole
            yield page
        return
    with served(folder, WAFER, before=happen) as page:
        page.wait_judged()
        yield page


def explanation(page: Served, spot: Spot) -> Any:
    """On the page."""
    return page.get(f"/api/tile/{number(page.filling.ledger, page.filling.run.run_id, spot)}").json["explain"]


def listed(page: Served) -> Any:
    """The retake list of the page, without its time."""
    return {**page.get("/api/retakes?format=json").json, "time": None}


def told_list(page: Served) -> Any:
    """The retake list of the command, without its time."""
    return {**mhfd(page, "retakes", "--all", str(page.filling.root)), "time": None}


def happen(filling: Filling) -> None:
    ledger, run_id = filling.ledger, filling.run.run_id
    for spot, what in ((AGAIN, "retake"), (ACCEPTED, "accept"), (TOUCHED, "accept")):
        ledger.decide(run_id, Decision(number(ledger, run_id, spot), what, "Ana", time.time()))  # type: ignore[arg-type]
    take_again(filling, AGAIN, replace(WAFER, odd={}))
    take_again(filling, TOUCHED, WAFER)


def mhfd(page: Served, *words: str) -> Any:
    """What a command prints as JSON of the page's run."""
    filling = page.filling
    where = ["--ledger", str(filling.root.parent / "ledger.db"), "--json"]
    done = CliRunner().invoke(main, [*words, *where], catch_exceptions=False)
    assert done.exit_code in (0, 1, 3), done.output
    return json.loads(done.stdout)


def exported(page: Served) -> list[dict[str, Any]]:
    filling = page.filling
    given = ["export", str(filling.root), "--ledger", str(filling.root.parent / "ledger.db"), "--format", "jsonl"]
    return [json.loads(line) for line in CliRunner().invoke(main, given, catch_exceptions=False).stdout.splitlines()]


def test_the_list_is_that_of_the_command(page: Served) -> None:
    told = told_list(page)
    assert {each["state"] for each in told["tiles"]} == {"open", "accept", "closed"}
    assert listed(page) == told
    table = list(csv.DictReader(io.StringIO(page.get("/api/retakes?format=csv").body.decode("utf-8-sig"))))
    assert [(each["path"], each["state"], each["reason"]) for each in table] == [
        (each["tile"], each["state"], each["reason"]) for each in told["tiles"]
    ]
    shown = page.get("/api/retakes").json["tiles"]
    assert [(each["name"], each["state"], each["why"], each["by"], each["blur_px"]) for each in shown] == [
        (each["tile"], each["state"], each["reason"], each["decided_by"], each["blur_px"]) for each in told["tiles"]
    ]


@pytest.mark.parametrize("spot", [BAD, AGAIN, FAILED, TOUCHED, (4, 1, 1), (2, 0, 0)])
def test_a_tiles_explanation_is_that_of_the_command(page: Served, spot: Spot) -> None:
    filling = page.filling
    found = page.get(f"/api/tile/{number(filling.ledger, filling.run.run_id, spot)}").json
    told = mhfd(page, "explain", WAFER.name(spot), "--run", str(filling.root))
    assert found["explain"] == told
    assert (found["verdict"], found["blur_px"], found["reference"]) == (
        told["verdict"], told["blur_px"], told["reference"]
    )  # fmt: skip


def test_the_verdicts_are_those_of_the_export(page: Served) -> None:
    filling = page.filling
    names = {row.tile_id: row.name for row in filling.ledger.rows(filling.run.run_id)}
    data = page.get("/api/tiles.bin").body
    count = struct.unpack_from("<I", data, 8)[0]
    n, verdict = np.frombuffer(data, "<u4", count, 32), np.frombuffer(data, "u1", count, 32 + 8 * count)
    shown = {names[int(i)]: VERDICTS[code] for i, code in zip(n, verdict, strict=True)}
    assert shown == {row["path"]: row["verdict"] for row in exported(page)}


def test_a_decision_is_about_pixels(page: Served) -> None:
    """The file that was only touched stays accepted, and is not counted."""
    with page.asker.events() as events:
        assert events.next("counts").data["take_again"] == 2, "the bad one, and the failed one"
    n = number(page.filling.ledger, page.filling.run.run_id, TOUCHED)
    late = page.post("/api/decision", {"n": n, "what": "retake", "by": "Ben", "was": "open"})
    assert late.status == 409 and (late.json["what"], late.json["by"]) == ("accept", "Ana")
