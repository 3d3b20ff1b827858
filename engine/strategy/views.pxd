"""Views: what Python strategies see of books, orders, fills and trades."""

from libc.stdint cimport int64_t

from engine.book.l2 cimport L2Book
from engine.core.types cimport Event, Fill, Instrument, Order
from engine.risk.position cimport Position


cdef class BookView:
    cdef const L2Book* book
    cdef const Instrument* inst
    cdef object owner                # keeps the book's memory alive
    cdef readonly str symbol

    cdef list _levels(self, int side, object n)


cdef class OrderView:
    cdef Order order
    cdef double tick_size
    cdef double lot_size
    cdef readonly str symbol


cdef class FillView:
    cdef Fill fill
    cdef double lot_size
    cdef readonly str symbol


cdef class TradeView:
    cdef readonly str symbol
    cdef readonly int64_t exch_ts
    cdef readonly int64_t local_ts
    cdef readonly double px
    cdef readonly double qty
    cdef readonly object side


cdef object make_state(const Position* p, const Instrument* inst, double mid)
cdef BookView make_book(object owner, const L2Book* book, const Instrument* inst, str symbol)
cdef OrderView make_order(const Order* order, const Instrument* inst, str symbol)
cdef FillView make_fill(const Fill* fill, const Instrument* inst, str symbol)
cdef TradeView make_trade(const Event* event, str symbol)
