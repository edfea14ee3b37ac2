"""Parquet files that come into their place whole: written beside it under another name, then renamed.

A name tells who writes the file, so what a killed process has left can be found and removed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

from mhfd.contract import ParamsError
from mhfd.extras import needed

LEFT_OVER_S = 24 * 3600.0
"""A file of another machine's process that was not touched for this long is left over."""

FOOTER = b"mhfd"
"""Key of our object, as JSON, in a Parquet file's footer."""


def pyarrow() -> Any:
    """`pyarrow`, with `pyarrow.parquet`; `MissingExtraError` where it is not installed."""
    needed("pyarrow.parquet", "parquet", "scoring an archived run")
    return needed("pyarrow", "parquet", "scoring an archived run")


class ParquetFile:
    """A Parquet file being written: `keep` puts it into its place; without that `drop` leaves nothing.

    Parameters
    ----------
    folder : in which it is written, and then lies
    schema : `pyarrow.Schema`
    settings : of `pyarrow.parquet.ParquetWriter`
    """

    def __init__(self, folder: Path, name: str, schema: Any, **settings: Any) -> None:
        self._place = unfinished(folder, name)
        self._file = self._place.open("wb")
        self._writer = pyarrow().parquet.ParquetWriter(
            self._file, schema, compression="zstd", store_schema=False, **settings
        )

    def write(self, table: Any) -> None:
        """Write a `pyarrow.Table` as one row group."""
        self._writer.write_table(table, row_group_size=max(1, len(table)))

    def keep(self, place: Path, footer: Mapping[str, Any]) -> None:
        """Finish the file, with this object in its footer, and rename it; it is on the disk before."""
        self._writer.add_key_value_metadata({FOOTER: json.dumps(footer, sort_keys=True)})
        self._writer.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._place.replace(place)

    def drop(self) -> None:
        """Leave nothing, unless `keep` was called."""
        if not self._file.closed:
            self._writer.close()  # or it would be written when it is collected
            self._file.close()
        self._place.unlink(missing_ok=True)


@contextmanager
def reading(path: Path) -> Iterator[Any]:
    """A Parquet file to read, as `pyarrow.parquet.ParquetFile`.

    Raises
    ------
    ParamsError
        Its content is damaged; how it ends was seen to be right (`footer`).
    """
    arrow = pyarrow()
    try:
        with path.open("rb") as content, arrow.parquet.ParquetFile(content) as file:  # its own `open` wants UTF-8
            yield file
    except FileNotFoundError:
        raise
    except (arrow.ArrowException, OSError) as error:
        raise ParamsError(f"{path} cannot be read ({error}): remove it, and do again what made it") from error


def write_json(place: Path, value: Mapping[str, Any]) -> None:
    """Write a small file, whole or not at all."""
    file = unfinished(place.parent, place.name)
    with file.open("w", encoding="utf-8") as out:
        json.dump(value, out, indent=2, allow_nan=False)
        out.write("\n")
        out.flush()
        os.fsync(out.fileno())
    file.replace(place)


def footer(path: Path) -> dict[str, Any] | None:
    """Our object in the footer of a Parquet file; None if there is no whole file of ours."""
    arrow = pyarrow()
    try:
        with path.open("rb") as content:
            found = json.loads((arrow.parquet.read_metadata(content).metadata or {})[FOOTER])
    except (OSError, ValueError, KeyError, arrow.ArrowException):
        return None
    return found if isinstance(found, dict) else None


def unfinished(folder: Path, name: str) -> Path:
    """A name for a file that this process is writing."""
    return folder / f"{name}.{_here()}-{os.getpid()}-{uuid4().hex[:8]}.tmp"


def remove_left_over(folder: Path) -> None:
    """Remove what killed processes of this machine, and long ago of others, did not finish."""
    for path in folder.glob("*.tmp"):
        here, _, rest = path.name.removesuffix(".tmp").rpartition(".")[2].partition("-")
        pid = rest.partition("-")[0]
        try:
            if here == _here() and pid.isdecimal() and len(pid) < 10:
                left_over = _is_dead(int(pid))
            else:
                left_over = time.time() - path.stat().st_mtime > LEFT_OVER_S
        except FileNotFoundError:
            continue
        if left_over:
            path.unlink(missing_ok=True)


@cache
def _here() -> str:
    """Where this process's number counts, as a part of a name: the machine, its boot, and the container."""
    parts = [platform.node()]
    with contextlib.suppress(OSError):  # not Linux
        parts += [
            Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
            str(Path("/proc/self/ns/pid").readlink()),
        ]
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:12]


def _is_dead(pid: int) -> bool:
    """True if a process of here is known to have ended. On Windows nobody asks: the signal would be a Ctrl-C."""
    if os.name == "nt":
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:  # alive, and someone else's
        return False
    return False
