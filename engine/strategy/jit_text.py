"""Texts in compiled handlers: log lines, and strings of floats and enums. All take the GIL."""

from __future__ import annotations

from llvmlite import ir
from numba.core import cgutils, errors, types
from numba.extending import intrinsic, overload_method

from engine.strategy.jit_types import BYTES, ContextType


@intrinsic
def _log(typing_context, ctx, text):
    """Takes the GIL: a log line is a Python string."""

    def code(context, builder, sig, args):
        api = context.get_python_api(builder)
        gil = api.gil_ensure()
        # Boxing takes a reference, which is the caller's otherwise.
        context.nrt.incref(builder, types.unicode_type, args[1])
        line = api.from_native_value(types.unicode_type, args[1])
        kind = ir.FunctionType(ir.VoidType(), [BYTES, BYTES])
        function = cgutils.get_or_insert_function(builder.module, kind, "ringbook_jit_log")
        builder.call(function, [args[0], builder.bitcast(line, BYTES)])
        api.decref(line)
        api.gil_release(gil)
        return context.get_dummy_value()

    return types.none(ctx, types.unicode_type), code


@overload_method(ContextType, "log")
def _ctx_log(ctx, text):
    if not isinstance(text, types.UnicodeType | types.StringLiteral):
        raise errors.TypingError("ctx.log takes a string: use str(...)")
    return lambda ctx, text: _log(ctx, text)


@intrinsic
def _text_of(typing_context, value):
    """The text that Python makes of a float; takes the GIL."""

    def code(context, builder, sig, args):
        api = context.get_python_api(builder)
        gil = api.gil_ensure()
        boxed = api.float_from_double(args[0])
        made = api.object_str(boxed)
        text = api.to_native_value(types.unicode_type, made)
        api.decref(boxed)
        api.decref(made)
        api.gil_release(gil)
        return text.value

    return types.unicode_type(types.float64), code


@overload_method(types.Float, "__str__")
def _float_str(value):
    return lambda value: _text_of(value)


@intrinsic
def _number_of(typing_context, value):
    """An enum's number."""
    return types.int64(value), lambda context, builder, sig, args: context.cast(
        builder, args[0], value, types.int64
    )


@overload_method(types.IntEnumMember, "__str__")
def _enum_str(value):
    return lambda value: str(_number_of(value))
