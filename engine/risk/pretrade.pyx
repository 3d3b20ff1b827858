"""Limits from a configuration's units into the checks' own, and one check for Python."""

from libc.math cimport NAN, ceil, floor, isfinite, isnan
from libc.stdint cimport INT64_MAX
from libc.string cimport memset

from engine.core.types cimport (
    TRADING_ACTIVE,
    TRADING_HALTED,
    TRADING_REDUCING,
)

from engine.core.errors import ConfigError
from engine.core.types import Reason
from engine.risk.limits import RiskLimits, check_limits, message_burst, sessions


cdef int64_t _lots(object qty, double lot_size) except -1:
    """The most whole lots within a quantity; a hair's breadth below a whole lot counts as it."""
    cdef double lots
    if isnan(qty) or qty < 0:
        raise ConfigError(f"a limit of {qty} is no quantity")
    lots = floor(qty / lot_size + 1e-6)
    return INT64_MAX if lots >= 9e18 else <int64_t>lots


cdef double _value(object value) except? -1.0:
    if isnan(value) or value <= 0:
        raise ConfigError(f"a limit of {value} is no value")
    return value


cdef int _take_orders(LimitSet* made, object source, const Instrument* inst) except -1:
    """The limits that are about one order."""
    if source.max_order_qty is not None:
        made.max_order_qty = _lots(source.max_order_qty, inst.lot_size)
        made.mask |= LIMIT_ORDER_QTY
    if source.max_position is not None:
        made.max_position = _lots(source.max_position, inst.lot_size)
        made.mask |= LIMIT_POSITION
    if source.max_notional is not None:
        made.max_notional = _value(source.max_notional)
        made.mask |= LIMIT_NOTIONAL
    if source.max_open_orders is not None:
        made.max_open_orders = source.max_open_orders
        made.mask |= LIMIT_OPEN_ORDERS
    # An infinite collar still wants a reference; lifting it means no collar at all.
    if source.price_collar_bps is not None and isfinite(_value(source.price_collar_bps)):
        made.collar = source.price_collar_bps / 1e4
        made.mask |= LIMIT_COLLAR
    if source.max_data_age_ns is not None:
        made.max_age = source.max_data_age_ns
        made.mask |= LIMIT_AGE
    if source.max_clock_skew_ns is not None:
        made.max_skew = source.max_clock_skew_ns
        made.mask |= LIMIT_CLOCK
    for wanted, bit in (
        (source.require_book, LIMIT_SYNCED), (source.refuse_crossed_book, LIMIT_CROSSED),
        (source.reduce_only, LIMIT_REDUCE_ONLY), (source.restricted, LIMIT_RESTRICTED),
        (source.self_trade_prevention, LIMIT_SELF_TRADE),
    ):
        if wanted:
            made.mask |= <uint64_t>bit
    # No session lifts the limit.
    for days, start, end in sessions(source.session_hours or ()):
        made.sessions[made.n_sessions] = (<uint64_t>days << 40) | (<uint64_t>start << 20) | <uint64_t>end
        made.n_sessions += 1
        made.mask |= LIMIT_SESSION
    return 0


cdef int _take_sums(LimitSet* made, object source) except -1:
    """The limits that are counted over a scope."""
    if source.max_open_notional is not None:
        made.max_open_notional = _value(source.max_open_notional)
        made.mask |= LIMIT_OPEN_NOTIONAL
    if source.max_gross_notional is not None:
        made.max_gross_notional = _value(source.max_gross_notional)
        made.mask |= LIMIT_GROSS
    if source.capital is not None:
        made.capital = _value(source.capital)
        made.leverage = 1.0 if source.leverage is None else _value(source.leverage)
        made.mask |= LIMIT_BUYING_POWER
    if source.max_order_to_trade_ratio is not None:
        made.max_trade_ratio = _value(source.max_order_to_trade_ratio)
        made.trade_ratio_grace = source.order_to_trade_grace or 0
        made.mask |= LIMIT_TRADE_RATIO
    if source.duplicate_window_ns:
        made.duplicate_window = source.duplicate_window_ns
        made.mask |= LIMIT_DUPLICATES
    if source.max_daily_loss is not None:
        made.max_daily_loss = _value(source.max_daily_loss)
        made.mask |= LIMIT_DAILY_LOSS
    if source.max_drawdown is not None:
        made.max_drawdown = _value(source.max_drawdown)
        made.mask |= LIMIT_DRAWDOWN
    if made.mask & LIMITS_LOSS:
        made.loss_state = TRADING_REDUCING if source.loss_action == "reduce" else TRADING_HALTED
    return 0


cdef int _take_rates(LimitSet* made, object source) except -1:
    """The token buckets: intervals are rounded up, so that no rate is ever exceeded."""
    if source.order_rate is not None:
        made.order_interval = <int64_t>ceil(1e9 / source.order_rate)
        made.order_burst = made.order_interval * ((source.order_burst or max(1, int(source.order_rate))) - 1)
        made.mask |= LIMIT_ORDER_RATE
    if source.message_rate is not None:
        made.message_interval = <int64_t>ceil(1e9 / source.message_rate)
        made.message_burst = made.message_interval * (message_burst(source) - 1)
        made.cancel_reserve = made.message_interval * (source.cancel_reserve or 0)
        made.mask |= LIMIT_MESSAGE_RATE
    if source.max_rejects is not None:
        made.reject_interval = -(-source.reject_window_ns // source.max_rejects)
        made.reject_burst = made.reject_interval * (source.max_rejects - 1)
        made.mask |= LIMIT_REJECTS
    if source.max_repeat_executions is not None:
        made.repeat_interval = -(-source.repeat_window_ns // source.max_repeat_executions)
        made.repeat_burst = made.repeat_interval * (source.max_repeat_executions - 1)
        made.mask |= LIMIT_REPEATS
    return 0


cdef int limits_from(LimitSet* limits, object source, const Instrument* inst) except -1:
    """Fills in limits; nothing has changed when it raises ConfigError."""
    cdef LimitSet made
    memset(&made, 0, sizeof(LimitSet))
    check_limits(source)
    _take_orders(&made, source, inst)
    _take_sums(&made, source)
    _take_rates(&made, source)
    limits[0] = made
    return 0


def check(
    limits: RiskLimits, double lot_size, *, int side, int64_t qty, int64_t position=0, int64_t open_side=0,
    added=None, double notional=0.0, uint32_t open_orders=0, uint32_t new_orders=1, uint8_t trading_state=0,
    double px=NAN, double bid=NAN, double ask=NAN, double hidden=NAN, int64_t now=0, int64_t book_ts=0,
) -> Reason:
    """One check from Python, by what is not counted: the reason of a denial, or ``Reason.NONE``.

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
        px: The order's price.
        bid: Best bid; NaN without one.
        ask: Best ask; NaN without one.
        hidden: A price that the book still has beyond the other side's best; NaN without one.
        now: Engine time.
        book_ts: The venue's time of the book's last change.

    Raises:
        ConfigError: A limit is negative or NaN.
    """
    cdef LimitSet made
    cdef Instrument inst
    cdef Intent intent
    cdef Exposure held
    cdef Denial why
    memset(&inst, 0, sizeof(Instrument))
    memset(&intent, 0, sizeof(Intent))
    memset(&held, 0, sizeof(Exposure))
    inst.lot_size = lot_size
    limits_from(&made, limits, &inst)
    intent.now, intent.book_ts = now, book_ts
    intent.qty = qty
    intent.added = qty if added is None else added
    intent.notional, intent.px = notional, px
    intent.bid, intent.ask, intent.hidden = bid, ask, hidden
    intent.reference = (bid + ask) / 2.0
    intent.new_orders = new_orders
    intent.side = side
    held.position, held.open_side, held.open_orders = position, open_side, open_orders
    intent.reduces = order_reduces(side, position, open_side + intent.added)
    if trading_state == TRADING_HALTED:
        return Reason.TRADING_HALTED
    if trading_state != TRADING_ACTIVE and not intent.reduces:
        return Reason.REDUCE_ONLY
    return Reason(pretrade_check(&made, NULL, &intent, &held, &why))
