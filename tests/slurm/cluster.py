"""A Slurm of our own: in a temporary folder, on free ports, on the loopback interface; it ends with us."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

from loopback.broker import free_port, wait_until
from loopback.guard import Guarded

NODES = ("node1", "node2")
GPUS = 4  # of each node
START_TIMEOUT_S = 40.0  # alone 1 s; more on a busy machine
COMMAND_TIMEOUT_S = 60.0
STOP_GRACE_S = 5.0
DAEMONS = ("munged", "slurmctld", "slurmd")

# KillWait: from SIGTERM to SIGKILL. The defaults of the others make a test wait: a node that answers late is not down,
# and a job begins within a second of what it waited for.
CONFIGURATION = """\
ClusterName=loopback
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
PropagateResourceLimits=NONE
ReturnToService=2
MessageTimeout=60
SlurmdTimeout=0
KillWait=2
SchedulerParameters=sched_interval=1,sched_min_interval=100000,batch_sched_delay=1,bf_interval=1
GresTypes=gpu
{nodes}
PartitionName=gpus Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
NODE = "NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=128 Gres=gpu:{gpus} Feature=gpu"
# The flag makes Slurm set CUDA_VISIBLE_DEVICES, as it does for NVIDIA's GPUs.
GPU_FILES = "NodeName={names} Name=gpu Flags=nvidia_gpu_env File={folder}/gpu[0-{last}]\n"


class SlurmError(RuntimeError):
    """Slurm did not start, or refused a command."""


def missing() -> list[str]:
    """The daemons that are not installed."""
    return [name for name in DAEMONS if _program(name) is None]


def _program(name: str) -> str | None:
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin"]))


class Slurm:
    """One controller and two nodes.

    Attributes
    ----------
    folder : all files, the logs among them
    environment : variables that lead Slurm's commands, here or in another process, to this cluster
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="mhfd-slurm-"))  # short: sockets have at most 107 characters
        self.environment = {"SLURM_CONF": str(self.folder / "slurm.conf")}
        self._daemons: list[Guarded] = []

    def start(self) -> None:
        """Start all daemons and wait until both nodes take jobs; try other free ports if ours were taken meanwhile."""
        for _ in range(3):
            self._configure([free_port() for _ in range(1 + len(NODES))])
            self._daemons = list(map(self._daemon, self._commands()))
            with contextlib.suppress(TimeoutError):
                wait_until(lambda: self._idle_nodes() == len(NODES) or self._dead(), START_TIMEOUT_S, "the nodes idle")
            if not self._dead() and self._idle_nodes() == len(NODES):
                return
            self._end_daemons()
        raise SlurmError(f"Slurm did not start:\n{self.logs()}")

    def remove(self) -> None:
        """End all daemons and jobs, and remove the files."""
        self._end_daemons()
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(self, command: str, *arguments: str) -> str:
        """What one of Slurm's commands prints."""
        done = subprocess.run(
            [command, *arguments],
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
        )
        if done.returncode:
            raise SlurmError(f"{command} {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def jobs(self) -> dict[str, str]:
        """Jobs that have not ended: number -> state, "PENDING", "RUNNING" or "COMPLETING"."""
        return dict(line.split() for line in self.run("squeue", "--noheader", "--format=%i %T").splitlines())

    def running(self) -> list[str]:
        """The numbers of jobs that run, in order."""
        return sorted((job for job, state in self.jobs().items() if state == "RUNNING"), key=int)

    def cancel(self, *jobs: str) -> None:
        """End these jobs; without any, all."""
        if jobs := jobs or tuple(self.jobs()):
            self.run("scancel", *jobs)

    def hold(self) -> None:
        """From now on start no job: new ones wait in the queue."""
        self.run("scontrol", "update", "PartitionName=gpus", "State=DOWN")

    def release(self) -> None:
        """Start jobs again, and those that wait."""
        self.run("scontrol", "update", "PartitionName=gpus", "State=UP")

    def settle(self) -> None:
        """Prepare the next test: no jobs, and the queue open."""
        self.cancel()
        self.release()
        wait_until(lambda: not self.jobs(), START_TIMEOUT_S, "all jobs have ended")

    def logs(self, lines: int = 30) -> str:
        """The ends of all logs."""
        return "\n".join(
            f"--- {path}\n" + "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
            for path in sorted(self.folder.glob("*.log"))
        )

    def _configure(self, ports: list[int]) -> None:
        host = socket.gethostname().partition(".")[0]
        for number in range(GPUS):
            with contextlib.suppress(FileExistsError):
                (self.folder / f"gpu{number}").symlink_to("/dev/null")
        (self.folder / "state").mkdir(exist_ok=True)
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        nodes = (
            NODE.format(name=name, host=host, port=port, gpus=GPUS) for name, port in zip(NODES, ports[1:], strict=True)
        )
        (self.folder / "slurm.conf").write_text(
            CONFIGURATION.format(
                host=host, ports=ports, user=getpass.getuser(), folder=self.folder, nodes="\n".join(nodes)
            )
        )
        (self.folder / "gres.conf").write_text(
            GPU_FILES.format(names=",".join(NODES), folder=self.folder, last=GPUS - 1)
        )

    def _commands(self) -> list[tuple[str, list[str]]]:
        """Name of the log, and the command, of each daemon; all stay in the foreground."""
        munge = {
            "socket": "munge.socket", "key-file": "munge.key", "pid-file": "munge.pid", "seed-file": "munge.seed",
            "log-file": "munged-own.log",
        }  # fmt: skip
        options = [f"--{key}={self.folder / name}" for key, name in munge.items()]
        return [
            # By force: it would refuse a folder that only we may enter.
            ("munged", ["munged", "--foreground", "--force", "--num-threads=10", *options]),
            ("slurmctld", ["slurmctld", "-D"]),
            *((f"slurmd-{name}", ["slurmd", "-D", "-N", name]) for name in NODES),
        ]

    def _daemon(self, named: tuple[str, list[str]]) -> Guarded:
        name, (program, *arguments) = named
        own = {key: value for key, value in os.environ.items() if not key.startswith(("SLURM_", "SBATCH_"))}
        return Guarded(
            [_program(program) or program, *arguments],
            log=self.folder / f"{name}.log",
            cwd=self.folder,
            env={**own, **self.environment},
        )

    def _idle_nodes(self) -> int:
        try:
            return self.run("sinfo", "--noheader", "--Node", "--format=%T").split().count("idle")
        except (SlurmError, subprocess.TimeoutExpired):
            return 0

    def _dead(self) -> bool:
        return not all(daemon.alive() for daemon in self._daemons)

    def _end_daemons(self) -> None:
        for daemon in reversed(self._daemons):  # the nodes first, with all their jobs
            daemon.stop(STOP_GRACE_S)
        self._daemons = []
