"""What compiled handlers read through calls: symbols, books, positions, orders, as Numba overloads.

Names, arguments and errors are those of the Python classes (context.pyx, views.pyx).
"""

from __future__ import annotations

import operator

import llvmlite.binding
import numpy as np
from llvmlite import ir
from numba.core import cgutils, errors, types
from numba.core.typing import signature
from numba.extending import intrinsic, overload, overload_attribute, overload_method

from engine.core.types import Status, order_dtype
from engine.strategy.jit_core import symbols
from engine.strategy.jit_types import (
    BOOK,
    BYTES,
    CONTEXT,
    F64,
    I64,
    JIT,
    LAYOUT,
    ORDER,
    ORDERS,
    SYMBOL,
    VALUE_NAMES,
    VALUES,
    BookType,
    ContextType,
    OrdersType,
    OrderType,
    SignalType,
    SymbolsType,
    cell_at,
    load,
    make_book,
    make_record,
    make_view,
    nth_instrument,
    whole,
)

for _name, _address in symbols().items():
    llvmlite.binding.add_symbol(_name, _address)

INT, FLOAT, PTR = types.int64, types.float64, types.voidptr


def external(name, result, *arguments):
    """One of the core's functions."""
    return types.ExternalFunction(f"ringbook_jit_{name}", signature(result, *arguments))


def is_none(kind):
    """Whether an argument was left out, or is None."""
    return kind is None or isinstance(kind, types.Omitted | types.NoneType)


_trading = external("trading", INT, CONTEXT)
_bid_qty = external("bid_qty", FLOAT, PTR, INT)
_ask_qty = external("ask_qty", FLOAT, PTR, INT)
_levels = external("levels", INT, PTR, INT, INT, types.CPointer(INT), types.CPointer(FLOAT))


# --- symbols -----------------------------------------------------------------------------------------


@intrinsic
def number(typing_context, ctx, symbol):
    """The instrument that a symbol means: itself, or the strategy's first for None."""
    first = is_none(symbol)
    if not first and symbol not in (SYMBOL, types.Optional(SYMBOL)):
        raise errors.TypingError(f"a symbol is one of ctx.symbols, not {symbol}")

    def code(context, builder, sig, args):
        if first:
            return nth_instrument(builder, args[0], I64(0))
        # That of a signal about all symbols raises here, as "" does in Python.
        return context.cast(builder, args[1], symbol, SYMBOL)

    return INT(ctx, symbol), code


@intrinsic
def _symbol(typing_context, symbols, place):
    """The symbol at a place that is known to be one."""
    return SYMBOL(symbols, types.int64), lambda context, builder, sig, args: nth_instrument(builder, *args)


@intrinsic
def _place(typing_context, symbol):
    """A symbol's number to compare, -1 for None."""

    def code(context, builder, sig, args):
        if symbol == SYMBOL:
            return args[0]
        given = context.make_helper(builder, symbol, value=args[0])
        return builder.select(given.valid, given.data, I64(-1))

    return INT(symbol), code


@intrinsic
def _n_symbols(typing_context, frame):
    return INT(frame), lambda context, builder, sig, args: load(
        builder, args[0], LAYOUT["frame.n_instruments"], I64
    )


@overload(len)
def _symbols_len(symbols):
    if isinstance(symbols, SymbolsType):
        return lambda symbols: _n_symbols(symbols)
    return None


@overload(operator.getitem)
def _symbols_getitem(symbols, place):
    if not isinstance(symbols, SymbolsType) or not isinstance(place, types.Integer):
        return None

    def impl(symbols, place):
        n = _n_symbols(symbols)
        if not -n <= place < n:
            raise IndexError("tuple index out of range")
        return _symbol(symbols, place if place >= 0 else place + n)

    return impl


@JIT
def _index(symbols, wanted):
    for place in range(len(symbols)):
        if _place(symbols[place]) == wanted:
            return place
    raise ValueError("tuple.index(x): x not in tuple")


@overload_method(SymbolsType, "index")
def _symbols_index(symbols, symbol):
    return lambda symbols, symbol: _index(symbols, number(symbols, symbol))


def _are_symbols(*kinds):
    return all(kind in (SYMBOL, types.Optional(SYMBOL)) for kind in kinds)


@overload(operator.eq)
def _symbol_eq(a, b):
    return (lambda a, b: _place(a) == _place(b)) if _are_symbols(a, b) else None


@overload(operator.ne)
def _symbol_ne(a, b):
    return (lambda a, b: _place(a) != _place(b)) if _are_symbols(a, b) else None


@overload(bool)
def _symbol_bool(symbol):
    return (lambda symbol: _place(symbol) >= 0) if _are_symbols(symbol) else None


# --- reading -----------------------------------------------------------------------------------------


@intrinsic
def _book(typing_context, ctx, number):
    return BOOK(ctx, INT), lambda context, builder, sig, args: make_book(context, builder, *args)


@intrinsic
def _lots(typing_context, ctx, number):
    return INT(ctx, INT), lambda context, builder, sig, args: load(
        builder, cell_at(builder, *args), LAYOUT["cell.lots"], I64
    )


@intrinsic
def _values(typing_context, ctx, number):
    def code(context, builder, sig, args):
        memory = cgutils.alloca_once(builder, F64, size=len(VALUE_NAMES))
        kind = ir.FunctionType(ir.VoidType(), [BYTES, I64, F64.as_pointer()])
        function = cgutils.get_or_insert_function(builder.module, kind, "ringbook_jit_state")
        builder.call(function, [*args, memory])
        read = {name: builder.load(builder.gep(memory, [I64(i)])) for i, name in enumerate(VALUE_NAMES)}
        return make_view(context, builder, VALUES, **read)

    return VALUES(ctx, INT), code


@intrinsic
def _order(typing_context, ctx, order_id):
    result = types.Optional(ORDER)

    def code(context, builder, sig, args):
        kind = ir.FunctionType(BYTES, [BYTES, I64])
        function = cgutils.get_or_insert_function(builder.module, kind, "ringbook_jit_order")
        at = builder.call(function, list(args))
        made = cgutils.alloca_once_value(builder, context.make_optional_none(builder, ORDER))
        with builder.if_then(cgutils.is_not_null(builder, at)):
            view = make_record(context, builder, ORDER, args[0], at, order_dtype)
            builder.store(context.make_optional_value(builder, ORDER, view), made)
        return builder.load(made)

    return result(ctx, INT), code


@intrinsic
def _orders(typing_context, ctx, place, end):
    return ORDERS(ctx, INT, INT), lambda context, builder, sig, args: make_view(
        context, builder, ORDERS, frame=args[0], place=args[1], end=args[2]
    )


@intrinsic
def _orders_count(typing_context, orders):
    def code(context, builder, sig, args):
        view = cgutils.create_struct_proxy(ORDERS)(context, builder, value=args[0])
        kind = ir.FunctionType(I64, [BYTES, I64, I64])
        function = cgutils.get_or_insert_function(builder.module, kind, "ringbook_jit_count")
        return builder.call(function, [view.frame, view.place, view.end])

    return INT(orders), code


@intrinsic
def _at(typing_context, view):
    """What a view points to."""
    return PTR(view), lambda context, builder, sig, args: builder.extract_value(args[0], 0)


@overload_attribute(ContextType, "trading")
def _ctx_trading(ctx):
    return lambda ctx: _trading(ctx) != 0


@overload_method(ContextType, "book")
def _ctx_book(ctx, symbol=None):
    return lambda ctx, symbol=None: _book(ctx, number(ctx, symbol))


@overload_method(ContextType, "position_lots")
def _ctx_position_lots(ctx, symbol=None):
    return lambda ctx, symbol=None: _lots(ctx, number(ctx, symbol))


@overload_method(ContextType, "position")
def _ctx_position(ctx, symbol=None):
    def impl(ctx, symbol=None):
        place = number(ctx, symbol)
        return _lots(ctx, place) * _book(ctx, place).lot_size

    return impl


@overload_method(ContextType, "state")
def _ctx_state(ctx, symbol=None):
    return lambda ctx, symbol=None: _values(ctx, number(ctx, symbol))


@overload_method(ContextType, "order")
def _ctx_order(ctx, order_id):
    whole(order_id=order_id)
    return lambda ctx, order_id: _order(ctx, order_id)


@overload_method(ContextType, "orders")
def _ctx_orders(ctx, symbol=None):
    if is_none(symbol):
        return lambda ctx, symbol=None: _orders(ctx, 0, _n_symbols(ctx))

    def impl(ctx, symbol=None):
        place = _index(ctx.symbols, number(ctx, symbol))
        return _orders(ctx, place, place + 1)

    return impl


@overload(len)
def _orders_len(orders):
    if isinstance(orders, OrdersType):
        return lambda orders: _orders_count(orders)
    return None


@overload(bool)
def _orders_bool(orders):
    if isinstance(orders, OrdersType):
        return lambda orders: _orders_count(orders) > 0
    return None


@overload_attribute(OrderType, "is_live")
def _order_is_live(order):
    def impl(order):
        status = order.status
        return status == Status.NONE or status == Status.NEW or status == Status.PARTIALLY_FILLED

    return impl


@intrinsic
def _signal_name(typing_context, signal):
    """The name as a string; takes the GIL."""

    def code(context, builder, sig, args):
        at = builder.extract_value(args[0], 0)
        api = context.get_python_api(builder)
        gil = api.gil_ensure()
        name = api.to_native_value(types.unicode_type, load(builder, at, LAYOUT["signal.name"], BYTES))
        api.gil_release(gil)
        return name.value

    return types.unicode_type(signal), code


@overload_attribute(SignalType, "name")
def _name_of_signal(signal):
    return lambda signal: _signal_name(signal)


@overload_method(BookType, "bid_qty")
def _book_bid_qty(book, tick):
    whole(tick=tick)
    return lambda book, tick: _bid_qty(_at(book), tick)


@overload_method(BookType, "ask_qty")
def _book_ask_qty(book, tick):
    whole(tick=tick)
    return lambda book, tick: _ask_qty(_at(book), tick)


def _price(side: str):
    name = f"best_{side}_tick"

    def make(book):
        def impl(book):
            tick = getattr(book, name)
            return np.nan if tick is None else tick * book.tick_size

        return impl

    return make


overload_attribute(BookType, "best_bid")(_price("bid"))
overload_attribute(BookType, "best_ask")(_price("ask"))


@overload_attribute(BookType, "best_bid_qty")
def _best_bid_qty(book):
    def impl(book):
        tick = book.best_bid_tick
        return 0.0 if tick is None else _bid_qty(_at(book), tick)

    return impl


@overload_attribute(BookType, "best_ask_qty")
def _best_ask_qty(book):
    def impl(book):
        tick = book.best_ask_tick
        return 0.0 if tick is None else _ask_qty(_at(book), tick)

    return impl


@overload_attribute(BookType, "mid")
def _mid(book):
    return lambda book: (book.best_bid + book.best_ask) / 2.0


def _side_levels(side):
    def make(book, n=10):
        whole(n=n)

        def impl(book, n=10):
            size = max(0, min(n, 1 << 16))
            ticks, qtys = np.empty(size, np.int64), np.empty(size)
            count = _levels(_at(book), side, size, ticks.ctypes, qtys.ctypes)
            return [(ticks[i] * book.tick_size, qtys[i]) for i in range(count)]

        return impl

    return make


overload_method(BookType, "bids")(_side_levels(1))
overload_method(BookType, "asks")(_side_levels(-1))
