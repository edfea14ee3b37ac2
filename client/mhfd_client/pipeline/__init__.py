"""The line that a tile walks from its folder to its row in the ledger, step by step."""

from mhfd_client.pipeline.context import Options
from mhfd_client.pipeline.dispatch import Results
from mhfd_client.pipeline.notices import Board
from mhfd_client.pipeline.pipeline import Pipeline, StandstillError

__all__ = ["Board", "Options", "Pipeline", "Results", "StandstillError"]
