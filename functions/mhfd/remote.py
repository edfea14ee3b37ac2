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


def plan_run(
    folder: str,
    pattern: str | None = None,
    params: dict[str, object] | None = None,
    options: dict[str, object] | None = None,
) -> dict[str, object]:
    """List the tiles of an archived run in a manifest beside the data; returns its path and numbers."""
    try:
        from mhfd.worker import plan_run as call
    except ImportError as error:
        import sys

        message = f"{error}, so nothing can be scored here: pip install mhfd on the endpoint, for {sys.executable}"
        return {"schema": 1, "error": {"code": "not_installed", "message": message}}
    return call(folder, pattern, params, options)


def score_shard(
    manifest: str,
    first: int,
    count: int,
    params: dict[str, object] | None = None,
    options: dict[str, object] | None = None,
) -> dict[str, object]:
    """Score `count` tiles of a manifest from `first` on into a part beside it, unless that is there."""
    try:
        from mhfd.worker import score_shard as call
    except ImportError as error:
        import sys

        message = f"{error}, so nothing can be scored here: pip install mhfd on the endpoint, for {sys.executable}"
        return {"schema": 1, "error": {"code": "not_installed", "message": message}}
    return call(manifest, first, count, params, options)


def finish_run(
    manifest: str,
    params: dict[str, object] | None = None,
    reference: object = None,
    options: dict[str, object] | None = None,
) -> dict[str, object]:
    """Judge an archived run whose shards are all scored, and mark its dataset as complete; returns a summary."""
    try:
        from mhfd.worker import finish_run as call
    except ImportError as error:
        import sys

        message = f"{error}, so nothing can be scored here: pip install mhfd on the endpoint, for {sys.executable}"
        return {"schema": 1, "error": {"code": "not_installed", "message": message}}
    return call(manifest, params, reference, options)


def control_run(manifest: str, action: str = "status") -> dict[str, object]:
    """Pause, resume or cancel a job on an archived run, or tell how far it is."""
    try:
        from mhfd.worker import control_run as call
    except ImportError as error:
        import sys

        message = f"{error}, so nothing can be scored here: pip install mhfd on the endpoint, for {sys.executable}"
        return {"schema": 1, "error": {"code": "not_installed", "message": message}}
    return call(manifest, action)


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
