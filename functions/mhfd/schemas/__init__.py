"""JSON Schemas of what crosses the border: parameters, results, and what the registered functions take and answer.

    python -m mhfd.schemas docs/schemas

writes them. They are made from the dataclasses of `mhfd.contract` and of this package. What goes out (results, answers)
has all its keys; what comes in may lack those that have a default, and has no others.
"""

from __future__ import annotations

from mhfd.schemas.make import schemas

__all__ = ["schemas"]
