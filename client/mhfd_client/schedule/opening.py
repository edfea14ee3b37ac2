"""The name of a scheduler -> its implementation."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from mhfd_client.schedule.protocol import Scheduler

Kind = Literal["systemd", "windows", "globus"]


def open_scheduler(
    kind: Kind,
    config_file: Path | None = None,
    *,
    copy: tuple[str, str] | None = None,
    consent_to: tuple[str, ...] = (),
) -> Scheduler:
    """The scheduler; nothing is asked of it yet. What else is given is for Globus: see `GlobusScheduler`."""
    if kind == "systemd":
        from mhfd_client.schedule.systemd import SystemdScheduler

        return SystemdScheduler()
    if kind == "windows":
        from mhfd_client.schedule.windows import WindowsScheduler

        return WindowsScheduler()
    from mhfd_client.schedule.globus import GlobusScheduler

    return GlobusScheduler(config_file, copy, consent_to)
