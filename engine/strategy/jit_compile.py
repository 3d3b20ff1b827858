"""Turns the handlers of a ``Program`` into C functions, and Numba's errors into one readable line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import CodeType
from typing import Any

import numba
from llvmlite import ir
from numba import cfunc
from numba.core import cgutils, types
from numba.core import ir as numba_ir
from numba.extending import intrinsic

import engine.strategy.jit_calls  # noqa: F401  registers what handlers call
from engine.core.errors import StrategyError
from engine.core.types import fill_dtype, order_dtype
from engine.strategy.jit_core import HANDLERS
from engine.strategy.jit_errors import explain, located, source_line
from engine.strategy.jit_fields import lower_methods
from engine.strategy.jit_places import Located
from engine.strategy.jit_program import Place, Program
from engine.strategy.jit_types import (
    BOOK,
    BYTES,
    CONTEXT,
    FILL,
    I64,
    LAYOUT,
    OPTIONS,
    ORDER,
    SIGNAL,
    TRADE,
    SelfType,
    desk,
    load,
    make_book,
    make_record,
    make_view,
)

ENTRY = types.void(types.voidptr, types.voidptr, types.voidptr)
"""A handler for the kernel: the frame, and what the callback is about (``JitStrategy.on_*``)."""

VIEWS = {
    "on_book": BOOK,
    "on_trade": TRADE,
    "on_order": ORDER,
    "on_fill": FILL,
    "on_timer": types.int64,
    "on_signal": SIGNAL,
}
"""The type of a callback's last argument; the others have none."""


_WHOLE = (types.Integer, types.Boolean, types.EnumMember)


@dataclass(frozen=True)
class Code:
    """Compiled handlers.

    Attributes:
        addresses: Of the C functions, by callback.
        handlers: What they were in Python, by callback.
        places: What handlers note in the frame's place.
        entries: What keeps them in memory.
    """

    addresses: dict[str, int]
    handlers: dict[str, CodeType]
    places: tuple[Place, ...]
    entries: tuple[Any, ...]

    def located(self, error: BaseException, callback: str, place: int) -> BaseException:
        """An exception with the place that raised it in its traceback.

        Args:
            error: What was raised.
            callback: The handler.
            place: What the frame's place was; negative before the first.
        """
        return located(error, self.handlers[callback], None if place < 0 else self.places[place])


def compile_program(program: Program) -> Code:
    """Compiles all handlers of a class.

    Args:
        program: The class.

    Raises:
        StrategyError: A handler cannot be compiled; the message names it, the line and what is wrong.
    """
    wrap = numba.njit(**OPTIONS, pipeline_class=Located)
    methods, statics = (
        {name: wrap(function) for name, function in found.items()}
        for found in (program.members.methods, program.members.statics)
    )
    this = SelfType(program, methods, statics)
    lower_methods(this)
    entries = {}
    for name in program.members.handlers:
        try:
            this.methods[name].compile(_arguments(this, name))
            entries[name] = cfunc(ENTRY)(_entry(this, name))
        except Exception as error:
            raise StrategyError(explain(error, program, name)) from error
    for name, dispatcher in {**this.methods, **this.statics}.items():
        for result in dispatcher.overloads.values():
            _check_assignments(name, this, result.type_annotation)
    return Code(
        {name: entry.address for name, entry in entries.items()},
        {name: handler.__code__ for name, handler in program.members.handlers.items()},
        tuple(this.places),
        tuple(entries.values()),
    )


def _arguments(this: SelfType, name: str) -> tuple[types.Type, ...]:
    """The types that a handler is called with."""
    return (this, CONTEXT, *([VIEWS[name]] if name in VIEWS else []))


def _entry(this: SelfType, name: str) -> Callable[..., None]:
    """The function that the kernel calls: makes the arguments and deals with an exception."""
    result = this.methods[name].overloads[_arguments(this, name)]

    @intrinsic
    def run(typing_context, frame, first, second):
        def code(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
            frame = args[0]
            values = [frame, frame]
            if name in VIEWS:
                values.append(_view(context, builder, name, *args))
            status, returned = context.call_internal_no_propagate(
                builder, result.fndesc, result.signature, values
            )
            context.add_linking_libs([result.library])
            with cgutils.if_unlikely(builder, status.is_error):
                _raise(context, builder, status, frame, HANDLERS.index(name))
            with cgutils.if_likely(builder, status.is_ok):
                context.nrt.decref(builder, result.signature.return_type, returned)
            return context.get_dummy_value()

        return types.none(frame, first, second), code

    def entry(frame, first, second):
        run(frame, first, second)

    return entry


def _raise(context: Any, builder: ir.IRBuilder, status: Any, frame: ir.Value, place: int) -> None:
    """Sets the handler's exception as Python's and hands it to the core, which stops the strategy."""
    api = context.get_python_api(builder)
    gil = api.gil_ensure()
    context.call_conv.raise_error(builder, api, status)
    kind = ir.FunctionType(ir.VoidType(), [BYTES, I64])
    function = cgutils.get_or_insert_function(builder.module, kind, "ringbook_jit_raised")
    builder.call(function, [frame, I64(place)])
    api.gil_release(gil)


def _view(
    context: Any, builder: ir.IRBuilder, name: str, frame: ir.Value, first: ir.Value, second: ir.Value
) -> ir.Value:
    """A callback's last argument."""
    if name == "on_timer":
        return load(builder, desk(builder, frame), LAYOUT["desk.now"], I64)
    if name == "on_book":
        return make_book(context, builder, frame, builder.zext(load(builder, first, 0, ir.IntType(16)), I64))
    if name == "on_signal":
        return make_view(context, builder, SIGNAL, at=first)
    if name == "on_trade":
        number = builder.zext(load(builder, second, 0, ir.IntType(16)), I64)
        return make_view(context, builder, TRADE, at=first, symbol=number)
    dtype = order_dtype if name == "on_order" else fill_dtype
    return make_record(context, builder, VIEWS[name], frame, first, dtype)


def _check_assignments(name: str, this: SelfType, annotation: Any) -> None:
    """Refuses a float for an int of the state: Numba would cut off its fraction silently."""
    for block in annotation.blocks.values():
        for statement in block.find_insts(numba_ir.SetAttr):
            field = this.field(statement.attr)
            if field is None or annotation.typemap[statement.target.name] != this:
                continue
            given = annotation.typemap[statement.value.name]
            given = given.type if isinstance(given, types.Optional) else given
            if field[1].kind in "ib" and not isinstance(given, _WHOLE):
                kind = "int" if field[1].kind == "i" else "bool"
                reason = f"self.{statement.attr} is declared as {kind} and is given {given}"
                place = source_line(this.program, statement.loc.filename, statement.loc.line)
                raise StrategyError(f"{this.program.name}.{name} cannot be compiled: {reason} ({place})")
