"""Read file names: which images are tiles, where each lies, and which tiles are missing."""

from mhfd_client.naming.added import check_layout
from mhfd_client.naming.grid import Grid
from mhfd_client.naming.opening import detect, open_layout
from mhfd_client.naming.position import Position
from mhfd_client.naming.protocol import Layout, LayoutError, LayoutName

__all__ = ["Grid", "Layout", "LayoutError", "LayoutName", "Position", "check_layout", "detect", "open_layout"]
