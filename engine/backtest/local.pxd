"""Our side of one asset: the rows as they reach us, and answers as they come back.

The state machine itself (books, orders, positions, strategies) is the kernel; this is what feeds it.
While no strategy listens to an asset's market, its rows only change the book: ``local_passive`` applies
a whole run of them in one loop over the packed rows, which costs the book's update (of which the
compiler drops what describes the change) and two compares a row.
"""

from libc.stdint cimport INT64_MAX, int64_t, uint16_t, uint32_t

from engine.backtest.exchange cimport Exchange, exchange_next_ts
from engine.backtest.funding cimport Funding
from engine.backtest.tape cimport Cursor
from engine.book.l2 cimport L2Book
from engine.core.codes cimport ERR_ORDER_NOT_FOUND, OK
from engine.core.types cimport Event, Order
from engine.kernel cimport Kernel
from engine.strategy.desk cimport OUTPUT_REQUEST


cdef struct Local:
    Cursor* rows                 # what we see
    Exchange* venue              # whose answers come to us
    L2Book* book                 # the kernel's, borrowed
    Funding funding              # payments to come
    const Event* fault           # the row that made local_passive or local_row fail, or NULL
    uint16_t instrument


cdef int local_passive(Local* local, int64_t bound) noexcept nogil
cdef void book_rows(Cursor* rows, L2Book* book, int64_t bound) noexcept nogil
cdef int local_row(Local* local, Kernel kernel) noexcept nogil
cdef int local_response(Local* local, Kernel kernel, int64_t now) noexcept nogil
# Has every strategy's position pay what is due, or passes that over if the asset's recording has ended.
cdef void local_pay(Local* local, Kernel kernel) noexcept nogil


cdef inline int64_t local_next_ts(const Local* local) noexcept nogil:
    """When something reaches us next."""
    if local.rows.ts <= local.venue.responses.next_ts:
        return local.rows.ts
    return local.venue.responses.next_ts


cdef inline bint local_over(const Local* local) noexcept nogil:
    """Whether nothing of an asset is left to happen."""
    return local_next_ts(local) == INT64_MAX and exchange_next_ts(local.venue) == INT64_MAX


cdef inline bint local_listens(const Local* local, Kernel kernel) noexcept nogil:
    """Whether any strategy wants this asset's rows one by one."""
    return (kernel.book_calls[local.instrument] | kernel.trade_calls[local.instrument]) != 0


cdef inline const Order* kernel_request(Kernel kernel, uint32_t i) noexcept nogil:
    """The order of the kernel's output ``i`` if that is a request to a venue, else NULL."""
    if kernel.desk.outbox[i].kind == OUTPUT_REQUEST:
        return &kernel.desk.outbox[i].order
    return NULL


cdef inline int kernel_report(Kernel kernel, const Order* report, int64_t now) noexcept nogil:
    """Gives the kernel a venue's answer."""
    cdef int code = kernel.apply_report(report, now)
    # A refused cancel of an order whose fill got here first: the kernel has forgotten the order, rightly.
    return OK if code == ERR_ORDER_NOT_FOUND else code
