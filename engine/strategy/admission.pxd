"""Admission: what a desk knows of an order, put to the checks of engine/risk; counters, losses, breakers.

The order of the checks is fixed. The strategy's state and the order's own numbers; losses, which may trip a
latch; latches, from the widest scope; the trading state; then each scope's limits, from the narrowest (the
strategy's in the instrument, the strategy, the instrument, everything); self-trades; room.

Costs: without limits one test more than the checks of the order itself. With limits, a compare or two for
each that is set. Limits on values and losses go through all cells that have ever had an order, once an
order; with self-trade prevention, an order that reaches the best own price of the other side goes through
the own orders there. Counters are kept only while a limit of a scope wants them.
"""

from libc.stdint cimport int64_t, uint8_t

from engine.core.types cimport STATUS_REPLACED, Order
from engine.risk.pretrade cimport Denial
from engine.strategy.desk cimport Cell, Desk, LiveOrder


# Lots that an order could still execute: during a modify, the larger of the old and the new quantity.
cdef inline int64_t open_lots(const Order* order) noexcept nogil:
    if order.req == STATUS_REPLACED and order.qty > order.leaves_qty:
        return order.qty
    return order.leaves_qty


# The reason to deny an order, or a modify (`live` is what there is of it), or REASON_NONE; `why` says more.
cdef uint8_t admit(
    Desk* desk, const Order* order, const LiveOrder* live, int64_t added, Denial* why
) noexcept nogil
# The reason of the first scope, from the widest, that is latched against an order, or REASON_NONE.
cdef uint8_t admit_latched(const Desk* desk, const Order* order, bint reduces, Denial* why) noexcept nogil
# The tick at which a market order is valued; 0 without a market.
cdef int64_t market_tick(const Desk* desk, const Order* order) noexcept nogil
# Counters, called only while desk.counting: a live order comes (1) or goes (-1), a request has been sent, an
# execution was booked, the venue refused a request.
cdef void admission_count(Desk* desk, const LiveOrder* live, int sign) noexcept nogil
cdef void admission_sent(Desk* desk, const Order* order) noexcept nogil
cdef void admission_executed(Desk* desk, const Order* order, int64_t lots) noexcept nogil
cdef void admission_rejected(Desk* desk, const Order* order) noexcept nogil
# An own order quotes another price: the bounds of self-trade prevention follow.
cdef void admission_quotes(Cell* cell, const Order* order) noexcept nogil
# Cold. All masks and counters anew, after limits have changed.
cdef void admission_recount(Desk* desk) noexcept nogil
# Profit and loss of a scope, by its number, at the present marks.
cdef double admission_equity(const Desk* desk, size_t scope) noexcept nogil
