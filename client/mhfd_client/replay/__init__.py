"""Write an old run into a folder as a microscope would, to try `mhfd watch` without the microscope.

    plan_replay -> replay: steps, as they are done -> Manifest

The run is only read. The manifest says what was written when and what every file should hold in the end, to compare
with what a watch of the folder found. All random choices follow from the seed and the file's name.
"""

from mhfd_client.replay.manifest import Manifest, manifest_path, run_replay
from mhfd_client.replay.plan import Act, Listing, ReplayError, ReplayPlan, ReplayStoppedError, plan_replay
from mhfd_client.replay.writing import Step, replay

__all__ = [
    "Act", "Listing", "Manifest", "ReplayError", "ReplayPlan", "ReplayStoppedError", "Step", "manifest_path",
    "plan_replay", "replay", "run_replay",
]  # fmt: skip
