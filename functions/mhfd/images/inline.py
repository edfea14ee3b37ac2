"""Encode a tile as a JSON object for a task, and decode it. Client and worker both import this.

The pixels travel row by row, little endian, compressed without loss, as base64. Codecs:

==========  =================================================================================  ============
raw         unchanged                                                                          always
zlib        deflate                                                                            always
delta-zlib  each pixel minus its left neighbour, by byte planes, deflate without matching    always
delta-zstd  the same, zstd                                                                     imagecodecs
jpegls      JPEG-LS, 8 and 16 bit unsigned                                                     imagecodecs
==========  =================================================================================  ============

Noise has no repeats, so searching for them (zlib) costs most and gains least; similar neighbours gain most.
"""

from __future__ import annotations

import base64
import binascii
import math
import zlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mhfd.contract import Acquisition, TileError
from mhfd.images.files import Tile
from mhfd.images.grey import grey_tile

Array = NDArray[Any]

DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64")

MAX_DECODED_BYTES = 2**29
"""Limit of one tile: data that fit into a task (10 MB) must not unpack to more; send larger tiles by path."""

_KEYS = {"name", "shape", "dtype", "codec", "data", "pixel_size_nm", "acquisition"}
_EXTRA = 'pip install "mhfd[codecs]" on the endpoint, or send the tile with another codec'


@dataclass(frozen=True)
class _Codec:
    """Encoder and decoder of pixels.

    Attributes
    ----------
    pack : (rows, cols) C-contiguous, little endian -> bytes; raises ValueError or RuntimeError when it cannot
    unpack : bytes and an empty array of the right shape and type -> the pixels; never allocates much more than that
    """

    pack: Callable[[Array], bytes]
    unpack: Callable[[bytes, Array], Array]


def encode_tile(
    pixels: Array,
    codec: str = "delta-zlib",
    *,
    name: str = "",
    pixel_size_nm: float | None = None,
    acquisition: Acquisition | None = None,
) -> dict[str, Any]:
    """A tile as `mhfd.worker.score_inline` takes it; plain JSON types.

    Parameters
    ----------
    pixels : (rows, cols)
    codec : one of `available_codecs()`. If it does not make the tile smaller, "raw" is used.
    name : path of the tile's row
    pixel_size_nm : nanometres per pixel, None when unknown

    Raises
    ------
    TileError
        "unsupported": not two-dimensional, or of a type outside `DTYPES`; "missing_codec".
    """
    what = name or "the array"
    if pixels.ndim != 2 or pixels.dtype.name not in DTYPES:
        raise TileError(
            "unsupported",
            f"{what} has the shape {pixels.shape} and the type {pixels.dtype}; "
            f"a tile has two dimensions and one of the types {', '.join(DTYPES)}",
        )
    little = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("<"))
    used, data = _packed(little, codec, what)
    rows, cols = little.shape
    return {
        "name": name,
        "shape": [rows, cols],
        "dtype": little.dtype.name,
        "codec": used,
        "data": base64.b64encode(data).decode("ascii"),
        "pixel_size_nm": pixel_size_nm,
        "acquisition": None if acquisition is None else _plain(acquisition),
    }


def decode_tile(given: object) -> Tile:
    """The tile that `encode_tile` wrote.

    Raises
    ------
    TileError
        "unsupported" if it is not such an object; "missing_codec", "too_large", "truncated" or "corrupt" if its pixels
        cannot be decoded; and the errors of `mhfd.images.grey.grey_tile`.
    """
    if not isinstance(given, dict):
        raise TileError("unsupported", f"an inline tile is an object with the keys {_listed(_KEYS)}, not {given!r:.40}")
    name = given.get("name") or ""
    what = name if isinstance(name, str) and name else "the tile"
    if not isinstance(name, str):
        raise TileError("unsupported", f"a tile's name is a string, not {name!r:.40}")
    if extra := set(given) - _KEYS:
        raise TileError("unsupported", f"{what}: unknown keys {_listed(extra)}; known ones are {_listed(_KEYS)}")
    acquisition = _acquisition(given.get("acquisition"), what)
    return Tile(
        path=name,
        pixels=grey_tile(_pixels(given, what), what, lossy=acquisition.lossy),
        pixel_size_nm=_pixel_size(given.get("pixel_size_nm"), what),
        acquisition=acquisition,
    )


def available_codecs() -> tuple[str, ...]:
    """Codecs that work in this Python."""
    extra = ("delta-zstd", "jpegls") if _imagecodecs() else ()
    return (*_STANDARD, *extra)


def best_codec(accepted: Collection[str] | None = None) -> str:
    """The codec with the most gain for its time, of those that work here and the other side accepts.

    Parameters
    ----------
    accepted : what the endpoint's `describe()["codecs"]` lists; None if unknown: only those that always work
    """
    accepted = _STANDARD if accepted is None else accepted
    here = available_codecs()
    return next((codec for codec in ("delta-zstd", "delta-zlib") if codec in accepted and codec in here), "raw")


# --- Pixels -------------------------------------------------------------------------------------------------------


def _packed(pixels: Array, codec: str, what: str) -> tuple[str, bytes]:
    raw = pixels.tobytes()
    if codec == "raw":
        return codec, raw
    pack = _codec(codec, what).pack
    try:
        data = pack(pixels) if pixels.size else raw
    except (ValueError, RuntimeError):  # from imagecodecs: not this type, or it would become larger
        data = raw
    return (codec, data) if len(data) < len(raw) else ("raw", raw)


def _pixels(given: dict[str, Any], what: str) -> Array:
    shape, dtype_name, codec, text = (given.get(key) for key in ("shape", "dtype", "codec", "data"))
    if not isinstance(shape, list | tuple) or not _is_shape(shape):
        raise TileError("unsupported", f"{what}: shape must be two whole numbers, [rows, cols], not {shape!r:.40}")
    if dtype_name not in DTYPES:
        raise TileError("unsupported", f"{what}: dtype must be one of {', '.join(DTYPES)}, not {dtype_name!r:.40}")
    if not isinstance(text, str):
        raise TileError("unsupported", f"{what}: data must be a base64 string, not {type(text).__name__}")
    dtype = np.dtype(dtype_name).newbyteorder("<")
    if (nbytes := math.prod(shape) * dtype.itemsize) > MAX_DECODED_BYTES:
        raise TileError("too_large", f"{what} unpacks to {nbytes} bytes, the limit is {MAX_DECODED_BYTES}: send a path")
    unpack = _codec(codec, what).unpack
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise _damaged(what, f"its data is not base64 ({error})") from error
    try:
        return unpack(data, np.empty(shape, dtype)) if nbytes else np.empty(shape, dtype)
    except TileError as error:
        raise TileError(error.code, f"{what}: {error.message}") from error
    except (zlib.error, ValueError, RuntimeError) as error:  # imagecodecs' errors are RuntimeErrors
        raise _damaged(what, f"it does not unpack as {codec} ({error})") from error


def _damaged(what: str, reason: str) -> TileError:
    return TileError("corrupt", f"{what} was damaged on its way: {reason}; send it again")


def _reshaped(data: bytes, empty: Array) -> Array:
    if len(data) != empty.nbytes:
        raise TileError(
            "truncated" if len(data) < empty.nbytes else "corrupt",
            f"there are {len(data)} bytes of pixels, but the shape needs {empty.nbytes}; encode the tile again",
        )
    return np.frombuffer(data, empty.dtype).reshape(empty.shape)


def _inflate(data: bytes, nbytes: int) -> bytes:
    stream = zlib.decompressobj()
    unpacked = stream.decompress(data, nbytes + 1)  # one byte more shows data that are too long
    if not stream.eof and len(unpacked) <= nbytes:
        raise TileError("truncated", "its compressed data ends too early; send it again")
    return unpacked


def _deflate_unmatched(data: bytes) -> bytes:
    stream = zlib.compressobj(1, strategy=zlib.Z_HUFFMAN_ONLY)
    return stream.compress(data) + stream.flush()


def _differences(pixels: Array) -> bytes:
    """Each pixel minus its left neighbour, modulo its type's range; all lowest bytes first, then the next."""
    values = pixels.view(f"<u{pixels.itemsize}")
    change = values.copy()
    change[:, 1:] -= values[:, :-1]
    return np.ascontiguousarray(_bytes_of(change).T).tobytes()


def _from_differences(data: bytes, empty: Array) -> Array:
    planes = _reshaped(data, np.empty((empty.itemsize, empty.size), np.uint8))
    change = np.ascontiguousarray(planes.T).view(f"<u{empty.itemsize}").reshape(empty.shape)
    return np.cumsum(change, axis=1, dtype=change.dtype).view(empty.dtype)


def _bytes_of(values: Array) -> Array:
    return values.reshape(-1, 1).view(np.uint8)


@cache
def _imagecodecs() -> ModuleType | None:
    try:
        module = import_module("imagecodecs")
    except ImportError:
        return None
    return module if module.ZSTD.available and module.JPEGLS.available else None


def _codec(name: object, what: str) -> _Codec:
    if name in _STANDARD:
        return _STANDARD[str(name)]
    if name not in ("delta-zstd", "jpegls"):
        choices = ", ".join((*_STANDARD, "delta-zstd", "jpegls"))
        raise TileError("unsupported", f"{what}: there is no codec {name!r:.40}; choose one of {choices}")
    if (module := _imagecodecs()) is None:
        raise TileError("missing_codec", f'{what}: the codec "{name}" needs imagecodecs: {_EXTRA}')
    if name == "jpegls":
        return _Codec(
            pack=lambda pixels: bytes(module.jpegls_encode(_unsigned(pixels))),
            unpack=lambda data, empty: np.asarray(module.jpegls_decode(_ended(data), out=empty)),  # of this shape only
        )
    return _Codec(
        pack=lambda pixels: bytes(module.zstd_encode(_differences(pixels), level=1)),
        unpack=lambda data, empty: _from_differences(module.zstd_decode(data, out=empty.nbytes), empty),
    )


def _ended(data: bytes) -> bytes:
    """Refuse cut-off JPEG-LS: CharLS takes seconds over some of it."""
    if not data.endswith(b"\xff\xd9"):
        raise TileError("truncated", "its JPEG-LS data has no end; send it again")
    return data


def _unsigned(pixels: Array) -> Array:
    if pixels.dtype.name not in ("uint8", "uint16"):
        raise ValueError("JPEG-LS takes 8 and 16 bit unsigned pixels")
    return pixels


_STANDARD = {
    "raw": _Codec(pack=lambda pixels: pixels.tobytes(), unpack=_reshaped),
    "zlib": _Codec(
        pack=lambda pixels: zlib.compress(pixels.tobytes(), 1),
        unpack=lambda data, empty: _reshaped(_inflate(data, empty.nbytes), empty),
    ),
    "delta-zlib": _Codec(
        pack=lambda pixels: _deflate_unmatched(_differences(pixels)),
        unpack=lambda data, empty: _from_differences(_inflate(data, empty.nbytes), empty),
    ),
}


# --- Their metadata -----------------------------------------------------------------------------------------------


def _plain(acquisition: Acquisition) -> dict[str, Any]:
    told = asdict(acquisition)
    return told | {"stage_um": None if acquisition.stage_um is None else list(acquisition.stage_um)}


def _acquisition(given: object, what: str) -> Acquisition:
    if given is None:
        return Acquisition()
    known = {field.name for field in fields(Acquisition)}
    if not isinstance(given, dict) or set(given) - known:
        raise TileError("unsupported", f"{what}: acquisition must be an object with keys of {_listed(known)}")
    stage_um = given.get("stage_um")
    if stage_um is not None and not (isinstance(stage_um, list) and len(stage_um) == 3):
        raise TileError("unsupported", f"{what}: stage_um must be three numbers, [x, y, z], not {stage_um!r:.40}")
    return Acquisition(**given | {"stage_um": None if stage_um is None else tuple(stage_um)})


def _pixel_size(given: object, what: str) -> float | None:
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 < given < math.inf:
        raise TileError("unsupported", f"{what}: pixel_size_nm must be a positive number, not {given!r:.40}")
    return float(given)


def _is_shape(given: Sequence[object]) -> bool:
    return len(given) == 2 and all(isinstance(n, int) and not isinstance(n, bool) and n >= 0 for n in given)


def _listed(names: Collection[object]) -> str:
    return ", ".join(sorted(map(repr, names)))
