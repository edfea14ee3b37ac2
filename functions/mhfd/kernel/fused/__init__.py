"""The measure on GPUs: fused.cu and what runs it.

All memory of a piece of work is one block, laid out before it is asked for, so that its size is known beforehand,
and a batch of tiles is one CUDA graph that is recorded once and replayed. What a GPU is, `Device` says;
`mhfd.cuda` has the real one. A tile whose planes exceed the budget is done in strips of rows, with the same result.
"""

from mhfd.kernel.fused.sharing import measure_on
from mhfd.kernel.fused.single import Fused

__all__ = ["Fused", "measure_on"]
