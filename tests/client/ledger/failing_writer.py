"""A writer of ledgers whose system calls fail one after another: `python failing_writer.py FOLDER CALL`.

Child n writes FOLDER/n.db while the n-th CALL on it fails; it then goes on with the same ledger, as a watch does, and
writes what it was told to FOLDER/n.told. The last child's work makes fewer calls than that. Load failing_calls.c first.
"""

from __future__ import annotations

import ctypes
import errno
import itertools
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from mhfd.contract import FocusParams, FocusResult, Provenance
from mhfd_client.ledger import LedgerError, SeenFile, open_ledger

T = TypeVar("T")
NAMES = [f"s{k}.tif" for k in range(3)]
FAILED, CLEAN = 0, 10  # how a child ends: its call failed and all was well; no call failed


def scored(name: str) -> FocusResult:
    about = Provenance(mhfd="0", params_sha256="0", backend="numpy", device="cpu", tile_sha256="p")
    return FocusResult(path=name, status="scored", provenance=about, features=1, focus_score=1.0)


def tried(step: Callable[[], T], say: Callable[[str], None]) -> T:
    """The step's result; where the ledger reports a fault, that of a second try."""
    try:
        return step()
    except LedgerError as error:
        say(f"{type(error).__name__}: {error}")
        return step()


def work(path: Path, say: Callable[[str], None]) -> None:
    ledger = tried(lambda: open_ledger(path), say)
    run = tried(lambda: ledger.open_run("/data", FocusParams(), layout="auto", endpoint="local"), say)
    tried(lambda: ledger.see(run.run_id, [(SeenFile(name, 1, 1), None) for name in NAMES], 1.0), say)

    def ids(state: str) -> list[int]:
        return [row.tile_id for row in ledger.rows(run.run_id, states=[state])]

    for tile_id in ids("seen"):
        tried(lambda tile_id=tile_id: ledger.finish(tile_id, [("p", (4, 4))], 2.0), say)
    tried(lambda: ledger.stage([(tile_id, None) for tile_id in ids("ready")], 3.0), say)
    tried(lambda: ledger.submit(ids("staged"), "local", 4.0), say)
    tried(lambda: ledger.heartbeat(run.run_id, {}, 5.0), say)
    for row in list(ledger.rows(run.run_id, states=["submitted"])):
        for tile_id in tried(lambda row=row: ledger.store([(row.tile_id, scored(row.name))], 6.0), say):
            say(f"stored {tile_id}")
    tried(ledger.close, say)


def child(shim: ctypes.CDLL, folder: Path, call: str, n: int) -> int:
    shim.fail_call(call.encode(), f"{n}.db".encode(), n, errno.ENOSPC if n % 2 else errno.EIO)
    with (folder / f"{n}.told").open("w") as told:
        try:
            work(folder / f"{n}.db", lambda line: print(line, file=told, flush=True))
        except BaseException:
            traceback.print_exc()
            return 1
    return FAILED if shim.has_failed() else CLEAN


def main() -> int:
    folder, call = Path(sys.argv[1]), sys.argv[2]
    shim = ctypes.CDLL(None)
    for n in itertools.count(1):
        process = os.fork()
        if process == 0:
            os._exit(child(shim, folder, call, n))
        ended = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        if ended != FAILED:
            return 0 if ended == CLEAN else 1
    raise AssertionError("unreachable")


if __name__ == "__main__":
    sys.exit(main())
