"""The checks an order passes before it may leave: limits of one scope against what the order would do.

A scope's limits are one struct with a mask that says which are set; its counters are another. The check
goes through the limits in a fixed order, cheapest first, and returns the first reason against the order, so
that the same order is always denied for the same reason. It changes nothing: tokens and counters are taken
when the request is sent (risk_sent), once every scope has agreed.

Costs: a scope without limits is one test of its mask; each limit that is set is a compare or two. Whoever
calls has the numbers at hand (Intent, Exposure). Bad case: duplicates, a scan of the last 16 orders.
"""

from libc.math cimport fabs
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from engine.core.types cimport (
    REASON_BOOK_UNSYNCED,
    REASON_BUYING_POWER,
    REASON_CLOCK_SANITY,
    REASON_CROSSED_BOOK,
    REASON_DUPLICATE_CONTENT,
    REASON_MAX_GROSS_NOTIONAL,
    REASON_MAX_NOTIONAL,
    REASON_MAX_OPEN_NOTIONAL,
    REASON_MAX_OPEN_ORDERS,
    REASON_MAX_ORDER_QTY,
    REASON_MAX_ORDER_TO_TRADE_RATIO,
    REASON_MAX_POSITION,
    REASON_MESSAGE_RATE,
    REASON_NONE,
    REASON_ORDER_RATE,
    REASON_PRICE_COLLAR,
    REASON_REDUCE_ONLY,
    REASON_RESTRICTED_INSTRUMENT,
    REASON_SESSION_HOURS,
    REASON_STALE_MARKET_DATA,
    Instrument,
)


cdef enum LimitBit:
    LIMIT_RESTRICTED = 1 << 0
    LIMIT_SESSION = 1 << 1
    LIMIT_REDUCE_ONLY = 1 << 2
    LIMIT_SYNCED = 1 << 3
    LIMIT_CROSSED = 1 << 4
    LIMIT_AGE = 1 << 5
    LIMIT_CLOCK = 1 << 6
    LIMIT_ORDER_QTY = 1 << 7
    LIMIT_POSITION = 1 << 8
    LIMIT_NOTIONAL = 1 << 9
    LIMIT_OPEN_ORDERS = 1 << 10
    LIMIT_COLLAR = 1 << 11
    LIMIT_OPEN_NOTIONAL = 1 << 12
    LIMIT_GROSS = 1 << 13
    LIMIT_BUYING_POWER = 1 << 14
    LIMIT_TRADE_RATIO = 1 << 15
    LIMIT_DUPLICATES = 1 << 16
    LIMIT_ORDER_RATE = 1 << 17
    LIMIT_MESSAGE_RATE = 1 << 18
    LIMIT_SELF_TRADE = 1 << 19
    LIMIT_DAILY_LOSS = 1 << 20
    LIMIT_DRAWDOWN = 1 << 21
    LIMIT_REJECTS = 1 << 22
    LIMIT_REPEATS = 1 << 23
    # Groups: what a check needs to be told.
    LIMITS_MARKET = LIMIT_SYNCED | LIMIT_CROSSED | LIMIT_AGE | LIMIT_CLOCK | LIMIT_COLLAR
    LIMITS_LOSS = LIMIT_DAILY_LOSS | LIMIT_DRAWDOWN
    LIMITS_MARKED = LIMIT_GROSS | LIMIT_BUYING_POWER | LIMITS_LOSS

cdef enum:
    MAX_SESSIONS = 8
    RECENT_ORDERS = 16           # how many orders are remembered for duplicate_content
    NS_PER_DAY = 86_400_000_000_000

# What no order exceeds, limits or not, so that sums of lots and ticks stay within 63 bits.
cdef extern from *:
    """
    #define RISK_MAX_LOTS (1ll << 60)
    #define RISK_MAX_WORST (1ll << 61)
    #define RISK_MAX_TICK (1ll << 60)
    #define RISK_MAX_VALUE 1e300
    """
    const int64_t RISK_MAX_LOTS
    const int64_t RISK_MAX_WORST
    const int64_t RISK_MAX_TICK
    const double RISK_MAX_VALUE


# All fields are words: the state hash reads them as such.
cdef struct LimitSet:
    uint64_t mask                # LimitBit of those that are set; the others' fields are 0
    int64_t max_order_qty        # lots
    int64_t max_position         # lots, on either side, with everything open on that side filled
    double max_notional          # value of one order
    uint64_t max_open_orders     # live orders, requests in flight included
    double collar                # greatest distance from the reference, as a fraction of it
    int64_t max_age              # nanoseconds
    int64_t max_skew
    uint64_t n_sessions
    uint64_t sessions[MAX_SESSIONS]  # days << 40 | first second << 20 | end second, UTC; Monday is bit 0
    double max_open_notional
    double max_gross_notional
    double capital
    double leverage
    double max_trade_ratio
    uint64_t trade_ratio_grace   # messages a day before the ratio counts
    int64_t duplicate_window
    int64_t order_interval       # nanoseconds a token
    int64_t order_burst          # nanoseconds: all tokens but one
    int64_t message_interval
    int64_t message_burst
    int64_t cancel_reserve       # nanoseconds: tokens that only cancels may take
    int64_t reject_interval
    int64_t reject_burst
    int64_t repeat_interval
    int64_t repeat_burst
    double max_daily_loss
    double max_drawdown
    uint64_t loss_state          # TradingStateCode that a loss puts the scope into


# A sum of doubles that neither drifts nor forgets small ones: the rounding error of each addition is kept.
cdef struct Money:
    double high
    double low


# What an order says, for duplicate_content.
cdef struct Content:
    int64_t ts
    int64_t price_tick
    int64_t qty
    uint64_t rest                # instrument, side, type, time in force


# A scope's counters. All fields are words, as above.
cdef struct ScopeState:
    int64_t position             # lots; instruments only, over all strategies
    int64_t open_buy
    int64_t open_sell
    uint64_t open_orders
    Money open_value             # of all live orders, what each could still execute at its own price
    int64_t order_due            # when the bucket is full again
    int64_t message_due
    int64_t reject_due
    int64_t repeat_due
    int64_t day                  # since the epoch, of the counters below
    uint64_t messages
    uint64_t trades
    double day_equity            # from which today's loss is counted
    double peak_equity           # from which the drawdown is counted
    double last_equity           # at the last look
    uint64_t recent_next
    Content recent[RECENT_ORDERS]


# What an order would do, the same for all scopes. For a modify, `added` is what it adds to the open quantity
# and `new_orders` is 0.
cdef struct Intent:
    int64_t now
    int64_t qty                  # lots of the order
    int64_t added                # lots it adds to the open quantity on its side; may be negative
    double notional              # value of the order
    double added_value           # what it adds to the value of open orders
    double px                    # its price, or the price a market order is valued at
    double reference             # mid price; NaN without one
    double bid                   # best prices, NaN where there is none
    double ask
    double hidden                # a price beyond the other side's best that the book still has; NaN without one
    int64_t book_ts              # the venue's time of the book's last change
    Content content
    uint32_t new_orders
    int side
    bint reduces                 # cannot leave more than the present position, nor turn it round
    bint raises                  # raises the worst side of its cell


# What a scope has at present.
cdef struct Exposure:
    int64_t position             # lots held
    int64_t open_side            # lots open on the order's side
    uint64_t open_orders
    double open_value
    double gross                 # value of the worst sides, with the order
    double equity


# Why an order is denied, with the limit and the value that passed it, in the limit's unit.
cdef struct Denial:
    double limit
    double actual
    uint8_t reason
    uint8_t scope                # SCOPE_OF_...


cdef inline double money(const Money* sum) noexcept nogil:
    return sum.high + sum.low


cdef inline void money_add(Money* sum, double x) noexcept nogil:
    cdef double total = sum.high + x
    cdef double part = total - sum.high
    sum.low += (sum.high - (total - part)) + (x - part)
    sum.high = total


cdef inline bint bucket_has(int64_t due, int64_t now, int64_t burst) noexcept nogil:
    """Whether a token is left: the bucket, `due` to be full, lacks no more than its burst."""
    return due - now <= burst


cdef inline void bucket_take(int64_t* due, int64_t now, int64_t interval) noexcept nogil:
    due[0] = (due[0] if due[0] > now else now) + interval


cdef inline double bucket_missing(int64_t due, int64_t now, int64_t interval) noexcept nogil:
    """How many tokens the bucket lacks."""
    return <double>(due - now) / <double>interval if due > now else 0.0


cdef inline bint order_reduces(int side, int64_t position, int64_t open_after) noexcept nogil:
    """Whether an order cannot leave more than the present position, nor turn it round."""
    if side > 0:
        return position < 0 and open_after <= -position
    return position > 0 and open_after <= position


cdef inline bint in_session(const LimitSet* limits, int64_t now) noexcept nogil:
    cdef int64_t day = now // NS_PER_DAY
    cdef uint64_t second = <uint64_t>((now - day * NS_PER_DAY) // 1_000_000_000)
    # The epoch began on a Thursday.
    cdef uint64_t today = <uint64_t>1 << ((day + 3) % 7)
    cdef uint64_t i, session
    for i in range(limits.n_sessions):
        session = limits.sessions[i]
        if (session >> 40) & today and ((session >> 20) & 0xfffff) <= second < (session & 0xfffff):
            return True
    return False


cdef inline uint8_t deny(Denial* out, uint8_t reason, double limit, double actual) noexcept nogil:
    out.reason = reason
    out.limit = limit
    out.actual = actual
    return reason


cdef inline uint8_t check_market(
    const LimitSet* limits, const Intent* intent, Denial* out
) noexcept nogil:
    """Whether the book can be traded on at all, and the order's distance from it."""
    cdef uint64_t mask = limits.mask
    cdef double distance
    if mask & LIMIT_SYNCED and (intent.bid != intent.bid or intent.ask != intent.ask):
        return deny(out, REASON_BOOK_UNSYNCED, 2.0, (intent.bid == intent.bid) + (intent.ask == intent.ask))
    if mask & LIMIT_CROSSED and (intent.hidden == intent.hidden or intent.bid >= intent.ask):
        return deny(out, REASON_CROSSED_BOOK, intent.bid, intent.hidden)
    if mask & LIMIT_AGE and intent.now - intent.book_ts > limits.max_age:
        return deny(out, REASON_STALE_MARKET_DATA, <double>limits.max_age, <double>(intent.now - intent.book_ts))
    if mask & LIMIT_CLOCK and intent.book_ts - intent.now > limits.max_skew:
        return deny(out, REASON_CLOCK_SANITY, <double>limits.max_skew, <double>(intent.book_ts - intent.now))
    if mask & LIMIT_COLLAR:
        distance = fabs(intent.px - intent.reference)
        # Written so that no reference, which makes the distance NaN, denies.
        if not distance <= limits.collar * intent.reference:
            return deny(out, REASON_PRICE_COLLAR, limits.collar * 1e4, distance / intent.reference * 1e4)
    return REASON_NONE


cdef inline bint is_repeated(
    const LimitSet* limits, const ScopeState* state, const Intent* intent, int64_t* age
) noexcept nogil:
    cdef int i
    cdef const Content* other
    for i in range(RECENT_ORDERS):
        other = &state.recent[i]
        if (
            other.qty == intent.content.qty and other.price_tick == intent.content.price_tick
            and other.rest == intent.content.rest and intent.now - other.ts <= limits.duplicate_window
        ):
            age[0] = intent.now - other.ts
            return True
    return False


cdef inline uint8_t check_counted(
    const LimitSet* limits, const ScopeState* state, const Intent* intent, const Exposure* held, Denial* out
) noexcept nogil:
    """What a scope counts: values, the ratio, duplicates, rates; the dearest last."""
    cdef uint64_t mask = limits.mask
    cdef double value
    cdef int64_t age = 0
    if mask & LIMIT_OPEN_NOTIONAL and intent.added_value > 0.0:
        value = held.open_value + intent.added_value
        if not value <= limits.max_open_notional:
            return deny(out, REASON_MAX_OPEN_NOTIONAL, limits.max_open_notional, value)
    if mask & LIMIT_GROSS and intent.raises and not held.gross <= limits.max_gross_notional:
        return deny(out, REASON_MAX_GROSS_NOTIONAL, limits.max_gross_notional, held.gross)
    if mask & LIMIT_BUYING_POWER and intent.raises:
        value = limits.leverage * (limits.capital + held.equity)
        if not held.gross <= value:
            return deny(out, REASON_BUYING_POWER, value, held.gross)
    if mask & LIMIT_TRADE_RATIO and state.messages >= limits.trade_ratio_grace:
        value = <double>(state.messages + 1) / <double>(state.trades if state.trades else 1)
        if value > limits.max_trade_ratio:
            return deny(out, REASON_MAX_ORDER_TO_TRADE_RATIO, limits.max_trade_ratio, value)
    if mask & LIMIT_DUPLICATES and intent.new_orders and is_repeated(limits, state, intent, &age):
        return deny(out, REASON_DUPLICATE_CONTENT, <double>limits.duplicate_window, <double>age)
    if mask & LIMIT_ORDER_RATE and intent.new_orders:
        if not bucket_has(state.order_due, intent.now, limits.order_burst):
            return deny(
                out, REASON_ORDER_RATE, <double>(limits.order_burst // limits.order_interval + 1),
                bucket_missing(state.order_due, intent.now, limits.order_interval) + 1,
            )
    if mask & LIMIT_MESSAGE_RATE:
        if not bucket_has(state.message_due, intent.now, limits.message_burst - limits.cancel_reserve):
            return deny(
                out, REASON_MESSAGE_RATE,
                <double>((limits.message_burst - limits.cancel_reserve) // limits.message_interval + 1),
                bucket_missing(state.message_due, intent.now, limits.message_interval) + 1,
            )
    return REASON_NONE


cdef inline uint8_t pretrade_check(
    const LimitSet* limits, const ScopeState* state, const Intent* intent, const Exposure* held, Denial* out
) noexcept nogil:
    """The first reason of one scope against an order, described in `out`, or REASON_NONE."""
    cdef uint64_t mask = limits.mask
    cdef int64_t worst
    cdef uint8_t reason
    if mask == 0:
        return REASON_NONE
    if mask & LIMIT_RESTRICTED:
        return deny(out, REASON_RESTRICTED_INSTRUMENT, 0.0, 1.0)
    if mask & LIMIT_SESSION and not in_session(limits, intent.now):
        return deny(out, REASON_SESSION_HOURS, 0.0, <double>((intent.now % NS_PER_DAY) // 1_000_000_000))
    worst = held.open_side + intent.added
    worst += held.position if intent.side > 0 else -held.position
    if mask & LIMIT_REDUCE_ONLY and not intent.reduces:
        return deny(out, REASON_REDUCE_ONLY, 0.0, <double>worst)
    if mask & LIMITS_MARKET:
        reason = check_market(limits, intent, out)
        if reason != REASON_NONE:
            return reason
    if mask & LIMIT_ORDER_QTY and intent.qty > limits.max_order_qty:
        return deny(out, REASON_MAX_ORDER_QTY, <double>limits.max_order_qty, <double>intent.qty)
    if mask & LIMIT_POSITION and intent.added > 0 and worst > limits.max_position:
        return deny(out, REASON_MAX_POSITION, <double>limits.max_position, <double>worst)
    if mask & LIMIT_NOTIONAL and not intent.notional <= limits.max_notional:
        return deny(out, REASON_MAX_NOTIONAL, limits.max_notional, intent.notional)
    if mask & LIMIT_OPEN_ORDERS and intent.new_orders > 0 and held.open_orders >= limits.max_open_orders:
        return deny(
            out, REASON_MAX_OPEN_ORDERS, <double>limits.max_open_orders, <double>(held.open_orders + 1)
        )
    if mask >= LIMIT_OPEN_NOTIONAL and state != NULL:
        return check_counted(limits, state, intent, held, out)
    return REASON_NONE


cdef int limits_from(LimitSet* limits, object source, const Instrument* inst) except -1
