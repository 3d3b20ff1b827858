"""What goes into a matcher and what comes out: commands, results and events; docs/matching.md has the rules.

Prices are int64 ticks, quantities int64 lots, times int64 nanoseconds. records.pyx derives the NumPy dtypes.
"""

from libc.stdint cimport int8_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t


cdef enum MatchKind:
    MATCH_ADD = 1
    MATCH_CANCEL = 2
    MATCH_MODIFY = 3
    MATCH_REDUCE = 4
    MATCH_MASS_CANCEL = 5
    MATCH_PHASE = 6
    MATCH_BANDS = 7
    MATCH_TIME = 8

# Beyond core.types' ORDER_LIMIT 0 and ORDER_MARKET 1.
cdef enum MatchOrderType:
    ORDER_STOP = 2
    ORDER_STOP_LIMIT = 3

# Beyond core.types' TIF_GTC 0, TIF_GTX 1, TIF_FOK 2 and TIF_IOC 3.
cdef enum MatchTimeInForce:
    TIF_DAY = 4
    TIF_GTD = 5

cdef enum MatchFlag:
    MATCH_POST_ONLY = 1
    MATCH_POST_ONLY_SLIDE = 2
    MATCH_REDUCE_ONLY = 4

cdef enum SelfTrade:
    STP_NONE = 0
    STP_CANCEL_NEWEST = 1
    STP_CANCEL_OLDEST = 2
    STP_CANCEL_BOTH = 3
    STP_DECREMENT = 4

cdef enum Allocation:
    ALLOC_FIFO = 0
    ALLOC_PRO_RATA = 1
    ALLOC_SIZE_WEIGHTED = 2

cdef enum MatchPhase:
    PHASE_CONTINUOUS = 0
    PHASE_AUCTION = 1
    PHASE_HALTED = 2
    PHASE_CLOSED = 3

cdef struct MatchCommand:
    int64_t ts
    uint64_t order_id
    int64_t px                   # tick; lowest of BANDS
    int64_t qty                  # lots; the phase of PHASE
    int64_t stop_px              # tick; highest of BANDS
    int64_t expire_ts            # of GTD
    uint32_t owner
    uint32_t display_qty         # lots an iceberg shows at a time; 0 all
    uint16_t instrument          # for whoever routes; a matcher does not look at it
    uint8_t kind
    int8_t side
    uint8_t order_type
    uint8_t time_in_force
    uint8_t self_trade
    uint8_t flags

cdef struct MatchResult:
    int64_t exec_qty             # lots the command's own order executed (an uncross: what traded)
    int64_t exec_value           # ticks times lots of it
    int64_t leaves_qty           # open afterwards, hidden included; 0 when the order is not live
    int64_t px                   # tick where it rests
    int32_t code                 # core/codes.pxd
    uint32_t n_events            # the command put out, those of stops and expiries included

cdef enum MatchEventKind:
    MATCH_ADDED = 1
    MATCH_CHANGED = 2
    MATCH_REMOVED = 3
    MATCH_TRADE = 4
    MATCH_LEVEL = 5
    MATCH_PHASE_CHANGED = 6
    MATCH_UNCROSSED = 7
    # to the owner alone
    MATCH_ACCEPTED = 16
    MATCH_REPLACED = 17
    MATCH_TRIGGERED = 18
    MATCH_ENDED = 19

cdef struct MatchEvent:
    uint64_t seq                 # from 1, no gaps
    int64_t ts
    uint64_t order_id
    uint64_t other_id            # of the arriving order of a trade; of a level: how many orders
    int64_t px
    int64_t qty
    uint32_t owner               # of order_id
    uint32_t other_owner         # of other_id in a trade
    uint16_t instrument
    uint16_t _pad
    uint8_t kind
    int8_t side
    uint8_t reason               # ReasonCode of ENDED
    uint8_t flags
