"""The fixtures of this folder: `loopback` is Globus Compute with an endpoint on Slurm."""

from slurm.fixtures import loopback_session, slurm, slurm_session

__all__ = ["loopback_session", "slurm", "slurm_session"]
