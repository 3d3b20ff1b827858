"""The base of compiled strategies: callbacks without the GIL, and the functions they trade with.

A subclass in Cython overrides ``cdef`` methods and says in ``calls`` which of them it has; the kernel
calls it without the GIL, and nothing here touches a Python object. Costs: a callback is one virtual
call; the rest are the desk's costs (desk.pxd).
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from engine.book.l2 cimport L2Book
from engine.core.image cimport Image
from engine.core.types cimport REASON_CANCEL_REQUESTED, Event, Fill, Instrument, Order
from engine.strategy.desk cimport (
    ANY_INSTRUMENT,
    Desk,
    desk_cancel,
    desk_cancel_all,
    desk_cell,
    desk_live,
    desk_modify,
    desk_set_timer,
    desk_submit,
    desk_trading,
)


cdef class NativeStrategy:
    cdef Desk* desk                  # NULL until a kernel has taken the strategy
    cdef uint16_t slot
    cdef uint16_t n_instruments
    cdef uint16_t* instruments       # those it named, in its order
    cdef readonly uint8_t calls      # Callback bits of strategy/desk.pxd
    cdef dict values                 # parameters
    cdef object owner

    # A strategy overrides these; all are called without the GIL and must not raise.
    cdef void on_start(self) noexcept nogil
    cdef void on_book(self, uint16_t instrument) noexcept nogil
    cdef void on_trade(self, uint16_t instrument, const Event* event) noexcept nogil
    cdef void on_order(self, const Order* order) noexcept nogil
    cdef void on_fill(self, const Order* order, const Fill* fill) noexcept nogil
    cdef void on_timer(self, int64_t now) noexcept nogil
    cdef void on_params(self) noexcept nogil
    cdef void on_stop(self) noexcept nogil
    # This one is called with the GIL: a signal comes from Python, and has a name.
    cdef void on_signal(self, object signal) noexcept
    # Copies parameters into C fields; called with all of them, checked, after every change.
    cdef int take_params(self, dict values) except -1

    # Moves whatever a strategy has in C fields beside its parameters out into a snapshot or back in (core/image.pxd).
    # Without it there are no snapshots of its runs; one that has nothing overrides it with `pass`.
    cdef void image(self, Image* image) noexcept

    cdef int attach(self, object owner, Desk* desk, uint16_t slot, list instruments) except -1


cdef inline int64_t native_now(NativeStrategy self) noexcept nogil:
    return self.desk.now


cdef inline bint native_trading(NativeStrategy self) noexcept nogil:
    """Whether new orders can pass at all."""
    return desk_trading(self.desk, self.slot)


cdef inline const L2Book* native_book(NativeStrategy self, uint16_t instrument) noexcept nogil:
    return &self.desk.books[instrument]


cdef inline const Instrument* native_instrument(NativeStrategy self, uint16_t instrument) noexcept nogil:
    return &self.desk.instruments[instrument]


cdef inline int64_t native_position(NativeStrategy self, uint16_t instrument) noexcept nogil:
    """Lots held, signed."""
    return desk_cell(self.desk, self.slot, instrument).position.lots


cdef inline const Order* native_first_order(NativeStrategy self, uint16_t instrument) noexcept nogil:
    """The oldest live order in an instrument, or NULL; valid until the callback returns."""
    cdef uint32_t handle = desk_cell(self.desk, self.slot, instrument).head
    return NULL if handle == 0 else &desk_live(self.desk, handle).order


cdef inline const Order* native_next_order(NativeStrategy self, const Order* order) noexcept nogil:
    return NULL if order.next_handle == 0 else &desk_live(self.desk, order.next_handle).order


cdef inline uint64_t native_submit(
    NativeStrategy self, uint16_t instrument, int side, int64_t price_tick, int64_t lots, int order_type,
    int time_in_force
) noexcept nogil:
    """The new order's id, or 0: denied, and on_order has the reason."""
    return desk_submit(
        self.desk, self.slot, instrument, side, price_tick, lots, order_type, time_in_force, 0
    )


cdef inline int native_modify(
    NativeStrategy self, uint64_t order_id, int64_t price_tick, int64_t lots
) noexcept nogil:
    return desk_modify(self.desk, self.slot, order_id, price_tick, lots)


cdef inline int native_cancel(NativeStrategy self, uint64_t order_id) noexcept nogil:
    return desk_cancel(self.desk, self.slot, order_id, REASON_CANCEL_REQUESTED)


cdef inline uint32_t native_cancel_all(NativeStrategy self) noexcept nogil:
    return desk_cancel_all(self.desk, self.slot, ANY_INSTRUMENT, REASON_CANCEL_REQUESTED)


cdef inline void native_set_timer(NativeStrategy self, int64_t interval) noexcept nogil:
    """Arms the strategy's timer, first due one interval from now."""
    desk_set_timer(self.desk, self.slot, interval, self.desk.now + interval)


cdef class MarketMaker(NativeStrategy):
    cdef int64_t interval_ns
    cdef double half_spread
    cdef double relative_half_spread
    cdef double skew
    cdef double order_qty
    cdef double max_position
    cdef int64_t grid_num
    cdef int64_t grid_interval

    cdef void quote(self, uint16_t instrument) noexcept nogil
