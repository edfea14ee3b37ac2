"""The equipment itself: two nodes, their GPUs, a queue."""

from __future__ import annotations

from loopback.broker import wait_until
from slurm.cluster import GPUS, NODES, Slurm

WAIT_S = 60.0
SLEEP = "--wrap=sleep 600"


def test_each_node_has_its_gpus(slurm: Slurm) -> None:
    told = slurm.run(
        "srun", "--nodes=2", f"--gpus-per-node={GPUS}", "sh", "-c", "echo $SLURMD_NODENAME $CUDA_VISIBLE_DEVICES"
    )
    assert sorted(told.splitlines()) == [f"{node} 0,1,2,3" for node in NODES]


def test_a_job_waits_runs_and_is_cancelled(slurm: Slurm) -> None:
    slurm.hold()
    job = slurm.run("sbatch", "--parsable", "--output=/dev/null", SLEEP).strip()
    assert slurm.jobs() == {job: "PENDING"}
    slurm.release()
    wait_until(lambda: slurm.running() == [job], WAIT_S, "the job runs")
    slurm.cancel(job)
    wait_until(lambda: not slurm.jobs(), WAIT_S, "the job has ended")


def test_more_gpus_than_there_are_nobody_gets(slurm: Slurm) -> None:
    """So a job that runs does have its GPUs."""
    one = [
        slurm.run("sbatch", "--parsable", "--output=/dev/null", "--gpus-per-node=3", SLEEP).strip() for _ in range(3)
    ]
    wait_until(lambda: slurm.running() == one[:2], WAIT_S, "a job on each node")
    assert slurm.jobs()[one[2]] == "PENDING"
