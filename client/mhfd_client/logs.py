"""Log files for a program that runs for weeks: one JSON object a line, one file a day, no secrets.

A file is named by its local date and never renamed, which Windows would refuse while it is open. Where several
processes log into one folder, the first has `mhfd-2026-11-23.jsonl`, the others `mhfd-2026-11-23-PID.jsonl`.
A fault in logging never reaches the program. `extra={"fields": {...}}` adds keys to a line.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import platform
import re
import sys
import threading
import time
import traceback
from collections.abc import Generator
from datetime import date, datetime, timedelta, timezone
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO

from mhfd._version import __version__
from mhfd.lines import ends_torn
from mhfd.text import counted, json_text, visible

if TYPE_CHECKING:
    from filelock import BaseFileLock

LOGGERS = ("mhfd", "mhfd_client")
KERNEL = "mhfd.kernel"
"""The logger that tells of the first run, which compiles the kernel."""

RETRY_S = 10.0
"""Pause after a failed write: the share that holds the log may answer slowly, or be gone."""

LOG_NAME = re.compile(r"mhfd-(\d{4}-\d\d-\d\d)(-\d+)?\.jsonl")

_SECRET_WORD = r"secret|passw|passphrase|token|credential|api[_-]?key"
_SECRETS = (
    re.compile(r"(?i)(authorization['\"]?\s*[:=]\s*b?['\"]?)[^'\",;\r\n]+"),
    re.compile(r"(?i)(\b(?:bearer|basic)\s+)[\w.~+/=-]{8,}"),
    re.compile(rf"(?i)([\w-]*(?:{_SECRET_WORD})[\w-]*['\"]?\s*[:=]\s*b?)(?:'[^']*'|\"[^\"]*\"|[^\s'\",;&)}}\]]{{4,}})"),
    re.compile(r"(\b\w+://[^\s/:@]*:)[^\s/@]+(?=@)"),  # user:password@host
    re.compile(r"()\bAg[0-9A-Za-z]{40,}"),  # a token of Globus
    re.compile(r"()\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"),  # a JSON web token
)
_SECRET_NAME = re.compile(_SECRET_WORD, re.IGNORECASE)


def start_logging(folder: Path, *, days: int = 14, level: int | str = logging.INFO) -> None:
    """Have mhfd's loggers write files in a folder, and their warnings, as before, to standard error.

    A second call replaces the first.

    Parameters
    ----------
    folder : made when it is missing
    days : files older than this are deleted
    level : the lowest written to the file
    """
    stop_logging()
    file, console = DailyFile(folder, days=days), _Console()
    file.setLevel(level)
    for name in LOGGERS:
        logger = logging.getLogger(name)
        logger.setLevel(level)
        logger.addHandler(file)
        logger.addHandler(console)
    sys.excepthook, threading.excepthook = _Crash(file), _ThreadCrash(file)
    logging.getLogger(__name__).info("mhfd %s, Python %s, %s", __version__, platform.python_version(), sys.platform)


def stop_logging() -> None:
    """Undo `start_logging`."""
    for name in LOGGERS:
        logger = logging.getLogger(name)
        for handler in [each for each in logger.handlers if isinstance(each, DailyFile | _Console)]:
            logger.removeHandler(handler)
            handler.close()
            logger.setLevel(logging.NOTSET)
    if isinstance(sys.excepthook, _Crash):
        sys.excepthook = sys.excepthook.before
    if isinstance(threading.excepthook, _ThreadCrash):
        threading.excepthook = threading.excepthook.before


@contextlib.contextmanager
def warnings_on_screen() -> Generator[None, None, None]:
    """Write warnings that no handler takes, those of libraries too, to standard error as `start_logging` does."""
    before, logging.lastResort = logging.lastResort, _Console(traces=True)
    try:
        yield
    finally:
        logging.lastResort = before


@contextlib.contextmanager
def first_run_on_screen() -> Generator[None, None, None]:
    """Say on the terminal, if standard error is one, that a first run compiles the kernel; workers do so too."""
    if sys.stderr is None or not sys.stderr.isatty():  # asked now: a live display that replaces it denies it
        yield
        return
    kernel, handler = logging.getLogger(KERNEL), _FirstRun()
    level = kernel.level
    kernel.addHandler(handler)
    kernel.setLevel(logging.INFO)
    try:
        yield
    finally:
        kernel.setLevel(level)
        kernel.removeHandler(handler)


def is_first_run_on_screen() -> bool:
    return any(isinstance(each, _FirstRun) for each in logging.getLogger(KERNEL).handlers)


def redact(text: str) -> str:
    """The text without what looks like a password, token or key, and without the secrets of the environment."""
    for value in _secrets_of_the_environment():
        text = text.replace(value, "***")
    for pattern in _SECRETS:
        text = pattern.sub(r"\1***", text)
    return text


def is_secret_name(name: str) -> bool:
    """True if a variable or key of this name holds a password, token or key."""
    return _SECRET_NAME.search(name) is not None


def _secrets_of_the_environment() -> list[str]:
    found = {value for name, value in os.environ.items() if is_secret_name(name) and len(value) >= 8}
    return sorted(found, key=len, reverse=True)  # one may be part of another


class DailyFile(logging.Handler):
    """Writes each record as a line of the file of its day. Never raises."""

    def __init__(self, folder: Path, *, days: int = 14, retry_s: float = RETRY_S) -> None:
        super().__init__()
        self._folder, self._days, self._retry_s = folder, days, retry_s
        self._day = ""
        self._file: FileIO | None = None
        self._first: BaseFileLock | None = None
        self._dropped = 0
        self._retry_at = 0.0

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = _line(record)
        except Exception:  # a message whose arguments do not fit, or whose __str__ fails, is logged as such
            line = _encode(record, f"this message cannot be written: {record.msg!r}", traceback.format_exc())
        if time.monotonic() < self._retry_at:
            self._dropped += 1
            return
        try:
            self._open(time.strftime("%Y-%m-%d", time.localtime(record.created)))
            if self._dropped:
                dropped = counted(self._dropped, "entry was", "entries were")
                told = f"{dropped} dropped, since the log could not be written"
                self._write(_encode(record, told))
                self._dropped = 0
            self._write(line)
        except Exception as error:  # a fault in logging must not reach the program
            self._give_up(error)

    def close(self) -> None:
        with self.lock or contextlib.nullcontext():
            self._close_file()
            if self._first is not None:
                self._first.release()
                self._first = None
        super().close()

    def _open(self, day: str) -> None:
        if self._file is not None and day == self._day:
            return
        self._close_file()
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"mhfd-{day}{'' if self._is_first() else f'-{os.getpid()}'}.jsonl"
        self._file, self._day = FileIO(path, "a+", opener=_owner_only), day
        if ends_torn(self._file):  # a crash or a full disk may have left half a line
            self._write(b"\n")
        self._delete_old()

    def _is_first(self) -> bool:
        """True if this process takes the name without a PID: it then holds the folder's lock until it ends."""
        from filelock import FileLock, Timeout

        if self._first is None:
            lock = FileLock(self._folder / ".mhfd-log.lock")
            try:
                lock.acquire(timeout=0)
            except (Timeout, OSError, NotImplementedError):  # another process has it, or the disk has no locks
                return False
            self._first = lock
        return True

    def _write(self, line: bytes) -> None:
        assert self._file is not None
        if self._file.write(line) != len(line):  # unbuffered: lines of threads and processes do not mix
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _delete_old(self) -> None:
        oldest = date.fromisoformat(self._day) - timedelta(days=self._days)
        for path in self._folder.glob("mhfd-*.jsonl"):
            if (name := LOG_NAME.fullmatch(path.name)) is None:
                continue
            with contextlib.suppress(OSError, ValueError):  # another process has it open, or it is not a date
                if date.fromisoformat(name[1]) < oldest:
                    path.unlink()

    def _give_up(self, error: Exception) -> None:
        self._close_file()
        self._retry_at = time.monotonic() + self._retry_s
        if not self._dropped:
            told = f"mhfd: the log in {self._folder} cannot be written ({error}); entries are dropped until it can."
            _say(visible(told))
        self._dropped += 1

    def _close_file(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(OSError):
                file.close()


def _owner_only(path: str, flags: int) -> int:
    """A new file is for its owner: messages name folders and people."""
    return os.open(path, flags, 0o600)


def _line(record: logging.LogRecord) -> bytes:
    trace = "".join(traceback.format_exception(*record.exc_info)) if record.exc_info else record.exc_text
    return _encode(record, record.getMessage(), trace)


def _redacted(value: Any) -> Any:
    """JSON without secrets in its texts."""
    if isinstance(value, dict):
        return {key: _redacted(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_redacted(each) for each in value]
    return redact(value) if isinstance(value, str) else value


def _encode(record: logging.LogRecord, message: str, trace: str | None = None) -> bytes:
    moment = datetime.fromtimestamp(record.created, timezone.utc)
    entry: dict[str, Any] = {
        "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "level": record.levelname,
        "logger": record.name,
        "message": redact(message),
        "pid": record.process,
        "thread": record.threadName,
    }
    entry |= _redacted(getattr(record, "fields", {}))
    if trace:
        entry["traceback"] = redact(trace)
    return json_text(entry).encode() + b"\n"


class _Console(logging.Handler):
    """Warnings on the current sys.stderr, which a live display on the terminal replaces.

    A record with `on_screen` is left out: the program says the same there itself.

    Parameters
    ----------
    traces : write tracebacks too, where no file has them
    """

    def __init__(self, *, traces: bool = False) -> None:
        super().__init__(logging.WARNING)
        self._traces = traces

    def emit(self, record: logging.LogRecord) -> None:
        if getattr(record, "on_screen", False):
            return
        try:
            _say(visible(f"{record.levelname.capitalize()}: {redact(record.getMessage())}"))
            if self._traces and record.exc_info:
                trace = "".join(traceback.format_exception(*record.exc_info))
                _say("\n".join(map(visible, redact(trace).splitlines())))
        except Exception:  # as above; the file has it
            return


class _FirstRun(logging.Handler):
    """That the kernel is compiled, for people: programs and files need not wait to know."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno == logging.INFO:  # warnings have a handler of their own
            _say(record.getMessage())


def _say(text: str) -> None:
    stream: TextIO | None = sys.stderr  # none without a console: pythonw
    if stream is not None:
        with contextlib.suppress(OSError, ValueError):  # it is closed
            stream.write(text + "\n")
            stream.flush()


def _log_crash(
    file: DailyFile, where: str, kind: type[BaseException], error: BaseException | None, at: TracebackType | None
) -> None:
    if issubclass(kind, KeyboardInterrupt | SystemExit):
        return
    info = (kind, error or kind(), at)
    record = logging.LogRecord("mhfd_client", logging.CRITICAL, "", 0, f"{where} ended: {kind.__name__}", None, info)
    file.handle(record)


class _Crash:
    """Logs an error that ends the program to the file too: an unattended program has no terminal to read it on."""

    def __init__(self, file: DailyFile) -> None:
        self.file, self.before = file, sys.excepthook

    def __call__(self, kind: type[BaseException], error: BaseException, at: TracebackType | None) -> None:
        _log_crash(self.file, "the program", kind, error, at)
        self.before(kind, error, at)


class _ThreadCrash:
    """The same for a thread."""

    def __init__(self, file: DailyFile) -> None:
        self.file, self.before = file, threading.excepthook

    def __call__(self, args: threading.ExceptHookArgs) -> None:
        _log_crash(self.file, f"thread {args.thread.name if args.thread else '?'}", *args[:3])
        self.before(args)
