"""What compiled handlers ask for: orders, cancels, timers, log lines, as Numba overloads.

Names, arguments, defaults and errors are those of ``Context`` (context.pyx); where Python raises for a
wrong request, so does the compiled handler, and the strategy stops.
"""

from __future__ import annotations

from llvmlite import ir
from numba.core import cgutils, errors, types
from numba.extending import intrinsic, overload, overload_method

from engine.core.errors import InvalidOrder, OrderNotFound, RequestInProcess
from engine.core.types import OrdType, TimeInForce
from engine.strategy.jit_core import DENIED, IN_PROCESS, NOT_FOUND, REFUSALS
from engine.strategy.jit_reads import FLOAT, INT, external, is_none, number
from engine.strategy.jit_types import BYTES, CONTEXT, JIT, ContextType

_submit = external("submit", INT, CONTEXT, INT, INT, FLOAT, FLOAT, INT, INT)
_submit_ticks = external("submit_ticks", INT, CONTEXT, INT, INT, INT, INT, INT, INT)
_modify = external("modify", INT, CONTEXT, INT, FLOAT, FLOAT)
_modify_ticks = external("modify_ticks", INT, CONTEXT, INT, INT, INT)
_cancel = external("cancel", INT, CONTEXT, INT)
_cancel_all = external("cancel_all", INT, CONTEXT, INT)
_set_timer = external("set_timer", INT, CONTEXT, INT, INT)


def _whole(name, kind):
    """Refuses a fraction where ticks, lots or nanoseconds are meant: Numba would cut it off silently."""
    kind = kind.type if isinstance(kind, types.Optional) else kind
    if not isinstance(kind, types.Integer | types.IntEnumMember):
        raise errors.TypingError(f"{name} is a whole number, not {kind}: use int(...)")


# --- refusals ----------------------------------------------------------------------------------------

_BAD_SIDE, _BAD_TYPE, _BAD_TIF, _BAD_PX, _BAD_QTY = (REFUSALS[-code] for code in range(1, 6))


@JIT
def _refuse(code):
    """Raises what a negative answer, or a result code of the core, stands for."""
    if code == NOT_FOUND:
        raise OrderNotFound("no order of that id")
    if code == IN_PROCESS:
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


# --- requests ----------------------------------------------------------------------------------------


@overload_method(ContextType, "submit")
def _ctx_submit(ctx, symbol, side, px, qty, order_type=0, time_in_force=0):
    def impl(ctx, symbol, side, px, qty, order_type=0, time_in_force=0):
        made = _submit(ctx, number(ctx, symbol), side, px, qty, order_type, time_in_force)
        if made < 0:
            _refuse(made)
        return made

    return impl


@overload_method(ContextType, "submit_ticks")
def _ctx_submit_ticks(ctx, symbol, side, price_tick, lots, order_type=0, time_in_force=0):
    _whole("price_tick", price_tick)
    _whole("lots", lots)

    def impl(ctx, symbol, side, price_tick, lots, order_type=0, time_in_force=0):
        made = _submit_ticks(ctx, number(ctx, symbol), side, price_tick, lots, order_type, time_in_force)
        if made < 0:
            _refuse(made)
        return made

    return impl


def _one_side(side):
    limit, gtx, gtc = int(OrdType.LIMIT), int(TimeInForce.GTX), int(TimeInForce.GTC)

    def make(ctx, px, qty, symbol=None, post_only=False):
        def impl(ctx, px, qty, symbol=None, post_only=False):
            made = _submit(ctx, number(ctx, symbol), side, px, qty, limit, gtx if post_only else gtc)
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
    if is_none(symbol):
        return lambda ctx, symbol=None: _cancel_all(ctx, -1)
    return lambda ctx, symbol=None: _cancel_all(ctx, number(ctx, symbol))


@overload_method(ContextType, "set_timer")
def _ctx_set_timer(ctx, interval_ns, first=None):
    _whole("interval_ns", interval_ns)
    from_now = is_none(first)
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
        kinds = [x.type if isinstance(x, types.Optional) else x for x in (a, b)]
        if kinds == [a, b] or not all(isinstance(kind, types.Number) for kind in kinds):
            return None
        return lambda a, b: function(_sure(a), _sure(b))


@intrinsic
def _sure(typing_context, value):
    """The number in an optional one; TypeError for None."""
    kind = value.type if isinstance(value, types.Optional) else value
    return kind(value), lambda context, builder, sig, args: context.cast(builder, args[0], value, kind)


_smaller_or_greater("min")
_smaller_or_greater("max")
