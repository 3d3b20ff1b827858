"""What compiled handlers see, as Numba types: context, books, orders, fills, trades, and the strategy itself.

All are pointers into the desk, one to three a value: making one allocates and copies nothing. Reading an
attribute is a load at an offset that the core tells (``jit_core.layout()`` and the dtypes of
``engine.core.types``), so that both sides share one declaration of every struct.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, errors, types
from numba.extending import (
    models,
    register_model,
)

from engine.strategy.jit_core import layout
from engine.strategy.jit_program import Program

LAYOUT = layout()
BYTES = cgutils.voidptr_t
I64, F64 = ir.IntType(64), ir.DoubleType()
OPTIONAL = types.Optional(types.int64)
OPTIONS = {"error_model": "python", "boundscheck": True, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
"""How all is compiled: with Python's errors, with checks of every index, and for compiled callers only."""
JIT = numba.njit(**OPTIONS)


# --- the types ---------------------------------------------------------------------------------------


class View(types.Type):
    """A value of some pointers and numbers; its attributes are in ``ATTRIBUTES``."""

    def __init__(self, name: str, *members: tuple[str, types.Type]) -> None:
        """Names it as Python does."""
        self.members = list(members)
        super().__init__(name=name)


class ContextType(types.Opaque):
    """The frame."""


class SymbolsType(types.SimpleIterableType):
    """The strategy's instruments; the frame."""


class SymbolType(types.Type):
    """One of them; its number in the kernel."""


class BookType(View):
    """A live book."""


class OrderType(View):
    """An order in the desk's table, or the one that a callback is about."""


class SignalType(View):
    """A signal from outside."""


class OrdersType(View, types.IterableType):
    """The live orders in a range of the strategy's instruments."""

    iterator_type = None


class WalkType(types.SimpleIteratorType):
    """An iteration: the frame, and where it is."""


class SelfType(types.Type):
    """A strategy in its own handlers: parameters, state, constants and methods of one class; the frame.

    ``places`` are the lines that its compiled methods note, by their numbers (jit_places.py).
    """

    def __init__(self, program: Program, methods: dict[str, Any], statics: dict[str, Any]) -> None:
        """Takes the class and its functions, wrapped: Numba compiles each for the types it is called with."""
        self.program, self.methods, self.statics = program, methods, statics
        self.places: dict[Any, int] = {}
        super().__init__(name=program.name)

    @property
    def key(self) -> tuple[str, int]:
        """Two classes of one name are two types."""
        return "strategy", self.program.serial

    def field(self, name: str) -> tuple[str, np.dtype, int] | None:
        """Of a parameter or a value of the state: its record, dtype and offset."""
        for record in ("params", "state"):
            dtype = getattr(self.program, f"{record}_dtype")
            if name in (dtype.names or ()):
                return record, *dtype.fields[name][:2]
        return None


SYMBOL = SymbolType("symbol")
CONTEXT = ContextType("Context")
BOOK = BookType("BookView", ("at", types.voidptr), ("instrument", types.voidptr), ("symbol", SYMBOL))
ORDER = OrderType("OrderView", ("at", types.voidptr), ("instrument", types.voidptr))
FILL = View("FillView", ("at", types.voidptr), ("instrument", types.voidptr))
TRADE = View("TradeView", ("at", types.voidptr), ("symbol", SYMBOL))
SIGNAL = SignalType("Signal", ("at", types.voidptr))
VALUE_NAMES = (
    "position",
    "balance",
    "fee",
    "num_trades",
    "trading_volume",
    "trading_value",
    "avg_px",
    "realized_pnl",
    "unrealized_pnl",
    "equity",
    "funding",
)
VALUES = View("StateValues", *((name, types.float64) for name in VALUE_NAMES))
ORDERS = OrdersType("orders", ("frame", CONTEXT), ("place", types.int64), ("end", types.int64))
ORDERS_WALK = WalkType("walk over orders", ORDER)
SYMBOLS_WALK = WalkType("walk over symbols", SYMBOL)
SYMBOLS = SymbolsType("symbols", SYMBOLS_WALK)
OrdersType.iterator_type = ORDERS_WALK

for _pointer in (ContextType, SymbolsType, SelfType):
    register_model(_pointer)(models.OpaqueModel)


@register_model(SymbolType)
class _SymbolModel(models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: types.Type) -> None:
        super().__init__(dmm, fe_type, I64)


@register_model(WalkType)
class _WalkModel(models.StructModel):
    def __init__(self, dmm: Any, fe_type: types.Type) -> None:
        super().__init__(dmm, fe_type, [("frame", CONTEXT), ("cursor", types.voidptr)])


class _ViewModel(models.StructModel):
    def __init__(self, dmm: Any, fe_type: types.Type) -> None:
        super().__init__(dmm, fe_type, fe_type.members)


for _view in (View, BookType, OrderType, SignalType, OrdersType):
    register_model(_view)(_ViewModel)


def whole(**given: Any) -> None:
    """Refuses a fraction where a whole number is meant: Numba would cut it off silently.

    Args:
        **given: Types of arguments, or Python values of those that were left out, by name.

    Raises:
        TypingError: One is no integer.
    """
    for name, kind in given.items():
        kind = kind.type if isinstance(kind, types.Optional) else kind
        if not isinstance(kind, int | types.Omitted | types.Integer | types.IntEnumMember):
            hint = ": use int(...)" if isinstance(kind, types.Float) else ""
            raise errors.TypingError(f"{name} is a whole number, not {kind}{hint}")


def real(**given: Any) -> None:
    """Refuses what is no number.

    Args:
        **given: Types of arguments by name.

    Raises:
        TypingError: One is no number.
    """
    for name, kind in given.items():
        kind = kind.type if isinstance(kind, types.Optional) else kind
        if not isinstance(kind, types.Number):
            raise errors.TypingError(f"{name} is a number, not {kind}")


# --- loads -------------------------------------------------------------------------------------------


def load(builder: ir.IRBuilder, base: ir.Value, offset: int | ir.Value, kind: ir.Type) -> ir.Value:
    """The value at an offset in bytes."""
    place = builder.gep(base, [I64(offset) if isinstance(offset, int) else offset])
    return builder.load(builder.bitcast(place, kind.as_pointer()))


def load_number(builder: ir.IRBuilder, base: ir.Value, dtype: np.dtype, offset: int) -> ir.Value:
    """An integer of any width as int64, or a double."""
    if dtype.kind == "f":
        return load(builder, base, offset, F64)
    value = load(builder, base, offset, ir.IntType(8 * dtype.itemsize))
    if dtype.itemsize == 8:
        return value
    return builder.sext(value, I64) if dtype.kind == "i" else builder.zext(value, I64)


def desk(builder: ir.IRBuilder, frame: ir.Value) -> ir.Value:
    """The frame's desk."""
    return load(builder, frame, LAYOUT["frame.desk"], BYTES)


def element(builder: ir.IRBuilder, frame: ir.Value, what: str, size: int, number: ir.Value) -> ir.Value:
    """The address of an element of one of the desk's arrays."""
    first = load(builder, desk(builder, frame), LAYOUT[f"desk.{what}"], BYTES)
    return builder.gep(first, [builder.mul(number, I64(size))])


def nth_instrument(builder: ir.IRBuilder, frame: ir.Value, place: ir.Value) -> ir.Value:
    """The number of the strategy's instrument at a place."""
    first = load(builder, frame, LAYOUT["frame.instruments"], BYTES)
    return builder.zext(load(builder, first, builder.mul(place, I64(2)), ir.IntType(16)), I64)


def instrument_at(builder: ir.IRBuilder, frame: ir.Value, number: ir.Value) -> ir.Value:
    """The address of an instrument."""
    return element(builder, frame, "instruments", LAYOUT["instrument"], number)


def cell_at(builder: ir.IRBuilder, frame: ir.Value, number: ir.Value) -> ir.Value:
    """The address of the strategy's cell in an instrument."""
    slot = load(builder, frame, LAYOUT["frame.slot"], I64)
    width = load(builder, desk(builder, frame), LAYOUT["desk.n_instruments"], ir.IntType(16))
    number = builder.add(builder.mul(slot, builder.zext(width, I64)), number)
    return element(builder, frame, "cells", LAYOUT["cell"], number)


def make_view(context: Any, builder: ir.IRBuilder, kind: types.Type, **members: ir.Value) -> ir.Value:
    """A value of a struct type."""
    made = cgutils.create_struct_proxy(kind)(context, builder)
    for name, value in members.items():
        setattr(made, name, value)
    return made._getvalue()


def make_book(context: Any, builder: ir.IRBuilder, frame: ir.Value, number: ir.Value) -> ir.Value:
    """The view of an instrument's book."""
    return make_view(
        context,
        builder,
        BOOK,
        at=element(builder, frame, "books", LAYOUT["book"], number),
        instrument=instrument_at(builder, frame, number),
        symbol=number,
    )


def make_record(
    context: Any, builder: ir.IRBuilder, kind: types.Type, frame: ir.Value, at: ir.Value, dtype: np.dtype
) -> ir.Value:
    """The view of an order or a fill, which knows its instrument."""
    number = load_number(builder, at, *dtype.fields["instrument"][:2])
    return make_view(context, builder, kind, at=at, instrument=instrument_at(builder, frame, number))
