"""Limits from a configuration's units into lots, and the checks for Python."""

from libc.math cimport floor, isnan

from engine.core.errors import ConfigError
from engine.core.types import Reason
from engine.risk.limits import RiskLimits


cdef int64_t _lots(object qty, double lot_size) except -1:
    """The most whole lots within a quantity; a hair's breadth below a whole lot counts as it."""
    cdef double lots
    if qty is None:
        return INT64_MAX
    if isnan(qty) or qty < 0:
        raise ConfigError(f"a limit of {qty} is no quantity")
    lots = floor(qty / lot_size + 1e-6)
    return INT64_MAX if lots >= 9e18 else <int64_t>lots


cdef int limits_from(LimitSet* limits, object source, const Instrument* inst) except -1:
    cdef LimitSet made
    limits_none(&made)
    made.max_order_qty = _lots(source.max_order_qty, inst.lot_size)
    made.max_position = _lots(source.max_position, inst.lot_size)
    if source.max_notional is not None:
        if isnan(source.max_notional) or source.max_notional <= 0:
            raise ConfigError(f"a limit of {source.max_notional} is no value")
        made.max_notional = source.max_notional
    if source.max_open_orders is not None:
        made.max_open_orders = source.max_open_orders
    limits[0] = made
    return 0


def check(
    limits: RiskLimits, double lot_size, *, int side, int64_t qty, int64_t position=0, int64_t open_side=0,
    added=None, double notional=0.0, uint32_t open_orders=0, uint32_t new_orders=1, uint8_t trading_state=0,
) -> Reason:
    """One check from Python: the reason of a denial, or ``Reason.NONE``.

    Args:
        limits: The limits.
        lot_size: The instrument's lot, in which all quantities here are counted.
        side: 1 or -1.
        qty: The order's lots.
        position: Lots held, signed.
        open_side: Lots open on the order's side.
        added: Lots that the order adds to them; ``qty`` by default.
        notional: The order's value.
        open_orders: Live orders.
        new_orders: 1 for a new order, 0 for a modify.
        trading_state: ``TradingState``.

    Raises:
        ConfigError: A limit is negative or NaN.
    """
    cdef LimitSet made
    cdef Instrument inst
    cdef Intent intent
    inst.lot_size = lot_size
    limits_from(&made, limits, &inst)
    intent.qty = qty
    intent.added = qty if added is None else added
    intent.position = position
    intent.open_side = open_side
    intent.notional = notional
    intent.open_orders = open_orders
    intent.new_orders = new_orders
    intent.side = side
    return Reason(pretrade_check(&made, &intent, trading_state))
