"""The steps that take a tile from its folder to its row in the ledger."""

from mhfd_client.pipeline.context import Options, Results
from mhfd_client.pipeline.notices import Board
from mhfd_client.pipeline.pipeline import Pipeline, StandstillError

__all__ = ["Board", "Options", "Pipeline", "Results", "StandstillError"]
