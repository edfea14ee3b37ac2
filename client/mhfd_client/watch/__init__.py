"""A folder that a microscope writes to -> its new files. Scans find them; events only make the next scan sooner."""

from mhfd_client.watch.pace import Pace
from mhfd_client.watch.scan import Changes, Folder, NotFollowed, Scanner, ShareAwayError, Unlisted, compare
from mhfd_client.watch.wake import Waker

__all__ = ["Changes", "Folder", "NotFollowed", "Pace", "Scanner", "ShareAwayError", "Unlisted", "Waker", "compare"]
