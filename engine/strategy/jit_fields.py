"""Attributes in compiled handlers: of views, of the context, of the strategy itself; and walks over orders.

Each is a load that Numba inlines. Names are those of the Python classes (views.pyx, context.pyx).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, errors, types
from numba.core.imputils import RefType, impl_ret_new_ref, iternext_impl
from numba.core.typing import templates
from numba.extending import infer_getattr, lower_builtin, lower_getattr_generic, lower_setattr_generic
from numba.np.arrayobj import make_array, populate_array

from engine.core.types import OrdType, Reason, Side, Status, TimeInForce, event_dtype, fill_dtype, order_dtype
from engine.strategy.jit_types import (
    BOOK,
    BYTES,
    F64,
    FILL,
    I64,
    LAYOUT,
    OPTIONAL,
    ORDER,
    ORDERS,
    ORDERS_WALK,
    SIGNAL,
    SYMBOL,
    SYMBOLS,
    SYMBOLS_WALK,
    TRADE,
    VALUE_NAMES,
    VALUES,
    ContextType,
    OrdersType,
    SelfType,
    SymbolsType,
    View,
    WalkType,
    desk,
    load,
    load_number,
    make_record,
    make_view,
    nth_instrument,
)

# --- attributes of views -----------------------------------------------------------------------------


def _number(dtype: np.dtype, field: str) -> tuple[types.Type, Any]:
    """A field of the record that a view points to."""
    kind = types.float64 if dtype.fields[field][0].kind == "f" else types.int64
    return kind, lambda context, builder, view: load_number(builder, view.at, *dtype.fields[field][:2])


def _enum(dtype: np.dtype, field: str, enum: type) -> tuple[types.Type, Any]:
    return types.IntEnumMember(enum, types.int64), _number(dtype, field)[1]


def _of_instrument(field: str) -> tuple[types.Type, Any]:
    offset = LAYOUT[f"instrument.{field}"]
    return types.float64, lambda context, builder, view: load(builder, view.instrument, offset, F64)


def _scaled(dtype: np.dtype, field: str, size: str) -> tuple[types.Type, Any]:
    """A number of ticks or lots in price or quantity units, rounded as everywhere else."""

    def read(context: Any, builder: ir.IRBuilder, view: Any) -> ir.Value:
        count = load_number(builder, view.at, *dtype.fields[field][:2])
        return builder.fmul(builder.sitofp(count, F64), _of_instrument(size)[1](context, builder, view))

    return types.float64, read


def _symbol_of(dtype: np.dtype) -> tuple[types.Type, Any]:
    return SYMBOL, _number(dtype, "instrument")[1]


def _best(side: str) -> tuple[types.Type, Any]:
    """A best tick, None on an empty side."""
    offset = LAYOUT[f"book.best_{side}_tick"]
    empty = I64(-(1 << 63) if side == "bid" else (1 << 63) - 1)

    def read(context: Any, builder: ir.IRBuilder, view: Any) -> ir.Value:
        made = context.make_helper(builder, OPTIONAL)
        made.data = load(builder, view.at, offset, I64)
        made.valid = builder.icmp_signed("!=", made.data, empty)
        return made._getvalue()

    return OPTIONAL, read


def _side_of_trade(context: Any, builder: ir.IRBuilder, view: Any) -> ir.Value:
    """1, -1 or 0 by the event's flags, BUY first."""
    flags = load_number(builder, view.at, *event_dtype.fields["ev"][:2])
    sell = builder.and_(builder.lshr(flags, I64(28)), I64(1))
    buy = builder.and_(builder.lshr(flags, I64(29)), I64(1))
    return builder.select(builder.trunc(buy, ir.IntType(1)), I64(1), builder.neg(sell))


def _whole(context: Any, builder: ir.IRBuilder, view: Any) -> ir.Value:
    return builder.fptosi(view.num_trades, I64)


def _symbol_of_signal(context: Any, builder: ir.IRBuilder, view: Any) -> ir.Value:
    """A symbol, None where the signal is about all of them."""
    made = context.make_helper(builder, types.Optional(SYMBOL))
    made.data = load(builder, view.at, LAYOUT["signal.instrument"], I64)
    made.valid = builder.icmp_signed(">=", made.data, I64(0))
    return made._getvalue()


def _of_signal(field: str, kind: ir.Type) -> Any:
    return lambda context, builder, view: load(builder, view.at, LAYOUT[f"signal.{field}"], kind)


_SIZES = {name: _of_instrument(name) for name in ("tick_size", "lot_size", "contract_size")}
_NUMBERS = ("order_id", "price_tick", "exch_ts", "local_ts")
ATTRIBUTES: dict[types.Type, dict[str, tuple[types.Type, Any]]] = {
    BOOK: {"best_bid_tick": _best("bid"), "best_ask_tick": _best("ask"), **_SIZES},
    ORDER: {
        **{name: _number(order_dtype, name) for name in (*_NUMBERS, "client_order_id")},
        "lots": _number(order_dtype, "qty"),
        "leaves_lots": _number(order_dtype, "leaves_qty"),
        "cum_exec_lots": _number(order_dtype, "cum_exec_qty"),
        "exec_lots": _number(order_dtype, "exec_qty"),
        "px": _scaled(order_dtype, "price_tick", "tick_size"),
        "exec_px": _scaled(order_dtype, "exec_price_tick", "tick_size"),
        **{
            name: _scaled(order_dtype, name, "lot_size")
            for name in ("qty", "leaves_qty", "cum_exec_qty", "exec_qty")
        },
        "side": _enum(order_dtype, "side", Side),
        "status": _enum(order_dtype, "status", Status),
        "req": _enum(order_dtype, "req", Status),
        "reason": _enum(order_dtype, "reason", Reason),
        "order_type": _enum(order_dtype, "order_type", OrdType),
        "time_in_force": _enum(order_dtype, "time_in_force", TimeInForce),
        "symbol": _symbol_of(order_dtype),
    },
    FILL: {
        **{name: _number(fill_dtype, name) for name in (*_NUMBERS, "px", "fee", "mid_price")},
        "lots": _number(fill_dtype, "qty"),
        "qty": _scaled(fill_dtype, "qty", "lot_size"),
        "side": _enum(fill_dtype, "side", Side),
        "reason": _enum(fill_dtype, "reason", Reason),
        "is_maker": (
            types.boolean,
            lambda context, builder, view: builder.icmp_signed(
                "!=", _number(fill_dtype, "is_maker")[1](context, builder, view), I64(0)
            ),
        ),
        "symbol": _symbol_of(fill_dtype),
    },
    TRADE: {
        **{name: _number(event_dtype, name) for name in ("exch_ts", "local_ts", "px", "qty")},
        "side": (types.IntEnumMember(Side, types.int64), _side_of_trade),
    },
    SIGNAL: {
        "value": (types.float64, _of_signal("value", F64)),
        "ts": (types.int64, _of_signal("ts", I64)),
        "symbol": (types.Optional(SYMBOL), _symbol_of_signal),
    },
    VALUES: {"num_trades": (types.int64, _whole)},
}
_MEMBERS = {
    BOOK: ("symbol",),
    TRADE: ("symbol",),
    VALUES: tuple(name for name in VALUE_NAMES if name != "num_trades"),
}
for _kind, _names in _MEMBERS.items():
    for _name in _names:
        ATTRIBUTES[_kind][_name] = (
            dict(_kind.members)[_name],
            lambda context, builder, view, name=_name: getattr(view, name),
        )


@infer_getattr
class _ViewAttributes(templates.AttributeTemplate):
    key = View

    def generic_resolve(self, kind: View, name: str) -> types.Type | None:
        found = ATTRIBUTES.get(kind, {}).get(name)
        return None if found is None else found[0]


@lower_getattr_generic(View)
def _view_attribute(context: Any, builder: ir.IRBuilder, kind: View, value: ir.Value, name: str) -> ir.Value:
    view = cgutils.create_struct_proxy(kind)(context, builder, value=value)
    return ATTRIBUTES[kind][name][1](context, builder, view)


_CONTEXT_ATTRIBUTES = {"now": types.int64, "seed": types.uint64, "symbols": SYMBOLS}


@infer_getattr
class _ContextAttributes(templates.AttributeTemplate):
    key = ContextType

    def generic_resolve(self, kind: ContextType, name: str) -> types.Type | None:
        return _CONTEXT_ATTRIBUTES.get(name)


@lower_getattr_generic(ContextType)
def _context_attribute(
    context: Any, builder: ir.IRBuilder, kind: ContextType, frame: ir.Value, name: str
) -> ir.Value:
    if name == "now":
        return load(builder, desk(builder, frame), LAYOUT["desk.now"], I64)
    return frame if name == "symbols" else load(builder, frame, LAYOUT["frame.seed"], I64)


# --- the strategy itself -----------------------------------------------------------------------------


def _field_type(dtype: np.dtype) -> types.Type:
    if dtype.subdtype is not None:
        return types.Array(_field_type(dtype.base), len(dtype.shape), "C")
    return {"f": types.float64, "i": types.int64, "b": types.boolean}[dtype.kind]


@infer_getattr
class _SelfAttributes(templates.AttributeTemplate):
    key = SelfType

    def generic_resolve(self, this: SelfType, name: str) -> types.Type | None:
        field = this.field(name)
        if field is not None:
            return _field_type(field[1])
        if name in this.program.members.constants:
            return self.context.resolve_value_type(this.program.members.constants[name])
        if name not in this.methods and name not in this.statics:
            return None

        class Method(templates.AbstractTemplate):
            key = (SelfType, name)

            def generic(self, args: tuple[types.Type, ...], kws: dict[str, types.Type]) -> Any:
                if name in this.statics:
                    call = types.Dispatcher(this.statics[name]).get_call_type(self.context, args, kws)
                    return call.replace(recvr=this)
                call = types.Dispatcher(this.methods[name]).get_call_type(self.context, (this, *args), kws)
                return call.as_method()

        return types.BoundFunction(Method, this)


_lowered: set[str] = set()


def lower_methods(this: SelfType) -> None:
    """Lets Numba call the methods of a class; one implementation serves all classes that have the name."""
    for name in {*this.methods, *this.statics} - _lowered:
        _lowered.add(name)
        lower_builtin((SelfType, name), SelfType, types.VarArg(types.Any))(_method(name))


def _method(name: str) -> Any:
    def call(
        context: Any, builder: ir.IRBuilder, sig: templates.Signature, args: tuple[ir.Value, ...]
    ) -> Any:
        this = sig.args[0]
        if name in this.statics:
            sig, args = sig.replace(args=sig.args[1:]), args[1:]
        dispatcher = types.Dispatcher(this.methods[name] if name in this.methods else this.statics[name])
        function = context.get_function(dispatcher, sig)
        context.add_linking_libs(getattr(function, "libs", ()))
        return impl_ret_new_ref(context, builder, sig.return_type, function(builder, args))

    return call


def _field_place(builder: ir.IRBuilder, frame: ir.Value, record: str, offset: int) -> ir.Value:
    return builder.gep(load(builder, frame, LAYOUT[f"frame.{record}"], BYTES), [I64(offset)])


@lower_getattr_generic(SelfType)
def _self_attribute(context: Any, builder: ir.IRBuilder, this: SelfType, frame: ir.Value, name: str) -> Any:
    if this.field(name) is None:
        constant = this.program.members.constants[name]
        kind = context.typing_context.resolve_value_type(constant)
        return context.get_constant_generic(builder, kind, constant)
    record, dtype, offset = this.field(name)
    place = _field_place(builder, frame, record, offset)
    kind = _field_type(dtype)
    if dtype.subdtype is None:
        pointer = builder.bitcast(place, context.get_data_type(kind).as_pointer())
        return context.unpack_value(builder, kind, pointer)
    strides = np.empty(dtype.shape, dtype.base).strides
    array = make_array(kind)(context, builder)
    populate_array(
        array,
        data=builder.bitcast(place, array.data.type),
        shape=[I64(n) for n in dtype.shape],
        strides=[I64(n) for n in strides],
        itemsize=I64(dtype.base.itemsize),
        meminfo=None,
    )
    return array._getvalue()


@lower_setattr_generic(SelfType)
def _set_self_attribute(
    context: Any, builder: ir.IRBuilder, sig: templates.Signature, args: tuple[ir.Value, ...], name: str
) -> None:
    this, kind = sig.args
    field = this.field(name)
    if field is None or field[0] != "state":
        raise errors.NumbaValueError(f"self.{name} cannot be set: it is no value of the strategy's state")
    if field[1].subdtype is not None:
        raise errors.NumbaValueError(f"self.{name} is an Array: set its elements, self.{name}[:] = ...")
    place = _field_place(builder, args[0], "state", field[2])
    pointer = builder.bitcast(place, context.get_data_type(kind).as_pointer())
    context.pack_value(builder, kind, args[1], pointer)


# --- walks -------------------------------------------------------------------------------------------


def _begin(context: Any, builder: ir.IRBuilder, frame: ir.Value, kind: types.Type, *cursor: ir.Value) -> Any:
    """An iterator whose cursor is a few integers on the stack."""
    memory = cgutils.alloca_once(builder, I64, size=len(cursor))
    for place, value in enumerate(cursor):
        builder.store(value, builder.gep(memory, [I64(place)]))
    return make_view(context, builder, kind, frame=frame, cursor=builder.bitcast(memory, BYTES))


@lower_builtin("getiter", OrdersType)
def _walk_orders(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> Any:
    view = cgutils.create_struct_proxy(ORDERS)(context, builder, value=args[0])
    before = load(builder, desk(builder, view.frame), LAYOUT["desk.next_order_id"], I64)
    # The fields of a Walk (jit_core.pxd): place, end, before, handle.
    return _begin(context, builder, view.frame, ORDERS_WALK, view.place, view.end, before, I64(0))


@lower_builtin("getiter", SymbolsType)
def _walk_symbols(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> Any:
    return _begin(context, builder, args[0], SYMBOLS_WALK, I64(0))


def _next_order(builder: ir.IRBuilder, walk: Any) -> ir.Value:
    """The next order of a walk, or NULL: a few loads within an instrument, a call between two."""
    found = cgutils.alloca_once_value(builder, ir.Constant(BYTES, None))
    numbers = builder.bitcast(walk.cursor, I64.as_pointer())
    before, handle = (builder.gep(numbers, [I64(place)]) for place in (2, 3))
    number = builder.load(handle)
    with builder.if_then(builder.icmp_unsigned("!=", number, I64(0))):
        records = load(builder, desk(builder, walk.frame), LAYOUT["desk.orders.records"], BYTES)
        order = builder.gep(records, [builder.mul(number, I64(LAYOUT["live_order"]))])
        order_id = load_number(builder, order, *order_dtype.fields["order_id"][:2])
        with builder.if_then(builder.icmp_unsigned("<", order_id, builder.load(before))):
            builder.store(load_number(builder, order, *order_dtype.fields["next_handle"][:2]), handle)
            builder.store(order, found)
    with builder.if_then(cgutils.is_null(builder, builder.load(found))):
        signature = ir.FunctionType(BYTES, [BYTES, BYTES])
        function = cgutils.get_or_insert_function(builder.module, signature, "ringbook_jit_walk")
        builder.store(builder.call(function, [walk.frame, walk.cursor]), found)
    return builder.load(found)


@lower_builtin("iternext", WalkType)
@iternext_impl(RefType.UNTRACKED)
def _next(context: Any, builder: ir.IRBuilder, sig: Any, args: Any, result: Any) -> None:
    kind = sig.args[0]
    walk = cgutils.create_struct_proxy(kind)(context, builder, value=args[0])
    if kind == ORDERS_WALK:
        at = _next_order(builder, walk)
        valid = cgutils.is_not_null(builder, at)
    else:
        cursor = builder.bitcast(walk.cursor, I64.as_pointer())
        at = builder.load(cursor)
        valid = builder.icmp_signed("<", at, load(builder, walk.frame, LAYOUT["frame.n_instruments"], I64))
    result.set_valid(valid)
    with builder.if_then(valid):
        if kind == ORDERS_WALK:
            result.yield_(make_record(context, builder, ORDER, walk.frame, at, order_dtype))
        else:
            builder.store(builder.add(at, I64(1)), cursor)
            result.yield_(nth_instrument(builder, walk.frame, at))
