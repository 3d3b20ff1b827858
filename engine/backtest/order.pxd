"""An order as the simulated venue has it, and its way to and from the kernel's.

The first 96 bytes are hftbacktest's ``order_dtype``, field by field, so that strategies written for it read
them where they lie; what we need on top follows. Quantities are doubles, because hftbacktest's users may
send any; the kernel's whole lots are converted where it meets the venue, a few instructions an order.
"""

from libc.stdint cimport int8_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memset

from engine.core.ticks cimport to_lot, to_qty
from engine.core.types cimport Instrument, Order


cdef struct SimOrder:
    double qty
    double leaves_qty
    double exec_qty              # of the last execution
    int64_t exec_price_tick      # of the last execution
    int64_t price_tick
    double tick_size
    int64_t exch_ts              # when the venue last touched it
    int64_t local_ts             # when its last request was sent
    uint64_t order_id
    double queue_ahead           # hftbacktest's _q1 and _q2: estimated quantity in front,
    double queue_traded          # and what traded at the level since its last depth change
    uint8_t is_maker
    uint8_t order_type
    uint8_t req
    uint8_t status
    int8_t side
    uint8_t time_in_force
    uint8_t reason               # ReasonCode of the last change
    uint8_t flags
    double fee                   # of the last execution; negative is a rebate
    uint64_t client_order_id
    uint32_t next_handle         # links of whoever holds the slab
    uint32_t prev_handle
    uint16_t instrument
    uint16_t strategy
    uint32_t place               # handle in the queues of a market-by-order book


cdef inline void order_from_kernel(const Order* order, const Instrument* instrument, SimOrder* out) noexcept nogil:
    """A request of the kernel as the venue takes it."""
    memset(out, 0, sizeof(SimOrder))
    out.qty = to_qty(order.qty, instrument.lot_size)
    out.leaves_qty = to_qty(order.leaves_qty, instrument.lot_size)
    out.exec_qty = to_qty(order.exec_qty, instrument.lot_size)
    out.exec_price_tick = order.exec_price_tick
    out.price_tick = order.price_tick
    out.tick_size = instrument.tick_size
    out.exch_ts = order.exch_ts
    out.local_ts = order.local_ts
    out.order_id = order.order_id
    out.queue_ahead = order.queue_ahead
    out.queue_traded = order.queue_traded
    out.is_maker = order.is_maker
    out.order_type = order.order_type
    out.req = order.req
    out.status = order.status
    out.side = order.side
    out.time_in_force = order.time_in_force
    out.reason = order.reason
    out.flags = order.flags
    out.fee = order.fee
    out.client_order_id = order.client_order_id
    out.instrument = order.instrument
    out.strategy = order.strategy


cdef inline void order_to_kernel(const SimOrder* order, const Instrument* instrument, Order* out) noexcept nogil:
    """An answer of the venue as the kernel takes it; what was executed in all is the kernel's to count."""
    memset(out, 0, sizeof(Order))
    out.order_id = order.order_id
    out.client_order_id = order.client_order_id
    out.price_tick = order.price_tick
    out.qty = to_lot(order.qty, instrument.lot_size)
    out.leaves_qty = to_lot(order.leaves_qty, instrument.lot_size)
    out.exec_qty = to_lot(order.exec_qty, instrument.lot_size)
    out.exec_price_tick = order.exec_price_tick
    out.exch_ts = order.exch_ts
    out.local_ts = order.local_ts
    out.queue_ahead = order.queue_ahead
    out.queue_traded = order.queue_traded
    out.fee = order.fee
    out.instrument = order.instrument
    out.strategy = order.strategy
    out.side = order.side
    out.order_type = order.order_type
    out.time_in_force = order.time_in_force
    out.status = order.status
    out.req = order.req
    out.is_maker = order.is_maker
    out.reason = order.reason
    out.flags = order.flags
