"""A real Globus Compute endpoint (its own command line) with all its files in one temporary folder.

Any endpoint folder can be run: its files are copied, and only what this machine needs is added to them:

- as root, an ``email`` in config.yaml (without it the endpoint refuses to start) and, since root's endpoint clears the
  environment of its children, that environment in user_environment.yaml;
- heartbeats every 5 s, the shortest, in config.yaml, so that an endpoint that died is soon seen to be offline.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import psutil
import yaml

from loopback.broker import wait_until
from loopback.guard import Guarded

START_TIMEOUT_S = 30.0
STOP_GRACE_S = 15.0  # it tells its user endpoints to end, too
NAME = "loopback"
HEARTBEAT_S = 5

Json = dict[str, Any]
Part = Literal["core", "user", "manager", "worker"]

# One core endpoint, one user endpoint for each set of options: {"engine": "ThreadPoolEngine"} is a second one, beside
# the GlobusComputeEngine of {}. Everything is on the loopback interface and nothing is installed from anywhere.
TEMPLATE = """\
{%- set type = engine | default("GlobusComputeEngine") | replace('"', "") -%}
heartbeat_period: 5
idle_heartbeats_soft: 0
engine:
  type: {{ type }}
{%- if only_json is defined %}
  allowed_serializers: [globus_compute_sdk.serialize.JSONData, globus_compute_sdk.serialize.PureSourceTextInspect]
{%- endif %}
{%- if type == "ThreadPoolEngine" %}
  max_workers: {{ workers | default(1) }}
{%- else %}
  max_workers_per_node: {{ workers | default(1) }}
  max_retries_on_system_failure: {{ retries | default(0) }}
  heartbeat_period: 2
  heartbeat_threshold: 10
  address: 127.0.0.1
{%- if cpu_affinity is defined %}
  cpu_affinity: {{ cpu_affinity }}
{%- endif %}
  job_status_kwargs:
    strategy_period: 0.5
  provider:
    type: LocalProvider
    worker_init: {{ worker_init | default('""') }}
    init_blocks: 1
    min_blocks: 1
    max_blocks: 1
{%- endif %}
"""
SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "engine": {"enum": ["ThreadPoolEngine", "GlobusComputeEngine"]},
        "workers": {"type": "integer", "minimum": 1},
        "retries": {"type": "integer", "minimum": 0},
        "cpu_affinity": {"type": "string"},
        "worker_init": {"type": "string"},
        "only_json": {"const": True},  # takes arguments in the shipped folders' two formats only
    },
}


def write_folder(folder: Path, *, allowed_functions: Sequence[str] = ()) -> Path:
    """Write the endpoint folder that the loopback uses when it is given none."""
    folder.mkdir(parents=True)
    config: Json = {"display_name": "loopback"}
    if allowed_functions:
        config["allowed_functions"] = list(allowed_functions)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    (folder / "user_config_template.yaml.j2").write_text(TEMPLATE)
    (folder / "user_config_schema.json").write_text(json.dumps(SCHEMA))
    return folder


class Endpoint:
    """An endpoint run from a copy of `source` in the Compute folder under `home`.

    Parameters
    ----------
    home : becomes HOME of the endpoint and its workers; their working folder, too
    environment : variables that lead the core endpoint's SDK to the service
    source : an endpoint folder, copied; None for `write_folder`'s
    worker_environment : for user endpoints and workers; PATH, HOME and GLOBUS_COMPUTE_USER_DIR are set anyway
    """

    def __init__(
        self,
        home: Path,
        environment: Mapping[str, str],
        *,
        source: Path | None = None,
        worker_environment: Mapping[str, str] | None = None,
    ) -> None:
        self.home = home
        self.compute_dir = home / ".globus_compute"
        self.folder = self.compute_dir / NAME
        self.log = home / "endpoint.log"
        self._environment = dict(environment)
        self._worker_environment = dict(worker_environment or {})
        self._process: Guarded | None = None
        if source is None:
            write_folder(self.folder)
        else:
            shutil.copytree(source, self.folder, ignore=shutil.ignore_patterns("endpoint.json", "*.pid", "*.log"))

    @property
    def id(self) -> str:
        """The UUID the service gave it; the same after a restart."""
        return str(json.loads((self.folder / "endpoint.json").read_text())["endpoint_id"])

    def start(self) -> None:
        """Start it and wait until it is registered (online it is with its first heartbeat)."""
        self._end(0)  # what is left of one that has ended by itself
        self._adapt()
        self.forget_pid_files()
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(("GLOBUS_", "PYTEST_"))}
        own = {"HOME": str(self.home), "GLOBUS_COMPUTE_USER_DIR": str(self.compute_dir), "PATH": path}
        self._process = Guarded(
            ["globus-compute-endpoint", "start", NAME],
            log=self.log,
            cwd=self.home,
            env={**inherited, **self._environment, **own},
        )
        process, pid_file = self._process, self.folder / "daemon.pid"

        def registered() -> bool:
            """Wait for the id: at the first start it comes after the process."""
            with contextlib.suppress(FileNotFoundError, ValueError):
                return pid_file.exists() and bool(self.id)
            return False

        wait_until(lambda: registered() or not process.alive(), START_TIMEOUT_S, "the endpoint has started")
        if not process.alive():
            raise RuntimeError(f"The endpoint did not start:\n{self.logs()}")

    def stop(self) -> None:
        """End it cleanly: the service hears that it goes offline."""
        self._end(STOP_GRACE_S)

    def kill(self) -> None:
        """End it and everything it started at once, as a power cut does."""
        self._end(0)

    def processes(self, part: Part) -> list[psutil.Process]:
        """Its processes: core endpoint, user endpoints (one for each set of options), Parsl's managers and workers."""
        return [each for each in (self._process.descendants() if self._process else []) if _part_of(each) == part]

    def kill_part(self, part: Part) -> int:
        """``kill -9`` the processes of `part` and wait for their end; how many there were."""
        processes = self.processes(part)
        for process in processes:
            process.kill()
        psutil.wait_procs(processes, timeout=5)
        if part == "user":
            self.forget_pid_files()
        return len(processes)

    def forget_pid_files(self) -> None:
        """Remove pid files; else a killed part restarts only when that is three heartbeats (15 s) old."""
        for pid_file in self.compute_dir.glob("*/daemon.pid"):
            pid = pid_file.read_text().split()
            if not pid or not psutil.pid_exists(int(pid[0])):
                pid_file.unlink()

    def logs(self, lines: int = 40) -> str:
        """The ends of all its logs: core, user endpoints, engines."""
        found = [self.log, *sorted(self.compute_dir.rglob("*.log"))]
        return "\n".join(
            f"--- {path}\n" + "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
            for path in found
            if path.exists() and path.stat().st_size
        )

    def _end(self, grace_s: float) -> None:
        if self._process is not None:
            self._process.stop(grace_s)
            self._process = None

    def _adapt(self) -> None:
        """Add to the folder's files what this machine needs."""
        needed: Json = {"heartbeat_period": HEARTBEAT_S}
        if os.geteuid() == 0:
            needed["email"] = "loopback@example.org"
        _merge(self.folder / "config.yaml", needed)
        own = {
            "HOME": str(self.home),
            "CWD": str(self.home),
            "GLOBUS_COMPUTE_USER_DIR": str(self.compute_dir),
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), "/usr/local/bin", "/usr/bin", "/bin"]),
            "PYTHONPATH": os.environ.get("PYTHONPATH", ""),  # the mhfd that is tested, where that is not installed
            "http_proxy": "",  # only the core endpoint needs the way to the service
        }
        _merge(self.folder / "user_environment.yaml", {**own, **self._worker_environment})


def _merge(path: Path, values: Mapping[str, Any]) -> None:
    present = (yaml.safe_load(path.read_text()) if path.exists() else None) or {}
    path.write_text(yaml.safe_dump({**present, **values}))


def _part_of(process: psutil.Process) -> Part | None:
    try:
        title = " ".join(process.cmdline())
        if "Globus Compute Endpoint *(" in title:
            return "core"
        if "Globus Compute Endpoint (" in title or "_start-user-endpoint" in title:
            return "user"
        if "high_throughput.process_worker_pool" in title and "python" in Path(process.exe()).name:
            return "manager"
        if any(Path(each.path).name.startswith("worker_") for each in process.open_files()):  # its log
            return "worker"
    except psutil.Error:
        pass  # it has just ended
    return None
