"""Whatever goes wrong while a file is read -> the `TileError` of its row."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from mhfd.contract import TileError
from mhfd.images.grey import corrupt, missing_codec, truncated


@contextmanager
def as_tile_errors(path: object) -> Iterator[None]:
    """Inside the block every error becomes a `TileError` about this file: a path, or what stands for one."""
    try:
        yield
    except TileError:
        raise
    except (FileNotFoundError, NotADirectoryError) as exc:
        raise TileError(
            "not_found", f"{path} does not exist; check the path as the machine that reads it sees it"
        ) from exc
    except PermissionError as exc:
        raise TileError("permission_denied", f"{path} may not be read by this user; change its permissions") from exc
    except MemoryError as exc:
        raise _no_memory(path) from exc
    # Fed damaged bytes, the decoders raise nearly anything: struct.error, KeyError, ZeroDivisionError, SyntaxError,
    # zlib.error, each codec its own. One bad file must stay one failed row, so nothing is let through.
    except Exception as exc:
        told = isinstance(exc, OSError | ValueError | RuntimeError | SyntaxError) and str(exc)
        reason = told or "its header makes no sense"  # others read like: '<' not supported between instances
        if isinstance(exc, OSError) and exc.errno == errno.ENOMEM:
            raise _no_memory(path) from exc
        if isinstance(exc, OSError) and exc.errno is not None:  # the system's; decoders' errors have no number
            raise TileError("read_failed", f"{path} could not be read ({reason}); check the disk or share") from exc
        if isinstance(exc, ImportError):
            raise missing_codec(str(path), "a") from exc
        if isinstance(exc, EOFError) or "truncated" in reason.lower() or "not enough image data" in reason:
            raise truncated(str(path), reason) from exc
        raise corrupt(str(path), reason) from exc


def _no_memory(path: object) -> TileError:
    return TileError("out_of_memory", f"{path} needs more memory than is free; score fewer at once, or crop it")
