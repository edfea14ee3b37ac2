"""Files that appear whole: written beside their place, then renamed; or not at all."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import secrets
import shutil
from collections.abc import Generator
from pathlib import Path
from typing import IO

_STREAMS = ("/dev/std", "/dev/fd/", "/proc/")
_NO_SYNC = {errno.EINVAL, errno.ENOSYS, getattr(errno, "ENOTSUP", errno.EINVAL)}  # some shares cannot


@contextlib.contextmanager
def written(path: Path) -> Generator[IO[bytes], None, None]:
    """A file that appears under its name when it is complete; after an error the one before is still there.

    Its folder is made where it is missing. A link is followed; a device or a pipe is written as it is.

    Raises
    ------
    OSError
        It cannot be written; `filename` is `path`.
    """
    with _named(path):
        if _is_stream(path):
            file: IO[bytes] = path.open("wb")
            part = None
        else:
            target = path.resolve()
            part = _beside(target)
            file = part.open("xb")
    try:
        with _named(path, part):
            with file:
                yield file
                file.flush()
                if part is not None:
                    _sync(file)
            if part is not None:
                with contextlib.suppress(OSError):  # a new file has the usual rights
                    shutil.copymode(target, part)
                part.replace(target)
    finally:
        if part is not None:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)


def write_whole(path: Path, text: str) -> None:
    """Write a text file with `written`: UTF-8, line ends as they are."""
    with written(path) as file:
        file.write(text.encode())


def check_writable(path: Path) -> None:
    """Raise now what `written` would raise later, after hours of work; makes the folder.

    Raises
    ------
    OSError
        It cannot be written; `filename` is `path`.
    """
    with _named(path):
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if _is_stream(path):
            return
        if path.exists():
            path.open("ab").close()  # read-only, or on Windows open elsewhere
        part = _beside(path.resolve())
        part.open("xb").close()
        part.unlink()


@contextlib.contextmanager
def as_text(out: IO[bytes]) -> Generator[io.TextIOWrapper, None, None]:
    """`out` as UTF-8 text that keeps line ends as written, on Windows too; it stays open."""
    file = io.TextIOWrapper(out, encoding="utf-8", newline="")
    try:
        yield file
        file.flush()
    finally:
        file.detach()


def _beside(target: Path) -> Path:
    """A new name in the folder of `target`: hidden, and short, as a name may be as long as the system allows."""
    target.parent.mkdir(parents=True, exist_ok=True)
    return target.with_name(f".mhfd-{secrets.token_hex(6)}.part")


def _is_stream(path: Path) -> bool:
    """True for a device, a pipe, or standard output by its name: nothing to rename."""
    return path.exists() and (not path.is_file() or str(path).startswith(_STREAMS))


def _sync(file: IO[bytes]) -> None:
    try:
        os.fsync(file.fileno())
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise


@contextlib.contextmanager
def _named(path: Path, part: Path | None = None) -> Generator[None, None, None]:
    """Have errors name the file that was asked for, not `part` or a folder; that of a full disk names none."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and (part is None or error.filename in (None, str(part), part)):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
