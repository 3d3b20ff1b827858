"""What compiled handlers ask for: orders, cancels, timers, log lines, as Numba overloads.

Names, arguments, defaults and errors are those of ``Context`` (context.pyx); where Python raises for a
wrong request, so does the compiled handler, and the strategy stops.
"""

from __future__ import annotations

from numba.core import types
from numba.extending import intrinsic, overload, overload_method

import engine.strategy.jit_text  # noqa: F401  registers texts, which the functions below make
from engine.core.errors import InvalidOrder
from engine.core.types import OrdType, TimeInForce
from engine.strategy.jit_core import DENIED
from engine.strategy.jit_errors import Refused
from engine.strategy.jit_reads import FLOAT, INT, external, is_none, number
from engine.strategy.jit_types import CONTEXT, JIT, ContextType, real, whole

_submit = external("submit", INT, CONTEXT, INT, INT, FLOAT, FLOAT, INT, INT)
_submit_ticks = external("submit_ticks", INT, CONTEXT, INT, INT, INT, INT, INT, INT)
_modify = external("modify", INT, CONTEXT, INT, FLOAT, FLOAT)
_modify_ticks = external("modify_ticks", INT, CONTEXT, INT, INT, INT)
_cancel = external("cancel", INT, CONTEXT, INT)
_cancel_all = external("cancel_all", INT, CONTEXT, INT)
_set_timer = external("set_timer", INT, CONTEXT, INT, INT)


# --- refusals ----------------------------------------------------------------------------------------


def _cast(kind):
    @intrinsic
    def cast(typing_context, value):
        return kind(value), lambda context, builder, sig, args: context.cast(builder, args[0], value, kind)

    return cast


# One type each, so that what raises is compiled once.
_int, _float = _cast(INT), _cast(FLOAT)


@JIT
def _refuse_order(code, side, px, qty, order_type, time_in_force):
    raise Refused(code, side, px, qty, order_type, time_in_force)


@JIT
def _refuse(code, order_id):
    raise Refused(code, order_id)


# --- requests ----------------------------------------------------------------------------------------


@overload_method(ContextType, "submit")
def _ctx_submit(ctx, symbol, side, px, qty, order_type=0, time_in_force=0):
    whole(side=side, order_type=order_type, time_in_force=time_in_force)
    real(px=px, qty=qty)

    def impl(ctx, symbol, side, px, qty, order_type=0, time_in_force=0):
        made = _submit(ctx, number(ctx, symbol), side, px, qty, order_type, time_in_force)
        if made < 0:
            _refuse_order(made, _int(side), _float(px), _float(qty), _int(order_type), _int(time_in_force))
        return made

    return impl


@overload_method(ContextType, "submit_ticks")
def _ctx_submit_ticks(ctx, symbol, side, price_tick, lots, order_type=0, time_in_force=0):
    whole(side=side, price_tick=price_tick, lots=lots, order_type=order_type, time_in_force=time_in_force)

    def impl(ctx, symbol, side, price_tick, lots, order_type=0, time_in_force=0):
        made = _submit_ticks(ctx, number(ctx, symbol), side, price_tick, lots, order_type, time_in_force)
        if made < 0:
            _refuse_order(made, _int(side), 0.0, 0.0, _int(order_type), _int(time_in_force))
        return made

    return impl


def _one_side(side):
    limit, gtx, gtc = int(OrdType.LIMIT), int(TimeInForce.GTX), int(TimeInForce.GTC)

    def make(ctx, px, qty, symbol=None, post_only=False):
        real(px=px, qty=qty)

        def impl(ctx, px, qty, symbol=None, post_only=False):
            made = _submit(ctx, number(ctx, symbol), side, px, qty, limit, gtx if post_only else gtc)
            if made < 0:
                _refuse_order(made, side, _float(px), _float(qty), limit, gtc)
            return made

        return impl

    return make


overload_method(ContextType, "buy")(_one_side(1))
overload_method(ContextType, "sell")(_one_side(-1))


@overload_method(ContextType, "cancel")
def _ctx_cancel(ctx, order_id):
    whole(order_id=order_id)

    def impl(ctx, order_id):
        code = _cancel(ctx, order_id)
        if code != 0:
            _refuse(code, _int(order_id))

    return impl


@overload_method(ContextType, "modify")
def _ctx_modify(ctx, order_id, px, qty):
    whole(order_id=order_id)
    real(px=px, qty=qty)

    def impl(ctx, order_id, px, qty):
        code = _modify(ctx, order_id, px, qty)
        if code < 0:
            _refuse_order(code, 0, _float(px), _float(qty), 0, 0)
        if code != 0 and code != DENIED:
            _refuse(code, _int(order_id))
        return code == 0

    return impl


@overload_method(ContextType, "modify_ticks")
def _ctx_modify_ticks(ctx, order_id, price_tick, lots):
    whole(order_id=order_id, price_tick=price_tick, lots=lots)

    def impl(ctx, order_id, price_tick, lots):
        code = _modify_ticks(ctx, order_id, price_tick, lots)
        if code != 0 and code != DENIED:
            _refuse(code, _int(order_id))
        return code == 0

    return impl


@overload_method(ContextType, "cancel_all")
def _ctx_cancel_all(ctx, symbol=None):
    if is_none(symbol):
        return lambda ctx, symbol=None: _cancel_all(ctx, -1)
    return lambda ctx, symbol=None: _cancel_all(ctx, number(ctx, symbol))


@overload_method(ContextType, "set_timer")
def _ctx_set_timer(ctx, interval_ns, first=None):
    whole(interval_ns=interval_ns)
    from_now = is_none(first)
    if not from_now:
        whole(first=first)

    def impl(ctx, interval_ns, first=None):
        if _set_timer(ctx, interval_ns, ctx.now + interval_ns if from_now else first) != 0:
            raise InvalidOrder("a timer's interval and first time are at least 0 and below 2**62")

    return impl


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
