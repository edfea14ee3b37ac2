"""A command of mhfd in a process of its own: what it prints, its CPU time, its peak memory. Linux only."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

PROGRAM = """
import atexit, sys, time
def tell():
    peak = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
    print(time.process_time(), peak, file=sys.stderr)
atexit.register(tell)
from mhfd_client.cli import main
main(sys.argv[1:])
"""


@dataclass(frozen=True)
class Measured:
    """What a command printed on standard output, and what it cost."""

    stdout: str
    cpu_s: float
    peak_mib: int


def measured(words: Sequence[str]) -> Measured:
    """Run `mhfd WORDS`; it must succeed."""
    done = subprocess.run([sys.executable, "-c", PROGRAM, *words], capture_output=True, text=True, check=True)
    cpu_s, peak_kib = map(float, done.stderr.split()[-2:])
    return Measured(done.stdout, cpu_s, round(peak_kib / 1024))
