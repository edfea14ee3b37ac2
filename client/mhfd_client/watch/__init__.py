"""A folder that a microscope writes to -> what is new in it. The scan is the truth; events only make it come sooner."""

from mhfd_client.watch.pace import Pace
from mhfd_client.watch.scan import Changes, Folder, Scanner, ShareAwayError, Unlisted, compare
from mhfd_client.watch.wake import Waker

__all__ = ["Changes", "Folder", "Pace", "Scanner", "ShareAwayError", "Unlisted", "Waker", "compare"]
