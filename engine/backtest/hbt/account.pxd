"""What fills have made of an asset's position and cash, and the two logs that are always on.

``StateValues`` is hftbacktest's, in its order of operations. Every fill is kept with its reason. Of order
messages (each request sent, each answer received) the last ``ORDER_LOG_ROWS`` are kept, so that a day of
requoting does not grow without bound; an entry costs one copy of 64 bytes.

Funding payments are summed beside the state values, which keep hftbacktest's meaning; whoever works an asset
off stops at ``Funding.next_ts`` to make one.
"""

from libc.stdint cimport int8_t, int64_t, uint8_t, uint64_t

from engine.backtest.funding cimport Funding
from engine.backtest.order cimport SimOrder
from engine.core.types cimport Instrument


cdef enum:
    ORDER_LOG_ROWS = 1 << 20     # a power of two


cdef struct StateValues:
    double position
    double balance
    double fee
    int64_t num_trades
    double trading_volume
    double trading_value


cdef struct FillRow:
    int64_t ts                   # when we learnt of it
    int64_t exch_ts
    uint64_t order_id
    int64_t price_tick
    double px
    double qty
    double fee                   # negative is a rebate
    double position              # after it
    int8_t side
    uint8_t maker
    uint8_t reason               # ReasonCode
    uint8_t _pad[5]


cdef struct OrderRow:
    int64_t ts                   # of sending or receiving
    int64_t exch_ts              # 0 for a request
    uint64_t order_id
    int64_t price_tick
    double qty
    double leaves_qty
    uint8_t answer               # 0: we sent it
    uint8_t req                  # of an answer: NONE, or REJECTED
    uint8_t status
    uint8_t order_type
    uint8_t time_in_force
    uint8_t reason               # ReasonCode
    int8_t side
    uint8_t _pad[9]


cdef struct Account:
    StateValues values
    Funding funding
    double funding_paid          # in the currency of the balance; negative was received
    FillRow* fills
    uint64_t n_fills
    uint64_t fill_room
    OrderRow* orders             # a ring once ORDER_LOG_ROWS have been written
    uint64_t n_orders            # ever written
    uint64_t order_room


cdef void account_free(Account* account) noexcept nogil
# Counts the last execution of an order; ERR_NO_MEMORY.
cdef int account_fill(
    Account* account, const Instrument* instrument, const SimOrder* order, int64_t now
) noexcept nogil
# Makes the next payment, if `paying`, else passes it over. `mid` is NaN for an empty side.
cdef void account_pay(Account* account, const Instrument* instrument, double mid, bint paying) noexcept nogil
# Logs a request as it is sent or an answer as it is received; ERR_NO_MEMORY.
cdef int account_log(Account* account, const SimOrder* order, bint answer, int64_t now) noexcept nogil
