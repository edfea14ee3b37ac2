"""Text files that grow while they are read: lists and logs that a microscope writes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

MAX_LINE = 65_536  # a longer line is not from a list


class GrowingFiles:
    """Reads on where it stopped: each complete line once, over any number of calls."""

    def __init__(self) -> None:
        self._read: dict[Path, int] = {}

    def new_lines(self, file: Path) -> Iterator[str]:
        """The lines completed since the last call; none while the file cannot be read."""
        try:
            with file.open("rb") as stream:
                done = self._read.get(file, 0)
                if stream.seek(0, 2) < done:
                    done = 0  # it became shorter: it was rewritten
                stream.seek(done)
                while (line := stream.readline(MAX_LINE)).endswith(b"\n"):
                    done += len(line)
                    self._read[file] = done
                    yield _text(line)
        except OSError:
            return  # a share may be away briefly; nothing is lost, the next call reads on


def inside(name: str) -> str | None:
    """A relative name from a list, Windows or POSIX, with "/"; None if it leads out of the folder."""
    path = name.strip().replace("\\", "/")
    if not path or path.startswith("/") or ":" in path or ".." in path.split("/"):
        return None
    return str(PurePosixPath(path))


def _text(line: bytes) -> str:
    try:
        return line.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        return line.decode("cp1252", errors="replace").rstrip("\r\n")  # what Python on a western Windows writes
