"""Compiled strategies: the base, and the market maker that examples/strategies/market_maker.py is in Python.

A pass of the market maker costs one look at the book, one walk over the live orders with a division each,
which marks the places of the grid that hold one, and a bit test for each wanted level.
"""

cimport cython
from libc.math cimport ceil, floor, fmax, fmin
from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport calloc, free

from engine.core.codes cimport ERR_NO_IMAGE
from engine.core.image cimport Image, image_fault
from engine.core.ticks cimport INVALID_MAX_TICK, INVALID_MIN_TICK
from engine.core.types cimport ORDER_LIMIT, SIDE_BUY, SIDE_SELL, STATUS_NONE, TIF_GTX
from engine.strategy.desk cimport CALL_TIMER

from engine.core.errors import RingbookError
from engine.strategy import params as parameters
from engine.strategy.params import ParamSpec


cdef class NativeStrategy:
    """The base of compiled strategies; parameters behave as those of ``Strategy``.

    Args:
        **params: Values that differ from the defaults.

    Raises:
        ConfigError: A name is unknown, or a value has the wrong type or is out of range.
    """

    def __init__(self, **params):
        specs = self.specs()
        given = parameters.check(specs, params, type(self).__name__)
        self.values = {name: given.get(name, spec.default) for name, spec in specs.items()}
        self.take_params(self.values)

    def __dealloc__(self):
        free(self.instruments)

    @classmethod
    def specs(cls):
        """The declared parameters by name."""
        return {}

    def params(self):
        """The present values of all parameters."""
        return dict(self.values)

    def update(self, params):
        """Changes parameters: all or none.

        Raises:
            ConfigError: As the constructor; nothing has changed then.
        """
        values = self.values | parameters.check(self.specs(), params, type(self).__name__)
        self.take_params(values)
        self.values = values

    cdef int attach(self, object owner, Desk* desk, uint16_t slot, list instruments) except -1:
        if self.desk != NULL:
            raise RingbookError(f"this {type(self).__name__} already belongs to a kernel")
        self.instruments = <uint16_t*>calloc(len(instruments), sizeof(uint16_t))
        if self.instruments == NULL:
            raise MemoryError
        for place, instrument in enumerate(instruments):
            self.instruments[<Py_ssize_t>place] = instrument
        self.n_instruments = <uint16_t>len(instruments)
        self.owner = owner
        self.desk = desk
        self.slot = slot
        return 0

    cdef void on_start(self) noexcept nogil:
        pass

    cdef void on_book(self, uint16_t instrument) noexcept nogil:
        pass

    cdef void on_trade(self, uint16_t instrument, const Event* event) noexcept nogil:
        pass

    cdef void on_order(self, const Order* order) noexcept nogil:
        pass

    cdef void on_fill(self, const Order* order, const Fill* fill) noexcept nogil:
        pass

    cdef void on_timer(self, int64_t now) noexcept nogil:
        pass

    cdef void on_params(self) noexcept nogil:
        pass

    cdef void on_stop(self) noexcept nogil:
        pass

    cdef void on_signal(self, object signal) noexcept:
        pass

    cdef int take_params(self, dict values) except -1:
        return 0

    cdef void image(self, Image* image) noexcept:
        image_fault(image, ERR_NO_IMAGE)


cdef double MOST_LOTS = 1e15

cdef enum:
    MAX_GRID = 128               # places a side: above the limit of grid_num, and two words of bits

cdef dict _MARKET_MAKER_SPECS = {
    spec.name: spec
    for spec in (
        ParamSpec("interval_ns", "int", 100_000_000, 1, (1 << 62) - 1, "time between two looks at the market"),
        ParamSpec("half_spread", "float", 5.0, 0, 1e12, "distance of the quotes from the middle, in ticks"),
        ParamSpec("relative_half_spread", "float", 0.0, 0, 1, "added to it, as a fraction of the price"),
        ParamSpec("skew", "float", 0.5, 0, 1e12, "ticks the quotes shift against each order_qty held"),
        ParamSpec("order_qty", "float", 0.01, 0, None, "quantity of an order, rounded to lots, at least one"),
        ParamSpec("max_position", "float", 0.1, 0, None, "position that all quotes of a side may lead to"),
        ParamSpec("grid_num", "int", 1, 1, 100, "orders a side"),
        ParamSpec("grid_interval", "int", 1, 1, 10**12, "ticks between them"),
    )
}


@cython.final
cdef class MarketMaker(NativeStrategy):
    """Quotes both sides around a middle that leans against the position.

    Every ``interval_ns``, for each of its instruments in order, in double arithmetic on ticks, exactly so:

    1. Without a best bid or a best ask nothing happens.
    2. ``mid = (best_bid_tick + best_ask_tick) / 2``;
       ``half = half_spread + relative_half_spread * mid``;
       ``order_lots = max(1, floor(order_qty / lot_size + 0.5))``;
       ``max_lots = floor(max_position / lot_size + 1e-6)``;
       ``middle = mid - skew * (position_lots / order_lots)``.
    3. ``bid = min(floor(middle - half), best_bid_tick)``; ``ask = max(ceil(middle + half), best_ask_tick)``.
    4. Number of bids: ``min(grid_num, floor((max_lots - position_lots) / order_lots))``, at least 0; of
       asks the same with ``max_lots + position_lots``. Both are 0 while the strategy may not trade.
       Wanted are bids at ``bid - i * grid_interval`` (those above 0) and asks at ``ask + i * grid_interval``.
    5. A live order that is not wanted, by side and price tick, is cancelled, oldest first, unless a
       request on it is in flight.
    6. For each wanted bid from the best, then each wanted ask: where no live order has that side and
       price tick, with or without a request in flight, a post-only order of ``order_lots`` is sent.

    An order's quantity is not looked at: a partly filled order stays. Orders end where the venue says so;
    an order whose cancel is in flight still counts as live.
    """

    def __cinit__(self):
        self.calls = CALL_TIMER

    @classmethod
    def specs(cls):
        """The declared parameters by name."""
        return _MARKET_MAKER_SPECS

    cdef int take_params(self, dict values) except -1:
        cdef int64_t interval = values["interval_ns"]
        cdef int64_t grid_interval = values["grid_interval"]
        self.half_spread = values["half_spread"]
        self.relative_half_spread = values["relative_half_spread"]
        self.skew = values["skew"]
        self.order_qty = values["order_qty"]
        self.max_position = values["max_position"]
        self.grid_num = values["grid_num"]
        self.grid_interval = grid_interval
        self.interval_ns = interval
        return 0

    cdef void image(self, Image* image) noexcept:
        pass

    cdef void on_start(self) noexcept nogil:
        native_set_timer(self, self.interval_ns)

    cdef void on_params(self) noexcept nogil:
        if self.desk.slots[self.slot].timer_interval != self.interval_ns:
            native_set_timer(self, self.interval_ns)

    cdef void on_timer(self, int64_t now) noexcept nogil:
        cdef uint16_t i
        for i in range(self.n_instruments):
            self.quote(self.instruments[i])

    cdef void quote(self, uint16_t instrument) noexcept nogil:
        cdef const L2Book* book = native_book(self, instrument)
        cdef double lot_size = native_instrument(self, instrument).lot_size
        cdef int64_t position = native_position(self, instrument)
        cdef double mid, half, middle
        cdef int64_t order_lots, max_lots, bid, ask, n_bids = 0, n_asks = 0, off, place, i
        # Which places of the grid, by side, hold an order: bit i of a side is i intervals from its first.
        cdef uint64_t held[2][2]
        cdef const Order* order
        cdef int side
        if book.best_bid_tick == INVALID_MIN_TICK or book.best_ask_tick == INVALID_MAX_TICK:
            return
        mid = (<double>book.best_bid_tick + <double>book.best_ask_tick) / 2.0
        half = self.half_spread + self.relative_half_spread * mid
        # More lots than MOST_LOTS are no order and no limit any more, and would not fit an integer.
        order_lots = max(1, <int64_t>fmin(floor(self.order_qty / lot_size + 0.5), MOST_LOTS))
        max_lots = <int64_t>fmin(floor(self.max_position / lot_size + 1e-6), MOST_LOTS)
        middle = mid - fmin(fmax(self.skew * (<double>position / <double>order_lots), -MOST_LOTS), MOST_LOTS)
        bid = min(<int64_t>floor(middle - half), book.best_bid_tick)
        ask = max(<int64_t>ceil(middle + half), book.best_ask_tick)
        if native_trading(self):
            # A negative room rounds to no bids either way, so C's rounding toward zero serves.
            n_bids = max(0, min(self.grid_num, (max_lots - position) // order_lots))
            n_asks = max(0, min(self.grid_num, (max_lots + position) // order_lots))
        held[0][0] = held[0][1] = held[1][0] = held[1][1] = 0
        order = native_first_order(self, instrument)
        while order != NULL:
            side = order.side != SIDE_BUY
            off = order.price_tick - ask if side else bid - order.price_tick
            place = off // self.grid_interval
            if off < 0 or place >= MAX_GRID or place * self.grid_interval != off:
                place = MAX_GRID
            else:
                held[side][place >> 6] |= <uint64_t>1 << (place & 63)
            if order.req == STATUS_NONE and place >= (n_asks if side else n_bids):
                native_cancel(self, order.order_id)
            order = native_next_order(self, order)
        for i in range(n_bids):
            off = bid - i * self.grid_interval
            if off > 0 and not held[0][i >> 6] >> (i & 63) & 1:
                native_submit(self, instrument, SIDE_BUY, off, order_lots, ORDER_LIMIT, TIF_GTX)
        for i in range(n_asks):
            off = ask + i * self.grid_interval
            if off > 0 and not held[1][i >> 6] >> (i & 63) & 1:
                native_submit(self, instrument, SIDE_SELL, off, order_lots, ORDER_LIMIT, TIF_GTX)
