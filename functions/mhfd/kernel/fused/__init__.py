"""The measure on GPUs: the CUDA source and the code that runs it.

Each extent (scales and rows of a tile) uses one block of memory, laid out before it is allocated, so that its size is
known beforehand. A batch of tiles is one CUDA graph, recorded once and replayed. `Device` is the interface of a GPU;
`mhfd.cuda` implements it. A tile whose planes exceed the budget is done in strips of rows, with the same result.
"""

from mhfd.kernel.fused.sharing import measure_on
from mhfd.kernel.fused.single import Fused

__all__ = ["Fused", "measure_on"]
