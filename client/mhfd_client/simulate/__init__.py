"""A synthetic serial-section run of brain tissue with known focus, for trying everything without a microscope.

`plan` says what to simulate and how each tile is taken, `series` the same of a focal series; `tissue` is the specimen,
a function of place, from which it cuts one tile's scene; `microscope` takes a picture of a scene; `run` writes files.
"""

from mhfd_client.simulate.plan import RunPlan, TileTruth
from mhfd_client.simulate.run import FolderInUseError, simulate_run, simulate_series
from mhfd_client.simulate.series import SeriesPlan

__all__ = ["FolderInUseError", "RunPlan", "SeriesPlan", "TileTruth", "simulate_run", "simulate_series"]
