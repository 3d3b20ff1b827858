"""The exchange side of one asset: a replayed market with our own orders resting in it.

Our orders do not change the market; whether they fill is inferred. A resting order fills when a trade prints
beyond its price, when a trade prints at its price and its estimated place in the queue is reached, or when
the opposite best moves to or through its price. Without partial fills (hftbacktest's
``no_partial_fill_exchange``) it fills whole, and an order that crosses on arrival fills whole at the opposite
best; with them (``partial_fill_exchange``) a trade at its price fills what it leaves over, and an order that
crosses on arrival walks the levels.

Five files work on the structure declared here: ``resting`` keeps own orders and does to them what the
market does, ``arrival`` decides what becomes of a request, ``exchange`` runs rows and requests in time,
``exchange_l3`` does what is different where the recording is market by order, and ``liquidity`` what is
where own orders consume what they take.

Own orders of a side are one list, best price first and older first at one price, linked through a slab,
with the best own tick and a count of own orders for each tick modulo 256 beside it. An event that does
not concern them costs one load (the count) and one compare (whether the best moved) above the book's
update, in one loop over the packed rows of a block (tape.pxd).
One that does, and a new order, walk the list from its best price: linear in the orders of that side,
which is the bad case for strategies that keep thousands of orders resting. A cancel is one map probe.
"""

from libc.stdint cimport INT64_MAX, int64_t, uint32_t, uint64_t

from engine.backtest.bus cimport OrderBus
from engine.backtest.custom cimport ModelFault
from engine.backtest.fees cimport FeeModel
from engine.backtest.latency cimport LatencyModel
from engine.backtest.order cimport SimOrder
from engine.backtest.queue cimport QueueModel
from engine.backtest.tape cimport Cursor, TapeRow
from engine.book.l2 cimport L2Book
from engine.book.ladder cimport Ladder
from engine.book.queues cimport L3Book
from engine.core.idmap cimport IdTable
from engine.core.image cimport Image
from engine.core.types cimport Event, Instrument, Order


cdef enum:
    OWN_FILTER = 256             # a power of two
    BY_ORDER_WINDOW = 4096       # ticks: futures trade in steps too coarse to come to more of them


cdef enum FillKind:
    FILL_WHOLE = 0               # no_partial_fill_exchange
    FILL_PARTIAL = 1             # partial_fill_exchange


cdef struct OwnSide:
    int64_t best_tick            # of our orders; INT64_MIN without bids, INT64_MAX without asks
    uint32_t head                # best price, oldest
    int sign                     # 1 bids, -1 asks
    uint32_t count[OWN_FILTER]   # own orders by key (the tick, of asks ~tick) modulo OWN_FILTER


cdef struct Exchange:
    Instrument instrument
    QueueModel queue
    FeeModel fees
    LatencyModel entry           # of requests
    LatencyModel response        # of answers; two, because interpolation remembers where it is
    const ModelFault* model_fault  # of models that are not built in; NULL without any
    int fill_kind
    bint faithful                # repeats the faults of hftbacktest 2.4 that ours does right
    bint grows                   # makes room instead of refusing orders: nobody asked for a limit
    SimOrder* orders             # the slab; free ones are linked through next_handle
    uint32_t capacity
    uint32_t free                # the last slot given back, or NIL
    uint32_t fresh               # slots from here on have never been used
    uint32_t n_orders
    IdTable ids                  # order_id to handle + 1
    OwnSide own[2]               # bids, asks
    OrderBus requests            # on their way here
    OrderBus responses           # on their way back
    Cursor* rows                 # what the venue sees; only exchange_run and exchange_work read them
    L2Book book
    bint by_order                # the recording is market by order, and so is the book:
    L3Book queues                # of own orders, each with what is ahead of it; totals are `book`
    bint consumes                # what own orders take of levels is gone, and remembered by the book's side:
    Ladder taken[2]              # of each only the hash of far levels is used, by the book's keys
    const Event* fault           # the row that made exchange_run or exchange_work fail, or NULL


cdef struct ExchangeModels:
    Instrument instrument
    QueueModel queue
    FeeModel fees
    LatencyModel latency
    const ModelFault* model_fault
    int fill_kind
    bint faithful
    bint grows
    bint consumes                # what own orders take of a level is gone


cdef ExchangeModels models_from_config(object asset)
cdef int exchange_init(Exchange* ex, const ExchangeModels* models, uint32_t max_orders) noexcept nogil
cdef void exchange_free(Exchange* ex) noexcept nogil
cdef int exchange_event(Exchange* ex, const Event* event) noexcept nogil
cdef int exchange_row(Exchange* ex) noexcept nogil
# Shows a venue that is not by order, and where nothing is consumed, a row of the block that it is on.
cdef int exchange_packed(Exchange* ex, const TapeRow* row) noexcept nogil
# All rows strictly before `limit`, whatever it answers.
cdef int exchange_rows(Exchange* ex, int64_t limit) noexcept nogil
cdef int exchange_requests(Exchange* ex, int64_t now) noexcept nogil
cdef int exchange_run(Exchange* ex, int64_t bound) noexcept nogil
cdef int exchange_work(Exchange* ex, int64_t bound) noexcept nogil
# Runs the venues of several assets that can answer, together in time, up to `bound` or up to the first answer that
# reaches us, which `bound` becomes; `failed` says whose code is returned. `stride` is the distance of two venues in
# memory, because they lie within other structures.
cdef int venues_run(Exchange* first, size_t stride, int n, int64_t* bound, int* failed) noexcept nogil
cdef int exchange_send(Exchange* ex, const SimOrder* request, int64_t now) noexcept nogil
cdef int exchange_take(Exchange* ex, const Order* request, int64_t now) noexcept nogil
cdef int exchange_check(const Exchange* ex) noexcept nogil
# Moves a venue that is pushed, out or in; ERR_NO_IMAGE of one with models of the user's own, or market by order.
cdef void exchange_image(Exchange* ex, Image* image) noexcept nogil


cdef inline uint32_t own_slot(int64_t key) noexcept nogil:
    return <uint64_t>key & (OWN_FILTER - 1)


cdef inline uint32_t book_window(bint by_order) noexcept nogil:
    """The window of a market's books, 0 for the usual one: clearing it is a good part of a short run."""
    return BY_ORDER_WINDOW if by_order else 0


cdef inline bint exchange_silent(const Exchange* ex) noexcept nogil:
    """Whether a venue cannot answer: it has no order of ours, and no request on its way."""
    return ex.n_orders == 0 and ex.requests.next_ts == INT64_MAX


cdef inline int64_t exchange_next_ts(const Exchange* ex) noexcept nogil:
    """When the venue has something to do next."""
    return ex.rows.ts if ex.rows.ts <= ex.requests.next_ts else ex.requests.next_ts
