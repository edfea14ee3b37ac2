"""An image file inside a larger one, such as a tile in a bundle: where it lies, and its bytes once they are checked."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import TypeAlias

from mhfd.contract import TileError

File: TypeAlias = "BufferedReader | BytesIO"


@dataclass(frozen=True)
class Member:
    """A file in one piece inside another, as an uncompressed tar archive holds it. It is read whole.

    Attributes
    ----------
    path : of the file that holds it
    offset, size : where it lies, in bytes
    sha256 : of its bytes, in hexadecimal
    """

    path: str
    offset: int
    size: int
    sha256: str

    def __str__(self) -> str:
        return f"{self.path}#bytes={self.offset}-{self.offset + self.size}"

    def read(self) -> BytesIO:
        """Its bytes.

        Raises
        ------
        TileError
            "read_failed": the larger file ends before it, or these are not the bytes that were put there.
        OSError
            The larger file cannot be read.
        """
        with Path(self.path).open("rb") as file:
            file.seek(self.offset)
            data = file.read(self.size)
        if len(data) < self.size:
            message = f"{self.path} ends within the tile at byte {self.offset}: it was cut; it has to be sent again"
            raise TileError("read_failed", message)
        if hashlib.sha256(data).hexdigest() != self.sha256:
            message = f"{self.path} is damaged: the tile at byte {self.offset} has another SHA-256; send it again"
            raise TileError("read_failed", message)
        return BytesIO(data)


def size_of(file: File) -> int:
    """The bytes of an open file."""
    return file.getbuffer().nbytes if isinstance(file, BytesIO) else os.fstat(file.fileno()).st_size
