"""Record layouts and enums, declared once; types.pyx derives every NumPy dtype from these structs.

Prices are int64 ticks and own order quantities int64 lots; money and market quantities are doubles;
times are int64 nanoseconds since the epoch. Inlining users convert at the edge with core/ticks.pxd.
"""

from libc.stdint cimport int8_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t


# --- market events: hftbacktest's 64 bytes -------------------------------------------------------

cdef struct Event:
    uint64_t ev          # kind in the low byte, EV_* flags in the top bits
    int64_t exch_ts
    int64_t local_ts
    double px
    double qty
    uint64_t order_id
    int64_t ival
    double fval

cdef enum EventKind:
    EVENT_DEPTH = 1
    EVENT_TRADE = 2
    EVENT_DEPTH_CLEAR = 3
    EVENT_DEPTH_SNAPSHOT = 4
    EVENT_DEPTH_BBO = 5
    EVENT_ADD_ORDER = 10
    EVENT_CANCEL_ORDER = 11
    EVENT_MODIFY_ORDER = 12
    EVENT_FILL = 13

cdef enum:
    EV_KIND_MASK = 0xff
    EV_SELL = 1 << 28
    EV_BUY = 1 << 29
    EV_LOCAL = 1 << 30

# 1 << 31 does not fit a C enum portably, so it is a macro with an unsigned 64-bit type.
cdef extern from *:
    """
    #define EV_EXCH (1ULL << 31)
    """
    const uint64_t EV_EXCH


# --- own orders ----------------------------------------------------------------------------------

cdef enum OrderSide:
    SIDE_BUY = 1
    SIDE_SELL = -1
    SIDE_NONE = 0

cdef enum OrderType:
    ORDER_LIMIT = 0
    ORDER_MARKET = 1

cdef enum TimeInForceCode:
    TIF_GTC = 0
    TIF_GTX = 1          # post-only
    TIF_FOK = 2
    TIF_IOC = 3

cdef enum OrderStatusCode:
    STATUS_NONE = 0
    STATUS_NEW = 1
    STATUS_EXPIRED = 2
    STATUS_FILLED = 3
    STATUS_CANCELED = 4
    STATUS_PARTIALLY_FILLED = 5
    STATUS_REJECTED = 6  # by the venue
    STATUS_REPLACED = 7  # only as a request: modify in flight
    STATUS_DENIED = 8    # by our own checks, before any venue

# Why a fill happened, or why an order was denied, rejected or cancelled.
cdef enum ReasonCode:
    REASON_NONE = 0
    # fills
    REASON_QUEUE_FRONT = 1       # at the front of the queue when a trade printed at its price
    REASON_TRADE_THROUGH = 2     # a trade printed beyond its price
    REASON_BEST_CROSSED = 3      # the opposite best moved to or through its price
    REASON_TAKER = 4             # took liquidity on arrival
    REASON_MATCHED = 5           # matched against another real order
    # order ends
    REASON_POST_ONLY_CROSSED = 20
    REASON_UNFILLED_IOC_FOK = 21
    REASON_ORDER_NOT_FOUND = 22
    REASON_CANCEL_REQUESTED = 23
    REASON_CANCEL_ON_DISCONNECT = 24
    REASON_CANCEL_BY_OPERATOR = 25
    REASON_STRATEGY_ERROR = 26
    REASON_MARKET_CLEARED = 27   # the venue cleared its book
    REASON_EXPIRED_TIME = 28     # good till a date that came
    REASON_DAY_END = 29
    REASON_SELF_TRADE = 30
    REASON_MASS_CANCEL = 31
    REASON_NO_LIQUIDITY = 32
    # denials
    REASON_STRATEGY_NOT_RUNNING = 40
    REASON_TRADING_HALTED = 41
    REASON_REDUCE_ONLY = 42
    REASON_MAX_ORDER_QTY = 43
    REASON_MAX_POSITION = 44
    REASON_MAX_NOTIONAL = 45
    REASON_MAX_OPEN_ORDERS = 46
    REASON_BUSY = 47             # a ring or table is full: try again
    REASON_NO_MARKET = 48
    REASON_INVALID_PRICE = 49
    REASON_INVALID_QTY = 50
    REASON_DUPLICATE_ORDER_ID = 51
    REASON_UNKNOWN_ORDER = 52
    REASON_REQUEST_IN_FLIGHT = 53
    REASON_UNKNOWN_INSTRUMENT = 54
    REASON_KILL_SWITCH = 55      # denied by it, or cancelled when it was thrown
    REASON_RESTRICTED_INSTRUMENT = 56
    REASON_SESSION_HOURS = 57
    REASON_BOOK_UNSYNCED = 58
    REASON_CROSSED_BOOK = 59
    REASON_STALE_MARKET_DATA = 60
    REASON_CLOCK_SANITY = 61
    REASON_PRICE_COLLAR = 62
    REASON_MAX_GROSS_NOTIONAL = 63
    REASON_MAX_OPEN_NOTIONAL = 64
    REASON_BUYING_POWER = 65
    REASON_ORDER_RATE = 66
    REASON_MESSAGE_RATE = 67
    REASON_MAX_ORDER_TO_TRADE_RATIO = 68
    REASON_DUPLICATE_CONTENT = 69
    REASON_SELF_TRADE_PREVENTION = 70
    REASON_MAX_DAILY_LOSS = 71
    REASON_MAX_DRAWDOWN = 72
    REASON_REPEAT_EXECUTION_THROTTLE = 73
    REASON_REJECT_RATE_BREAKER = 74

cdef struct Order:
    uint64_t order_id            # engine-wide, assigned by the kernel (by the caller in `hbt`)
    uint64_t client_order_id     # the owner's own id; 0 for strategies inside the engine
    int64_t price_tick
    int64_t qty                  # lots
    int64_t leaves_qty           # lots
    int64_t exec_qty             # lots of the last execution
    int64_t exec_price_tick      # of the last execution
    int64_t cum_exec_qty         # lots executed so far
    int64_t exch_ts              # when the venue last touched it
    int64_t local_ts             # when its last request was sent
    double queue_ahead           # queue model: estimated quantity in front; of a DENIED request, the limit
    double queue_traded          # traded at the level since its last depth change; of a DENIED request, the value
    double fee                   # of the last execution; negative is a rebate
    uint32_t next_handle         # intrusive list links, owned by whoever holds the slab
    uint32_t prev_handle
    uint16_t instrument
    uint16_t strategy
    int8_t side
    uint8_t order_type
    uint8_t time_in_force
    uint8_t status
    uint8_t req                  # request in flight: NONE, NEW, CANCELED or REPLACED; REJECTED in a reply
    uint8_t is_maker             # of the last execution
    uint8_t reason               # ReasonCode of the last change
    uint8_t flags                # of a DENIED request: whose limit, as in risk/scope.pxd
    uint8_t _pad[4]              # named, so that copies carry it and equal orders are equal bytes

cdef struct Fill:
    int64_t exch_ts              # at the venue
    int64_t local_ts             # when the strategy learned of it
    uint64_t order_id
    uint64_t client_order_id
    int64_t price_tick
    int64_t qty                  # lots
    double px
    double fee
    double mid_price             # local mid when the strategy learned of it; NaN without one
    uint16_t instrument
    uint16_t strategy
    int8_t side
    uint8_t is_maker
    uint8_t reason
    uint8_t flags


# --- instruments ---------------------------------------------------------------------------------

cdef enum AssetKind:
    ASSET_LINEAR = 0
    ASSET_INVERSE = 1

cdef struct Instrument:
    double tick_size
    double lot_size
    double contract_size
    uint8_t asset_kind
    uint8_t _pad[7]


# The value amount and the equity of an asset, in hftbacktest's definitions (DESIGN, section 4).
cdef inline double instrument_amount(const Instrument* inst, double px, double qty) noexcept nogil:
    if inst.asset_kind == ASSET_LINEAR:
        return inst.contract_size * px * qty
    return inst.contract_size * qty / px


cdef inline double instrument_equity(
    const Instrument* inst, double px, double balance, double position, double fee
) noexcept nogil:
    if inst.asset_kind == ASSET_LINEAR:
        return balance + inst.contract_size * position * px - fee
    return -balance - inst.contract_size * position / px - fee


# --- states --------------------------------------------------------------------------------------

cdef enum StrategyStateCode:
    STRATEGY_STARTING = 0
    STRATEGY_RUNNING = 1
    STRATEGY_PAUSED = 2
    STRATEGY_STOPPING = 3
    STRATEGY_STOPPED = 4
    STRATEGY_ERROR = 5

cdef enum TradingStateCode:
    TRADING_ACTIVE = 0
    TRADING_REDUCING = 1
    TRADING_HALTED = 2
