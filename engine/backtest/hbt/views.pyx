"""Views on a market for Python, by hftbacktest's names; see the header of views.pxd."""

from cpython.buffer cimport PyBuffer_FillInfo
from libc.math cimport NAN
from libc.stdint cimport int64_t, uint64_t

import numpy as np

from engine.backtest.hbt.calls cimport (
    market_ask_qty,
    market_bid_qty,
    market_ladder,
    market_order,
    market_snapshot,
    market_snapshot_free,
    walk_current,
    walk_next,
    walk_start,
)
from engine.backtest.order cimport SimOrder
from engine.backtest.order_view cimport OrderView
from engine.core.ticks cimport INVALID_MAX_TICK, INVALID_MIN_TICK, to_px
from engine.core.types cimport SIDE_BUY, SIDE_SELL, Event

from engine.backtest.hbt.constants import order_dtype, state_values_dtype
from engine.core.types import event_dtype


cdef class Span:
    def __getbuffer__(self, Py_buffer* buffer, int flags):
        PyBuffer_FillInfo(buffer, self, self.data, self.size, 1, flags)


cdef object array_of(void* data, Py_ssize_t n, object dtype, object owner):
    """An array on somebody's memory, which it keeps alive."""
    cdef Span span = Span.__new__(Span)
    if n == 0:
        return np.empty(0, dtype)
    span.data = data
    span.size = n * dtype.itemsize
    span.owner = owner
    return np.frombuffer(span, dtype)


cdef object shared(object owner, const void* place):
    """A place in an owner's memory, which compiled strategies can keep from then on."""
    owner.address
    return <size_t>place


# --- depth -----------------------------------------------------------------------------------------------

cdef class MarketDepth:
    """The book as it has reached us. Prices are NaN, ticks hftbacktest's extremes, where a side is empty."""

    def __init__(self):
        raise TypeError("a depth comes from a backtest's depth()")

    @property
    def address(self) -> int:
        """Where the market is, for compiled strategies."""
        return shared(self.owner, self.market)

    @property
    def best_bid_tick(self) -> int:
        return self.market.book.best_bid_tick

    @property
    def best_ask_tick(self) -> int:
        return self.market.book.best_ask_tick

    @property
    def best_bid(self) -> float:
        cdef int64_t tick = self.market.book.best_bid_tick
        return NAN if tick == INVALID_MIN_TICK else to_px(tick, self.market.book.tick_size)

    @property
    def best_ask(self) -> float:
        cdef int64_t tick = self.market.book.best_ask_tick
        return NAN if tick == INVALID_MAX_TICK else to_px(tick, self.market.book.tick_size)

    @property
    def best_bid_qty(self) -> float:
        return market_bid_qty(self.market, self.market.book.best_bid_tick)

    @property
    def best_ask_qty(self) -> float:
        return market_ask_qty(self.market, self.market.book.best_ask_tick)

    @property
    def tick_size(self) -> float:
        return self.market.book.tick_size

    @property
    def lot_size(self) -> float:
        return self.market.book.lot_size

    def bid_qty_at_tick(self, int64_t price_tick) -> float:
        """The quantity of the bids at a tick; 0 without any."""
        return market_bid_qty(self.market, price_tick)

    def ask_qty_at_tick(self, int64_t price_tick) -> float:
        """The quantity of the asks at a tick; 0 without any."""
        return market_ask_qty(self.market, price_tick)

    def snapshot(self):
        """The levels as snapshot events: bids from the best down, then asks from the best up.

        Returns:
            ``event_dtype`` array of shape ``(levels,)``, a copy.
        """
        cdef int64_t n = 0
        cdef Event* events = <Event*>market_snapshot(self.market, &n)
        try:
            return array_of(events, n, event_dtype, None).copy()
        finally:
            market_snapshot_free(events)

    def snapshot_free(self, array) -> None:
        """Nothing: here a snapshot is an array of its own. In hftbacktest one has to free it."""


cdef class HashMapMarketDepth(MarketDepth):
    """hftbacktest's name for the depth that knows all levels."""


cdef class ROIVectorMarketDepth(MarketDepth):
    """The depth that also gives the quantities of a range of prices as arrays.

    All levels are in the book; the range only bounds the arrays.
    """

    @property
    def roi_lb_tick(self) -> int:
        """The first tick of the arrays."""
        return self.market.view.first

    @property
    def roi_ub_tick(self) -> int:
        """The last tick of the arrays."""
        return self.market.view.last

    @property
    def bid_depth(self):
        """Quantities of the bids, float64 of shape ``(roi_ub_tick - roi_lb_tick + 1,)``; they follow the book."""
        return self._ladder(SIDE_BUY)

    @property
    def ask_depth(self):
        """Quantities of the asks, as ``bid_depth``."""
        return self._ladder(SIDE_SELL)

    def _ladder(self, int side):
        cdef double* qty = <double*>market_ladder(self.market, side)
        n = self.market.view.last - self.market.view.first + 1
        return array_of(qty, n, np.dtype(np.float64), self.owner)


cdef object depth_of(Market* market, object owner, bint roi):
    cdef MarketDepth depth
    if roi:
        depth = ROIVectorMarketDepth.__new__(ROIVectorMarketDepth)
    else:
        depth = HashMapMarketDepth.__new__(HashMapMarketDepth)
    depth.market = market
    depth.owner = owner
    return depth


# --- orders ----------------------------------------------------------------------------------------------

cdef class Order(OrderView):
    """One order as we know it; it changes with the answers that arrive."""

    def __init__(self):
        raise TypeError("an order comes from a backtest's orders()")

    @property
    def address(self) -> int:
        """Where the order is, for compiled strategies."""
        return shared(self.owner, self.order)

    @property
    def arr(self):
        """The record itself: ``order_dtype`` array of shape ``(1,)``, to be read only."""
        return array_of(<void*>self.order, 1, order_dtype, self.owner)


cdef object _order_of(const SimOrder* order, object owner):
    cdef Order view
    if order == NULL:
        return None
    view = Order.__new__(Order)
    view.order = order
    view.owner = owner
    return view


cdef class Values:
    """A walk through orders in the order in which they were sent; in hftbacktest that is by chance."""

    def __init__(self):
        raise TypeError("orders are walked through by orders().values()")

    def __iter__(self):
        return self

    def __next__(self):
        order = self.next()
        if order is None:
            raise StopIteration
        return order

    def next(self):
        """The next order, or None."""
        return _order_of(<const SimOrder*>walk_next(self.market, self.number), self.owner)

    def has_next(self) -> bool:
        """Moves to the next order; False when there is none."""
        return walk_next(self.market, self.number) != 0

    def get(self):
        """The order that ``has_next`` moved to."""
        return _order_of(<const SimOrder*>walk_current(self.market, self.number), self.owner)


cdef class OrderDict:
    """The orders of an asset by id."""

    def __init__(self):
        raise TypeError("orders come from a backtest's orders()")

    @property
    def address(self) -> int:
        """Where the market is, for compiled strategies."""
        return shared(self.owner, self.market)

    def __len__(self) -> int:
        return self.market.orders.n

    def __contains__(self, uint64_t order_id) -> bool:
        return market_order(self.market, order_id) != NULL

    def __iter__(self):
        return (order.order_id for order in self.values())

    def get(self, uint64_t order_id):
        """The order of an id, or None."""
        return _order_of(market_order(self.market, order_id), self.owner)

    def values(self) -> Values:
        """A walk through all orders; sixteen can be under way at once."""
        cdef Values values = Values.__new__(Values)
        values.market = self.market
        values.number = walk_start(self.market)
        values.owner = self.owner
        return values


cdef object orders_of(Market* market, object owner):
    cdef OrderDict orders = OrderDict.__new__(OrderDict)
    orders.market = market
    orders.owner = owner
    return orders


# --- state -----------------------------------------------------------------------------------------------

cdef class StateValues:
    """What fills have made of an asset's position and cash; it follows them."""

    def __init__(self):
        raise TypeError("state values come from a backtest's state_values()")

    @property
    def address(self) -> int:
        """Where the market is, for compiled strategies."""
        return shared(self.owner, self.market)

    @property
    def arr(self):
        """The record itself: ``state_values_dtype`` array of shape ``(1,)``, to be read only."""
        return array_of(&self.market.account.values, 1, state_values_dtype, self.owner)

    @property
    def position(self) -> float:
        return self.market.account.values.position

    @property
    def balance(self) -> float:
        """Cash, without fees; the value paid for what is held is taken off it."""
        return self.market.account.values.balance

    @property
    def fee(self) -> float:
        """Fees paid so far, rebates taken off."""
        return self.market.account.values.fee

    @property
    def num_trades(self) -> int:
        return self.market.account.values.num_trades

    @property
    def trading_volume(self) -> float:
        return self.market.account.values.trading_volume

    @property
    def trading_value(self) -> float:
        return self.market.account.values.trading_value


cdef object state_of(Market* market, object owner):
    cdef StateValues values = StateValues.__new__(StateValues)
    values.market = market
    values.owner = owner
    return values
