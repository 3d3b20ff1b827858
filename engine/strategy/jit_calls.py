"""What compiled handlers call: the methods of ``Context``, books, orders and symbols, as Numba overloads.

Names, arguments, defaults and errors are those of the Python classes (context.pyx, views.pyx); where
Python raises for a wrong request, so does the compiled handler, and the strategy stops.
"""

from __future__ import annotations

import operator

import llvmlite.binding
import numpy as np
from llvmlite import ir
from numba.core import cgutils, errors, types
from numba.core.typing import signature
from numba.extending import intrinsic, overload, overload_attribute, overload_method

from engine.core.errors import InvalidOrder, OrderNotFound, RequestInProcess
from engine.core.types import OrdType, Status, TimeInForce, order_dtype
from engine.strategy.jit_core import REFUSALS, symbols
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
    SymbolsType,
    SymbolType,
    cell_at,
    load,
    make_book,
    make_record,
    make_view,
    nth_instrument,
)

for _name, _address in symbols().items():
    llvmlite.binding.add_symbol(_name, _address)

DENIED = 84
"""ERR_DENIED of core/codes.pxd: the risk checks said no, and on_order has the reason."""

_INT, _FLOAT, _PTR = types.int64, types.float64, types.voidptr


def _external(name, result, *arguments):
    return types.ExternalFunction(f"ringbook_jit_{name}", signature(result, *arguments))


_submit = _external("submit", _INT, CONTEXT, _INT, _INT, _FLOAT, _FLOAT, _INT, _INT)
_submit_ticks = _external("submit_ticks", _INT, CONTEXT, _INT, _INT, _INT, _INT, _INT, _INT)
_modify = _external("modify", _INT, CONTEXT, _INT, _FLOAT, _FLOAT)
_modify_ticks = _external("modify_ticks", _INT, CONTEXT, _INT, _INT, _INT)
_cancel = _external("cancel", _INT, CONTEXT, _INT)
_cancel_all = _external("cancel_all", _INT, CONTEXT, _INT)
_set_timer = _external("set_timer", _INT, CONTEXT, _INT, _INT)
_trading = _external("trading", _INT, CONTEXT)
_count = _external("count", _INT, CONTEXT, _INT, _INT)
_bid_qty = _external("bid_qty", _FLOAT, _PTR, _INT)
_ask_qty = _external("ask_qty", _FLOAT, _PTR, _INT)
_levels = _external("levels", _INT, _PTR, _INT, _INT, types.CPointer(_INT), types.CPointer(_FLOAT))


def _is_none(kind):
    """Whether an argument was left out, or is None."""
    return kind is None or isinstance(kind, types.Omitted | types.NoneType)


def _whole(name, kind):
    """Refuses a fraction where ticks, lots or nanoseconds are meant: Numba would cut it off silently."""
    kind = getattr(kind, "type", kind) if isinstance(kind, types.Optional) else kind
    if not isinstance(kind, types.Integer | types.IntEnumMember):
        raise errors.TypingError(f"{name} is a whole number, not {kind}: use int(...)")


# --- refusals ----------------------------------------------------------------------------------------

_BAD_SIDE, _BAD_TYPE, _BAD_TIF, _BAD_PX, _BAD_QTY = (REFUSALS[-code] for code in range(1, 6))


@JIT
def _refuse(code):
    """Raises what a negative answer, or a result code of the core, stands for."""
    if code == 12:
        raise OrderNotFound("no order of that id")
    if code == 11:
        raise RequestInProcess("the order has a request in process")
    if code == -1:
        raise InvalidOrder(_BAD_SIDE)
    if code == -2:
        raise InvalidOrder(_BAD_TYPE)
    if code == -3:
        raise InvalidOrder(_BAD_TIF)
    if code == -4:
        raise InvalidOrder(_BAD_PX)
    if code == -5:
        raise InvalidOrder(_BAD_QTY)
    raise InvalidOrder("the request is invalid")


# --- symbols -----------------------------------------------------------------------------------------


@intrinsic
def _number(typing_context, ctx, symbol):
    """The instrument that a symbol means: itself, or the strategy's first for None."""
    first = _is_none(symbol)
    if not first and symbol != SYMBOL:
        raise errors.TypingError(f"a symbol is one of ctx.symbols, not {symbol}")

    def code(context, builder, sig, args):
        return nth_instrument(builder, args[0], I64(0)) if first else args[1]

    return _INT(ctx, symbol), code


@intrinsic
def _symbol(typing_context, symbols, place):
    """The symbol at a place that is known to be one."""
    return SYMBOL(symbols, types.int64), lambda context, builder, sig, args: nth_instrument(builder, *args)


@intrinsic
def _place(typing_context, symbol):
    """A symbol's number, to compare."""
    return _INT(symbol), lambda context, builder, sig, args: args[0]


@intrinsic
def _n_symbols(typing_context, frame):
    return _INT(frame), lambda context, builder, sig, args: load(
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


@overload_method(SymbolsType, "index")
def _symbols_index(symbols, symbol):
    def impl(symbols, symbol):
        for place in range(len(symbols)):
            if symbols[place] == symbol:
                return place
        raise ValueError("tuple.index(x): x not in tuple")

    return impl


@overload(operator.eq)
def _symbol_eq(a, b):
    if isinstance(a, SymbolType) and isinstance(b, SymbolType):
        return lambda a, b: _place(a) == _place(b)
    return None


@overload(operator.ne)
def _symbol_ne(a, b):
    if isinstance(a, SymbolType) and isinstance(b, SymbolType):
        return lambda a, b: _place(a) != _place(b)
    return None


# --- reading -----------------------------------------------------------------------------------------


@intrinsic
def _book(typing_context, ctx, number):
    return BOOK(ctx, _INT), lambda context, builder, sig, args: make_book(context, builder, *args)


@intrinsic
def _lots(typing_context, ctx, number):
    return _INT(ctx, _INT), lambda context, builder, sig, args: load(
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

    return VALUES(ctx, _INT), code


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

    return result(ctx, _INT), code


@intrinsic
def _orders(typing_context, ctx, place, end):
    return ORDERS(ctx, _INT, _INT), lambda context, builder, sig, args: make_view(
        context, builder, ORDERS, frame=args[0], place=args[1], end=args[2]
    )


@intrinsic
def _orders_count(typing_context, orders):
    def code(context, builder, sig, args):
        view = cgutils.create_struct_proxy(ORDERS)(context, builder, value=args[0])
        kind = ir.FunctionType(I64, [BYTES, I64, I64])
        function = cgutils.get_or_insert_function(builder.module, kind, "ringbook_jit_count")
        return builder.call(function, [view.frame, view.place, view.end])

    return _INT(orders), code


@intrinsic
def _at(typing_context, view):
    """What a view points to."""
    return _PTR(view), lambda context, builder, sig, args: builder.extract_value(args[0], 0)


@overload_attribute(ContextType, "trading")
def _ctx_trading(ctx):
    return lambda ctx: _trading(ctx) != 0


@overload_method(ContextType, "book")
def _ctx_book(ctx, symbol=None):
    return lambda ctx, symbol=None: _book(ctx, _number(ctx, symbol))


@overload_method(ContextType, "position_lots")
def _ctx_position_lots(ctx, symbol=None):
    return lambda ctx, symbol=None: _lots(ctx, _number(ctx, symbol))


@overload_method(ContextType, "position")
def _ctx_position(ctx, symbol=None):
    def impl(ctx, symbol=None):
        number = _number(ctx, symbol)
        return _lots(ctx, number) * _book(ctx, number).lot_size

    return impl


@overload_method(ContextType, "state")
def _ctx_state(ctx, symbol=None):
    return lambda ctx, symbol=None: _values(ctx, _number(ctx, symbol))


@overload_method(ContextType, "order")
def _ctx_order(ctx, order_id):
    return lambda ctx, order_id: _order(ctx, order_id)


@overload_method(ContextType, "orders")
def _ctx_orders(ctx, symbol=None):
    if _is_none(symbol):
        return lambda ctx, symbol=None: _orders(ctx, 0, _n_symbols(ctx))

    def impl(ctx, symbol=None):
        place = ctx.symbols.index(symbol)
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


@overload_method(BookType, "bid_qty")
def _book_bid_qty(book, tick):
    return lambda book, tick: _bid_qty(_at(book), tick)


@overload_method(BookType, "ask_qty")
def _book_ask_qty(book, tick):
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
        def impl(book, n=10):
            size = max(0, min(n, 1 << 16))
            ticks, qtys = np.empty(size, np.int64), np.empty(size)
            count = _levels(_at(book), side, size, ticks.ctypes, qtys.ctypes)
            return [(ticks[i] * book.tick_size, qtys[i]) for i in range(count)]

        return impl

    return make


overload_method(BookType, "bids")(_side_levels(1))
overload_method(BookType, "asks")(_side_levels(-1))


# --- requests ----------------------------------------------------------------------------------------


@overload_method(ContextType, "submit")
def _ctx_submit(ctx, symbol, side, px, qty, order_type=0, time_in_force=0):
    def impl(ctx, symbol, side, px, qty, order_type=0, time_in_force=0):
        made = _submit(ctx, _number(ctx, symbol), side, px, qty, order_type, time_in_force)
        if made < 0:
            _refuse(made)
        return made

    return impl


@overload_method(ContextType, "submit_ticks")
def _ctx_submit_ticks(ctx, symbol, side, price_tick, lots, order_type=0, time_in_force=0):
    _whole("price_tick", price_tick)
    _whole("lots", lots)

    def impl(ctx, symbol, side, price_tick, lots, order_type=0, time_in_force=0):
        made = _submit_ticks(ctx, _number(ctx, symbol), side, price_tick, lots, order_type, time_in_force)
        if made < 0:
            _refuse(made)
        return made

    return impl


def _one_side(side):
    limit, gtx, gtc = int(OrdType.LIMIT), int(TimeInForce.GTX), int(TimeInForce.GTC)

    def make(ctx, px, qty, symbol=None, post_only=False):
        def impl(ctx, px, qty, symbol=None, post_only=False):
            made = _submit(ctx, _number(ctx, symbol), side, px, qty, limit, gtx if post_only else gtc)
            if made < 0:
                _refuse(made)
            return made

        return impl

    return make


overload_method(ContextType, "buy")(_one_side(1))
overload_method(ContextType, "sell")(_one_side(-1))


@overload_method(ContextType, "cancel")
def _ctx_cancel(ctx, order_id):
    def impl(ctx, order_id):
        code = _cancel(ctx, order_id)
        if code != 0:
            _refuse(code)

    return impl


@overload_method(ContextType, "modify")
def _ctx_modify(ctx, order_id, px, qty):
    def impl(ctx, order_id, px, qty):
        code = _modify(ctx, order_id, px, qty)
        if code != 0 and code != DENIED:
            _refuse(code)
        return code == 0

    return impl


@overload_method(ContextType, "modify_ticks")
def _ctx_modify_ticks(ctx, order_id, price_tick, lots):
    _whole("price_tick", price_tick)
    _whole("lots", lots)

    def impl(ctx, order_id, price_tick, lots):
        code = _modify_ticks(ctx, order_id, price_tick, lots)
        if code != 0 and code != DENIED:
            _refuse(code)
        return code == 0

    return impl


@overload_method(ContextType, "cancel_all")
def _ctx_cancel_all(ctx, symbol=None):
    if _is_none(symbol):
        return lambda ctx, symbol=None: _cancel_all(ctx, -1)
    return lambda ctx, symbol=None: _cancel_all(ctx, _number(ctx, symbol))


@overload_method(ContextType, "set_timer")
def _ctx_set_timer(ctx, interval_ns, first=None):
    _whole("interval_ns", interval_ns)
    from_now = _is_none(first)
    if not from_now:
        _whole("first", first)

    def impl(ctx, interval_ns, first=None):
        if _set_timer(ctx, interval_ns, ctx.now + interval_ns if from_now else first) != 0:
            raise InvalidOrder("a timer's interval and first time are at least 0 and below 2**62")

    return impl


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


# --- None among numbers: best ticks may be None, and min and max of one must work as in Python -----------


def _smaller_or_greater(name):
    function = {"min": min, "max": max}[name]

    @overload(function)
    def _extreme(a, b):
        if isinstance(a, types.Optional) or isinstance(b, types.Optional):
            if all(isinstance(getattr(x, "type", x), types.Number) for x in (a, b)):
                return lambda a, b: function(_sure(a), _sure(b))
        return None


@intrinsic
def _sure(typing_context, value):
    """The number in an optional one; TypeError for None."""
    kind = value.type if isinstance(value, types.Optional) else value
    return kind(value), lambda context, builder, sig, args: context.cast(builder, args[0], value, kind)


_smaller_or_greater("min")
_smaller_or_greater("max")
