"""The functions that are registered with Globus Compute, from their source.

The endpoint executes the text of one function in an empty namespace, anew for every task. So each imports what it
needs, uses no name of this module, takes and returns plain JSON types, and runs on Python 3.10 to 3.13. What is worth
keeping (the backend, compiled kernels) lives in the installed package, which is all that changes with its version:
these texts stay as they are, and with them the functions' UUIDs.
"""

from __future__ import annotations


def score_inline(tiles: list[object], params: dict[str, object] | None = None) -> dict[str, object]:
    """Score tiles whose pixels are in the task: {"rows": [...]}, a row a tile, in order."""
    try:
        from mhfd.worker import score_inline as call
    except ImportError as error:
        import sys

        message = f"{error}, so nothing can be scored here: pip install mhfd on the endpoint, for {sys.executable}"
        return {"schema": 1, "error": {"code": "not_installed", "message": message}}
    return call(tiles, params)


def score_paths(paths: list[object], params: dict[str, object] | None = None) -> dict[str, object]:
    """Score files that the worker can read: {"rows": [...]}, a row a tile, in order."""
    try:
        from mhfd.worker import score_paths as call
    except ImportError as error:
        import sys

        message = f"{error}, so nothing can be scored here: pip install mhfd on the endpoint, for {sys.executable}"
        return {"schema": 1, "error": {"code": "not_installed", "message": message}}
    return call(paths, params)


def score_run(manifest: dict[str, object], params: dict[str, object] | None = None) -> dict[str, object]:
    """Score what is not yet scored of an archived run, beside the data; returns a summary."""
    try:
        from mhfd.worker import score_run as call
    except ImportError as error:
        import sys

        message = f"{error}, so nothing can be scored here: pip install mhfd on the endpoint, for {sys.executable}"
        return {"schema": 1, "error": {"code": "not_installed", "message": message}}
    return call(manifest, params)


def describe() -> dict[str, object]:
    """What the worker is and has: versions, GPUs, memory, scratch space."""
    try:
        from mhfd.worker import describe as call
    except ImportError as error:
        import sys

        message = f"{error}, so nothing can be scored here: pip install mhfd on the endpoint, for {sys.executable}"
        return {"schema": 1, "error": {"code": "not_installed", "message": message}}
    return call()


def warmup() -> dict[str, object]:
    """Compile the kernels and score a probe tile of known answer."""
    try:
        from mhfd.worker import warmup as call
    except ImportError as error:
        import sys

        message = f"{error}, so nothing can be scored here: pip install mhfd on the endpoint, for {sys.executable}"
        return {"schema": 1, "error": {"code": "not_installed", "message": message}}
    return call()
