"""The fixture `slurm`, and what makes `loopback` one with an endpoint on it; a conftest.py imports from here."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from loopback import fixtures
from needs import give_up
from slurm.cluster import Slurm, missing

if TYPE_CHECKING:
    from loopback.stack import Loopback

FOLDER = Path(__file__).parents[2] / "endpoint_configs" / "slurm"
LACK = "Slurm is not installed. On Debian or Ubuntu: apt-get install slurmctld slurmd slurm-client munge"
# As on a cluster, but everything that takes minutes there takes seconds.
SETTINGS = {
    "MHFD_INTERFACE": "lo",
    "MHFD_JOB_IDLE_S": "10",
    "MHFD_HEARTBEAT_THRESHOLD_S": "12",
    "MHFD_BACKEND": "numpy",
}


@pytest.fixture(scope="session")
def slurm_session() -> Iterator[Slurm]:
    """A running cluster, one for all tests of this process; tests themselves take `slurm`."""
    if sys.platform != "linux" or missing():
        give_up(LACK)
    cluster = Slurm()
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.remove()


@pytest.fixture
def slurm(slurm_session: Slurm) -> Iterator[Slurm]:
    """A cluster without jobs, whose queue is open."""
    yield slurm_session
    slurm_session.settle()


@pytest.fixture(scope="session")
def loopback_session(slurm_session: Slurm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loopback]:
    """The Globus Compute service, and an endpoint from the shipped folder on Slurm's login node.

    It takes the place of `loopback.fixtures.loopback_session`; its endpoint permits any function.
    """
    if lack := fixtures.missing():
        give_up(lack)
    from loopback.stack import Loopback

    folder = tmp_path_factory.mktemp("slurm")
    shutil.copytree(FOLDER, folder / "mhfd")
    config = folder / "mhfd" / "config.yaml"
    shipped = yaml.safe_load(config.read_text())
    del shipped["allowed_functions"]  # [] permits none; without the key any may run
    config.write_text(yaml.safe_dump(shipped))
    everything = Loopback(
        folder / "loopback",
        endpoint_folder=folder / "mhfd",
        worker_environment={**SETTINGS, **slurm_session.environment},
    )
    yield everything
    everything.stop()
    fixtures.collect()
