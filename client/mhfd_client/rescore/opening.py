"""Names of endpoints -> the sites that work on a run."""

from __future__ import annotations

import os
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from mhfd_client.compute.local import LocalCompute, count_gpus
from mhfd_client.compute.opening import open_compute
from mhfd_client.compute.protocol import Compute
from mhfd_client.config import Config, ConfigError, GlobusEndpoint, LocalEndpoint
from mhfd_client.rescore.share import Capacity, Priority, room
from mhfd_client.rescore.site import Site, place_of


def names_of(endpoints: str) -> list[str]:
    """The names in "A,B"."""
    return list(dict.fromkeys(filter(None, map(str.strip, endpoints.split(","))))) or ["local"]


def run_name(run: str, names: Sequence[str]) -> str:
    """The folder of a run under one name, however it was written."""
    here = "local" in names or Path(run).is_dir()
    return os.path.abspath(run) if here else run.rstrip("/") or "/"  # noqa: PTH100 - links are kept


@contextmanager
def open_sites(config: Config, names: Sequence[str], run: str) -> Generator[list[Site], None, None]:
    """The endpoints of these names, nothing sent yet; closed at the end, without waiting for tasks.

    Raises
    ------
    ConfigError
        There is no such endpoint, or they do not all see the run at one path.
    """
    entries = {name: config.endpoint(name) for name in names}
    places = {name: place_of(run, name, entry) for name, entry in entries.items()}
    if len(set(places.values())) > 1:
        where = ", ".join(f"{name}: {place.path}" for name, place in places.items())
        raise ConfigError(f"endpoints that share a job must see the run at the same path ({where})")
    with ExitStack() as closing:
        sites = []
        for name, entry in entries.items():
            compute = _opened(name, entry)
            closing.callback(compute.close)
            sites.append(Site(compute, entry.limits, places[name], here=isinstance(entry, LocalEndpoint)))
        yield sites


def workers_of(config: Config, names: Sequence[str], priority: Priority) -> dict[str, int]:
    """The workers that would work on a job, by endpoint; 0 where it has none yet, or does not tell."""
    found = {}
    for name in names:
        entry = config.endpoint(name)
        compute = _opened(name, entry)
        try:
            compute.connect()
            workers = Capacity.of(compute.status().result(entry.limits.status_every_s).details)
        finally:
            compute.close()
        idle = replace(workers, idle=workers.total or 0, more=0)
        found[name] = min(room(idle, 0, priority), workers.total) if workers.total else 0
    return found


def _opened(name: str, entry: GlobusEndpoint | LocalEndpoint) -> Compute:
    if isinstance(entry, LocalEndpoint):  # one process scores on all cores; shards are few in a small run
        return LocalCompute(entry.workers or count_gpus() or 1)
    return open_compute(name, entry)
