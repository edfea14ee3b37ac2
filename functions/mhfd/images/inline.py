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

import binascii
import math
import sys
import zlib
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mhfd.contract import Acquisition, TileError, read_acquisition
from mhfd.extras import install_hint
from mhfd.images.files import DEFAULT_MAX_PIXELS, Tile
from mhfd.images.grey import grey_tile, kernel_dtype
from mhfd.images.picture import Box
from mhfd.text import shown

try:
    import pybase64 as base64  # the same text in a thirtieth of the time
except ImportError:
    import base64  # type: ignore[no-redef]

Array = NDArray[Any]

DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64")

MAX_DECODED_BYTES = 2**29
"""Limit of one tile: data that fit into a task (10 MB) must not unpack to more; send larger tiles by path."""

INFLATE_BYTES = 2**22
"""Unpacked at a time, so that a tile is not held twice."""

_KEYS = {"name", "shape", "dtype", "codec", "data", "pixel_size_nm", "acquisition", "picture"}


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
    picture: Box | None = None,
) -> dict[str, Any]:
    """A tile as `mhfd.worker.score_inline` takes it; plain JSON types.

    Parameters
    ----------
    pixels : (rows, cols)
    codec : one of `available_codecs()`. If it does not make the tile smaller, "raw" is used.
    name : path of the tile's row
    pixel_size_nm : nanometres per pixel, None when unknown
    picture : (top, left, rows, cols) of what the file's header calls picture; sent only where there is one, for workers
        of 0.1.0 do not know it

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
    } | ({} if picture is None else {"picture": list(picture)})


def decode_tile(given: object, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> Tile:
    """The tile that `encode_tile` wrote.

    Parameters
    ----------
    max_pixels : larger tiles are refused before they are unpacked

    Raises
    ------
    TileError
        "unsupported" if it is not such an object; "missing_codec", "too_large", "truncated" or "corrupt" if its pixels
        cannot be decoded; and the errors of `mhfd.images.grey.grey_tile`.
    """
    if not isinstance(given, dict):
        keys = _listed(_KEYS)
        raise TileError("unsupported", f"an inline tile is an object with the keys {keys}, not {shown(given)}")
    name = "" if given.get("name") is None else given["name"]
    if not isinstance(name, str):
        raise TileError("unsupported", f"a tile's name is a string, not {shown(name)}")
    what = name or "the tile"
    if extra := set(given) - _KEYS:
        raise TileError("unsupported", f"{what}: unknown keys {_listed(extra)}; known ones are {_listed(_KEYS)}")
    acquisition = _acquisition(given.get("acquisition"), what)
    return Tile(
        path=name,
        pixels=grey_tile(_pixels(given, what, max_pixels), what, lossy=acquisition.lossy),
        pixel_size_nm=_pixel_size(given.get("pixel_size_nm"), what),
        acquisition=acquisition,
        picture=_picture(given, what),
    )


def declared_bytes(given: object) -> int:
    """Bytes that a tile takes unpacked, as its header says and before it is decoded; 0 where it is not valid."""
    try:
        shape, dtype = _checked_size(given if isinstance(given, dict) else {}, "the tile", DEFAULT_MAX_PIXELS)
    except TileError:
        return 0
    return math.prod(shape) * max(dtype.itemsize, kernel_dtype(dtype).itemsize)


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


def _packed(pixels: Array, codec: str, what: str) -> tuple[str, bytes | memoryview]:
    """The codec used, and the pixels so packed; raw ones are not copied."""
    pack = _codec(codec, what).pack
    if codec != "raw" and pixels.size:
        with suppress(ValueError, RuntimeError):  # from imagecodecs: not this type, or it would become larger
            if len(data := pack(pixels)) < pixels.nbytes:
                return codec, data
    return "raw", pixels.reshape(-1).view(np.uint8).data


def _pixels(given: dict[str, Any], what: str, max_pixels: int) -> Array:
    shape, dtype = _checked_size(given, what, max_pixels)
    codec, text = given.get("codec"), given.get("data")
    if not isinstance(text, str):
        raise TileError("unsupported", f"{what}: data must be a base64 string, not {type(text).__name__}")
    unpack = _codec(codec, what).unpack
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise _damaged(what, f"its data is not base64 ({error})") from error
    try:
        return unpack(data, np.empty(shape, dtype))
    except TileError as error:
        raise TileError(error.code, f"{what}: {error.message}") from error
    except (zlib.error, ValueError, RuntimeError) as error:  # imagecodecs' errors are RuntimeErrors
        raise _damaged(what, f"it does not unpack as {codec} ({error})") from error


def _checked_size(given: dict[str, Any], what: str, max_pixels: int) -> tuple[Sequence[int], np.dtype[Any]]:
    """Shape and type of a tile that is not too large."""
    shape, dtype_name = given.get("shape"), given.get("dtype")
    if not isinstance(shape, list | tuple) or not _is_shape(shape):
        raise TileError("unsupported", f"{what}: shape must be two whole numbers, [rows, cols], not {shown(shape)}")
    if dtype_name not in DTYPES:
        raise TileError("unsupported", f"{what}: dtype must be one of {', '.join(DTYPES)}, not {shown(dtype_name)}")
    dtype, pixels = np.dtype(dtype_name).newbyteorder("<"), math.prod(shape)
    if pixels == 0:
        raise TileError("zero_size", f"{what} has the shape {shown(shape)}, so there are no pixels to score")
    if pixels > max_pixels:
        raise TileError("too_large", f"{what} has {shown(shape)} pixels, more than {max_pixels}: crop it")
    if (nbytes := pixels * dtype.itemsize) > MAX_DECODED_BYTES:
        raise TileError("too_large", f"{what} unpacks to {nbytes} bytes, the limit is {MAX_DECODED_BYTES}: send a path")
    return shape, dtype


def _damaged(what: str, reason: str) -> TileError:
    return TileError("corrupt", f"{what} was damaged on its way: {reason}; send it again")


def _reshaped(data: bytes | Array, empty: Array) -> Array:
    if len(data) != empty.nbytes:
        raise TileError(
            "truncated" if len(data) < empty.nbytes else "corrupt",
            f"there are {len(data)} bytes of pixels, but the shape needs {empty.nbytes}; encode the tile again",
        )
    return np.frombuffer(data, empty.dtype).reshape(empty.shape)


def _inflate(data: bytes, nbytes: int) -> Array:
    """The unpacked bytes: `nbytes`, or fewer or one more where the data are wrong; some at a time, into one array."""
    stream, unpacked, size = zlib.decompressobj(), np.empty(nbytes + 1, np.uint8), 0
    while not stream.eof and size <= nbytes:
        part = stream.decompress(data, min(INFLATE_BYTES, nbytes + 1 - size))  # one byte more shows that it is too long
        data = stream.unconsumed_tail
        if not part and not data:
            break
        unpacked[size : size + len(part)] = np.frombuffer(part, np.uint8)
        size += len(part)
    if not stream.eof and size <= nbytes:
        raise TileError("truncated", "its compressed data ends too early; send it again")
    return unpacked[:size]


def _deflate_unmatched(data: bytes) -> bytes:
    stream = zlib.compressobj(1, strategy=zlib.Z_HUFFMAN_ONLY)
    return stream.compress(data) + stream.flush()


def _differences(pixels: Array) -> bytes:
    """Each pixel minus its left neighbour, modulo its type's range; all lowest bytes first, then the next."""
    values = pixels.view(f"<u{pixels.itemsize}")
    change = values.copy()
    change[:, 1:] -= values[:, :-1]
    return np.ascontiguousarray(_bytes_of(change).T).tobytes()


def _from_differences(data: bytes | Array, empty: Array) -> Array:
    planes = _reshaped(data, np.empty((empty.itemsize, empty.size), np.uint8))
    change = np.ascontiguousarray(planes.T).view(f"<u{empty.itemsize}").reshape(empty.shape)
    del data, planes  # a tile is held twice, not three times
    return np.cumsum(change, axis=1, dtype=change.dtype, out=empty.view(change.dtype)).view(empty.dtype)


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
    if isinstance(name, str) and name in _STANDARD:
        return _STANDARD[name]
    if name not in ("delta-zstd", "jpegls"):
        choices = ", ".join((*_STANDARD, "delta-zstd", "jpegls"))
        raise TileError("unsupported", f"{what}: there is no codec {shown(name)}; choose one of {choices}")
    if (module := _imagecodecs()) is None:
        remedy = f"{install_hint('codecs')} on the endpoint, or send the tile with another codec"
        raise TileError("missing_codec", f'{what}: the codec "{name}" needs imagecodecs: {remedy}')
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
    known = {field.name for field in fields(Acquisition)}
    if isinstance(given, dict) and (extra := set(given) - known):
        raise TileError("unsupported", f"{what}: acquisition has the keys {_listed(known)}, not {_listed(extra)}")
    try:
        return read_acquisition(given)
    except (ValueError, RecursionError) as error:  # the latter from showing the value
        raise TileError("unsupported", f"{what}: {error}") from error


def _pixel_size(given: object, what: str) -> float | None:
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 < given <= sys.float_info.max:
        raise TileError("unsupported", f"{what}: pixel_size_nm must be a positive number, not {shown(given)}")
    return float(given)


def _picture(given: dict[str, Any], what: str) -> Box | None:
    picture, shape = given.get("picture"), given["shape"]
    if picture is None:
        return None
    if isinstance(picture, list) and len(picture) == 4 and _is_shape(picture[:2]) and _is_shape(picture[2:]):
        top, left, rows, cols = picture
        if 0 < rows <= shape[0] - top and 0 < cols <= shape[1] - left:
            return top, left, rows, cols
    raise TileError(
        "unsupported", f"{what}: picture must be a part of the tile, [top, left, rows, cols], not {shown(picture)}"
    )


def _is_shape(given: Sequence[object]) -> bool:
    return len(given) == 2 and all(isinstance(n, int) and not isinstance(n, bool) and n >= 0 for n in given)


def _listed(names: Collection[object]) -> str:
    return ", ".join(sorted(map(shown, names))[:20])
