"""Sixteen neighbouring float32 as one value of a compiled loop.

A compiler that has to find vectors by itself writes sums to memory after every few taps, since it cannot know that
planes do not overlap. Said in vectors, a sum stays in registers over all its taps. Processors with shorter registers
take two or four of them a value.
"""

# mypy: allow-untyped-defs, allow-untyped-calls, allow-untyped-decorators
# numba infers types.

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]

from mhfd.compiler import cgutils, intrinsic, models, register_model, types

LANES = 16

_LLVM = ir.VectorType(ir.FloatType(), LANES)
_FLOAT_BYTES = 4


class _Sixteen(types.Type):
    def __init__(self) -> None:
        super().__init__("sixteen float32")


_sixteen = _Sixteen()


@register_model(_Sixteen)
class _Model(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _LLVM)


def operation(code: Callable[..., Any]) -> Callable[..., Any]:
    """`intrinsic`, typed as compiled loops call it: without the context."""
    made: Callable[..., Any] = intrinsic(code)
    return made


def _place(context, builder, kind, array, at):
    """Pointer to sixteen elements of a flat array."""
    data = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [at]), _LLVM.as_pointer())


def _function(builder, name, arguments):
    """An elementwise function of LLVM."""
    kind = ir.FunctionType(_LLVM, [_LLVM] * arguments)
    return cgutils.get_or_insert_function(builder.module, kind, f"llvm.{name}.v{LANES}f32")


def _spread(builder, number):
    kind = ir.VectorType(number.type, LANES)
    one = builder.insert_element(ir.Constant(kind, ir.Undefined), number, ir.Constant(ir.IntType(32), 0))
    every = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
    return builder.shuffle_vector(one, ir.Constant(kind, ir.Undefined), every)


@operation
def load(context, array, at):
    """array[at : at + LANES]"""

    def code(context, builder, signature, arguments):
        return builder.load(_place(context, builder, signature.args[0], *arguments), align=_FLOAT_BYTES)

    return _sixteen(array, types.uint64), code


@operation
def load_from(context, array, start, at):
    """array[start + at : start + at + LANES], for many `at` in turn"""

    def code(context, builder, signature, arguments):
        array, start, at = arguments
        data = context.make_array(signature.args[0])(context, builder, array).data
        place = builder.gep(builder.gep(data, [start]), [at])
        return builder.load(builder.bitcast(place, _LLVM.as_pointer()), align=_FLOAT_BYTES)

    return _sixteen(array, types.uint64, types.uint64), code


@operation
def store(context, array, at, value):
    """array[at : at + LANES] = value"""

    def code(context, builder, signature, arguments):
        target = _place(context, builder, signature.args[0], *arguments[:2])
        builder.store(arguments[2], target, align=_FLOAT_BYTES)
        return context.get_dummy_value()

    return types.void(array, types.uint64, _sixteen), code


@operation
def spread(context, number):
    """The same number sixteen times."""

    def code(context, builder, signature, arguments):
        return _spread(builder, arguments[0])

    return _sixteen(types.float32), code


@operation
def plus(context, a, b):
    def code(context, builder, signature, arguments):
        return builder.fadd(*arguments)

    return _sixteen(_sixteen, _sixteen), code


@operation
def minus(context, a, b):
    def code(context, builder, signature, arguments):
        return builder.fsub(*arguments)

    return _sixteen(_sixteen, _sixteen), code


@operation
def times(context, a, b):
    def code(context, builder, signature, arguments):
        return builder.fmul(*arguments)

    return _sixteen(_sixteen, _sixteen), code


@operation
def absolute(context, a):
    def code(context, builder, signature, arguments):
        return builder.call(_function(builder, "fabs", 1), arguments)

    return _sixteen(_sixteen), code


@operation
def times_plus(context, a, b, c):
    """a b + c, rounded once where the processor can."""

    def code(context, builder, signature, arguments):
        return builder.call(_function(builder, "fmuladd", 3), arguments)

    return _sixteen(_sixteen, _sixteen, _sixteen), code


def _interleaved(first):
    """Shuffle that takes from two vectors in turn, from element `first` on."""

    def code(context, builder, signature, arguments):
        lanes = [side * LANES + k for k in range(first, first + LANES // 2) for side in (0, 1)]
        return builder.shuffle_vector(*arguments, ir.Constant(ir.VectorType(ir.IntType(32), LANES), lanes))

    return code


@operation
def interleave_low(context, a, b):
    """a[0], b[0], a[1], b[1] ..."""
    return _sixteen(_sixteen, _sixteen), _interleaved(0)


@operation
def interleave_high(context, a, b):
    """a[8], b[8], a[9], b[9] ..."""
    return _sixteen(_sixteen, _sixteen), _interleaved(LANES // 2)


@operation
def keep_larger(context, largest, place, at, value, index):
    """Where value > largest[at : at + LANES], put it there, and the index into `place`, an array of its type."""

    def code(context, builder, signature, arguments):
        largest, place, at, value, index = arguments
        there = _place(context, builder, signature.args[0], largest, at)
        known = builder.load(there, align=_FLOAT_BYTES)
        indices = ir.VectorType(index.type, LANES)
        data = context.make_array(signature.args[1])(context, builder, place).data
        spots = builder.bitcast(builder.gep(data, [at]), indices.as_pointer())
        greater = builder.fcmp_ordered(">", value, known)
        places = builder.select(greater, _spread(builder, index), builder.load(spots, align=1))
        builder.store(builder.select(greater, value, known), there, align=_FLOAT_BYTES)
        builder.store(places, spots, align=1)
        return context.get_dummy_value()

    return types.void(largest, place, types.uint64, _sixteen, place.dtype), code


def _indices(context, builder, kind, array, at):
    """Pointer to sixteen elements of a flat array of small unsigned integers."""
    data = context.make_array(kind)(context, builder, array).data
    integers = ir.VectorType(context.get_value_type(kind.dtype), LANES)
    return builder.bitcast(builder.gep(data, [at]), integers.as_pointer()), integers


@operation
def load_indices(context, array, at):
    """array[at : at + LANES] as float32, which holds integers below 2^24 exactly."""

    def code(context, builder, signature, arguments):
        there, _ = _indices(context, builder, signature.args[0], *arguments)
        return builder.uitofp(builder.load(there, align=1), _LLVM)

    return _sixteen(array, types.uint64), code


@operation
def store_indices(context, array, at, value):
    """array[at : at + LANES] = value, whole numbers that its type holds"""

    def code(context, builder, signature, arguments):
        there, integers = _indices(context, builder, signature.args[0], *arguments[:2])
        builder.store(builder.fptoui(arguments[2], integers), there, align=1)
        return context.get_dummy_value()

    return types.void(array, types.uint64, _sixteen), code


# --- Choices: bit k of an integer says whether element k is chosen ---------------------------------------------------

_BITS, _CHOICE = ir.IntType(LANES), ir.VectorType(ir.IntType(1), LANES)


def _as_bits(builder, choice):
    return builder.zext(builder.bitcast(choice, _BITS), ir.IntType(64))


def _as_choice(builder, bits):
    return builder.bitcast(builder.trunc(bits, _BITS), _CHOICE)


def _compared(sign):
    def code(context, builder, signature, arguments):
        return _as_bits(builder, builder.fcmp_ordered(sign, *arguments))

    return code


@operation
def greater(context, a, b):
    """Choice of the elements where a > b."""
    return types.uint64(_sixteen, _sixteen), _compared(">")


@operation
def not_less(context, a, b):
    """Choice of the elements where a >= b."""
    return types.uint64(_sixteen, _sixteen), _compared(">=")


@operation
def count(context, choice):
    """How many elements are chosen."""

    def code(context, builder, signature, arguments):
        return builder.ctpop(arguments[0])

    return types.uint64(types.uint64), code


@operation
def chosen(context, choice, a):
    """a where chosen, else 0."""

    def code(context, builder, signature, arguments):
        return builder.select(_as_choice(builder, arguments[0]), arguments[1], ir.Constant(_LLVM, None))

    return _sixteen(types.uint64, _sixteen), code


@operation
def either(context, choice, a, b):
    """a where chosen, else b."""

    def code(context, builder, signature, arguments):
        return builder.select(_as_choice(builder, arguments[0]), *arguments[1:])

    return _sixteen(types.uint64, _sixteen, _sixteen), code


@operation
def store_chosen(context, array, at, choice, a):
    """Store the chosen elements one behind the other, from array[at] on."""

    def code(context, builder, signature, arguments):
        array, at, bits, value = arguments
        data = context.make_array(signature.args[0])(context, builder, array).data
        kind = ir.FunctionType(ir.VoidType(), [_LLVM, data.type, _CHOICE])
        write = cgutils.get_or_insert_function(builder.module, kind, f"llvm.masked.compressstore.v{LANES}f32")
        builder.call(write, [value, builder.gep(data, [at]), _as_choice(builder, bits)])
        return context.get_dummy_value()

    return types.void(array, types.uint64, types.uint64, _sixteen), code
