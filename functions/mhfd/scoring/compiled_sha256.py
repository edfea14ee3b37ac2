"""SHA-256 of many messages of one length at a time, one in each lane of the processor's vectors (FIPS 180-4).

A tile's identity costs more than all else between a file and its row. The rounds of one message cannot overlap, those
of several can: with 16 lanes this takes a fifth of the time of a processor without instructions for SHA-256, and beats
some that have them. A trial tells.
"""

# mypy: allow-untyped-defs, allow-untyped-calls
# numba infers the types of the loops from their arguments.

from __future__ import annotations

import hashlib
import timeit
from collections.abc import Callable, Sequence
from decimal import Decimal, localcontext
from typing import Any

import numpy as np
from llvmlite import binding, ir  # type: ignore[import-untyped]
from numpy.typing import NDArray

from mhfd.compiler import carray, cgutils, njit, types
from mhfd.kernel.loops.vectors import operation

_BLOCK = 64  # bytes
_TRIAL_BYTES, _TRIALS = 2**16, 5
_FIRST_PRIMES = [n for n in range(2, 312) if all(n % k for k in range(2, n))]


def _features() -> dict[str, bool]:
    return dict(binding.get_host_cpu_features())


LANES = 16 if _features().get("avx512f") else 8
"""Messages at a time: 32-bit numbers in a vector."""


def is_faster() -> bool:
    """Whether this beats `hashlib` here, by a trial of some milliseconds: where there are wide vectors."""
    if not _features().get("avx2"):
        return False
    messages = [np.zeros(_TRIAL_BYTES, np.uint8) for _ in range(LANES)]
    ways: tuple[Callable[[], list[str]], ...] = (
        lambda: digests(b"", messages),
        lambda: [_by_hashlib(b"", each) for each in messages],
    )
    ours, theirs = (min(timeit.repeat(way, number=1, repeat=_TRIALS)) for way in ways)
    return ours < theirs


def _fraction(number: Decimal) -> int:
    """The first 32 bits of the fractional part."""
    return int((number - int(number)) * 2**32)


with localcontext() as _context:
    _context.prec = 40
    _START = np.array([_fraction(Decimal(p).sqrt()) for p in _FIRST_PRIMES[:8]], np.uint32)
    _K = [_fraction(Decimal(p) ** (Decimal(1) / 3)) for p in _FIRST_PRIMES]

_VECTOR = ir.VectorType(ir.IntType(32), LANES)


def _all(number: int) -> ir.Constant:
    return ir.Constant(_VECTOR, [ir.Constant(ir.IntType(32), number)] * LANES)


@operation
def _compress(_, state, words):
    """Take one block of each message into the (8, LANES) state; `words` is (16, LANES), as the messages have them."""

    def generate(context, builder, signature, arguments):
        state_at, words_at = (
            builder.bitcast(cgutils.create_struct_proxy(kind)(context, builder, each).data, _VECTOR.as_pointer())
            for kind, each in zip(signature.args, arguments, strict=True)
        )

        def external(name: str, inputs: int) -> Any:
            kind = ir.FunctionType(_VECTOR, [_VECTOR] * inputs)
            return cgutils.get_or_insert_function(builder.module, kind, f"llvm.{name}.v{LANES}i32")

        shift_left, swap_bytes = external("fshl", 3), external("bswap", 1)

        def place(pointer, n):
            return builder.gep(pointer, [ir.Constant(ir.IntType(64), n)])

        def load(pointer, n):
            found = builder.load(place(pointer, n))
            found.align = 4
            return found

        def rotated(x, n):
            return builder.call(shift_left, [x, x, _all(32 - n)])

        def shifted(x, n):
            return builder.lshr(x, _all(n))

        def xor(*numbers):
            first, *others = numbers
            for each in others:
                first = builder.xor(first, each)
            return first

        def add(*numbers):
            first, *others = numbers
            for each in others:
                first = builder.add(first, each)
            return first

        w = [builder.call(swap_bytes, [load(words_at, n)]) for n in range(16)]
        before = [load(state_at, n) for n in range(8)]
        a, b, c, d, e, f, g, h = before
        for t in range(64):  # names and formulas of FIPS 180-4, section 6.2.2
            if t >= 16:
                w15, w2 = w[(t - 15) % 16], w[(t - 2) % 16]
                sigma0 = xor(rotated(w15, 7), rotated(w15, 18), shifted(w15, 3))
                sigma1 = xor(rotated(w2, 17), rotated(w2, 19), shifted(w2, 10))
                w[t % 16] = add(w[t % 16], sigma0, w[(t - 7) % 16], sigma1)
            choice = xor(g, builder.and_(e, xor(f, g)))
            majority = builder.or_(builder.and_(a, b), builder.and_(c, builder.or_(a, b)))
            t1 = add(h, xor(rotated(e, 6), rotated(e, 11), rotated(e, 25)), choice, _all(_K[t]), w[t % 16])
            t2 = add(xor(rotated(a, 2), rotated(a, 13), rotated(a, 22)), majority)
            h, g, f, e, d, c, b, a = g, f, e, add(d, t1), c, b, a, add(t1, t2)
        for n, (old, new) in enumerate(zip(before, (a, b, c, d, e, f, g, h), strict=True)):
            builder.store(add(old, new), place(state_at, n)).align = 4
        return context.get_dummy_value()

    return types.void(state, words), generate


@operation
def _pointer(_, address):
    def generate(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], cgutils.voidptr_t)

    return types.voidptr(address), generate


@njit(nogil=True, cache=True, error_model="numpy")
def _take(addresses, blocks, state):
    """Take so many blocks of the message at each address into the state."""
    words = np.empty((16, LANES), np.uint32)
    for block in range(blocks):
        for lane in range(LANES):
            message = carray(_pointer(addresses[lane] + block * _BLOCK), 16, np.uint32)
            for n in range(16):
                words[n, lane] = message[n]
        _compress(state, words)


def digests(prefix: bytes, messages: Sequence[NDArray[np.uint8]]) -> list[str]:
    """Hex SHA-256 of each message behind a prefix.

    Parameters
    ----------
    prefix : the same for all, of up to 64 bytes
    messages : (n,), C-contiguous, all of one length, not less than 64 bytes
    """
    length = len(messages[0])
    head = _BLOCK - len(prefix)  # bytes of a message that stand in the first block
    blocks, tail = divmod(length - head, _BLOCK)
    end = _end(tail, len(prefix) + length)
    found: list[str] = []
    for first in range(0, len(messages), LANES):
        some = messages[first : first + LANES]
        if len(some) < LANES // 2:  # one by one is faster
            found += [_by_hashlib(prefix, each) for each in some]
            continue
        every = [*some, *[some[0]] * (LANES - len(some))]  # lanes without a message do some work for nothing
        state = np.repeat(_START[:, None], LANES, axis=1)
        starts = np.stack([np.concatenate([np.frombuffer(prefix, np.uint8), each[:head]]) for each in every])
        ends = np.stack([np.concatenate([each[length - tail :], end]) for each in every])
        _take(_addresses(starts), 1, state)
        _take(_addresses([each[head:] for each in every]), blocks, state)
        _take(_addresses(ends), ends.shape[1] // _BLOCK, state)
        found += [state[:, lane].astype(">u4").tobytes().hex() for lane in range(len(some))]
    return found


def _by_hashlib(prefix: bytes, message: NDArray[np.uint8]) -> str:
    digest = hashlib.sha256(prefix)
    digest.update(message.data)
    return digest.hexdigest()


def _end(tail: int, length: int) -> NDArray[np.uint8]:
    """What stands behind the last bytes of a message: a one, zeros, and its length in bits (section 5.1.1)."""
    zeros = -(tail + 9) % _BLOCK
    return np.frombuffer(b"\x80" + bytes(zeros) + (8 * length).to_bytes(8, "big"), np.uint8)


def _addresses(messages: Sequence[NDArray[np.uint8]] | NDArray[np.uint8]) -> NDArray[np.int64]:
    return np.array([each.ctypes.data for each in messages], np.int64)
