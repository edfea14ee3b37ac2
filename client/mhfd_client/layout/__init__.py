"""What names of files tell: which images are tiles, where each lies, and which should be there but are not."""

from mhfd_client.layout.auto import detect, open_layout
from mhfd_client.layout.grid import Grid
from mhfd_client.layout.names import Layout, LayoutError
from mhfd_client.layout.position import Position

__all__ = ["Grid", "Layout", "LayoutError", "Position", "detect", "open_layout"]
