"""An old run, fed into a folder as a microscope would write it: a trial of `mhfd watch` without the microscope.

    plan_replay -> replay: steps, as they are done -> Manifest

The run is only read. The manifest says what was written when and what every file should hold in the end, so that
whatever watched the folder can be compared with it. All that is random follows from the seed and the file's name.
"""

from mhfd_client.replay.manifest import Manifest, manifest_path, run_replay
from mhfd_client.replay.plan import Act, Listing, ReplayError, ReplayPlan, ReplayStoppedError, plan_replay
from mhfd_client.replay.writing import Step, replay

__all__ = [
    "Act", "Listing", "Manifest", "ReplayError", "ReplayPlan", "ReplayStoppedError", "Step", "manifest_path",
    "plan_replay", "replay", "run_replay",
]  # fmt: skip
